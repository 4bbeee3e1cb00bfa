//! One immutable snapshot of the settings, compiled: what every request reads, swapped as a whole on reload.
//!
//! A request keeps the snapshot that it began with. Nothing in here is ever changed; what must outlive a reload (the
//! store, the ledger, the pool, counters, the state of origin servers) is handed over by `Arc`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use headland_cache::policy::{Mode, Policy};
use headland_cache::{Admission, Fields, Form, RecodingRules};
use headland_origin::Group;
use http::{HeaderValue, Method};

use crate::condition::RequestView;
use crate::forward::{Via, via_value};
use crate::h1::Version;
use crate::limits::Limits;
use crate::metrics::{Metrics, Protocol, SiteMetrics};
use crate::network::Networks;
use crate::peers::Peers;
use crate::route::Routes;
use crate::rules::{Decided, Rules};
use crate::settings::{
    self, CacheSettings, CodingName, CompressionSettings, Congestion, ListenerSettings, Settings, SiteSettings,
};
use crate::tls::Certificates;

/// Origin groups by name.
pub type Groups = HashMap<String, Arc<Group>>;

/// One site, compiled.
pub struct Site {
    pub metrics: Arc<SiteMetrics>,
    pub group: Arc<Group>,
    /// The Host that the origin sees, unless it is the client's.
    pub host_header: Option<HeaderValue>,
    pub policy: Policy,
    /// Whether No-Vary-Search is obeyed.
    pub no_vary_search: bool,
    /// Whether clients are told the links of a response before the origin answers.
    pub early_hints: bool,
    /// Whether what a range brings is stored, in parts.
    pub partial_content: bool,
    /// What of it is written to disk.
    pub disk: Admission,
    /// What the node codes itself; none leaves that to the origin.
    pub recoding: Option<RecodingRules>,
    pub rules: Rules,
}

impl Site {
    /// What the rules decide for a GET. What is purged or invalidated was stored for a GET, whatever method asks.
    pub fn decided_for_get<F: Fields>(&self, host: &[u8], target: &[u8], fields: &F, client: IpAddr) -> Decided {
        let view = RequestView { method: &Method::GET, host, target, fields, client };
        self.rules.decide(&view).0
    }

    /// The target that such a GET is keyed by: after what the rules keep of the query.
    pub fn keyed_target<F: Fields>(&self, host: &[u8], target: &[u8], fields: &F, client: IpAddr) -> Vec<u8> {
        self.rules.keyed(&self.decided_for_get(host, target, fields, client), target)
    }
}

/// Texts that every answer carries, made once.
#[derive(Debug)]
pub struct Names {
    /// The node's name, a token.
    pub node: String,
    /// This hop in Via on answers. Stored ones no longer know how the origin spoke; the node speaks HTTP/1.1 inside.
    pub via: HeaderValue,
    /// This hop in Via on requests, by how the client spoke.
    via_h10: HeaderValue,
    via_h2: HeaderValue,
    /// This node in CDN-Loop.
    pub loop_token: HeaderValue,
}

impl Names {
    /// This hop in Via on a request that came by this protocol.
    pub fn via_for(&self, protocol: Protocol, http10: bool) -> &HeaderValue {
        match protocol {
            Protocol::H1 if http10 => &self.via_h10,
            Protocol::H1 => &self.via,
            Protocol::H2 | Protocol::H3 => &self.via_h2,
        }
    }
}

/// The compiled settings.
pub struct Snapshot {
    pub names: Names,
    pub limits: Limits,
    pub cache: CacheSettings,
    pub sites: Routes<Site>,
    pub groups: Groups,
    /// The nodes that keys are shared with.
    pub peers: Option<Peers>,
    pub trusted_proxies: Networks,
    pub purge_allow: Networks,
    /// GET of certain paths is a purge, too.
    pub purge_by_get: bool,
    pub server_timing: bool,
    pub x_cache: bool,
    /// What Alt-Svc says on answers over TLS, where HTTP/3 is served.
    pub alt_svc: Option<HeaderValue>,
    /// How fast QUIC sends.
    pub congestion: Congestion,
}

impl Snapshot {
    /// Compiles settings; the error is one sentence. Servers known to `previous` keep their state.
    pub fn compile(settings: &Settings, previous: Option<&Snapshot>, metrics: &Metrics) -> Result<Self, String> {
        settings.limits.check().map_err(|error| format!("limits: {error}"))?;
        let mut groups = compile_groups(settings, previous)?;
        let known = previous.and_then(|snapshot| snapshot.peers.as_ref());
        let peers = settings.peers.as_ref().map(|peers| Peers::compile(peers, known)).transpose()?;
        // Their health is told and shown like that of origin servers.
        if let Some(group) = peers.as_ref().and_then(Peers::group)
            && groups.insert(group.name().to_string(), group.clone()).is_some()
        {
            return Err(format!("origin {}: the name is that of the peers", group.name()));
        }
        let mut sites = Routes::default();
        for site in &settings.sites {
            let compiled = Arc::new(compile_site(site, settings, &groups, metrics)?);
            if let Some(host) = site.hosts.iter().find(|host| !sites.add(host, &compiled)) {
                return Err(format!("site {}: host {host} belongs to another site already", site.name));
            }
        }
        let networks = |what: &str, list: &[String]| {
            Networks::parse(list).map_err(|text| format!("{what}: \"{text}\" is no network"))
        };
        Ok(Snapshot {
            names: names(&settings.node.name)?,
            limits: settings.limits.clone(),
            cache: settings.cache.clone(),
            sites,
            groups,
            peers,
            trusted_proxies: networks("trusted proxies", &settings.node.trusted_proxies)?,
            purge_allow: networks("purge", &settings.purge.allow)?,
            purge_by_get: settings.purge.nginx_helper,
            server_timing: settings.node.server_timing,
            x_cache: settings.node.x_cache,
            alt_svc: alt_svc(&settings.listeners),
            congestion: settings
                .listeners
                .iter()
                .find(|each| each.http3)
                .map(|each| each.congestion)
                .unwrap_or_default(),
        })
    }
}

/// RFC 7838 section 3: the same host, on the first port that serves HTTP/3. A port that the kernel chose is not told.
fn alt_svc(listeners: &[ListenerSettings]) -> Option<HeaderValue> {
    let told = listeners.iter().filter(|each| each.http3 && each.alt_svc_ms > 0);
    let mut places =
        told.filter_map(|each| Some((each.address.rsplit_once(':')?.1.parse().ok()?, each.alt_svc_ms / 1000)));
    let (port, seconds) = places.find(|(port, _): &(u16, u64)| *port != 0)?;
    HeaderValue::try_from(format!("h3=\":{port}\"; ma={seconds}")).ok()
}

/// The node's name goes into Via and Cache-Status, so it is a token (RFC 9110 section 5.6.2).
fn names(node: &str) -> Result<Names, String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    if node.is_empty() || !node.bytes().all(token) || !node.as_bytes()[0].is_ascii_alphabetic() {
        return Err(format!("node name \"{node}\" must begin with a letter and hold letters, digits and -._~ only"));
    }
    let via = |version| via_value(version, node).ok_or_else(|| format!("node name \"{node}\" is no header value"));
    Ok(Names {
        node: node.to_owned(),
        via: via(Via::Http(Version::Http11))?,
        via_h10: via(Via::Http(Version::Http10))?,
        via_h2: via(Via::Http2)?,
        loop_token: HeaderValue::from_str(node).map_err(|error| format!("node name: {error}"))?,
    })
}

fn compile_groups(settings: &Settings, previous: Option<&Snapshot>) -> Result<Groups, String> {
    let mut groups = Groups::new();
    for origin in &settings.origins {
        let known = previous.and_then(|snapshot| snapshot.groups.get(&origin.name));
        let group =
            Group::compile(origin, known.map(|group| &**group)).map_err(|e| format!("origin {}: {e}", origin.name))?;
        if groups.insert(origin.name.clone(), group).is_some() {
            return Err(format!("origin {}: the name is given twice", origin.name));
        }
    }
    Ok(groups)
}

fn compile_site(site: &SiteSettings, settings: &Settings, groups: &Groups, metrics: &Metrics) -> Result<Site, String> {
    let fault = |why: String| format!("site {}: {why}", site.name);
    let group = |name: &str| groups.get(name).ok_or_else(|| fault(format!("there is no origin \"{name}\"")));
    let policy = Policy {
        mode: Mode::Honour,
        ttl: None,
        ttl_by_status: Arc::new([]),
        grace: None,
        stale_if_error: None,
        object_bytes_max: settings.cache.object_bytes_max,
        honour_client_directives: site.honour_client_directives,
    };
    let rules = Rules::compile(&site.rules, &policy).map_err(fault)?;
    for name in rules.origins() {
        group(name)?;
    }
    let host_header = site.host_header.as_deref().map(HeaderValue::from_str).transpose();
    Ok(Site {
        metrics: metrics.site(&site.name),
        group: group(&site.origin)?.clone(),
        host_header: host_header.map_err(|error| fault(format!("host header: {error}")))?,
        policy,
        no_vary_search: site.no_vary_search,
        early_hints: site.early_hints,
        partial_content: site.partial_content,
        disk: admission(site.disk.or(settings.cache.disk.as_ref().map(|disk| disk.admission))),
        recoding: site.compression.as_ref().map(recoding_rules),
        rules,
    })
}

fn admission(setting: Option<settings::Admission>) -> Admission {
    match setting {
        Some(settings::Admission::Always) => Admission::Always,
        Some(settings::Admission::SecondHit) => Admission::SecondHit,
        Some(settings::Admission::Never) | None => Admission::Never,
    }
}

fn recoding_rules(settings: &CompressionSettings) -> RecodingRules {
    let form = |name: &CodingName| match name {
        CodingName::Gzip => Form::Gzip,
        CodingName::Br => Form::Brotli,
        CodingName::Zstd => Form::Zstd,
    };
    RecodingRules {
        offered: settings.codings.iter().map(form).collect(),
        types: settings.types.iter().map(|media_type| media_type.as_str().into()).collect(),
        bytes_min: settings.bytes_min,
    }
}

/// Loads the certificates of a snapshot.
pub fn certificates(settings: &Settings) -> Result<Certificates, String> {
    Certificates::load(&settings.certificates)
}
