//! Why a request got no answer, and what to do about it.

use std::error::Error;

/// When a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedPhase {
    /// There was no connection: the server received nothing.
    Connect,
    /// The server may have received the request; there was no complete answer.
    AfterSending,
}

/// A request that got no answer.
#[derive(Clone, Debug)]
pub struct TransportError {
    pub phase: FailedPhase,
    pub timed_out: bool,
    /// The innermost cause, such as the operating system's message, without the URL.
    pub message: String,
}

impl From<reqwest::Error> for TransportError {
    fn from(error: reqwest::Error) -> Self {
        let timed_out = error.is_timeout();
        let is_connect = error.is_connect() || error.is_builder();
        let message = describe(&error.without_url(), timed_out);
        // In TLS 1.3 the server refuses a client certificate only after the client has finished its handshake.
        let is_handshake = message.contains("received fatal alert");
        let phase = if is_connect || is_handshake {
            FailedPhase::Connect
        } else {
            FailedPhase::AfterSending
        };
        Self {
            phase,
            timed_out,
            message,
        }
    }
}

/// The innermost cause of `error`: the outer layers only say that a request failed.
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
    /// A connection that could not be opened.
    pub fn unconnected(message: String) -> Self {
        Self {
            phase: FailedPhase::Connect,
            timed_out: false,
            message,
        }
    }

    /// What to do when TLS or a proxy refused the connection; `None` for other causes.
    pub fn hint(&self) -> Option<&'static str> {
        let says = |words: &[&str]| words.iter().any(|word| self.message.contains(word));
        if says(&["CertificateRequired"]) {
            Some(
                "the server requires a client certificate: set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY",
            )
        } else if says(&["tunnel", "proxy"]) {
            Some(
                "the proxy refused the connection: check HTTPS_PROXY with its user and password, or add the host to NO_PROXY",
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
