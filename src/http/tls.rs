//! Which certificates TLS trusts: the bundled Mozilla roots and the given files first; the operating system's store
//! ([`CertificateStore`]) only if a chain ends in neither of them.
//!
//! A self-signed certificate that is itself trusted is accepted from the server that presents it, as curl does, although
//! it is that of an authority.
//!
//! Reading the system's store costs milliseconds; the bundled roots cost none. The provider is ring, because the
//! first random number of aws-lc-rs alone takes tens of milliseconds.

use std::env;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

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

use webpki::EndEntityCert;

use super::store::{self, CertificateStore, Trusted};
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
    system: Mutex<Option<CertificateStore>>,
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
            system: Mutex::new(None),
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

    /// What `ask` says of the system's certificates of these subjects, in growing numbers, until it says something.
    fn of_system<T>(
        &self,
        subjects: &[&[u8]],
        ask: impl FnMut(&[&Trusted]) -> Option<T>,
    ) -> Option<T> {
        let mut system = self.system.lock().unwrap_or_else(PoisonError::into_inner);
        let store = system.get_or_insert_with(CertificateStore::from_environment);
        store.find(subjects, ask)
    }

    /// Whether this certificate itself is among the trusted ones.
    fn is_trusted(&self, certificate: &CertificateDer<'_>) -> bool {
        let is_same = |trusted: &CertificateDer<'_>| trusted.as_ref() == certificate.as_ref();
        let in_system = || {
            let end_entity = EndEntityCert::try_from(certificate).ok()?;
            self.of_system(&[end_entity.subject()], |candidates| {
                let mut found = candidates.iter().map(|trusted| &trusted.certificate);
                found.any(is_same).then_some(())
            })
        };
        self.named.iter().any(is_same) || in_system().is_some()
    }

    /// The verdict of `verify` by the system's certificates: the first that accepts the chain, else the last.
    fn by_system(
        &self,
        chain: &[&CertificateDer<'_>],
        verify: impl Fn(&Arc<WebPkiServerVerifier>) -> Result<ServerCertVerified, Error>,
    ) -> Result<ServerCertVerified, Error> {
        let chain: Vec<EndEntityCert<'_>> = chain
            .iter()
            .filter_map(|certificate| EndEntityCert::try_from(*certificate).ok())
            .collect();
        let issuers: Vec<&[u8]> = chain.iter().map(|one| one.issuer()).collect();
        let mut verdict = Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        self.of_system(&issuers, |candidates| {
            let anchors = candidates.iter().map(|trusted| trusted.anchor.clone());
            let verifier = self.verifier(anchors.collect());
            verdict = verifier.and_then(|verifier| verify(&verifier));
            verdict.is_ok().then_some(())
        });
        verdict
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
                let chain = iter::once(end_entity).chain(intermediates);
                self.by_system(&chain.collect::<Vec<_>>(), verify)
            }
            verdict => verdict,
        };
        match verdict {
            // This is found only after the dates were checked; the host name would be checked after it.
            Err(error) if is_authority(&error) && self.is_trusted(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            Err(error) if is_authority(&error) => {
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
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
    let path = PathBuf::from(env::var_os(store::FILE).filter(|path| !path.is_empty())?);
    let error = certificates(&path).err()?;
    Some(format!("{}: {error:#}", store::FILE))
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
