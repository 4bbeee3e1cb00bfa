//! What the node counts. One table per worker and one per site and worker; the Python side reads their sums.
//!
//! Labels are bounded by construction: outcomes, status classes, protocols and refusal reasons are enums, sites come
//! from the configuration.

use std::sync::Arc;

use headland_cache::Outcome;
use parking_lot::Mutex;

use crate::counter::{Counter, Histogram};
use crate::h1::Reason;
use crate::worker;

/// Status classes: index 0 is 1xx, 4 is 5xx.
pub const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// How the client spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    H1,
    H2,
    H3,
}

impl Protocol {
    pub const WORDS: [&str; 3] = ["h1", "h2", "h3"];

    pub const fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }

    /// As in the request line and Via.
    pub const fn version(self, http10: bool) -> &'static str {
        match self {
            Protocol::H1 if http10 => "HTTP/1.0",
            Protocol::H1 => "HTTP/1.1",
            Protocol::H2 => "HTTP/2",
            Protocol::H3 => "HTTP/3",
        }
    }
}

/// Refused requests, by reason.
#[derive(Debug)]
pub struct Refused(pub [Counter; Reason::ALL.len()]);

impl Default for Refused {
    fn default() -> Self {
        Refused(std::array::from_fn(|_| Counter::default()))
    }
}

/// What one worker counts, whatever the site.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerMetrics {
    pub ttfb: [Histogram; Outcome::WORDS.len()],
    pub duration: [Histogram; Outcome::WORDS.len()],
    pub response_bytes: [Counter; Outcome::WORDS.len()],
    pub refused: Refused,
    pub collapsed: Counter,
    pub stored: Counter,
    pub not_stored: Counter,
    /// Parts of responses that are stored apart.
    pub parts_stored: Counter,
    /// Responses that came back from disk.
    pub disk_hits: Counter,
    /// Times an origin continued a body that it had broken off.
    pub resumed: Counter,
    pub origin_bytes: Counter,
    pub origin_ttfb: Histogram,
    pub connections_accepted: Counter,
    pub connections_closed: Counter,
    pub connections_refused: Counter,
    /// HTTP/2 connections ended because their client only kept them busy.
    pub connections_flooded: Counter,
    pub connections: [Counter; Protocol::WORDS.len()],
    pub tls_full: Counter,
    pub tls_resumed: Counter,
    pub tls_failed: Counter,
    pub quic: QuicMetrics,
    pub peers: PeerMetrics,
}

/// What is counted of the nodes that own keys together.
#[derive(Debug, Default)]
pub struct PeerMetrics {
    /// Requests that a peer answered for us.
    pub relayed: Counter,
    /// Responses that were fetched through a peer, to be kept.
    pub copied: Counter,
    /// Times that a peer gave no answer.
    pub failed: Counter,
    /// Answers of peers that a purge known here had outdated.
    pub outdated: Counter,
    /// Requests of peers.
    pub served: Counter,
    /// Peers that were told what an unsafe request has changed, and those that could not be in time.
    pub told: Counter,
    pub untold: Counter,
}

/// What QUIC counts; but for Retry, when a connection ends.
#[derive(Debug, Default)]
pub struct QuicMetrics {
    /// Clients that were asked to prove their address first.
    pub retries: Counter,
    /// Handshakes refused to addresses that are proven, and began too many.
    pub handshakes_refused: Counter,
    /// Priorities that clients changed, and older ones that had to be forgotten for them.
    pub priority_updates: Counter,
    pub priorities_forgotten: Counter,
    /// Requests in early data that were answered at once, and those that had to wait for the end of the handshake.
    pub early_answered: Counter,
    pub early_waited: Counter,
    /// New addresses of clients that were proven.
    pub migrations: Counter,
    pub datagrams_sent: Counter,
    /// System calls that sent them.
    pub sends: Counter,
    pub datagrams_received: Counter,
    pub packets_sent: Counter,
    pub packets_lost: Counter,
    /// The smoothed round-trip time, at the end of each connection.
    pub rtt: Histogram,
}

/// What one worker counts for one site.
#[derive(Debug, Default)]
#[repr(align(128))]
struct SiteShard {
    requests: [[[Counter; Protocol::WORDS.len()]; STATUS_CLASSES.len()]; Outcome::WORDS.len()],
}

/// Requests of one site, by outcome, status class and protocol.
#[derive(Debug)]
pub struct SiteMetrics {
    pub name: Box<str>,
    shards: Box<[SiteShard]>,
}

impl SiteMetrics {
    pub fn count(&self, outcome: Outcome, status: u16, protocol: Protocol) {
        let class = usize::from(status / 100).clamp(1, STATUS_CLASSES.len()) - 1;
        self.shards[worker::index()].requests[outcome.index()][class][protocol as usize].bump();
    }

    /// Every combination that occurred: (outcome, status class, protocol, count).
    pub fn totals(&self) -> Vec<(&'static str, &'static str, &'static str, u64)> {
        let mut rows = Vec::new();
        for (o, outcome) in Outcome::WORDS.into_iter().enumerate() {
            for (c, class) in STATUS_CLASSES.into_iter().enumerate() {
                for (p, protocol) in Protocol::WORDS.into_iter().enumerate() {
                    let count = self.shards.iter().map(|shard| shard.requests[o][c][p].get()).sum();
                    if count > 0 {
                        rows.push((outcome, class, protocol, count));
                    }
                }
            }
        }
        rows
    }
}

/// All counters of a node.
#[derive(Debug)]
pub struct Metrics {
    workers: Box<[WorkerMetrics]>,
    /// Sites keep their counters over reloads, by name.
    sites: Mutex<Vec<Arc<SiteMetrics>>>,
    /// Requests that no site answers for.
    pub unknown_site: Arc<SiteMetrics>,
}

impl Metrics {
    #[must_use]
    pub fn new(workers: u16) -> Self {
        let workers = usize::from(workers.max(1));
        let unknown_site = Arc::new(Self::make_site("-", workers));
        Metrics {
            workers: std::iter::repeat_with(WorkerMetrics::default).take(workers).collect(),
            sites: Mutex::new(vec![unknown_site.clone()]),
            unknown_site,
        }
    }

    fn make_site(name: &str, workers: usize) -> SiteMetrics {
        SiteMetrics { name: name.into(), shards: std::iter::repeat_with(SiteShard::default).take(workers).collect() }
    }

    /// The calling worker's own counters.
    pub fn here(&self) -> &WorkerMetrics {
        &self.workers[worker::index()]
    }

    pub fn workers(&self) -> &[WorkerMetrics] {
        &self.workers
    }

    /// The counters of the site called `name`, kept when it was known before.
    pub fn site(&self, name: &str) -> Arc<SiteMetrics> {
        let mut sites = self.sites.lock();
        if let Some(known) = sites.iter().find(|site| &*site.name == name) {
            return known.clone();
        }
        let site = Arc::new(Self::make_site(name, self.workers.len()));
        sites.push(site.clone());
        site
    }

    pub fn sites(&self) -> Vec<Arc<SiteMetrics>> {
        self.sites.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_keeps_its_counters_when_it_is_asked_for_again() {
        let metrics = Metrics::new(2);
        metrics.site("a").count(Outcome::Hit, 200, Protocol::H2);
        metrics.site("a").count(Outcome::Hit, 204, Protocol::H2);
        assert_eq!(metrics.site("a").totals(), [("hit", "2xx", "h2", 2)]);
        assert_eq!(metrics.sites().len(), 2);
    }
}
