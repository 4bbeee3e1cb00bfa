//! The snapshot of settings as Python hands it over: one JSON document, validated there, compiled here.
//!
//! No default lives in this file: every field is required, unknown ones are errors, and each number carries its unit
//! in its name. `crate::snapshot` turns it into what requests read.

use headland_origin::settings::{GroupSettings, PoolLimits};
use serde::Deserialize;

use crate::limits::Limits;

/// Everything a node runs by.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub node: NodeSettings,
    pub listeners: Vec<ListenerSettings>,
    pub certificates: Vec<CertificateSettings>,
    pub limits: Limits,
    pub cache: CacheSettings,
    pub purge: PurgeSettings,
    pub log: LogSettings,
    pub pool: PoolLimits,
    pub origins: Vec<GroupSettings>,
    /// Null for a node that owns all keys itself.
    pub peers: Option<PeerSettings>,
    pub sites: Vec<SiteSettings>,
}

/// The nodes of one place that own keys together.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerSettings {
    /// Where the others reach this node, as they write it.
    pub url: String,
    /// What they know each other by.
    pub secret: String,
    /// Requests in a short time after which a copy of what another one owns is kept.
    pub hot: u32,
    /// What all copies may take.
    pub copies_bytes_max: u64,
    /// The others, and how they are spoken to; this node may be alone.
    pub group: GroupSettings,
}

impl std::fmt::Debug for PeerSettings {
    /// Leaves the secret out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerSettings").field("url", &self.url).field("group", &self.group).finish_non_exhaustive()
    }
}

/// The node itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSettings {
    /// The name in Via, Cache-Status, Proxy-Status and CDN-Loop.
    pub name: String,
    pub workers: u16,
    pub drain_ms: u64,
    /// Whether answers carry Server-Timing.
    pub server_timing: bool,
    /// Whether answers carry X-Cache.
    pub x_cache: bool,
    /// Networks whose X-Forwarded-* and Forwarded fields are believed, in CIDR form.
    pub trusted_proxies: Vec<String>,
}

/// One address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerSettings {
    pub address: String,
    pub kind: ListenerKind,
    /// HTTP/3 on the UDP side.
    pub http3: bool,
    /// Whether TLS early data is taken there.
    pub early_data: bool,
    /// How long clients may remember that HTTP/3 is served; 0 does not tell them.
    pub alt_svc_ms: u64,
    /// How fast QUIC sends.
    pub congestion: Congestion,
}

/// What QUIC takes for a sign that it sends too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Congestion {
    /// More delay at no more throughput.
    #[default]
    Bbr,
    /// A lost packet.
    Cubic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListenerKind {
    Http,
    Https,
}

/// One certificate chain with its key, as PEM texts; the names come from the certificate.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateSettings {
    /// Where it came from, for error messages.
    pub source: String,
    pub cert_pem: String,
    pub key_pem: String,
}

impl std::fmt::Debug for CertificateSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateSettings").field("source", &self.source).finish_non_exhaustive()
    }
}

/// The memory tier and the collapse of fills.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheSettings {
    pub memory_bytes: u64,
    /// The largest body that is stored.
    pub object_bytes_max: u64,
    /// How much all running fills may hold.
    pub fill_bytes_max: u64,
    /// Readers of one fill.
    pub followers_max: u32,
    /// How long a key is remembered as uncacheable.
    pub uncacheable_ms: u64,
    /// Tags match without regard to case.
    pub tags_ignore_case: bool,
    /// Purged responses that are fetched anew at a time from one origin; 0 bounds nothing.
    pub refills_max: u32,
    pub disk: Option<DiskSettings>,
}

/// The disk tier.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskSettings {
    pub volumes: Vec<VolumeSettings>,
    /// Of sites that say nothing else.
    pub admission: Admission,
    pub segment_bytes: u64,
    /// What each volume writes at most; 0 bounds nothing.
    pub write_bytes_per_s: u64,
    /// Whether the page cache keeps what was written and read.
    pub page_cache: bool,
    /// Memory of the index.
    pub index_bytes_max: u64,
    /// Threads that may wait for the disk.
    pub readers: u16,
}

/// A directory of the disk tier.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeSettings {
    pub path: String,
    pub size_bytes: u64,
}

/// What is written to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Admission {
    Always,
    SecondHit,
    Never,
}

/// Who may purge on the data port, and how.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeSettings {
    /// Networks from which `PURGE` is accepted on the data port without a token, in CIDR form.
    pub allow: Vec<String>,
    /// GET of `/purge/PATH` and `/purgeall` from there is a purge, too.
    pub nginx_helper: bool,
}

/// The access log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    pub format: LogFormat,
    /// A file to append to, or "-" for standard output.
    pub path: String,
    /// A file that the secrets of TLS sessions are appended to.
    pub tls_keys: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Off,
    Json,
    Combined,
}

/// One site: the hosts it answers for, its origin and its rules.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteSettings {
    /// The label in metrics: its first host.
    pub name: String,
    /// Exact names, `*.example.com`, or `*`.
    pub hosts: Vec<String>,
    pub origin: String,
    /// The Host that the origin sees; null keeps the client's.
    pub host_header: Option<String>,
    /// Whether a client's no-cache, max-age and Pragma are obeyed.
    pub honour_client_directives: bool,
    /// Whether a response is reused for the targets that its No-Vary-Search declares equivalent.
    pub no_vary_search: bool,
    /// Whether clients are told the links of a response before the origin answers.
    pub early_hints: bool,
    /// Whether what a range brings is stored, in parts.
    pub partial_content: bool,
    /// What of it is written to disk; null for what holds for all.
    pub disk: Option<Admission>,
    /// What is compressed at the edge; null leaves the coding to the origin.
    pub compression: Option<CompressionSettings>,
    pub rules: Vec<RuleSettings>,
}

/// What the node compresses itself, and for whom it undoes what the origin compressed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompressionSettings {
    /// The preferred coding first.
    pub codings: Vec<CodingName>,
    /// Media types in lower case, `text/html` or `text/*`.
    pub types: Vec<String>,
    /// Shorter bodies are left as they are.
    pub bytes_min: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CodingName {
    Gzip,
    Br,
    Zstd,
}

/// One rule: when the condition holds, then the actions happen, in order.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    /// The rule's name or place, for explain and error messages.
    pub name: String,
    pub when: Condition,
    pub then: Vec<Action>,
}

/// A condition as a tree; tests on the response are only known once its head is there.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Condition {
    Always,
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    /// The canonical path.
    Path(TextTest),
    /// The raw query, without the question mark; absent counts as empty.
    Query(TextTest),
    Host(TextTest),
    /// One of these methods.
    Method(Vec<String>),
    RequestHeader(NamedTest),
    /// A cookie's value.
    Cookie(NamedTest),
    /// The client's address lies in one of these networks.
    Client(Vec<String>),
    /// The response's status lies in one of these inclusive ranges.
    Status(Vec<(u16, u16)>),
    ResponseHeader(NamedTest),
}

/// A test of one text.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum TextTest {
    /// For fields that may be absent.
    Present,
    Equals(String),
    OneOf(Vec<String>),
    Prefix(String),
    Suffix(String),
    Contains(String),
    /// `*` stands for any run without a slash, `**` for any run, `?` for one character.
    Glob(String),
    Regex(String),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedTest {
    pub name: String,
    pub test: TextTest,
}

/// What a rule does.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Leave the cache aside, or use it.
    Cache(CacheMode),
    /// Freshness for every storable status, in milliseconds.
    TtlMs(u64),
    /// Freshness for statuses in an inclusive range.
    TtlStatusMs {
        from: u16,
        to: u16,
        ms: u64,
    },
    /// How long past freshness it may be served while revalidating.
    GraceMs(u64),
    /// How long past freshness it may be served when the origin fails.
    StaleIfErrorMs(u64),
    KeyQuery(QuerySettings),
    /// Request header fields that take part in the key.
    KeyHeaders(Vec<String>),
    /// Cookies whose values take part in the key.
    KeyCookies(Vec<String>),
    /// The body of POST and QUERY takes part in the key, and their answers are cached.
    KeyBody(bool),
    /// Accept-Language becomes the one of these that the client likes best.
    Languages(Vec<String>),
    RequestHeader(HeaderEdit),
    ResponseHeader(HeaderEdit),
    Redirect {
        status: u16,
        location: String,
    },
    Deny {
        status: u16,
    },
    Origin(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheMode {
    /// By the origin's words.
    Honour,
    /// A rule's TTL also where the origin gives no freshness or says otherwise.
    Force,
    /// Neither served from nor stored.
    Bypass,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum QuerySettings {
    Keep,
    Sort,
    Ignore,
    Allow(Vec<String>),
    Drop(Vec<String>),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum HeaderEdit {
    Set { name: String, value: String },
    Add { name: String, value: String },
    Remove { name: String },
}
