//! What the settings' owner (Python) says about origins, as it arrives: one JSON value, every field named, no default.
//!
//! Here it is only read; [`crate::group::Group::compile`] checks what a type cannot say and builds what requests use.

use std::fmt;

use serde::{Deserialize, Deserializer};

/// One origin: servers that give the same answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSettings {
    pub name: String,
    pub servers: Vec<ServerSettings>,
    pub balance: Balance,
    pub hash: HashSettings,
    /// The cookie that binds a client to a server; null binds nobody.
    #[serde(deserialize_with = "or_null")]
    pub sticky_cookie: Option<String>,
    /// How long a server that has come, or come back, takes to get its whole share.
    pub slow_start_ms: u64,
    /// The zone of this node; null when it is in none.
    #[serde(deserialize_with = "or_null")]
    pub zone: Option<String>,
    pub tls: TlsSettings,
    /// Addresses that a name leads to must be public.
    pub public_only: bool,
    pub http2: Http2,
    pub deadlines: DeadlineSettings,
    pub pool: PoolSettings,
    pub ejection: EjectionSettings,
    pub retries: RetrySettings,
    pub hedge: HedgeSettings,
    pub concurrency: ConcurrencySettings,
    /// The largest head of an answer that is taken, in bytes; over HTTP/2 never more than 64 KiB.
    pub response_header_bytes_max: u32,
    /// The longest body of an answer that is taken, in bytes; 0 for any.
    pub response_body_bytes_max: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// Scheme, host and port: `https://10.0.0.1:443`.
    pub url: String,
    /// Its share of requests among the servers of this origin; at least 1.
    pub weight: u32,
    /// Used only while no other server is left.
    pub backup: bool,
    /// Servers of a higher number are used only while too many of the lower ones are out.
    pub priority: u8,
    /// Where it is; those in the node's own zone come first.
    #[serde(deserialize_with = "or_null")]
    pub zone: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    RoundRobin,
    LeastConnections,
    /// The faster and less busy one of two at random.
    TwoChoices,
    /// The server that a key of the request belongs to.
    Hash,
}

/// How the ring is used, where servers are chosen by a key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HashSettings {
    pub by: HashKey,
    /// The field, where the key is one's value.
    #[serde(deserialize_with = "or_null")]
    pub header: Option<String>,
    /// The most that a server may have of its fair share of the requests at work.
    pub load_percent: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HashKey {
    Url,
    Client,
    Header,
}

#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The authorities that are trusted, in PEM; null: those of the system.
    #[serde(deserialize_with = "or_null")]
    pub ca_pem: Option<String>,
    /// The name asked for and verified; null: the host of the server's URL.
    #[serde(deserialize_with = "or_null")]
    pub server_name: Option<String>,
    pub verify: bool,
    pub version_min: TlsVersion,
    /// Safe requests without a body may go out with the handshake.
    pub early_data: bool,
    #[serde(deserialize_with = "or_null")]
    pub client_cert_pem: Option<String>,
    #[serde(deserialize_with = "or_null")]
    pub client_key_pem: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
pub enum TlsVersion {
    #[serde(rename = "1.2")]
    V12,
    #[serde(rename = "1.3")]
    V13,
}

impl fmt::Debug for TlsSettings {
    /// Leaves the client's key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSettings")
            .field("ca", &self.ca_pem.is_some())
            .field("server_name", &self.server_name)
            .field("verify", &self.verify)
            .field("client", &self.client_cert_pem.is_some())
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Http2 {
    /// By ALPN over TLS.
    Auto,
    Never,
    /// By ALPN over TLS, and at once on clear text (RFC 9113 3.3).
    PriorKnowledge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadlineSettings {
    pub connect_ms: u64,
    pub first_byte_ms: u64,
    pub between_bytes_ms: u64,
    pub total_ms: u64,
}

/// Bounds per server of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSettings {
    pub connections_max: u32,
    pub idle_max: u32,
    pub idle_ms: u64,
    pub lifetime_ms: u64,
    pub queue_max: u32,
    pub queue_ms: u64,
    /// Connections kept open ahead of need.
    pub warm: u32,
    /// How long after the last request.
    pub warm_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EjectionSettings {
    /// Failures in a row that eject a server; 0 never ejects.
    pub failures: u32,
    /// The first ejection; each further one is twice as long.
    pub base_ms: u64,
    /// The share of the group's servers that may be ejected at a time.
    pub max_percent: u32,
    /// Failures as a share of a server's answers; 0 never ejects.
    pub error_percent: u32,
    /// How much slower than the others a server is; 0 never ejects.
    pub latency_factor: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetrySettings {
    /// Attempts for one request, the first one counted.
    pub attempts: u32,
    /// Retries as a share of the group's requests.
    pub budget_percent: u32,
    /// Answers after which another server is asked.
    pub statuses: Vec<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HedgeSettings {
    /// Hedged requests as a share of the group's requests; 0 hedges none.
    pub percent: u32,
    /// The least that is waited for the first server.
    pub delay_min_ms: u64,
}

/// Requests that one server works on at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConcurrencySettings {
    /// 0 for no bound.
    pub requests_max: u32,
    /// The bound follows the server's latency.
    pub adaptive: bool,
}

/// Bounds over all groups together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolLimits {
    pub connections_max_total: u32,
    pub idle_max_total: u32,
}

/// A setting that cannot be used: which one, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct SettingsError {
    /// The path below the group: `servers[0].url`.
    pub field: String,
    pub reason: String,
}

impl SettingsError {
    pub(crate) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        SettingsError { field: field.into(), reason: reason.into() }
    }
}

/// An option that must be written, if only as null: a plain `Option` would take absence for null.
fn or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, MapDeserializer};

    use super::*;

    fn ejection(fields: &[(&'static str, u32)]) -> Result<EjectionSettings, Error> {
        EjectionSettings::deserialize(MapDeserializer::new(fields.iter().copied()))
    }

    #[test]
    fn every_field_is_needed_and_no_other_is_taken() {
        let all = [("failures", 2), ("base_ms", 20), ("max_percent", 50), ("error_percent", 50), ("latency_factor", 0)];
        assert!(ejection(&all).is_ok());
        assert!(ejection(&all[..4]).unwrap_err().to_string().contains("latency_factor"));
        let extra = ejection(&[&all[..], &[("burst", 1)]].concat());
        assert!(extra.unwrap_err().to_string().contains("burst"));
    }

    #[test]
    fn an_option_must_be_written_if_only_as_null() {
        let without = [("verify", true)].into_iter();
        let error = TlsSettings::deserialize(MapDeserializer::<_, Error>::new(without)).unwrap_err();
        assert!(error.to_string().contains("missing field"), "{error}");
    }

    #[test]
    fn choices_are_the_words_of_the_settings() {
        let http2 = |word: &'static str| Http2::deserialize(IntoDeserializer::<Error>::into_deserializer(word));
        assert_eq!(http2("prior-knowledge").unwrap(), Http2::PriorKnowledge);
        assert!(http2("yes").is_err());
        let balance = |word: &'static str| Balance::deserialize(IntoDeserializer::<Error>::into_deserializer(word));
        assert_eq!(balance("least-connections").unwrap(), Balance::LeastConnections);
    }
}
