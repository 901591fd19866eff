//! The proxies that the environment names, and which of them a request goes through.
//!
//! The rules are curl's, with two differences: plain HTTP to this machine never goes through a proxy, and a variable that
//! does not name a usable proxy is an error. Credentials of a proxy are sent to it and never shown.

use std::fmt;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

use crate::http::url::{is_in_quotes, is_loopback, shown};

/// The variables for all requests, the stronger one first.
const ALL: [&str; 2] = ["ALL_PROXY", "all_proxy"];
const HTTP: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
const HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
/// The variables with hosts that are reached without a proxy.
const NONE: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// A proxy and the variable that names it.
#[derive(Clone, Debug)]
pub struct Proxy {
    pub variable: &'static str,
    url: Url,
}

impl Proxy {
    /// With the credentials for it.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(shown(&self.url).trim_end_matches('/'))
    }
}

/// A variable that does not name a usable proxy.
#[derive(Clone, Debug)]
pub struct ProxyError {
    variable: &'static str,
    /// What is wrong, without the value, which may hold a password.
    problem: String,
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.problem)
    }
}

impl std::error::Error for ProxyError {}

/// The proxies of the environment.
#[derive(Debug, Default)]
pub struct EnvironmentProxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    /// Matches the hosts that are reached through a proxy.
    hosts: Option<Matcher>,
}

impl EnvironmentProxies {
    /// # Errors
    /// If a variable does not name a usable proxy.
    pub fn read() -> Result<Self, ProxyError> {
        let none = first(&NONE)?.map_or_else(String::new, |(_, hosts)| hosts);
        if none.trim() == "*" {
            return Ok(Self::default());
        }
        let all = named(&ALL)?;
        // A CGI server passes a client's header `Proxy` in this variable.
        let is_cgi = std::env::var_os("REQUEST_METHOD").is_some();
        let http = named(if is_cgi { &HTTP[1..] } else { &HTTP })?;
        // Only the hosts matter here: any proxy will do.
        let hosts = Matcher::builder().all("http://proxy").no(none).build();
        Ok(Self {
            http: http.or_else(|| all.clone()),
            https: named(&HTTPS)?.or(all),
            hosts: Some(hosts),
        })
    }

    /// Whether no request goes through a proxy.
    pub fn is_empty(&self) -> bool {
        self.http.is_none() && self.https.is_none()
    }

    /// The proxy that a request to `url` goes through.
    pub fn of(&self, url: &Url) -> Option<&Proxy> {
        let proxy = match url.scheme() {
            // The proxy cannot reach this machine by this name, and would see the keys.
            "http" if is_loopback(url) => None,
            "http" => self.http.as_ref(),
            _ => self.https.as_ref(),
        };
        let uri: Uri = url.as_str().parse().ok()?;
        proxy.filter(|_| {
            let hosts = self.hosts.as_ref();
            hosts.is_some_and(|hosts| hosts.intercept(&uri).is_some())
        })
    }
}

/// The proxy of the environment that a request to `url` goes through.
pub fn of(url: &Url) -> Option<Proxy> {
    EnvironmentProxies::read().ok()?.of(url).cloned()
}

/// The hint for a status that a proxy may have answered in place of the server of `url`. Through a tunnel only the server
/// answers.
pub fn hint(status: u16, url: &Url) -> Option<String> {
    let proxy = of(url).filter(|_| url.scheme() == "http")?;
    let variable = proxy.variable;
    match status {
        407 => Some(format!(
            "the proxy {proxy} requires a user and a password: put them into {variable}, or add the host to NO_PROXY"
        )),
        502..=504 => Some(format!(
            "the answer may be that of the proxy {proxy} ({variable}): check it, or add the host to NO_PROXY"
        )),
        _ => None,
    }
}

/// The first of these variables that is set and not empty.
fn first(variables: &[&'static str]) -> Result<Option<(&'static str, String)>, ProxyError> {
    for &variable in variables {
        match std::env::var(variable) {
            Ok(value) if !value.trim().is_empty() => return Ok(Some((variable, value))),
            Err(std::env::VarError::NotUnicode(_)) => {
                let problem = "it is not UTF-8 text".to_owned();
                return Err(ProxyError { variable, problem });
            }
            _ => {}
        }
    }
    Ok(None)
}

fn named(variables: &[&'static str]) -> Result<Option<Proxy>, ProxyError> {
    let Some((variable, text)) = first(variables)? else {
        return Ok(None);
    };
    let wrong = |problem| ProxyError { variable, problem };
    let url = parse(&text).map_err(wrong)?;
    Ok(Some(Proxy { variable, url }))
}

/// A proxy without a scheme speaks HTTP, as in curl.
fn parse(text: &str) -> Result<Url, String> {
    let text = text.trim();
    if is_in_quotes(text) {
        return Err("it is in quotes: remove them".to_owned());
    }
    let text = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let url =
        Url::parse(&text).map_err(|error| format!("it is not the URL of a proxy: {error}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(format!(
            "proxies of the scheme `{scheme}` are not supported"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_an_http_url_with_or_without_its_scheme() {
        for (text, url) in [
            ("proxy.example:3128", "http://proxy.example:3128/"),
            (" https://u:p@proxy.example ", "https://u:p@proxy.example/"),
        ] {
            assert_eq!(parse(text).unwrap().as_str(), url);
        }
        for wrong in ["socks5://h:1", "ftp://h", "http://", "h:port", "u:secret@"] {
            let error = parse(wrong).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn plain_requests_to_this_machine_need_no_proxy() {
        let proxy = |variable| {
            let url = Url::parse("http://u:secret@proxy.example:3128").unwrap();
            Some(Proxy { variable, url })
        };
        let hosts = Matcher::builder().all("http://p").no("direct.example");
        let proxies = EnvironmentProxies {
            http: proxy("HTTP_PROXY"),
            https: proxy("HTTPS_PROXY"),
            hosts: Some(hosts.build()),
        };
        for (url, expected) in [
            ("http://h/a?b=c", Some("HTTP_PROXY")),
            ("https://h", Some("HTTPS_PROXY")),
            ("https://localhost:1", Some("HTTPS_PROXY")),
            ("http://localhost:1", None),
            ("http://127.0.0.1", None),
            ("http://[::1]:1", None),
            ("http://a.direct.example", None),
        ] {
            let url = Url::parse(url).unwrap();
            let found = proxies.of(&url);
            assert_eq!(found.map(|proxy| proxy.variable), expected, "{url}");
            assert!(found.is_none_or(|proxy| proxy.to_string() == "http://proxy.example:3128"));
        }
    }
}
