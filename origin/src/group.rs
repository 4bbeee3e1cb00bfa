//! A group of servers that give the same answers, compiled from its settings, with what is known of each server.
//!
//! A group is immutable but for its servers' state (load, health, protocol) and its turns. State belongs to the
//! server's identity: a reload that leaves a server as it was leaves its state as it was.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use http::HeaderValue;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::affinity::{Affinity, Ties};
use crate::balance::{self, Balancer, Candidate};
use crate::connect::Endpoint;
use crate::eject::{Health, Rules};
use crate::exchange::Deadlines;
use crate::latency::{self, Latency};
use crate::message::Request;
use crate::pool::Limits;
use crate::retry::Budget;
use crate::settings::{GroupSettings, Http2, PoolSettings, SettingsError};
use crate::slow_start;
use crate::tls::TlsIdentity;
use crate::warmth::Warmth;

mod compile;
#[cfg(test)]
pub(crate) mod tests;

/// How exactly it is known when a server was last asked, in milliseconds.
const ASKED_EVERY_MS: u64 = 250;
/// At each look a peak of requests loses one part in so many.
const PEAK_FADES: u32 = 32;

pub struct Group {
    name: Arc<str>,
    servers: Box<[Server]>,
    balancer: Mutex<Balancer>,
    ties: Ties,
    slow_start: Duration,
    budget: Mutex<Budget>,
    ejection: Rules,
    attempts: u32,
    deadlines: Deadlines,
    limits: Limits,
    queue: Duration,
    warm: Warm,
}

/// What is kept open ahead of need.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Warm {
    /// Connections per server; 0 keeps none.
    pub(crate) connections: u32,
    /// How long after the last request.
    pub(crate) keep: Duration,
}

/// One server as the settings name it, and what is known of it.
pub(crate) struct Server {
    pub(crate) site: Site,
    weight: u32,
    priority: u8,
    /// In the zone of this node.
    near: bool,
    /// What it is told apart by on the ring.
    identity: u64,
    pub(crate) state: Arc<ServerState>,
}

/// Where a server is and as whom we speak to it: what its state belongs to.
#[derive(PartialEq, Eq)]
pub(crate) struct Site {
    /// The URL of the settings.
    pub(crate) name: Arc<str>,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// When the host is an address already.
    pub(crate) address: Option<SocketAddr>,
    /// None on clear text.
    tls: Option<Arc<TlsIdentity>>,
    /// The same, but without HTTP/2, for requests that ask for another protocol.
    tls_for_upgrades: Option<Arc<TlsIdentity>>,
    http2: Http2,
}

/// What is known of a server; survives reloads.
#[derive(Default)]
pub(crate) struct ServerState {
    in_flight: AtomicU32,
    condition: Mutex<Condition>,
    protocol: AtomicU8,
    /// The address that answered last, of a name with several: asked first next time.
    pub(crate) answered: Mutex<Option<SocketAddr>>,
    pub(crate) warmth: Mutex<Warmth>,
    /// The most requests at a time since the keeper last looked.
    peak: AtomicU32,
    /// When it was last asked, in milliseconds since [`EPOCH`]; 0 while nobody looks after it.
    asked_ms: AtomicU64,
}

/// What its answers have told.
#[derive(Default)]
struct Condition {
    health: Health,
    latency: Latency,
}

/// What moments are counted from, where they have to fit into an atomic.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

fn millis(now: Instant) -> u64 {
    now.saturating_duration_since(*EPOCH).as_millis() as u64 + 1
}

/// What a server was found to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Protocol {
    Unknown = 0,
    H1 = 1,
    H2 = 2,
}

/// A server's condition, for metrics and the dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerStatus {
    pub name: Arc<str>,
    pub in_flight: u32,
    pub ejected: bool,
    pub backup: bool,
    /// How long an answer is expected to take; 0 when that is not known.
    pub latency_micros: u64,
}

/// One request that a server is working on; its end is the value's end.
pub(crate) struct InFlight(Arc<ServerState>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// The places of the servers on which attempts have failed.
pub(crate) type Tried = SmallVec<[usize; 4]>;

impl Group {
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub fn servers(&self, now: Instant) -> Vec<ServerStatus> {
        let status = |server: &Server| {
            let condition = server.state.condition.lock();
            ServerStatus {
                name: server.site.name.clone(),
                in_flight: server.state.in_flight.load(Relaxed),
                ejected: condition.health.is_ejected(now),
                backup: server.priority == u8::MAX,
                latency_micros: condition.latency.expected(now),
            }
        };
        self.servers.iter().map(status).collect()
    }

    /// How many servers it has.
    pub(crate) fn len(&self) -> usize {
        self.servers.len()
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(crate) fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// How long a request may wait for a connection.
    pub(crate) fn queue(&self) -> Duration {
        self.queue
    }

    pub(crate) fn server(&self, place: usize) -> &Server {
        &self.servers[place]
    }

    /// What ties a request to a server.
    pub(crate) fn affinity(&self, request: &Request) -> Affinity {
        self.ties.of(request)
    }

    /// The field that binds the client to the server that answered, where it is not bound to it already.
    pub(crate) fn binding(&self, place: usize, affinity: Affinity) -> Option<HeaderValue> {
        let identity = self.servers[place].identity;
        if affinity.bound == Some(self.ties.bond(identity)) { None } else { self.ties.set_cookie(identity) }
    }

    /// The server to ask, by what the request is tied to, balance and health, and not one of `tried` while there is
    /// another; it counts as at work from now on.
    pub(crate) fn choose(&self, tried: &Tried, affinity: Affinity, now: Instant) -> (usize, InFlight) {
        if self.servers.len() == 1 {
            return (0, self.begin(0));
        }
        // Load is read and raised under one lock, or all workers would find the same server the least busy.
        let mut balancer = self.balancer.lock();
        let candidate = |(place, server)| self.candidate(server, tried.contains(&place), now);
        let candidates: SmallVec<[Candidate; 8]> = self.servers.iter().enumerate().map(candidate).collect();
        let is_bound = |candidate: &Candidate| Some(self.ties.bond(candidate.identity)) == affinity.bound;
        let bound = affinity.bound.and_then(|_| candidates.iter().position(is_bound));
        let bound = bound.filter(|&place| !candidates[place].ejected && !candidates[place].tried);
        let place =
            bound.or_else(|| balancer.pick(&candidates, affinity.key)).expect("a group has at least one server");
        (place, self.begin(place))
    }

    fn candidate(&self, server: &Server, tried: bool, now: Instant) -> Candidate {
        let condition = server.state.condition.lock();
        let since = condition.health.well_since();
        Candidate {
            weight: server.weight * slow_start::percent(since, self.slow_start, now),
            priority: server.priority,
            near: server.near,
            in_flight: server.state.in_flight.load(Relaxed),
            latency_micros: condition.latency.expected(now),
            identity: server.identity,
            ejected: condition.health.is_ejected(now),
            tried,
        }
    }

    /// The server is at work on one more request.
    pub(crate) fn begin(&self, place: usize) -> InFlight {
        let state = &self.servers[place].state;
        let in_flight = state.in_flight.fetch_add(1, Relaxed) + 1;
        if in_flight > state.peak.load(Relaxed) {
            state.peak.store(in_flight, Relaxed);
        }
        InFlight(state.clone())
    }

    /// The server answered, after so long.
    pub(crate) fn succeeded(&self, place: usize, micros: u64, now: Instant) {
        let mut condition = self.servers[place].state.condition.lock();
        condition.health.succeeded(now, &self.ejection);
        condition.latency.observe(micros, now);
    }

    /// The server failed, after so long. True when it is ejected by that.
    pub(crate) fn failed(&self, place: usize, after: Duration, now: Instant) -> bool {
        let is_out = |server: &&Server| server.state.condition.lock().health.is_ejected(now);
        let ejected = self.servers.iter().filter(is_out).count();
        let admitted = self.ejection.admit_another(ejected, self.servers.len());
        let mut condition = self.servers[place].state.condition.lock();
        condition.latency.observe(after.max(latency::FAILURE).as_micros() as u64, now);
        condition.health.failed(now, &self.ejection, admitted)
    }

    /// A request came: it pays into the budget for retries.
    pub(crate) fn pay_in(&self) {
        self.budget.lock().deposit();
    }

    /// A retry is wanted: true when the budget has it.
    pub(crate) fn pay_out(&self) -> bool {
        self.budget.lock().withdraw()
    }

    /// What is kept open ahead of need.
    pub(crate) fn warm(&self) -> Warm {
        self.warm
    }

    /// Bounds on the connections to a server.
    pub(crate) fn limits(&self, sharing: bool) -> Limits {
        Limits { sharing, ..self.limits }
    }
}

impl Server {
    /// The identity of connections to one of the server's addresses, and whether they may be shared.
    pub(crate) fn endpoint(&self, address: SocketAddr, upgrade: bool) -> (Endpoint, bool) {
        let site = &self.site;
        let tls = if upgrade { &site.tls_for_upgrades } else { &site.tls };
        let prior_knowledge = tls.is_none() && site.http2 == Http2::PriorKnowledge && !upgrade;
        let by_alpn = tls.is_some() && site.http2 != Http2::Never && !upgrade;
        let sharing = prior_knowledge || by_alpn && self.state.protocol() != Protocol::H1;
        (Endpoint { address, tls: tls.clone(), source: None, prior_knowledge }, sharing)
    }
}

impl ServerState {
    /// Of a server that joins others at work.
    fn newcomer(now: Instant) -> Self {
        let condition = Condition { health: Health::newcomer(now), latency: Latency::default() };
        ServerState { condition: Mutex::new(condition), ..ServerState::default() }
    }

    fn protocol(&self) -> Protocol {
        match self.protocol.load(Relaxed) {
            1 => Protocol::H1,
            2 => Protocol::H2,
            _ => Protocol::Unknown,
        }
    }

    /// The server was asked. True when nobody looks after it yet, once.
    pub(crate) fn asked(&self, now: Instant) -> bool {
        let millis = millis(now);
        // Most requests come within a moment of the one before.
        let before = self.asked_ms.load(Relaxed);
        if before != 0 && millis.saturating_sub(before) < ASKED_EVERY_MS {
            return false;
        }
        self.asked_ms.swap(millis, Relaxed) == 0
    }

    /// Whether it was asked lately enough to be looked after. If not, the next request registers it anew.
    pub(crate) fn is_warm(&self, now: Instant, keep: Duration) -> bool {
        let asked = self.asked_ms.load(Relaxed);
        let warm = millis(now).saturating_sub(asked) <= keep.as_millis() as u64;
        warm || self.asked_ms.compare_exchange(asked, 0, Relaxed, Relaxed).is_err()
    }

    /// How many connections are worth keeping: as many as were busy at a time lately, and at least one. What is not
    /// needed any more is forgotten slowly.
    pub(crate) fn wanted(&self, most: u32) -> u32 {
        let (peak, busy) = (self.peak.load(Relaxed), self.in_flight.load(Relaxed));
        self.peak.store((peak - peak.div_ceil(PEAK_FADES)).max(busy), Relaxed);
        peak.saturating_sub(busy).clamp(1, most)
    }

    pub(crate) fn speaks(&self, protocol: Protocol) {
        self.protocol.store(protocol as u8, Relaxed);
    }
}

fn limits(pool: &PoolSettings) -> Limits {
    Limits {
        connections_max: pool.connections_max,
        idle_max: pool.idle_max,
        idle: Duration::from_millis(pool.idle_ms),
        lifetime: Duration::from_millis(pool.lifetime_ms),
        queue_max: pool.queue_max,
        sharing: false,
    }
}

impl Group {
    /// Checks the settings and builds what requests use. `previous` is the group of that name before a reload: state,
    /// TLS sessions included, is taken over from servers that are unchanged. Reads the system's trust when it is
    /// asked for; not for worker threads.
    pub fn compile(settings: &GroupSettings, previous: Option<&Group>) -> Result<Arc<Group>, SettingsError> {
        compile::check(settings)?;
        let servers = compile::servers(settings, previous)?;
        let weights: Vec<u32> = servers.iter().map(|server| server.weight).collect();
        let seed = compile::seed(&settings.name);
        let deadlines = &settings.deadlines;
        let rules = balance::Rules {
            balance: settings.balance,
            ejected_percent_max: settings.ejection.max_percent,
            hash_load_percent: settings.hash.load_percent,
        };
        Ok(Arc::new(Group {
            name: settings.name.as_str().into(),
            balancer: Mutex::new(Balancer::new(rules, &weights, seed)),
            ties: compile::ties(settings)?,
            slow_start: Duration::from_millis(settings.slow_start_ms),
            budget: Mutex::new(Budget::new(settings.retries.budget_percent)),
            ejection: Rules {
                failures: settings.ejection.failures,
                base: Duration::from_millis(settings.ejection.base_ms),
                percent_max: settings.ejection.max_percent,
            },
            attempts: settings.retries.attempts,
            deadlines: Deadlines {
                connect: Duration::from_millis(deadlines.connect_ms),
                first_byte: Duration::from_millis(deadlines.first_byte_ms),
                between_bytes: Duration::from_millis(deadlines.between_bytes_ms),
                total: Duration::from_millis(deadlines.total_ms),
                head_bytes_max: settings.response_header_bytes_max as usize,
            },
            limits: limits(&settings.pool),
            queue: Duration::from_millis(settings.pool.queue_ms),
            warm: Warm { connections: settings.pool.warm, keep: Duration::from_millis(settings.pool.warm_ms) },
            servers,
        }))
    }
}
