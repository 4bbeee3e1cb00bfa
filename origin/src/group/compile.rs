//! From settings to servers: what types cannot say is checked here, and each refusal names its field.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::{Group, Server, ServerState, Site};
use crate::affinity::{self, HashBy, Ties};
use crate::settings::{Balance, GroupSettings, HashKey, Http2, ServerSettings, SettingsError};
use crate::tls::{ClientCertificate, IdentityError, Protocols, Roots, TlsIdentity, TlsOptions};

/// No duration in the settings is longer: a week, in milliseconds.
const MILLIS_MAX: u64 = 7 * 24 * 3600 * 1000;
const WEIGHT_MAX: u32 = 1000;
const SERVERS_MAX: usize = 256;

pub(super) fn check(settings: &GroupSettings) -> Result<(), SettingsError> {
    let refuse = |field: &str, reason: String| Err(SettingsError::new(field, reason));
    if settings.servers.is_empty() || settings.servers.len() > SERVERS_MAX {
        return refuse("servers", format!("1 to {SERVERS_MAX} are needed, got {}", settings.servers.len()));
    }
    let (deadlines, pool) = (&settings.deadlines, &settings.pool);
    let durations = [
        ("deadlines.connect_ms", deadlines.connect_ms, 1),
        ("deadlines.first_byte_ms", deadlines.first_byte_ms, 1),
        ("deadlines.between_bytes_ms", deadlines.between_bytes_ms, 1),
        ("deadlines.total_ms", deadlines.total_ms, 1),
        ("pool.idle_ms", pool.idle_ms, 0),
        ("pool.lifetime_ms", pool.lifetime_ms, 1),
        ("pool.queue_ms", pool.queue_ms, 0),
        ("ejection.base_ms", settings.ejection.base_ms, 1),
        ("hedge.delay_min_ms", settings.hedge.delay_min_ms, 0),
        ("slow_start_ms", settings.slow_start_ms, 0),
    ];
    for (field, millis, least) in durations {
        if !(least..=MILLIS_MAX).contains(&millis) {
            return refuse(field, format!("{least} to {MILLIS_MAX} ms, got {millis}"));
        }
    }
    if pool.connections_max == 0 {
        return refuse("pool.connections_max", "at least 1".into());
    }
    if settings.retries.attempts == 0 {
        return refuse("retries.attempts", "at least 1: the first attempt counts".into());
    }
    let percents = [
        ("ejection.max_percent", settings.ejection.max_percent),
        ("ejection.error_percent", settings.ejection.error_percent),
        ("retries.budget_percent", settings.retries.budget_percent),
        ("hedge.percent", settings.hedge.percent),
    ];
    for (field, percent) in percents {
        if percent > 100 {
            return refuse(field, format!("0 to 100, got {percent}"));
        }
    }
    Ok(())
}

/// Identities already built, so that equal ones are one, sessions and all.
#[derive(Default)]
struct Identities(Vec<Arc<TlsIdentity>>);

impl Identities {
    fn of(previous: Option<&Group>) -> Self {
        let sites = previous.into_iter().flat_map(|group| &group.servers).map(|server| &server.site);
        Identities(sites.flat_map(|site| [&site.tls, &site.tls_for_upgrades]).flatten().cloned().collect())
    }

    fn get(&mut self, options: TlsOptions) -> Result<Arc<TlsIdentity>, SettingsError> {
        if let Some(known) = self.0.iter().find(|known| *known.options() == options) {
            return Ok(known.clone());
        }
        let built = TlsIdentity::build(options).map_err(|error| blame(&error))?;
        self.0.push(built.clone());
        Ok(built)
    }
}

fn blame(error: &IdentityError) -> SettingsError {
    let field = match error {
        IdentityError::Name(_) => "tls.server_name",
        IdentityError::Roots(_) => "tls.ca_pem",
        IdentityError::Client(_) => "tls.client_cert_pem",
        IdentityError::Tls(_) => "tls",
    };
    SettingsError::new(field, error.to_string())
}

/// How the group ties requests to servers.
pub(super) fn ties(settings: &GroupSettings) -> Result<Ties, SettingsError> {
    let hash = &settings.hash;
    if hash.load_percent < 100 {
        return Err(SettingsError::new("hash.load_percent", format!("100 at least, got {}", hash.load_percent)));
    }
    let by = match (hash.by, &hash.header) {
        (HashKey::Url, _) => HashBy::Url,
        (HashKey::Client, _) => HashBy::Client,
        (HashKey::Header, None) => return Err(SettingsError::new("hash.header", "missing: the key is its value")),
        (HashKey::Header, Some(name)) => HashBy::Header(
            name.parse()
                .map_err(|_| SettingsError::new("hash.header", format!("not the name of a field: `{name}`")))?,
        ),
    };
    let by = Some(by).filter(|_| settings.balance == Balance::Hash);
    let cookie = settings.sticky_cookie.as_deref();
    let is_token = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    if let Some(name) = cookie.filter(|name| !is_token(name)) {
        return Err(SettingsError::new("sticky_cookie", format!("not the name of a cookie: `{name}`")));
    }
    Ok(Ties::new(by, cookie.map(Into::into), &settings.name))
}

pub(super) fn servers(settings: &GroupSettings, previous: Option<&Group>) -> Result<Box<[Server]>, SettingsError> {
    let mut identities = Identities::of(previous);
    let mut servers = Vec::with_capacity(settings.servers.len());
    for (place, server) in settings.servers.iter().enumerate() {
        let field = format!("servers[{place}]");
        if !(1..=WEIGHT_MAX).contains(&server.weight) {
            let reason = format!("1 to {WEIGHT_MAX}, got {}", server.weight);
            return Err(SettingsError::new(format!("{field}.weight"), reason));
        }
        let site = site(settings, server, &field, &mut identities)?;
        let known = previous.and_then(|group| group.servers.iter().find(|known| known.site == site));
        // One that joins a group which is at work is cold.
        let joins = || if previous.is_some() { ServerState::newcomer(Instant::now()) } else { ServerState::default() };
        let state = known.map_or_else(|| Arc::new(joins()), |known| known.state.clone());
        servers.push(Server {
            identity: affinity::identity(&server.url),
            site,
            weight: server.weight,
            priority: if server.backup { u8::MAX } else { server.priority },
            near: settings.zone.is_some() && server.zone == settings.zone,
            state,
        });
    }
    Ok(servers.into())
}

fn site(
    settings: &GroupSettings,
    server: &ServerSettings,
    field: &str,
    identities: &mut Identities,
) -> Result<Site, SettingsError> {
    let (secure, host, port) =
        split(&server.url).map_err(|reason| SettingsError::new(format!("{field}.url"), reason))?;
    let (mut tls, mut tls_for_upgrades) = (None, None);
    if secure {
        let protocols = if settings.http2 == Http2::Never { Protocols::H1 } else { Protocols::Both };
        tls = Some(identities.get(tls_options(settings, &host, protocols)?)?);
        tls_for_upgrades = Some(identities.get(tls_options(settings, &host, Protocols::H1)?)?);
    }
    let address = host.parse().ok().map(|address: IpAddr| SocketAddr::new(address, port));
    Ok(Site { name: server.url.as_str().into(), host, port, address, tls, tls_for_upgrades, http2: settings.http2 })
}

fn tls_options(settings: &GroupSettings, host: &str, protocols: Protocols) -> Result<TlsOptions, SettingsError> {
    let tls = &settings.tls;
    let client = match (&tls.client_cert_pem, &tls.client_key_pem) {
        (None, None) => None,
        (Some(chain), Some(key)) => {
            Some(ClientCertificate { chain: chain.clone().into_bytes(), key: key.clone().into_bytes() })
        }
        (Some(_), None) => return Err(SettingsError::new("tls.client_key_pem", "missing: the certificate needs it")),
        (None, Some(_)) => {
            return Err(SettingsError::new("tls.client_cert_pem", "missing: a key alone proves nothing"));
        }
    };
    Ok(TlsOptions {
        server_name: tls.server_name.clone().unwrap_or_else(|| host.to_owned()),
        roots: tls.ca_pem.as_ref().map_or(Roots::System, |pem| Roots::Pem(pem.clone().into_bytes())),
        verify: tls.verify,
        version_min: tls.version_min,
        client,
        protocols,
    })
}

/// Scheme, host (an IPv6 address without its brackets) and port of a server's URL, which has nothing more.
fn split(url: &str) -> Result<(bool, String, u16), String> {
    let refuse = || format!("expected scheme, host and port such as https://10.0.0.1:443, got `{url}`");
    let uri: http::Uri = url.parse().map_err(|_| refuse())?;
    let secure = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(refuse()),
    };
    let authority = uri.authority().ok_or_else(refuse)?;
    let port = match authority.port() {
        Some(port) => port.as_str().parse().ok().filter(|&port| port != 0).ok_or_else(refuse)?,
        // A port that is no port number counts as none: then more than a host stands there.
        None if authority.as_str() != authority.host() => return Err(refuse()),
        None if secure => 443,
        None => 80,
    };
    let host = authority.host();
    let more = !matches!(uri.path(), "" | "/") || uri.query().is_some() || authority.as_str().contains('@');
    if more || host.is_empty() || url.contains('#') {
        return Err(refuse());
    }
    Ok((secure, host.trim_matches(['[', ']']).to_ascii_lowercase(), port))
}

/// Differs from start to start and from group to group.
pub(super) fn seed(name: &str) -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write(name.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_url_is_scheme_host_and_port_and_nothing_else() {
        assert_eq!(split("http://10.0.0.1"), Ok((false, "10.0.0.1".into(), 80)));
        assert_eq!(split("https://App.example.com:8443/"), Ok((true, "app.example.com".into(), 8443)));
        assert_eq!(split("https://[::1]"), Ok((true, "::1".into(), 443)));
        for url in ["10.0.0.1:80", "ftp://a", "http://a/b", "http://u@a", "http://a:0", "http://a:99999", "http://a?b"]
        {
            assert!(split(url).is_err(), "{url}");
        }
    }
}
