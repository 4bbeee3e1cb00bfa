//! A group of servers that give the same answers, compiled from its settings, with what is known of each server.
//!
//! A group is immutable but for its servers' state (load, health, protocol) and its turns. State belongs to the
//! server's identity: a reload that leaves a server as it was leaves its state as it was.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use http::HeaderValue;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::affinity::{Affinity, Ties};
use crate::balance::{self, Balancer, Candidate};
use crate::eject::{Cause, Rules};
use crate::exchange::Deadlines;
use crate::latency;
use crate::message::Request;
use crate::outlier::Shown;
use crate::pool::Limits;
use crate::retry::Budget;
use crate::settings::{GroupSettings, PoolSettings, SettingsError};
use crate::slow_start;

mod compile;
mod server;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use server::Protocol;
pub use server::ServerStatus;
pub(crate) use server::{InFlight, Server, ServerState, Site};

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

/// What an attempt showed of its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Showed {
    /// An answer.
    Answer,
    /// An answer that says that the server failed (500, 502, 503, 504).
    Error,
    /// The transport failed.
    Failure,
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
                down: condition.health.is_down(),
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
            ejected: condition.health.is_out(now),
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

    /// What an attempt showed of a server, after so long; why it is ejected, if it is by that.
    pub(crate) fn note(&self, place: usize, showed: Showed, after: Duration, now: Instant) -> Option<Cause> {
        let micros = after.as_micros() as u64;
        let failed = showed != Showed::Answer;
        let (own, on_probation) = {
            let condition = &mut *self.servers[place].state.condition.lock();
            condition.tally.note(failed, micros, now);
            let floor = if showed == Showed::Failure { latency::FAILURE.as_micros() as u64 } else { 0 };
            condition.latency.observe(micros.max(floor), now);
            if !failed {
                condition.health.succeeded(now, &self.ejection);
            }
            (condition.tally.shown(now), condition.health.is_on_probation())
        };
        if !failed && self.ejection.latency_factor == 0 {
            return None;
        }
        let (others, admitted) = self.others(place, now);
        let rules = &self.ejection;
        let condition = &mut *self.servers[place].state.condition.lock();
        let health = &mut condition.health;
        let relapsed = failed && on_probation && rules.error_percent > 0 && others.are_well();
        let cause = if showed == Showed::Failure && health.failed(now, rules, admitted) {
            Cause::Failures
        } else if (relapsed || own.fails_more(others, rules.error_percent)) && health.eject(now, rules, admitted) {
            Cause::Errors
        } else if own.is_slower(others, rules.latency_factor) && health.eject(now, rules, admitted) {
            Cause::Latency
        } else {
            return None;
        };
        condition.tally.clear();
        Some(cause)
    }

    /// What the other servers in service have shown, and whether one more may go.
    fn others(&self, place: usize, now: Instant) -> (Shown, bool) {
        let (mut shown, mut out) = (Shown::default(), 0);
        for (_, server) in self.servers.iter().enumerate().filter(|&(other, _)| other != place) {
            let condition = server.state.condition.lock();
            if condition.health.is_out(now) {
                out += 1;
            } else {
                shown = shown.and(condition.tally.shown(now));
            }
        }
        (shown, self.ejection.admit_another(out, self.servers.len()))
    }

    /// What active checks say of a server, by the URL of the settings; false when there is none.
    pub fn checked(&self, url: &str, down: bool, now: Instant) -> bool {
        let mut known = false;
        for server in self.servers.iter().filter(|server| *server.site.name == *url) {
            server.state.condition.lock().health.checked(down, now);
            known = true;
        }
        known
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
                error_percent: settings.ejection.error_percent,
                latency_factor: settings.ejection.latency_factor,
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
