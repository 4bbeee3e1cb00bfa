//! The identity under which TLS is spoken to an origin, and the client configuration built from it once.
//!
//! Two endpoints may share connections only if everything here is equal: name, trust, verification, client
//! certificate, protocols. So `TlsIdentity` compares by content, is a part of the pool's key, and carries its
//! `ClientConfig`, whose session store is thereby shared by all threads and by nobody else.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::settings::TlsVersion;

mod unverified;

/// As ALPN names it (RFC 7301 section 6).
const HTTP_1_1: &[u8] = b"http/1.1";
/// TLS sessions kept for resumption per identity.
const SESSIONS_MAX: usize = 256;

/// Whom we trust to name an origin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Roots {
    /// The certificates that the operating system trusts.
    System,
    /// Certificates in PEM, and nothing else.
    Pem(Vec<u8>),
}

/// A certificate that we show to origins that ask, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    pub chain: Vec<u8>,
    pub key: Vec<u8>,
}

/// The protocols offered by ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocols {
    /// HTTP/1.1 only.
    H1,
    /// HTTP/2 only: an origin that does not choose it is an error.
    H2,
    /// HTTP/2 if the origin speaks it, else HTTP/1.1.
    Both,
}

/// What decides the identity.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsOptions {
    /// The name sent as SNI and looked for in the certificate; an IP address is not sent as SNI.
    pub server_name: String,
    pub roots: Roots,
    /// False takes any certificate: whoever answers at the address can read and change everything. For tests and
    /// for links that are secured otherwise.
    pub verify: bool,
    /// No older version is spoken.
    pub version_min: TlsVersion,
    pub client: Option<ClientCertificate>,
    pub protocols: Protocols,
}

/// Why an identity was refused, for the settings' author.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("`{0}` is not a name that a certificate can hold")]
    Name(String),
    #[error("no certificate that may be trusted: {0}")]
    Roots(String),
    #[error("client certificate: {0}")]
    Client(String),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// A whole TLS identity with its configuration.
pub struct TlsIdentity {
    options: TlsOptions,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    /// The same, sessions and all, for a handshake that a request over HTTP/1.1 goes out with.
    early: Arc<ClientConfig>,
}

impl TlsIdentity {
    /// Builds the configuration. Reads the system's trust from disk when `roots` says so: call it at load time.
    pub fn build(options: TlsOptions) -> Result<Arc<Self>, IdentityError> {
        let name = ServerName::try_from(options.server_name.clone())
            .map_err(|_| IdentityError::Name(options.server_name.clone()))?;
        let config = configuration(&options)?;
        let mut early = config.clone();
        early.enable_early_data = true;
        early.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Ok(Arc::new(Self { options, name, config: Arc::new(config), early: Arc::new(early) }))
    }

    pub fn options(&self) -> &TlsOptions {
        &self.options
    }

    pub(crate) fn name(&self) -> ServerName<'static> {
        self.name.clone()
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    pub(crate) fn config_for_early_data(&self) -> Arc<ClientConfig> {
        self.early.clone()
    }
}

impl PartialEq for TlsIdentity {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.options == other.options
    }
}

impl Eq for TlsIdentity {}

impl Hash for TlsIdentity {
    /// Name, trust and protocols spread well enough; keys are left to `eq`.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.options.server_name.hash(state);
        self.options.verify.hash(state);
        self.options.protocols.hash(state);
    }
}

impl fmt::Debug for TlsIdentity {
    /// Leaves the client's key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity")
            .field("server_name", &self.options.server_name)
            .field("verify", &self.options.verify)
            .field("client", &self.options.client.is_some())
            .field("protocols", &self.options.protocols)
            .finish_non_exhaustive()
    }
}

fn configuration(options: &TlsOptions) -> Result<ClientConfig, IdentityError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions: &[_] = match options.version_min {
        TlsVersion::V12 => &[&TLS13, &TLS12],
        TlsVersion::V13 => &[&TLS13],
    };
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions)?;
    let builder = if options.verify {
        builder.with_root_certificates(roots(&options.roots)?)
    } else {
        builder.dangerous().with_custom_certificate_verifier(unverified::Unverified::new(&provider))
    };
    let mut config = match &options.client {
        Some(client) => {
            let (chain, key) = client_certificate(client)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| IdentityError::Client(error.to_string()))?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = match options.protocols {
        Protocols::H1 => vec![HTTP_1_1.to_vec()],
        Protocols::H2 => vec![b"h2".to_vec()],
        Protocols::Both => vec![b"h2".to_vec(), HTTP_1_1.to_vec()],
    };
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    Ok(config)
}

fn roots(roots: &Roots) -> Result<RootCertStore, IdentityError> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
        }
        Roots::Pem(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| IdentityError::Roots(error.to_string()))?;
                store.add(certificate).map_err(|error| IdentityError::Roots(error.to_string()))?;
            }
        }
    }
    if store.is_empty() {
        return Err(IdentityError::Roots("none found".into()));
    }
    Ok(store)
}

type Chain = Vec<CertificateDer<'static>>;

fn client_certificate(client: &ClientCertificate) -> Result<(Chain, PrivateKeyDer<'static>), IdentityError> {
    let chain = CertificateDer::pem_slice_iter(&client.chain)
        .collect::<Result<Chain, _>>()
        .map_err(|error| IdentityError::Client(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(&client.key).map_err(|error| IdentityError::Client(error.to_string()))?;
    if chain.is_empty() {
        return Err(IdentityError::Client("no certificate in it".into()));
    }
    Ok((chain, key))
}

#[cfg(test)]
pub(crate) mod authority;
#[cfg(test)]
mod tests;
