//! The base URL of Langfuse, parsed from any form that users paste, and the URLs made from it.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

use crate::http::url::{complete_http_url, is_loopback};

/// The path of the OTLP endpoint, below the base.
const TRACES_PATH: &str = "/api/public/otel/v1/traces";

/// The default server: the EU region of Langfuse Cloud.
pub const CLOUD: &str = "https://cloud.langfuse.com";

/// The regions of Langfuse Cloud and their hosts; a key is valid in one of them only.
pub const REGIONS: [(&str, &str); 4] = [
    ("EU", "cloud.langfuse.com"),
    ("US", "us.cloud.langfuse.com"),
    ("JP", "jp.cloud.langfuse.com"),
    ("HIPAA", "hipaa.cloud.langfuse.com"),
];

/// The characters that are escaped in an id.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A base URL: scheme, host, port, and the path below which Langfuse is deployed, if any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base(Url);

impl Base {
    /// Parses any form of the URL: root, `/api/public/otel`, `…/v1/traces`, a page of the web interface, a
    /// deployment below a path, trailing slashes.
    ///
    /// # Errors
    /// Why it is not a base URL, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut url = complete_http_url(text)?;
        let path = url.path().trim_end_matches('/');
        // The first of these begins Langfuse's own path. Before it is the path of the deployment.
        let own = ["/api/public", "/project/", "/trace/", "/public/traces"]
            .iter()
            .filter_map(|marker| path.find(marker))
            .min()
            .or_else(|| path.strip_suffix("/v1/traces").map(str::len))
            .unwrap_or(path.len());
        let path = path[..own].trim_end_matches('/').to_owned();
        url.set_path(&path);
        url.set_query(None);
        url.set_fragment(None);
        Ok(Self(url))
    }

    /// Whether the path of an OTLP endpoint is Langfuse's.
    pub fn is_langfuse_path(url: &Url) -> bool {
        url.path().contains("/api/public/otel")
    }

    /// Whether requests to both go to the same scheme, host and port.
    pub fn is_same_server(&self, other: &Self) -> bool {
        self.0.origin() == other.0.origin()
    }

    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Whether keys would be sent unencrypted to another machine.
    pub fn is_exposed(&self) -> bool {
        self.0.scheme() == "http" && !is_loopback(&self.0)
    }

    /// The URL that spans are sent to.
    pub fn traces_url(&self) -> Url {
        self.below(TRACES_PATH)
    }

    /// The URL of an API path such as `/api/public/projects`.
    pub fn below(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        let base = self.0.path().trim_end_matches('/');
        url.set_path(&format!("{base}{path}"));
        url
    }

    /// The page of a session.
    pub fn session_page(&self, project: &str, session: &str) -> String {
        let project = utf8_percent_encode(project, SEGMENT);
        let session = utf8_percent_encode(session, SEGMENT);
        format!("{self}/project/{project}/sessions/{session}")
    }

    /// The page that shows the results of an experiment.
    pub fn experiment_page(&self, project: &str, experiment_id: &str) -> String {
        let project = utf8_percent_encode(project, SEGMENT);
        let experiment_id = utf8_percent_encode(experiment_id, SEGMENT);
        format!("{self}/project/{project}/experiments/results?baseline={experiment_id}")
    }

    /// The page of a trace. Without the project's id, the page that looks the project up.
    pub fn trace_page(&self, project: Option<&str>, trace_id: &str) -> String {
        let trace_id = utf8_percent_encode(trace_id, SEGMENT);
        match project {
            Some(project) => {
                let project = utf8_percent_encode(project, SEGMENT);
                format!("{self}/project/{project}/traces/{trace_id}")
            }
            None => format!("{self}/trace/{trace_id}"),
        }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_completed() {
        for (form, base) in [
            ("https://cloud.langfuse.com", "https://cloud.langfuse.com"),
            ("https://cloud.langfuse.com/", "https://cloud.langfuse.com"),
            (
                " https://cloud.langfuse.com// ",
                "https://cloud.langfuse.com",
            ),
            ("https://h/api/public/otel", "https://h"),
            ("https://h/api/public/otel/", "https://h"),
            ("https://h/api/public/otel/v1/traces", "https://h"),
            ("https://h/v1/traces", "https://h"),
            (
                "https://h:3000/base/path/api/public/otel/v1/traces/",
                "https://h:3000/base/path",
            ),
            ("http://localhost:3000/base/", "http://localhost:3000/base"),
            ("https://h/project/p1/traces/0af7?peek=1#x", "https://h"),
            ("https://h/lf/project/p1/traces/0af7", "https://h/lf"),
            ("https://h/trace/0af7", "https://h"),
            ("cloud.langfuse.com", "https://cloud.langfuse.com"),
            ("127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("localhost:3000/base/", "http://localhost:3000/base"),
        ] {
            let parsed = Base::parse(form).unwrap();
            assert_eq!(parsed.to_string(), base, "{form}");
            assert_eq!(
                parsed.traces_url().as_str(),
                format!("{base}/api/public/otel/v1/traces")
            );
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for wrong in [
            "",
            "sk-lf-0123456789",
            "langfuse",
            "ftp://h",
            "https://",
            "https://pk-lf-1:sk-lf-1@h",
        ] {
            let error = Base::parse(wrong).unwrap_err();
            assert!(!error.contains("sk-lf"), "{error}");
        }
    }

    #[test]
    fn pages_encode_their_ids() {
        let base = Base::parse("https://h/lf/").unwrap();
        assert_eq!(
            base.trace_page(Some("a b"), "0af7"),
            "https://h/lf/project/a%20b/traces/0af7"
        );
        assert_eq!(base.trace_page(None, "0af7"), "https://h/lf/trace/0af7");
    }

    #[test]
    fn keys_over_http_are_exposed_unless_the_server_is_local() {
        for (url, exposed) in [
            ("http://langfuse.example", true),
            ("https://langfuse.example", false),
            ("http://localhost:3000", false),
            ("http://127.8.0.1", false),
            ("http://[::1]:3000", false),
            ("http://localhost.example", true),
        ] {
            assert_eq!(Base::parse(url).unwrap().is_exposed(), exposed, "{url}");
        }
    }
}
