//! Names to addresses, without a request ever waiting for DNS that was asked before.
//!
//! The system's resolver runs on the blocking pool. Its answer is fresh for as long as a name server says ([`ttl`];
//! getaddrinfo does not tell), or for a fixed time where none says anything. After that it is still given out while one
//! refresh runs behind it, and when the refresh fails the last good answer stays. A name that has no answer yet is looked
//! up once, however many ask.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use crate::error::{Deadline, Fault, FetchError, Phase};

mod ttl;

/// How long an answer is fresh of which no name server tells a TTL.
pub const FRESH: Duration = Duration::from_secs(30);
/// After a lookup failed, none is made for this long.
const RETRY: Duration = Duration::from_secs(1);
/// One lookup may take this long.
const LOOKUP_MAX: Duration = Duration::from_secs(5);
/// Names remembered. Origins are named by the settings, not by strangers; more are looked up each time.
const NAMES_MAX: usize = 4096;
/// Addresses kept of one answer.
const ADDRESSES_MAX: usize = 64;

/// How long an answer holds, where somebody tells that; nobody waits for it.
type Holds = Pin<Box<dyn Future<Output = Option<Duration>> + Send>>;
type Found = (Vec<SocketAddr>, Holds);
type Answer = Pin<Box<dyn Future<Output = io::Result<Found>> + Send>>;
type Lookup = Box<dyn Fn(String, u16) -> Answer + Send + Sync>;

/// The addresses of one name, families taking turns (RFC 8305 4).
pub type Addresses = Arc<[SocketAddr]>;

pub struct Resolver {
    fresh: Duration,
    lookup: Lookup,
    names: Mutex<HashMap<(String, u16), Arc<Name>>>,
}

/// What is known of one name.
#[derive(Default)]
struct Name {
    state: Mutex<State>,
    /// Held while the first answer is fetched.
    first: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    good: Option<Addresses>,
    /// When to ask again; `None` when nobody has asked.
    next: Option<Instant>,
}

impl State {
    fn is_current(&self) -> bool {
        self.next.is_some_and(|next| Instant::now() < next)
    }
}

impl Resolver {
    /// A resolver that asks the system, whose answers are fresh for `fresh`.
    pub fn new(fresh: Duration) -> Arc<Self> {
        Self::with_lookup(fresh, Box::new(|host, port| Box::pin(by_system(host, port))))
    }

    fn with_lookup(fresh: Duration, lookup: Lookup) -> Arc<Self> {
        Arc::new(Self { fresh, lookup, names: Mutex::default() })
    }

    /// The addresses of `host`, at least one.
    pub async fn resolve(self: &Arc<Self>, host: &str, port: u16) -> Result<Addresses, FetchError> {
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Arc::new([SocketAddr::new(address, port)]));
        }
        let name = self.name(host, port);
        if let Some(known) = self.known(&name, host, port) {
            return Ok(known);
        }
        let _turn = name.first.lock().await;
        let failed_lately = {
            let state = name.state.lock();
            if let Some(good) = &state.good {
                return Ok(good.clone());
            }
            state.is_current()
        };
        if failed_lately {
            return Err(FetchError::new(Fault::Dns, Phase::Resolve).because("the name did not resolve a moment ago"));
        }
        self.refresh(&name, host, port).await
    }

    fn name(&self, host: &str, port: u16) -> Arc<Name> {
        let key = (host.to_ascii_lowercase(), port);
        let mut names = self.names.lock();
        if let Some(name) = names.get(&key) {
            return name.clone();
        }
        let name = Arc::<Name>::default();
        if names.len() < NAMES_MAX {
            names.insert(key, name.clone());
        }
        name
    }

    /// The last good answer; when it is not fresh, a refresh starts behind it.
    fn known(self: &Arc<Self>, name: &Arc<Name>, host: &str, port: u16) -> Option<Addresses> {
        let mut state = name.state.lock();
        let good = state.good.clone()?;
        if !state.is_current() {
            // Nobody else starts one while this runs.
            state.next = Some(Instant::now() + LOOKUP_MAX + RETRY);
            let (resolver, name, host) = (self.clone(), name.clone(), host.to_owned());
            tokio::spawn(async move {
                // A failure has left its mark in the state, and the last good answer stands.
                let _ = resolver.refresh(&name, &host, port).await;
            });
        }
        Some(good)
    }

    async fn refresh(&self, name: &Arc<Name>, host: &str, port: u16) -> Result<Addresses, FetchError> {
        let result = match timeout(LOOKUP_MAX, (self.lookup)(host.to_owned(), port)).await {
            Ok(Ok((found, holds))) if !found.is_empty() => Ok((interleave(&found), holds)),
            Ok(Ok(_)) => Err(FetchError::new(Fault::Dns, Phase::Resolve).because("the name has no address")),
            Ok(Err(error)) => Err(FetchError::new(Fault::Dns, Phase::Resolve).because(error)),
            Err(_) => Err(FetchError::timeout(Deadline::Resolve, Phase::Resolve)),
        };
        let mut state = name.state.lock();
        match result {
            Ok((found, holds)) => {
                let now = Instant::now();
                state.good = Some(found.clone());
                state.next = Some(now + self.fresh);
                let name = name.clone();
                tokio::spawn(async move {
                    if let Some(holds) = holds.await {
                        name.state.lock().next = Some(now + holds);
                    }
                });
                Ok(found)
            }
            Err(error) => {
                state.next = Some(Instant::now() + RETRY);
                Err(error)
            }
        }
    }
}

/// What the system says, and what its name server says of how long that holds.
async fn by_system(host: String, port: u16) -> io::Result<Found> {
    let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), port)).await?.collect();
    let known = found.clone();
    let holds = async move {
        let nameserver = tokio::task::spawn_blocking(ttl::system_nameserver).await.ok()??;
        ttl::ttl(nameserver, &host, &known).await
    };
    Ok((found, Box::pin(holds)))
}

/// Families take turns, beginning with that of the first address: the system has sorted by RFC 6724.
fn interleave(found: &[SocketAddr]) -> Addresses {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (mut ours, mut others): (Vec<_>, Vec<_>) =
        found.iter().copied().partition(|address| address.is_ipv6() == first_is_v6);
    ours.dedup();
    others.dedup();
    let (mut ours, mut others) = (ours.into_iter(), others.into_iter());
    let mut turns = Vec::with_capacity(found.len());
    loop {
        match (ours.next(), others.next()) {
            (None, None) => break,
            (one, two) => turns.extend(one.into_iter().chain(two)),
        }
    }
    turns.truncate(ADDRESSES_MAX);
    turns.into()
}

#[cfg(test)]
mod tests;
