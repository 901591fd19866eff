//! Certificates made for one test, and the TLS servers that present them.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

/// A private certificate authority.
#[derive(Debug)]
pub struct Authority {
    /// What clients are given to trust it.
    pub pem: String,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Identity {
    pub certificate_pem: String,
    pub key_pem: String,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

/// What is wrong with a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Flaw {
    None,
    Expired,
    OtherHost,
}

/// A certificate of an authority that signed itself, and that a server named `localhost` presents, as
/// `openssl req -x509` makes it.
pub fn self_signed(flaw: Flaw) -> Identity {
    let mut params = server_params(flaw);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Identity::new(&certificate, &key)
}

/// A certificate for a server that clients call `localhost`, with a flaw.
fn server_params(flaw: Flaw) -> CertificateParams {
    let name = if flaw == Flaw::OtherHost {
        "langfuse.example"
    } else {
        "localhost"
    };
    params_named(name, flaw)
}

fn params_named(name: &str, flaw: Flaw) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    if flaw == Flaw::Expired {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    }
    params
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "A private authority");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for a server that clients call `localhost`, with a flaw.
    pub fn server(&self, flaw: Flaw) -> Identity {
        self.sign(server_params(flaw), ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a server of another name.
    pub fn server_named(&self, name: &str) -> Identity {
        let params = params_named(name, Flaw::None);
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate by which a client proves who it is.
    pub fn client(&self) -> Identity {
        let params = params_named("client", Flaw::None);
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Identity {
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity::new(&certificate, &key)
    }
}

impl Identity {
    fn new(certificate: &Certificate, key: &KeyPair) -> Self {
        Self {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            certificate: certificate.der().clone(),
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        }
    }

    /// A server that shows this certificate to everyone.
    pub fn serving(self) -> Arc<ServerConfig> {
        self.config(None)
    }

    /// A server that shows this certificate and speaks only to clients with one of `clients`.
    pub fn serving_only(self, clients: &Authority) -> Arc<ServerConfig> {
        self.config(Some(clients))
    }

    fn config(self, clients: Option<&Authority>) -> Arc<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let verifier = match clients {
            None => Arc::new(NoClientAuth),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.certificate.clone()).unwrap();
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                    .build()
                    .unwrap()
            }
        };
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.certificate], self.key)
            .unwrap();
        Arc::new(config)
    }
}
