//! A group of servers that give the same answers, compiled from its settings, with what is known of each server.
//!
//! A group is immutable but for its servers' state (load, health, protocol) and its turns. State belongs to the
//! server's identity: a reload that leaves a server as it was leaves its state as it was.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::affinity::{Affinity, Ties};
use crate::balance::{self, Balancer, Candidate};
use crate::eject::{Cause, Rules};
use crate::error::{Fault, FetchError, Phase};
use crate::exchange::Deadlines;
use crate::latency;
use crate::message::Request;
use crate::outlier::Shown;
use crate::pool::Limits;
use crate::retry::Budget;
use crate::settings::{ConcurrencySettings, GroupSettings, PoolSettings, SettingsError};
use crate::slow_start;

mod compile;
pub(crate) mod owner;
mod server;
#[cfg(test)]
pub(crate) mod tests;

/// A request is hedged when it takes longer than so many percent of those before.
const HEDGE_PERCENTILE: u32 = 95;

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
    /// Answers after which another server is asked.
    retried_statuses: Box<[u16]>,
    hedge_budget: Mutex<Budget>,
    /// None where no request is hedged.
    hedge_delay_min: Option<Duration>,
    concurrency: ConcurrencySettings,
    public_only: bool,
    early_data: bool,
    /// The longest body that is taken.
    body_bytes_max: u64,
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
    /// Nothing yet when another server had answered.
    Lost,
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
                requests_max: if self.is_bounded() { condition.requests_max(self.concurrency) } else { 0 },
            }
        };
        self.servers.iter().map(status).collect()
    }

    /// The URL of the settings by which a server goes.
    pub fn url(&self, place: usize) -> &Arc<str> {
        &self.servers[place].site.name
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

    /// The longest body of an answer that is taken, in bytes.
    pub(crate) fn body_bytes_max(&self) -> u64 {
        self.body_bytes_max
    }

    /// Addresses that a name leads to must be public.
    pub(crate) fn public_only(&self) -> bool {
        self.public_only
    }

    /// How long a request may wait for a connection.
    /// Whether what is safe may go out with a TLS handshake to this server.
    pub(crate) fn is_sent_early(&self, place: usize) -> bool {
        self.early_data && self.servers[place].takes_early_data()
    }

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
    /// another; it counts as at work from now on. An error when all have as much to do as they may.
    pub(crate) fn choose(
        &self,
        tried: &Tried,
        affinity: Affinity,
        now: Instant,
    ) -> Result<(usize, InFlight), FetchError> {
        if self.servers.len() == 1 && !self.is_bounded() {
            return Ok((0, self.begin(0)));
        }
        // Load is read and raised under one lock, or all workers would find the same server the least busy.
        let mut balancer = self.balancer.lock();
        let mut candidates = self.candidates(tried, now);
        self.pass_over_the_busy(&mut candidates)?;
        let is_bound = |candidate: &Candidate| Some(self.ties.bond(candidate.identity)) == affinity.bound;
        let bound = affinity.bound.and_then(|_| candidates.iter().position(is_bound));
        let bound = bound.filter(|&place| !candidates[place].ejected && !candidates[place].tried);
        let place =
            bound.or_else(|| balancer.pick(&candidates, affinity.key)).expect("a group has at least one server");
        Ok((place, self.begin(place)))
    }

    /// Another server for a request that `first` is at work on, if there is one in service that has room, and a hedge is
    /// paid for.
    pub(crate) fn choose_second(&self, first: usize, tried: &Tried, now: Instant) -> Option<(usize, InFlight)> {
        let mut balancer = self.balancer.lock();
        let mut candidates = self.candidates(tried, now);
        candidates[first].tried = true;
        self.pass_over_the_busy(&mut candidates).ok()?;
        let place = balancer.pick(&candidates, None).filter(|&place| !candidates[place].tried)?;
        let paid = !candidates[place].ejected && self.hedge_budget.lock().withdraw();
        paid.then(|| (place, self.begin(place)))
    }

    fn candidates(&self, tried: &Tried, now: Instant) -> SmallVec<[Candidate; 8]> {
        let candidate = |(place, server)| self.candidate(server, tried.contains(&place), now);
        self.servers.iter().enumerate().map(candidate).collect()
    }

    /// Requests at a time are bounded.
    fn is_bounded(&self) -> bool {
        self.concurrency.requests_max > 0 || self.concurrency.adaptive
    }

    /// Servers that have as much to do as they may count as tried. An error when no other is in service.
    fn pass_over_the_busy(&self, candidates: &mut [Candidate]) -> Result<(), FetchError> {
        if !self.is_bounded() {
            return Ok(());
        }
        let mut is_there_room = false;
        let mut is_one_busy = false;
        for (candidate, server) in candidates.iter_mut().zip(&self.servers) {
            let busy = candidate.in_flight >= server.requests_max(self.concurrency);
            is_there_room |= !busy && !candidate.ejected && !candidate.tried;
            is_one_busy |= busy;
            candidate.tried |= busy;
        }
        if is_there_room || !is_one_busy { Ok(()) } else { Err(FetchError::new(Fault::Overloaded, Phase::Queue)) }
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
        let own = self.show(place, showed, after, now);
        let rules = &self.ejection;
        if showed == Showed::Answer && rules.latency_factor == 0 {
            return None;
        }
        let (others, admitted) = self.others(place, now);
        let condition = &mut *self.servers[place].state.condition.lock();
        let health = &mut condition.health;
        // What a server answers counts against it only where others answer better.
        let in_a_row = match showed {
            Showed::Answer => None,
            Showed::Failure => Some(Cause::Failures),
            Showed::Error => Some(Cause::Errors).filter(|_| rules.error_percent > 0 && others.are_well()),
            Showed::Lost => Some(Cause::Latency).filter(|_| others.are_well()),
        };
        let cause = if in_a_row.is_some() && health.failed(now, rules, admitted) {
            in_a_row?
        } else if own.fails_more(others, rules.error_percent) && health.eject(now, rules, admitted) {
            Cause::Errors
        } else if own.is_slower(others, rules.latency_factor) && health.eject(now, rules, admitted) {
            Cause::Latency
        } else {
            return None;
        };
        condition.tally.clear();
        Some(cause)
    }

    /// Takes down what an attempt showed; what the server has shown by now.
    fn show(&self, place: usize, showed: Showed, after: Duration, now: Instant) -> Shown {
        let micros = after.as_micros() as u64;
        let state = &self.servers[place].state;
        let condition = &mut *state.condition.lock();
        // What one server shows is only ever held against what others do.
        let is_compared = self.servers.len() > 1;
        if is_compared {
            condition.tally.note(showed != Showed::Answer, micros, now);
        }
        let floor = if showed == Showed::Failure { latency::FAILURE.as_micros() as u64 } else { 0 };
        condition.latency.observe(micros.max(floor), now);
        if showed == Showed::Answer {
            condition.health.succeeded(now, &self.ejection);
        }
        if self.concurrency.adaptive {
            match showed {
                Showed::Answer => condition.gradient.answered(micros, state.in_flight.load(Relaxed)),
                Showed::Error | Showed::Failure | Showed::Lost => condition.gradient.failed(),
            }
        }
        if is_compared { condition.tally.shown(now) } else { Shown::default() }
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

    /// A request came: it pays into the budgets for retries and hedges.
    pub(crate) fn pay_in(&self) {
        self.budget.lock().deposit();
        if self.hedge_delay_min.is_some() {
            self.hedge_budget.lock().deposit();
        }
    }

    /// How long the server is waited for before another one is asked as well; none where that is not wanted, or too little
    /// is known of the server.
    pub(crate) fn hedges_after(&self, place: usize) -> Option<Duration> {
        let least = self.hedge_delay_min.filter(|_| self.servers.len() > 1)?;
        let usual = self.servers[place].state.condition.lock().times.percentile(HEDGE_PERCENTILE)?;
        Some(usual.max(least))
    }

    /// A server took so long, connecting included.
    pub(crate) fn took(&self, place: usize, whole: Duration) {
        if self.hedge_delay_min.is_some() {
            self.servers[place].state.condition.lock().times.note(whole.as_micros() as u64);
        }
    }

    /// Another server is asked after an answer of this status.
    pub(crate) fn is_retried(&self, status: StatusCode) -> bool {
        self.retried_statuses.contains(&status.as_u16())
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
            retried_statuses: settings.retries.statuses.as_slice().into(),
            hedge_budget: Mutex::new(Budget::new(settings.hedge.percent)),
            hedge_delay_min: (settings.hedge.percent > 0).then(|| Duration::from_millis(settings.hedge.delay_min_ms)),
            concurrency: settings.concurrency,
            public_only: settings.public_only,
            early_data: settings.tls.early_data,
            body_bytes_max: match settings.response_body_bytes_max {
                0 => u64::MAX,
                most => most,
            },
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
