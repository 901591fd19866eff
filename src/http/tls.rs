//! Which certificates TLS trusts: the bundled Mozilla roots and the given files first; the operating system's store (or
//! `SSL_CERT_FILE`/`SSL_CERT_DIR` instead of it) only if a chain ends in neither of them.
//!
//! A self-signed certificate that is itself trusted is accepted from the server that presents it, as curl does, although
//! it is that of an authority.
//!
//! Loading the system's store costs milliseconds; the bundled roots cost none. The provider is ring, because the
//! first random number of aws-lc-rs alone takes tens of milliseconds.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, anyhow, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use crate::http::TlsFiles;

/// The TLS configuration of the client.
///
/// # Errors
/// If a file of `files` cannot be read, or has no certificate or key.
pub fn config(files: &TlsFiles) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let trust = Trust::new(Arc::clone(&provider), files)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("the TLS provider has no safe protocol version")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trust));
    match (&files.client_certificate, &files.client_key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            let pem = fs::read(key).with_context(|| format!("{} cannot be read", key.display()))?;
            let key = PrivateKeyDer::from_pem_slice(&pem)
                .map_err(|error| anyhow!("{} has no private key: {error}", key.display()))?;
            builder
                .with_client_auth_cert(chain, key)
                .context("the client certificate and its key do not match")
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => bail!("a client certificate needs its key, and a key needs its certificate"),
    }
}

/// A certificate verifier that tries the bundled roots first.
#[derive(Debug)]
pub struct Trust {
    provider: Arc<CryptoProvider>,
    named: Vec<CertificateDer<'static>>,
    bundled: OnceLock<Result<Arc<WebPkiServerVerifier>, Error>>,
    system: OnceLock<SystemStore>,
}

/// The operating system's store, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name instead of it.
#[derive(Debug)]
struct SystemStore {
    certificates: Vec<CertificateDer<'static>>,
    verifier: Result<Arc<WebPkiServerVerifier>, Error>,
}

impl Trust {
    fn new(provider: Arc<CryptoProvider>, files: &TlsFiles) -> anyhow::Result<Self> {
        let mut named = Vec::new();
        for file in &files.ca_files {
            named.extend(certificates(file)?);
        }
        Ok(Self {
            provider,
            named,
            bundled: OnceLock::new(),
            system: OnceLock::new(),
        })
    }

    /// Mozilla's roots and those of the given files.
    fn bundled(&self) -> Result<&Arc<WebPkiServerVerifier>, Error> {
        self.bundled
            .get_or_init(|| {
                let mut roots: RootCertStore =
                    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
                roots.add_parsable_certificates(self.named.iter().cloned());
                self.verifier(roots)
            })
            .as_ref()
            .map_err(Clone::clone)
    }

    /// A container image without a store is not an error: the issuer is then unknown.
    fn system(&self) -> &SystemStore {
        self.system.get_or_init(|| {
            let certificates = rustls_native_certs::load_native_certs().certs;
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates.iter().cloned());
            let verifier = if roots.is_empty() {
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
            } else {
                self.verifier(roots)
            };
            SystemStore {
                certificates,
                verifier,
            }
        })
    }

    /// Whether this certificate itself is among the trusted ones.
    fn is_trusted(&self, certificate: &CertificateDer<'_>) -> bool {
        let is_same = |trusted: &CertificateDer<'_>| trusted.as_ref() == certificate.as_ref();
        self.named.iter().any(is_same) || self.system().certificates.iter().any(is_same)
    }

    fn verifier(&self, roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, Error> {
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |verifier: &Arc<WebPkiServerVerifier>| {
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        let verdict = match verify(self.bundled()?) {
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                let system = self.system().verifier.as_ref();
                verify(system.map_err(Clone::clone)?)
            }
            verdict => verdict,
        };
        match verdict {
            // This is found only after the dates were checked; the host name would be checked after it.
            Err(error) if is_authority(&error) && self.is_trusted(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Whether the only objection to a server's certificate is that it is that of an authority.
fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(OtherError(error))) = error else {
        return false;
    };
    let error = error.downcast_ref();
    error.is_some_and(|error| matches!(error, webpki::Error::CaUsedAsEndEntity))
}

/// Why the file of `SSL_CERT_FILE` cannot be used, if it is set.
pub fn unusable_store() -> Option<String> {
    const VARIABLE: &str = "SSL_CERT_FILE";
    let path = PathBuf::from(env::var_os(VARIABLE).filter(|path| !path.is_empty())?);
    let error = certificates(&path).err()?;
    Some(format!("{VARIABLE}: {error:#}"))
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| anyhow!("{} is not a PEM file: {error}", path.display()))?;
    if found.is_empty() {
        bail!("{} has no certificate", path.display());
    }
    Ok(found)
}
