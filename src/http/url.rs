//! URLs that requests are sent to, and how they are shown: without user info and without the values of the query, which
//! may be keys.

use std::net::IpAddr;

use reqwest::Url;

use crate::secret::{REDACTED, Secret};

/// The parameter that names the version of Azure's API is not a secret.
const API_VERSION: &str = "api-version";
/// The names of parameters with a secret contain one of these.
const SECRET_NAMES: [&str; 8] = [
    "auth", "code", "cred", "key", "pass", "secret", "sig", "token",
];

/// Parses a URL for HTTP requests.
///
/// # Errors
/// What is wrong with it, in one line that does not show a key.
pub fn parse_http_url(text: &str) -> Result<Url, String> {
    let text = text.trim();
    if is_in_quotes(text) {
        return Err("it is in quotes: remove them".to_owned());
    }
    let url = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
        Ok(_) | Err(_) if !begins_with_scheme(text) => {
            // Not quoted: a key may be here by mistake.
            return Err("it is not a URL: expected https:// or http://".to_owned());
        }
        Ok(url) => return Err(format!("`{}` is not http or https", url.scheme())),
        // Not quoted either.
        Err(error) => return Err(format!("it is not a URL: {error}")),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL has credentials in it: put keys into the environment".to_owned());
    }
    Ok(url)
}

/// Reads a URL as people type it: where the scheme is missing, it is https, or http on this machine.
///
/// # Errors
/// One line that says what is wrong with it; a key in it is not shown.
pub fn complete_http_url(text: &str) -> Result<Url, String> {
    let text = text.trim();
    if text.contains("://") || !begins_with_host(text) {
        return parse_http_url(text);
    }
    let url = parse_http_url(&format!("https://{text}"))?;
    if is_loopback(&url) {
        return parse_http_url(&format!("http://{text}"));
    }
    Ok(url)
}

/// Whether a value is in quotes: a file of variables that no shell reads, such as that of `docker run --env-file`, leaves
/// them there.
pub fn is_in_quotes(text: &str) -> bool {
    let is_between = |quote| text.len() > 1 && text.starts_with(quote) && text.ends_with(quote);
    is_between('"') || is_between('\'')
}

/// Whether a text begins with a scheme, of any name.
fn begins_with_scheme(text: &str) -> bool {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// Whether a text without a scheme begins with what is clearly a host: a name with a dot, `localhost`, an address, or
/// any of them with a port. A key that was pasted by mistake is not one, and must not be looked up.
fn begins_with_host(text: &str) -> bool {
    const LONGEST_LABEL: usize = 63;
    let authority = text.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.starts_with('[') {
        return authority.contains(']');
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    let is_label = |label: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !label.is_empty() && label.len() <= LONGEST_LABEL && label.chars().all(fits)
    };
    let labels: Vec<&str> = host.split('.').collect();
    labels.iter().all(|label| is_label(label))
        && port.is_none_or(is_port)
        && (labels.len() > 1 || host == "localhost" || port.is_some())
}

/// A URL as it may be shown: without user info and fragment, and with the names of its query only.
pub fn shown(url: &Url) -> String {
    let mut plain = url.clone();
    // Both fail only for URLs without a host, which have no user info.
    let _ = plain.set_username("");
    let _ = plain.set_password(None);
    plain.set_fragment(None);
    plain.set_query(None);
    let query = url.query().filter(|query| !query.is_empty());
    query.map_or_else(
        || plain.to_string(),
        |query| format!("{plain}?{}", shown_query(query)),
    )
}

/// A reference that a server sent, such as a `Location`, as it may be shown.
pub fn shown_reference(text: &str) -> String {
    match (Url::parse(text), text.split_once('?')) {
        (Ok(url), _) => shown(&url),
        (Err(_), Some((path, query))) => format!("{path}?{}", shown_query(query)),
        (Err(_), None) => text.to_owned(),
    }
}

fn shown_query(query: &str) -> String {
    let parts = query.split('&').map(|part| match part.split_once('=') {
        Some((API_VERSION, _)) => part.to_owned(),
        Some((name, _)) => format!("{name}={REDACTED}"),
        None => REDACTED.to_owned(),
    });
    parts.collect::<Vec<_>>().join("&")
}

/// What a server may repeat of a URL's query and must not be shown: the values that are secret by their names, as they are
/// written and decoded; and, whatever its name, each value together with its name.
pub fn secrets(url: &Url) -> Vec<Secret> {
    let is_secret = |name: &str| {
        let name = name.to_ascii_lowercase();
        SECRET_NAMES.iter().any(|word| name.contains(word))
    };
    let query = url.query().unwrap_or_default().split('&');
    let parts: Vec<&str> = query.filter(|part| !part.is_empty()).collect();
    let written = parts.iter().filter_map(|part| part.split_once('='));
    let written = written.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let values = written
        .chain(url.query_pairs().into_owned())
        .filter(|(name, value)| is_secret(name) && !value.is_empty())
        .map(|(_, value)| value);
    let whole = parts
        .iter()
        .filter(|part| part.split('=').next() != Some(API_VERSION))
        .map(|part| (*part).to_owned());
    values.chain(whole).map(Secret::new).collect()
}

/// The root of a URL's server.
pub fn origin(url: &Url) -> Url {
    let mut origin = url.clone();
    origin.set_path("/");
    origin.set_query(None);
    origin
}

/// Whether a URL's host is this machine.
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_scheme_is_completed() {
        for (typed, completed) in [
            ("cloud.langfuse.com", "https://cloud.langfuse.com/"),
            ("langfuse.example:8443/x", "https://langfuse.example:8443/x"),
            ("langfuse:3000", "https://langfuse:3000/"),
            ("127.0.0.1:3000", "http://127.0.0.1:3000/"),
            ("localhost:11434/v1", "http://localhost:11434/v1"),
            ("localhost", "http://localhost/"),
            ("[::1]:3000", "http://[::1]:3000/"),
            ("http://a.example", "http://a.example/"),
        ] {
            assert_eq!(complete_http_url(typed).unwrap().as_str(), completed);
        }
    }

    #[test]
    fn a_key_is_not_taken_for_a_host() {
        let token = format!("{}.{}.x", "e".repeat(36), "a".repeat(80));
        for wrong in [
            "",
            "sk-lf-0123456789",
            "pk-lf-1:sk-lf-1",
            "pk-lf-1:sk-lf-1@langfuse.example",
            "a b.example",
            "/path.example",
            &token,
        ] {
            let error = complete_http_url(wrong).unwrap_err();
            assert!(!error.contains("lf-"), "{error}");
        }
    }

    #[test]
    fn what_is_no_url_is_told_in_plain_words() {
        let why = |text| parse_http_url(text).unwrap_err();
        for quoted in ["\"https://h.example\"", "'h.example'"] {
            assert_eq!(why(quoted), "it is in quotes: remove them");
        }
        for other in ["${URL}://x", "h.example", "://h"] {
            assert_eq!(why(other), "it is not a URL: expected https:// or http://");
        }
        assert_eq!(why("ftp://h"), "`ftp` is not http or https");
    }

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        for (url, expected) in [
            ("https://h:1/v1", "https://h:1/v1"),
            ("https://u:p@h/v1", "https://h/v1"),
            (
                "https://h/?a=k&b=%20k#f",
                "https://h/?a=[redacted]&b=[redacted]",
            ),
            ("https://h/?k", "https://h/?[redacted]"),
            ("https://h/?", "https://h/"),
            ("https://h/?api-version=1", "https://h/?api-version=1"),
        ] {
            assert_eq!(shown(&Url::parse(url).unwrap()), expected);
        }
        assert_eq!(shown_reference("/login?next=k"), "/login?next=[redacted]");
        assert_eq!(shown_reference("/login"), "/login");
    }

    #[test]
    fn secrets_are_found_by_their_names() {
        let url = Url::parse("https://h/?tenant=a&api_key=k%2F1").unwrap();
        let found: Vec<_> = secrets(&url)
            .iter()
            .map(|s| s.expose().to_owned())
            .collect();
        assert_eq!(found, ["k%2F1", "k/1", "tenant=a", "api_key=k%2F1"]);
    }
}
