//! One server of a group: where it is, and what is known of it.
//!
//! State belongs to the server's identity ([`Site`]) and is shared by the groups before and after a reload. What changes
//! with every request is atomic; the rest is behind one lock, held for a few instructions.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::connect::Endpoint;
use crate::eject::Health;
use crate::gradient::Gradient;
use crate::latency::Latency;
use crate::outlier::Tally;
use crate::quantile::Quantile;
use crate::settings::{ConcurrencySettings, Http2};
use crate::tls::TlsIdentity;
use crate::warmth::Warmth;

/// How exactly it is known when a server was last asked, in milliseconds.
const ASKED_EVERY_MS: u64 = 250;
/// Looks after which a peak of requests counts as the one before, and after as many again not any more.
const PEAK_LOOKS: u32 = 60;
/// Connections that are kept beside those that a peak needs: one more request at a time is no rarity.
const SPARE: u32 = 1;

/// One server as the settings name it, and what is known of it.
pub(crate) struct Server {
    pub(crate) site: Site,
    pub(super) weight: u32,
    pub(super) priority: u8,
    /// In the zone of this node.
    pub(super) near: bool,
    /// What it is told apart by on the ring.
    pub(super) identity: u64,
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
    pub(super) tls: Option<Arc<TlsIdentity>>,
    /// The same, but without HTTP/2, for requests that ask for another protocol.
    pub(super) tls_for_upgrades: Option<Arc<TlsIdentity>>,
    pub(super) http2: Http2,
}

/// What is known of a server; survives reloads.
#[derive(Default)]
pub(crate) struct ServerState {
    pub(super) in_flight: AtomicU32,
    pub(super) condition: Mutex<Condition>,
    protocol: AtomicU8,
    /// The address that answered last, of a name with several: asked first next time.
    pub(crate) answered: Mutex<Option<SocketAddr>>,
    pub(crate) warmth: Mutex<Warmth>,
    /// The most requests at a time since the looks were last counted anew, and in the time before.
    pub(super) peak: AtomicU32,
    peak_before: AtomicU32,
    looks: AtomicU32,
    /// When it was last asked, in milliseconds since [`EPOCH`]; 0 while nobody looks after it.
    asked_ms: AtomicU64,
}

/// What its answers have told.
#[derive(Default)]
pub(super) struct Condition {
    pub(super) health: Health,
    pub(super) latency: Latency,
    pub(super) tally: Tally,
    /// Noted where requests are hedged.
    pub(super) times: Quantile,
    /// Moved where the bound on requests is adaptive.
    pub(super) gradient: Gradient,
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
    /// Left alone for a while.
    pub ejected: bool,
    /// By its active checks.
    pub down: bool,
    pub backup: bool,
    /// How long an answer is expected to take; 0 when that is not known.
    pub latency_micros: u64,
    /// The requests that it may work on at a time; 0 without a bound.
    pub requests_max: u32,
}

/// One request that a server is working on; its end is the value's end.
pub(crate) struct InFlight(pub(super) Arc<ServerState>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Condition {
    /// The most requests that it may work on at a time, where that is bounded.
    pub(super) fn requests_max(&self, rules: ConcurrencySettings) -> u32 {
        let fixed = if rules.requests_max == 0 { u32::MAX } else { rules.requests_max };
        if rules.adaptive { self.gradient.limit().min(fixed) } else { fixed }
    }
}

impl Server {
    pub(super) fn requests_max(&self, rules: ConcurrencySettings) -> u32 {
        self.state.condition.lock().requests_max(rules)
    }

    /// It is spoken to over TLS, and was found to speak HTTP/1.1.
    pub(super) fn takes_early_data(&self) -> bool {
        self.site.tls.is_some() && self.state.protocol() == Protocol::H1
    }

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
    pub(super) fn newcomer(now: Instant) -> Self {
        let condition = Condition { health: Health::newcomer(now), ..Condition::default() };
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

    /// How many connections are worth keeping idle, by one look: as many as were busy at a time in the last minute or
    /// two, and a spare one, less those that are busy now.
    pub(crate) fn wanted(&self, most: u32) -> u32 {
        let (peak, busy) = (self.peak.load(Relaxed), self.in_flight.load(Relaxed));
        let before = self.peak_before.load(Relaxed);
        // One task looks.
        let looks = self.looks.load(Relaxed) + 1;
        if looks >= PEAK_LOOKS {
            self.peak_before.store(peak, Relaxed);
            self.peak.store(busy, Relaxed);
        }
        self.looks.store(looks % PEAK_LOOKS, Relaxed);
        (peak.max(before).max(1) + SPARE).saturating_sub(busy).clamp(1, most)
    }

    pub(crate) fn speaks(&self, protocol: Protocol) {
        self.protocol.store(protocol as u8, Relaxed);
    }
}
