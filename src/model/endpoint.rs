//! An endpoint of models: its URLs, headers and credentials.
//!
//! Resolving settings into an endpoint is done in `settings`.

use anyhow::Context;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;

use super::dialect::{self, ModelDialect};
use super::provider::Provider;
use crate::http::url::secrets;
use crate::secret::{Secret, scrub};

/// The API flavour: determines the path of a request and the header of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Surface {
    /// `{base}/chat/completions`, with the key as a bearer token.
    OpenAi,
    /// Azure's v1 API: `{resource}/openai/v1/chat/completions`, with the key as `api-key`.
    AzureV1,
    /// Azure's deployments API: the model is part of the path, and the API version is a query parameter.
    AzureDeployment { api_version: String },
    /// Anthropic's API: `{base}/v1/messages`, with the key as `x-api-key`.
    Anthropic,
}

/// The version of Anthropic's API that requests name.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// An endpoint of models.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub base: Url,
    pub surface: Surface,
    pub key: Option<Secret>,
    /// Where the key came from, as hints name it; none where it is to be set in its variable.
    pub key_origin: Option<String>,
    /// Additional headers, sent with every request.
    pub headers: HeaderMap,
    pub provider: Provider,
}

impl Endpoint {
    /// The URL of a request to `model` in a dialect.
    pub fn url(&self, dialect: &dyn ModelDialect, model: &str) -> Url {
        self.below(
            dialect.path(),
            Some(model).filter(|_| dialect.is_of_deployment()),
        )
    }

    /// The URL of the list of models.
    pub fn models_url(&self) -> Url {
        self.below(&["models"], None)
    }

    /// The URL of `path` below the base, of a deployment if a `model` is given.
    fn below(&self, segments: &[&str], model: Option<&str>) -> Url {
        let mut url = self.base.clone();
        let surplus = self.surplus_segments();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty();
            for _ in 0..surplus {
                path.pop();
            }
            match &self.surface {
                Surface::OpenAi => {}
                Surface::Anthropic => {
                    path.push("v1");
                }
                Surface::AzureV1 => {
                    path.extend(["openai", "v1"]);
                }
                Surface::AzureDeployment { .. } => {
                    path.push("openai");
                    path.extend(model.into_iter().flat_map(|model| ["deployments", model]));
                }
            }
            path.extend(segments);
        }
        if surplus > 0 {
            // Its API version belongs to another API.
            url.set_query(None);
        }
        if let Surface::AzureDeployment { api_version } = &self.surface {
            url.set_query(None);
            url.query_pairs_mut()
                .append_pair("api-version", api_version);
        }
        url
    }

    /// The base URL that may have been meant, where the present one looks wrong.
    pub fn proposed_base(&self) -> Option<Url> {
        match self.surface {
            Surface::OpenAi => proposed_base(&self.base),
            Surface::AzureV1 | Surface::AzureDeployment { .. } | Surface::Anthropic => None,
        }
    }

    /// How many trailing path segments to drop from the URL of an API with a path of its own. Azure's portal shows request
    /// URLs; everything from `openai` or `v1` on is added again.
    fn surplus_segments(&self) -> usize {
        let first = match self.surface {
            Surface::OpenAi => return 0,
            Surface::Anthropic => "v1",
            Surface::AzureV1 | Surface::AzureDeployment { .. } => "openai",
        };
        let given = self.base.path_segments();
        let given: Vec<&str> = given.map_or_else(Vec::new, |all| {
            all.filter(|segment| !segment.is_empty()).collect()
        });
        match given.iter().position(|segment| *segment == first) {
            Some(at) => given.len() - at,
            _ => 0,
        }
    }

    /// The headers of a request, including the credentials. An additional header overrides the key.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(key) = &self.key {
            let (name, value) = match self.surface {
                Surface::OpenAi => (AUTHORIZATION, format!("Bearer {}", key.expose())),
                Surface::Anthropic => {
                    let name = HeaderName::from_static("x-api-key");
                    (name, key.expose().to_owned())
                }
                _ => (HeaderName::from_static("api-key"), key.expose().to_owned()),
            };
            // `settings` has checked that the key is a valid header value.
            if let Ok(mut value) = HeaderValue::from_str(&value) {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        if self.surface == Surface::Anthropic {
            let version = HeaderValue::from_static(ANTHROPIC_VERSION);
            headers.insert("anthropic-version", version);
        }
        headers.extend(self.headers.clone());
        headers
    }

    /// The environment variable of the key.
    pub fn key_variable(&self) -> &'static str {
        match self.surface {
            Surface::OpenAi => "OPENAI_API_KEY",
            Surface::AzureV1 | Surface::AzureDeployment { .. } => "AZURE_OPENAI_API_KEY",
            Surface::Anthropic => "ANTHROPIC_API_KEY",
        }
    }

    /// The environment variable of the URL.
    pub fn url_variable(&self) -> &'static str {
        match self.surface {
            Surface::OpenAi => "OPENAI_BASE_URL",
            Surface::AzureV1 | Surface::AzureDeployment { .. } => "AZURE_OPENAI_ENDPOINT",
            Surface::Anthropic => "ANTHROPIC_BASE_URL",
        }
    }

    /// The option of the URL.
    pub fn url_option(&self) -> &'static str {
        match self.surface {
            Surface::Anthropic => "--anthropic-base-url",
            _ => "--openai-base-url",
        }
    }

    /// Where the key is to be found: the place that it came from, else its variable.
    pub fn key_place(&self) -> &str {
        self.key_origin
            .as_deref()
            .unwrap_or_else(|| self.key_variable())
    }

    /// The host name or address, without the brackets of IPv6 in URLs.
    pub fn address(&self) -> &str {
        let host = self.base.host_str().unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Host and port, for messages.
    pub fn place(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        self.base
            .port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Removes the endpoint's credentials from `text`. Servers quote keys in errors; traces and messages must not.
    pub fn scrub(&self, text: &str) -> String {
        scrub(text, &self.secrets().collect::<Vec<Secret>>())
    }

    /// The key and the secrets in the additional headers and in the query of the base URL.
    pub fn secrets(&self) -> impl Iterator<Item = Secret> {
        let headers = self.headers.values().filter(|value| value.is_sensitive());
        let headers = headers.filter_map(|value| value.to_str().ok());
        let key = self.key.iter().cloned();
        let query = secrets(&self.base);
        key.chain(headers.flat_map(Secret::of_header)).chain(query)
    }
}

/// The base URL that may have been meant: without the path of a request, and with a version. None if the given one is
/// like that.
pub fn proposed_base(base: &Url) -> Option<Url> {
    let is_version = |segment: &str| {
        let digits = segment.strip_prefix('v').unwrap_or_default();
        digits.starts_with(|c: char| c.is_ascii_digit())
    };
    let path = base.path().trim_end_matches('/');
    let requests = dialect::ALL.map(|dialect| format!("/{}", dialect.path().join("/")));
    let mut short = requests
        .iter()
        .filter_map(|end| path.strip_suffix(end.as_str()));
    let short = short.next().unwrap_or(path);
    let version = if short.split('/').any(is_version) {
        ""
    } else {
        "/v1"
    };
    let mut proposed = base.clone();
    proposed.set_path(&format!("{short}{version}"));
    (proposed.path().trim_end_matches('/') != path).then_some(proposed)
}

/// Checks that a key can be sent in a header.
///
/// # Errors
/// If it contains characters that a header must not contain.
pub fn check_key(key: &Secret) -> anyhow::Result<()> {
    HeaderValue::from_str(key.expose())
        .map(|_| ())
        .context("the key contains characters that are not allowed in an HTTP header")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(base: &str, surface: Surface) -> String {
        let endpoint = endpoint(base, surface);
        endpoint.url(dialect::CHAT, "gpt 4/o").to_string()
    }

    fn endpoint(base: &str, surface: Surface) -> Endpoint {
        let base = Url::parse(base).unwrap();
        Endpoint {
            provider: Provider::of(&base),
            base,
            surface,
            key: None,
            key_origin: None,
            headers: HeaderMap::new(),
        }
    }

    #[test]
    fn models_are_listed_beside_completions() {
        let deployment = Surface::AzureDeployment {
            api_version: "1".to_owned(),
        };
        for (base, surface, url) in [
            ("http://h/v1/", Surface::OpenAi, "http://h/v1/models"),
            ("http://h", Surface::AzureV1, "http://h/openai/v1/models"),
            (
                "http://h",
                deployment,
                "http://h/openai/models?api-version=1",
            ),
        ] {
            assert_eq!(endpoint(base, surface).models_url().as_str(), url);
        }
    }

    #[test]
    fn a_base_url_that_is_probably_wrong_is_corrected() {
        for (base, proposed) in [
            ("http://h", Some("http://h/v1")),
            ("http://h/", Some("http://h/v1")),
            ("http://h/api", Some("http://h/api/v1")),
            ("http://h/v1/chat/completions", Some("http://h/v1")),
            ("http://h/chat/completions", Some("http://h/v1")),
            ("http://h/v1", None),
            ("http://h/v1beta/openai/", None),
        ] {
            let found = endpoint(base, Surface::OpenAi).proposed_base();
            assert_eq!(found.as_ref().map(Url::as_str), proposed, "{base}");
        }
        assert_eq!(endpoint("http://h", Surface::AzureV1).proposed_base(), None);
    }

    #[test]
    fn paths_are_completed_for_each_surface() {
        assert_eq!(
            url("http://h/v1/", Surface::OpenAi),
            "http://h/v1/chat/completions"
        );
        assert_eq!(
            url("http://h", Surface::OpenAi),
            "http://h/chat/completions"
        );
        assert_eq!(
            url("http://h/v1?tenant=a", Surface::OpenAi),
            "http://h/v1/chat/completions?tenant=a"
        );
        for resource in [
            "",
            "/",
            "/openai",
            "/openai/v1/",
            "/openai/deployments/d?api-version=x",
        ] {
            let resource = format!("https://r.openai.azure.com{resource}");
            assert_eq!(
                url(&resource, Surface::AzureV1),
                "https://r.openai.azure.com/openai/v1/chat/completions"
            );
        }
        assert_eq!(
            url("https://gateway.example/openai/team", Surface::OpenAi),
            "https://gateway.example/openai/team/chat/completions"
        );
        assert_eq!(
            url(
                "https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=x",
                Surface::AzureDeployment {
                    api_version: "2024-10-21".to_owned()
                }
            ),
            "https://r.openai.azure.com/openai/deployments/gpt%204%2Fo/chat/completions?api-version=2024-10-21"
        );
    }
}
