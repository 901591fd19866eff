//! Which certificates TLS trusts: the bundled Mozilla roots and the given files first; the operating system's store (or
//! `SSL_CERT_FILE`/`SSL_CERT_DIR` instead of it) only if a chain ends in neither of them.
//!
//! Loading the system's store costs milliseconds; the bundled roots cost none. The provider is ring, because the
//! first random number of aws-lc-rs alone takes tens of milliseconds.

use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, anyhow, bail};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
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
    system: OnceLock<Result<Arc<WebPkiServerVerifier>, Error>>,
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

    /// The operating system's store. A container image without one is not an error: the chain is then unknown.
    fn system(&self) -> Result<&Arc<WebPkiServerVerifier>, Error> {
        self.system
            .get_or_init(|| {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if roots.is_empty() {
                    return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
                }
                self.verifier(roots)
            })
            .as_ref()
            .map_err(Clone::clone)
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
        match verify(self.bundled()?) {
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                verify(self.system()?)
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
