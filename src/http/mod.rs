//! The HTTP client of a run, the reading of answers, and the waits between attempts.
//!
//! Requests to the model endpoint, Langfuse and collectors share one client, so that they also share connections.
//! Redirects are never followed: a POST would lose its body, and the keys would be sent to another server.

mod backoff;
pub mod proxy;
pub mod reuse;
mod store;
mod tls;
mod transport;
pub mod url;

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ::http::header::{HeaderMap, RETRY_AFTER};
use anyhow::Context;
use reqwest::{Response, Url};

pub use backoff::Backoff;
use proxy::EnvironmentProxies;
pub use transport::{FailedPhase, TransportError};

/// How long a TCP and TLS connection may take to open.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that was idle for longer is not used again: the server, or something on the way, may have dropped it,
/// and a request that is lost on it cannot be told from one that arrived.
const LONGEST_IDLE: Duration = Duration::from_secs(2);

/// Certificate files for TLS.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// PEM bundles of additional certificate authorities.
    pub ca_files: Vec<PathBuf>,
    /// PEM file of the client's certificate chain, with [`client_key`](Self::client_key).
    pub client_certificate: Option<PathBuf>,
    /// PEM file of the client's private key.
    pub client_key: Option<PathBuf>,
}

/// Whether the proxies of the environment (`HTTPS_PROXY`, `NO_PROXY` …) are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxies {
    FromEnvironment,
    /// For a server in this process.
    Ignored,
}

/// Builds the client of a run.
///
/// # Errors
/// If a file of `files` cannot be read, or has no certificate or key, or a variable does not name a usable proxy.
pub fn client(
    files: &TlsFiles,
    proxies: Proxies,
    connect_timeout: Duration,
) -> anyhow::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder().no_proxy();
    if proxies == Proxies::FromEnvironment {
        let proxies = EnvironmentProxies::read()?;
        // The client parses the URL of every request twice to ask for its proxy.
        if !proxies.is_empty() {
            let of = move |url: &Url| proxies.of(url).map(|proxy| proxy.url().clone());
            builder = builder.proxy(reqwest::Proxy::custom(of));
        }
    }
    builder
        .tls_backend_preconfigured(tls::config(files)?)
        .redirect(reqwest::redirect::Policy::none())
        // Callers retry, and count it. The client would keep a copy of every request for it.
        .retry(reqwest::retry::never().max_retries_per_request(0))
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(LONGEST_IDLE)
        .user_agent(concat!("langspan/", env!("CARGO_PKG_VERSION")))
        .build()
        .context("cannot build the HTTP client")
}

/// The longest wait that a server can ask for.
pub const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// The wait that a server asks for with `Retry-After` (RFC 9110, section 10.2.3): seconds, or the time until a date,
/// which is zero for a date in the past. At most [`LONGEST_WAIT`], so that it can be added to any clock.
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

/// The first `most` bytes of an answer's body: a server must not be able to fill the memory.
///
/// # Errors
/// If the connection breaks.
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

/// Why the body of an answer could not be read.
#[derive(Debug)]
pub enum BodyError {
    /// The connection broke.
    Transport(reqwest::Error),
    /// It is longer than this many bytes.
    TooLong(usize),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => error.fmt(f),
            Self::TooLong(most) => write!(f, "the answer is longer than {} MiB", most >> 20),
        }
    }
}

/// The whole body of an answer that has at most `most` bytes.
///
/// # Errors
/// If the connection breaks, or the body is longer.
pub async fn read_whole_body(mut response: Response, most: usize) -> Result<Vec<u8>, BodyError> {
    let announced = response.content_length().unwrap_or_default();
    if usize::try_from(announced).is_ok_and(|announced| announced > most) {
        return Err(BodyError::TooLong(most));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(BodyError::Transport)? {
        if chunk.len() > most - body.len() {
            return Err(BodyError::TooLong(most));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
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
