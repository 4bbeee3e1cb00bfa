//! For tests: a certificate authority, and the servers and identities that it vouches for.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{ClientCertificate, Protocols, Roots, TlsIdentity, TlsOptions};
use crate::settings::TlsVersion;

/// The name of every origin in tests.
pub(crate) const NAME: &str = "origin.example";

pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Its certificate in PEM.
    pub(crate) fn pem(&self) -> String {
        self.pem.clone()
    }

    /// Chain and key in PEM for a server of this name.
    pub(crate) fn certify(&self, name: &str, expired: bool) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if expired {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        }
        self.sign(&params)
    }

    pub(crate) fn client(&self) -> ClientCertificate {
        let mut params = CertificateParams::new(vec!["node.example".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (chain, key) = self.sign(&params);
        ClientCertificate { chain: chain.into_bytes(), key: key.into_bytes() }
    }

    fn sign(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// What trusts this authority to name `NAME`.
    pub(crate) fn options(&self) -> TlsOptions {
        TlsOptions {
            server_name: NAME.to_owned(),
            roots: Roots::Pem(self.pem.clone().into_bytes()),
            verify: true,
            version_min: TlsVersion::V12,
            client: None,
            protocols: Protocols::Both,
        }
    }

    pub(crate) fn identity(&self) -> Arc<TlsIdentity> {
        TlsIdentity::build(self.options()).unwrap()
    }

    /// A server with this certificate and these protocols; with `ask`, one that wants a client's certificate.
    pub(crate) fn server(&self, (chain, key): &(String, String), protocols: &[&str], ask: bool) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = if ask {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.unwrap().with_client_cert_verifier(verifier)
        } else {
            builder.unwrap().with_no_client_auth()
        };
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}
