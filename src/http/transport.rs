//! Why a request got no answer, and what to do about it.
//!
//! Causes are told apart by the type of the error, never by its words.

use std::error::Error;
use std::io;

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, InvalidMessage};

use crate::http::{proxy, tls};

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
    /// The cause, such as the operating system's message, without the URL.
    pub message: String,
    party: Party,
}

/// Who has to change something.
#[derive(Clone, Debug)]
enum Party {
    /// The server, or it is not known.
    Server,
    /// The proxy that this variable names.
    Proxy(&'static str),
    /// The server, which does not speak TLS.
    PlainServer,
    /// The server, which has a certificate that is not valid.
    Certificate(Flaw),
    /// This program, which has no certificate that the server accepts.
    ClientCertificate,
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug)]
enum Flaw {
    Expired,
    Name,
    Other,
}

impl From<reqwest::Error> for TransportError {
    fn from(error: reqwest::Error) -> Self {
        let timed_out = error.is_timeout();
        let tls = tls_error(&error);
        let is_connect = error.is_connect() || error.is_builder();
        let phase = if is_connect || tls.is_some_and(is_handshake) {
            FailedPhase::Connect
        } else {
            FailedPhase::AfterSending
        };
        let (mut party, mut message) = match tls {
            Some(error) => (Party::of_tls(error), describe_tls(error)),
            None if timed_out => (Party::Server, "no answer in time".to_owned()),
            None => (Party::Server, innermost(&error).to_string()),
        };
        let proxy = error.url().and_then(|url| {
            // Behind a tunnel it is the server that fails.
            let is_of_proxy = phase == FailedPhase::Connect || url.scheme() == "http";
            proxy::of(url).filter(|_| is_of_proxy && tls.is_none())
        });
        if let Some(proxy) = proxy {
            message = format!("the proxy {proxy} ({}) failed: {message}", proxy.variable);
            party = Party::Proxy(proxy.variable);
        }
        Self {
            phase,
            timed_out,
            message,
            party,
        }
    }
}

/// Whether the error ended a TLS handshake. In TLS 1.3 the server refuses a client certificate only after the client has
/// finished its part.
fn is_handshake(error: &rustls::Error) -> bool {
    use AlertDescription as Alert;
    matches!(
        error,
        rustls::Error::InvalidCertificate(_)
            | rustls::Error::AlertReceived(
                Alert::HandshakeFailure
                    | Alert::NoCertificate
                    | Alert::BadCertificate
                    | Alert::UnsupportedCertificate
                    | Alert::CertificateRevoked
                    | Alert::CertificateExpired
                    | Alert::CertificateUnknown
                    | Alert::CertificateRequired
                    | Alert::UnknownCA
                    | Alert::AccessDenied
            )
    )
}

/// The TLS error among the causes of `error`. One inside an I/O error is not among that error's sources.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let inner = error.downcast_ref().and_then(io::Error::get_ref);
        cause = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// The innermost cause: the outer layers only say that a request failed.
fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause
}

fn describe_tls(error: &rustls::Error) -> String {
    let date = |time: &UnixTime| {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |at| at.to_string())
    };
    match error {
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
            not_after, ..
        }) => format!("the server's certificate expired on {}", date(not_after)),
        rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
            not_before,
            ..
        }) => format!(
            "the server's certificate is not valid before {}",
            date(not_before)
        ),
        error => error.to_string(),
    }
}

impl Party {
    fn of_tls(error: &rustls::Error) -> Self {
        use CertificateError as Certificate;
        match error {
            rustls::Error::InvalidCertificate(error) => Self::Certificate(match error {
                Certificate::Expired
                | Certificate::ExpiredContext { .. }
                | Certificate::NotValidYet
                | Certificate::NotValidYetContext { .. } => Flaw::Expired,
                Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                    Flaw::Name
                }
                _ => Flaw::Other,
            }),
            rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
                Self::ClientCertificate
            }
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::PlainServer,
            _ => Self::Server,
        }
    }
}

impl TransportError {
    /// A connection that could not be opened.
    pub fn unconnected(message: String) -> Self {
        Self {
            phase: FailedPhase::Connect,
            timed_out: false,
            message,
            party: Party::Server,
        }
    }

    /// What to do when TLS or a proxy refused the connection; `None` for other causes.
    pub fn hint(&self) -> Option<String> {
        let hint = match &self.party {
            Party::Server => return None,
            Party::PlainServer => {
                "the server at that port does not speak https: write http:// in the URL".to_owned()
            }
            Party::Proxy(variable) => format!(
                "check {variable}, with the proxy's user and password, or add the host to NO_PROXY"
            ),
            Party::ClientCertificate => {
                "the server requires a client certificate: set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY".to_owned()
            }
            Party::Certificate(Flaw::Expired) => {
                "renew the server's certificate, or correct this machine's clock".to_owned()
            }
            Party::Certificate(Flaw::Name) => {
                "the server's certificate is for another host name: use the name that it is for"
                    .to_owned()
            }
            Party::Certificate(Flaw::Other) => tls::unusable_store().map_or_else(
                || {
                    "trust the server's certificate authority with --ca-file FILE or SSL_CERT_FILE"
                        .to_owned()
                },
                |problem| format!("{problem}; name a file with the server's certificate authority"),
            ),
        };
        Some(hint)
    }
}
