//! The one HTTP client of a run, and what a failed request means.
//!
//! Model endpoint, Langfuse and collectors share it, so that a connection opened for one request is warm for the
//! next. Redirects are never followed: a POST would lose its body, and a key would travel on.

mod tls;
pub mod url;

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ::http::header::{HeaderMap, RETRY_AFTER};
use anyhow::Context;
use reqwest::Response;

/// How long a TCP and TLS connection may take to open.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Files that add to or take part in the trust decisions of TLS.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// PEM bundles of further certificate authorities.
    pub ca_files: Vec<PathBuf>,
    /// PEM file of the client's certificate chain, with [`client_key`](Self::client_key).
    pub client_certificate: Option<PathBuf>,
    /// PEM file of the client's private key.
    pub client_key: Option<PathBuf>,
}

/// Whether the proxies that the environment names (`HTTPS_PROXY`, `NO_PROXY` …) are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxies {
    FromEnvironment,
    /// For a server inside this process.
    Ignored,
}

/// Whether the environment names a proxy at all.
pub fn uses_proxy() -> bool {
    [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ]
    .iter()
    .any(|name| env::var_os(name).is_some_and(|proxy| !proxy.is_empty()))
}

/// Builds the client of a run.
///
/// # Errors
/// When a file of `files` cannot be read or holds no certificate or key.
pub fn client(
    files: &TlsFiles,
    proxies: Proxies,
    connect_timeout: Duration,
) -> anyhow::Result<reqwest::Client> {
    let builder = reqwest::Client::builder();
    // The builder knows names and networks that need no proxy, but not that nothing does.
    let none = ["NO_PROXY", "no_proxy"]
        .iter()
        .any(|name| env::var(name).is_ok_and(|hosts| hosts.trim() == "*"));
    let builder = if none || proxies == Proxies::Ignored {
        builder.no_proxy()
    } else {
        builder
    };
    builder
        .tls_backend_preconfigured(tls::config(files)?)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect_timeout)
        .user_agent(concat!("langspan/", env!("CARGO_PKG_VERSION")))
        .build()
        .context("the HTTP client could not be built")
}

/// The longest wait that is taken at its word.
pub const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// The wait that a server asks for with `Retry-After` (RFC 9110, section 10.2.3): seconds, or the time until a date,
/// zero when it has passed. At most a day, since what is added to a clock must not overflow it.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = || value.parse::<f64>().ok().filter(|seconds| *seconds >= 0.0);
    let wait = match seconds() {
        Some(seconds) => Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_WAIT),
        None => httpdate::parse_http_date(value)
            .ok()?
            .duration_since(SystemTime::now())
            .unwrap_or_default(),
    };
    Some(wait.min(LONGEST_WAIT))
}

/// The body of an answer, or as much of it as `most` bytes hold: a server must not fill our memory.
///
/// # Errors
/// When the connection breaks.
pub async fn read_body(mut response: Response, most: usize) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk[..chunk.len().min(most - body.len())]);
        if body.len() == most {
            break;
        }
    }
    Ok(body)
}

/// Why no answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedPhase {
    /// No connection was made, so the server has seen nothing.
    Connect,
    /// The request may have reached the server; no whole answer came back.
    AfterSending,
}

/// A request that got no answer.
#[derive(Clone, Debug)]
pub struct TransportError {
    pub breakdown: FailedPhase,
    pub timed_out: bool,
    /// The cause down to the operating system's own words, without the URL.
    pub message: String,
}

impl From<reqwest::Error> for TransportError {
    fn from(error: reqwest::Error) -> Self {
        let timed_out = error.is_timeout();
        let is_connect = error.is_connect() || error.is_builder();
        let message = describe(&error.without_url(), timed_out);
        // With TLS 1.3 a server refuses a client only after the client believes to be connected.
        let is_handshake = message.contains("received fatal alert");
        let breakdown = if is_connect || is_handshake {
            FailedPhase::Connect
        } else {
            FailedPhase::AfterSending
        };
        Self {
            breakdown,
            timed_out,
            message,
        }
    }
}

/// The innermost cause of `error`: the layers around it only say that a request failed.
fn describe(error: &reqwest::Error, timed_out: bool) -> String {
    if timed_out {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let cause = cause.to_string();
    if cause.contains("tunnel") {
        format!("the proxy refused: {cause}")
    } else {
        cause
    }
}

impl TransportError {
    /// A connection that did not open.
    pub fn unconnected(message: String) -> Self {
        Self {
            breakdown: FailedPhase::Connect,
            timed_out: false,
            message,
        }
    }

    /// What to do about a connection that was refused by TLS or by a proxy; none for other causes.
    pub fn remedy(&self) -> Option<&'static str> {
        let says = |words: &[&str]| words.iter().any(|word| self.message.contains(word));
        if says(&["CertificateRequired"]) {
            Some(
                "the server wants to know who is there: set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY",
            )
        } else if says(&["tunnel", "proxy"]) {
            Some(
                "the proxy refused: check HTTPS_PROXY and its user and password, or name the host in NO_PROXY",
            )
        } else if !says(&["certificate"]) {
            None
        } else if says(&["Expired", "expired"]) {
            Some(
                "the server's certificate has expired: renew it, or set this machine's clock right",
            )
        } else if says(&["NotValidForName", "not valid for name"]) {
            Some("the server's certificate is for another host name: use the name that it is for")
        } else {
            Some("trust the server's certificate authority with --ca-file FILE or SSL_CERT_FILE")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seconds_or_a_date_and_never_too_long() {
        let wait = |value: &'static str| {
            retry_after(&HeaderMap::from_iter([(
                RETRY_AFTER,
                ::http::HeaderValue::from_static(value),
            )]))
        };
        assert_eq!(wait("1.5"), Some(Duration::from_millis(1500)));
        assert_eq!(wait("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("18446744073709551615"), Some(Duration::from_hours(24)));
        assert_eq!(wait("-1"), None);
        assert_eq!(wait("soon"), None);
    }

    #[test]
    fn the_default_client_needs_no_file() {
        assert!(
            client(
                &TlsFiles::default(),
                Proxies::FromEnvironment,
                CONNECT_TIMEOUT
            )
            .is_ok()
        );
    }
}
