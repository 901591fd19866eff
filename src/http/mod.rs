//! The one HTTP client of a run, and what a failed request means.
//!
//! Model endpoint, Langfuse and collectors share it, so that a connection opened for one request is warm for the
//! next. Redirects are never followed: a POST would lose its body, and a key would travel on.

mod tls;

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::Context;

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

/// Builds the client of a run.
///
/// # Errors
/// When a file of `files` cannot be read or holds no certificate or key.
pub fn client(files: &TlsFiles, proxies: Proxies) -> anyhow::Result<reqwest::Client> {
    let builder = reqwest::Client::builder();
    let builder = if proxies == Proxies::Ignored {
        builder.no_proxy()
    } else {
        builder
    };
    builder
        .tls_backend_preconfigured(tls::config(files)?)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("langspan/", env!("CARGO_PKG_VERSION")))
        .build()
        .context("the HTTP client could not be built")
}

/// The time until an HTTP date (RFC 9110, section 5.6.7); zero when it has passed, `None` when it is none.
pub fn until_date(date: &str) -> Option<Duration> {
    let date = httpdate::parse_http_date(date).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Why no answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakdown {
    /// No connection was made, so the server has seen nothing.
    Connect,
    /// The request may have reached the server; no whole answer came back.
    AfterSending,
}

/// A request that got no answer.
#[derive(Clone, Debug)]
pub struct TransportError {
    pub breakdown: Breakdown,
    pub timed_out: bool,
    /// The cause down to the operating system's own words, without the URL.
    pub message: String,
}

impl From<reqwest::Error> for TransportError {
    fn from(error: reqwest::Error) -> Self {
        let breakdown = if error.is_connect() || error.is_builder() {
            Breakdown::Connect
        } else {
            Breakdown::AfterSending
        };
        let timed_out = error.is_timeout();
        Self {
            breakdown,
            timed_out,
            message: describe(&error.without_url(), timed_out),
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
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_client_needs_no_file() {
        assert!(client(&TlsFiles::default(), Proxies::FromEnvironment).is_ok());
    }
}
