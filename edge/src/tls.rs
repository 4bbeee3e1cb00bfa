//! TLS at the door: many certificates chosen by SNI, replaced without restart.
//!
//! One `ServerConfig` for TCP and one for QUIC live as long as the node, so sessions survive a reload; what a reload changes is
//! the table of certificates behind it. Names come from the certificates themselves. A key that does not belong to
//! its certificate, or a name that two certificates claim, refuses the whole table.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::{KeyLog, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::settings::CertificateSettings;

/// TLS sessions kept for resumption by identifier (TLS 1.2 clients without tickets).
const SESSIONS_MAX: usize = 20_480;
/// Tickets sent after a TLS 1.3 handshake: browsers open several connections.
const TICKETS: usize = 2;

/// One certificate as the node uses it.
#[derive(Debug)]
pub struct Certificate {
    pub source: String,
    /// Seconds since the Unix epoch after which clients refuse it.
    pub not_after_s: i64,
    key: Arc<CertifiedKey>,
    names: Vec<String>,
}

impl Certificate {
    /// Reads a chain and its key; the error is one sentence that names the source.
    pub fn load(settings: &CertificateSettings) -> Result<Self, String> {
        let source = &settings.source;
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(settings.cert_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| format!("{source}: no certificate in PEM form: {error}"))?;
        let leaf = chain.first().ok_or_else(|| format!("{source}: holds no certificate"))?;
        let (names, not_after_s) = inspect(leaf).map_err(|why| format!("{source}: {why}"))?;
        let key = PrivateKeyDer::from_pem_slice(settings.key_pem.as_bytes())
            .map_err(|error| format!("{source}: no private key in PEM form: {error}"))?;
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                format!("{source}: the private key does not belong to the certificate")
            }
            error => format!("{source}: {error}"),
        })?;
        Ok(Certificate { source: source.clone(), not_after_s, key: Arc::new(key), names })
    }
}

/// The names and the end of a certificate. Without subject alternative names, the common name counts.
fn inspect(leaf: &CertificateDer<'_>) -> Result<(Vec<String>, i64), String> {
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| format!("not a certificate: {error}"))?;
    let alternative = parsed.subject_alternative_name().ok().flatten();
    let mut names: Vec<String> =
        alternative.iter().flat_map(|san| &san.value.general_names).filter_map(name_of).collect();
    if names.is_empty() {
        names
            .extend(parsed.subject().iter_common_name().filter_map(|cn| cn.as_str().ok()).map(str::to_ascii_lowercase));
    }
    Ok((names, parsed.validity().not_after.timestamp()))
}

fn name_of(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    }
}

/// Certificates by name. The first one answers clients that send no name or an unknown one.
#[derive(Debug, Default)]
pub struct Certificates {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// Keyed by what follows the asterisk: `.example.com`; it stands for one label.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    first: Option<Arc<CertifiedKey>>,
    pub list: Vec<Certificate>,
}

impl Certificates {
    /// Builds the table; of two certificates for one name, the earlier in the file serves it.
    pub fn load(settings: &[CertificateSettings]) -> Result<Self, String> {
        let mut table = Certificates::default();
        for settings in settings {
            let certificate = Certificate::load(settings)?;
            for name in &certificate.names {
                let (names, name) = match name.strip_prefix('*') {
                    Some(suffix) => (&mut table.wildcard, suffix),
                    None => (&mut table.exact, name.as_str()),
                };
                names.entry(name.to_owned()).or_insert_with(|| certificate.key.clone());
            }
            table.first.get_or_insert_with(|| certificate.key.clone());
            table.list.push(certificate);
        }
        Ok(table)
    }

    /// The certificate for a server name in lower case.
    fn named(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        self.exact.get(name).or_else(|| self.wildcard.get(&name[name.find('.')?..]))
    }

    fn pick(&self, name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        name.and_then(|name| self.named(name)).or(self.first.as_ref())
    }

    /// Whether a connection made for `sni` may carry requests for `host`: the same certificate answers both
    /// (RFC 9110 section 7.4; else 421).
    pub fn covers(&self, sni: Option<&str>, host: &str) -> bool {
        match (self.pick(sni), self.pick(Some(host))) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => true,
        }
    }
}

/// The acceptor's view: the present table, swapped on reload.
#[derive(Debug)]
pub struct Resolver(Arc<ArcSwap<Certificates>>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls hands names over in lower case and without a trailing dot.
        self.0.load().pick(hello.server_name()).cloned()
    }
}

/// The server's TLS configuration over a table that can be swapped.
pub fn server_config(
    table: Arc<ArcSwap<Certificates>>,
    tickets: Arc<dyn ProducesTickets>,
    keys: Option<Arc<dyn KeyLog>>,
) -> Result<Arc<ServerConfig>, String> {
    Ok(Arc::new(config(table, tickets, keys, rustls::ALL_VERSIONS, &[b"h2", b"http/1.1"])?))
}

/// The same for QUIC, which is TLS 1.3 only (RFC 9001 section 4.2).
///
/// Early data is taken only with sessions that are kept here, each for one use: so none of it is taken twice (RFC 8446
/// section 8.1).
pub fn quic_config(
    table: Arc<ArcSwap<Certificates>>,
    tickets: Arc<dyn ProducesTickets>,
    keys: Option<Arc<dyn KeyLog>>,
    early_data: bool,
) -> Result<Arc<ServerConfig>, String> {
    let mut config = config(table, tickets, keys, &[&rustls::version::TLS13], &[b"h3"])?;
    if early_data {
        config.ticketer = Arc::new(NoTickets);
        config.max_early_data_size = u32::MAX;
    }
    Ok(Arc::new(config))
}

/// Sessions are kept, not given away.
#[derive(Debug)]
struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

fn config(
    table: Arc<ArcSwap<Certificates>>,
    tickets: Arc<dyn ProducesTickets>,
    keys: Option<Arc<dyn KeyLog>>,
    versions: &[&'static rustls::SupportedProtocolVersion],
    protocols: &[&[u8]],
) -> Result<ServerConfig, String> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .map_err(|error| format!("TLS: {error}"))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver(table)));
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    config.ticketer = tickets;
    config.send_tls13_tickets = TICKETS;
    if let Some(keys) = keys {
        config.key_log = keys;
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn made(names: &[&str]) -> CertificateSettings {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        CertificateSettings {
            source: "a.pem".to_owned(),
            cert_pem: made.cert.pem(),
            key_pem: made.signing_key.serialize_pem(),
        }
    }

    #[test]
    fn the_name_chooses_the_certificate_and_a_wildcard_stands_for_one_label() {
        let table =
            Certificates::load(&[made(&["a.example", "b.example"]), made(&["*.c.example"]), made(&["d.example"])])
                .unwrap();
        let index = |name| table.list.iter().position(|c| Arc::ptr_eq(&c.key, table.pick(name).unwrap())).unwrap();
        for (name, expected) in [
            (Some("a.example"), 0),
            (Some("b.example"), 0),
            (Some("x.c.example"), 1),
            (Some("x.y.c.example"), 0),
            (Some("c.example"), 0),
            (Some("d.example"), 2),
            (Some("unknown"), 0),
            (None, 0),
        ] {
            assert_eq!(index(name), expected, "{name:?}");
        }
        assert!(table.covers(Some("a.example"), "b.example"));
        assert!(!table.covers(Some("a.example"), "d.example"));
    }

    #[test]
    fn a_key_of_another_certificate_is_refused_in_one_sentence() {
        let mut wrong = made(&["a.example"]);
        wrong.key_pem = made(&["b.example"]).key_pem;
        let error = Certificates::load(&[wrong]).unwrap_err();
        assert_eq!(error, "a.pem: the private key does not belong to the certificate");
    }

    #[test]
    fn what_is_no_pem_is_refused_with_its_source() {
        let mut broken = made(&["a.example"]);
        broken.cert_pem = "nonsense".to_owned();
        assert_eq!(Certificates::load(&[broken]).unwrap_err(), "a.pem: holds no certificate");
        let mut broken = made(&["a.example"]);
        broken.key_pem = String::new();
        assert!(Certificates::load(&[broken]).unwrap_err().starts_with("a.pem: no private key in PEM form"));
    }
}
