//! Fetching: choose a server, get a connection, make the exchange, and again where that is safe.
//!
//! One client serves all worker threads. It decides nothing itself: [`crate::group`] says whom to ask,
//! [`crate::lease`] on which connection, [`crate::retry`] whether again. A request's deadlines are counted from the
//! moment it comes in, over all its attempts.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::affinity::Affinity;
use crate::counters::{Count, Counters, Snapshot};
use crate::error::FetchError;
use crate::exchange::{Deadlines, Home};
use crate::group::{Group, InFlight, Showed, Tried};
pub use crate::lease::Connections;
use crate::lease::SharedPool;
use crate::message::{Interim, Request, Response};
use crate::pool::Totals;
use crate::resolve::{FRESH, Resolver};
use crate::retry::{Verdict, blames_server, judge};
use crate::settings::PoolLimits;

mod keeper;
mod reach;
#[cfg(test)]
pub(crate) mod tests;

use keeper::Keeper;
pub(crate) use keeper::is_alive;
use reach::Way;

thread_local! {
    static WORKER: Cell<u16> = const { Cell::new(u16::MAX) };
}

/// Tells the pool which worker this thread is: its own idle connections are used first.
pub fn enter_worker(index: u16) {
    WORKER.set(index);
}

/// Everything that speaks to origins.
pub struct Client {
    pool: Arc<SharedPool>,
    resolver: Arc<Resolver>,
    counters: Arc<Counters>,
    keeper: Arc<Keeper>,
}

/// An attempt that failed.
struct Failed {
    error: FetchError,
    /// On a connection that had served before.
    reused: bool,
}

impl Failed {
    fn early(error: FetchError) -> Self {
        Failed { error, reused: false }
    }
}

/// Where a request stands between its attempts.
struct Course {
    ends: Instant,
    interim: Option<Interim>,
    affinity: Affinity,
    tried: Tried,
    /// Attempts still allowed.
    left: u32,
    /// A dead kept connection has been made good once already.
    refreshed: bool,
    /// The next attempt takes a new connection.
    fresh: bool,
}

impl Client {
    pub fn new(limits: PoolLimits) -> Arc<Self> {
        let counters = Arc::<Counters>::default();
        let totals = Totals { connections_max: limits.connections_max_total, idle_max: limits.idle_max_total };
        let pool = SharedPool::new(totals, counters.clone());
        Arc::new(Client { pool, resolver: Resolver::new(FRESH), counters, keeper: Arc::default() })
    }

    /// The answer of one of the group's servers. `interim` is given each 1xx answer but 100 and 101.
    pub async fn fetch(
        &self,
        group: &Arc<Group>,
        request: Request,
        interim: Option<Interim>,
    ) -> Result<Response, FetchError> {
        self.counters.count(Count::Request);
        let result = self.attempts(group, request, interim).await;
        match &result {
            Ok(response) => self.counters.first_byte(response.first_byte_micros),
            Err(error) => self.counters.failed(error),
        }
        result
    }

    pub fn counters(&self) -> Snapshot {
        self.counters.snapshot()
    }

    pub fn open_connections(&self) -> Connections {
        self.pool.connections()
    }

    /// Closes everything idle, as at the end of a drain.
    pub fn close_idle(&self) {
        self.keeper.end();
        self.pool.drain();
    }

    async fn attempts(
        &self,
        group: &Arc<Group>,
        mut request: Request,
        interim: Option<Interim>,
    ) -> Result<Response, FetchError> {
        group.pay_in();
        let mut now = Instant::now();
        let mut course = Course {
            ends: now + group.deadlines().total,
            interim,
            affinity: group.affinity(&request),
            tried: Tried::new(),
            left: group.attempts() - 1,
            refreshed: false,
            fresh: false,
        };
        let (mut place, mut in_flight) = group.choose(&course.tried, course.affinity, now.into_std());
        loop {
            let failed = match self.attempt(group, place, in_flight, &mut request, &course, now).await {
                Ok(mut response) => {
                    self.keeper.asked(group, place, now, &self.pool, &self.counters);
                    let micros = response.first_byte_micros;
                    let after = Duration::from_micros(micros);
                    self.noted(group, place, showed_by(response.status), after, now + after);
                    response.binding = group.binding(place, course.affinity);
                    return Ok(response);
                }
                Err(failed) => failed,
            };
            let after = now.elapsed();
            now += after;
            if blames_server(failed.reused, &failed.error) {
                self.noted(group, place, Showed::Failure, after, now);
            }
            if !self.goes_on(group, &mut course, &request, &failed) {
                return Err(failed.error);
            }
            if course.fresh {
                in_flight = group.begin(place);
            } else {
                course.tried.push(place);
                (place, in_flight) = group.choose(&course.tried, course.affinity, now.into_std());
            }
        }
    }

    fn noted(&self, group: &Group, place: usize, showed: Showed, after: Duration, now: Instant) {
        if let Some(cause) = group.note(place, showed, after, now.into_std()) {
            self.counters.ejected(cause);
        }
    }

    /// Whether another attempt is made, and of which kind.
    fn goes_on(&self, group: &Group, course: &mut Course, request: &Request, failed: &Failed) -> bool {
        let verdict = judge(&request.method, request.body.is_whole(), failed.reused, &failed.error);
        course.fresh = verdict == Verdict::Refresh && !course.refreshed;
        if course.fresh {
            course.refreshed = true;
            self.counters.count(Count::Refresh);
            return true;
        }
        let elsewhere = course.tried.len() + 1 < group.len();
        let hopeless = verdict == Verdict::GiveUp || verdict == Verdict::Elsewhere && !elsewhere;
        if hopeless || course.left == 0 || Instant::now() >= course.ends {
            return false;
        }
        course.left -= 1;
        if !group.pay_out() {
            self.counters.count(Count::RetryRefused);
            return false;
        }
        self.counters.count(Count::Retry);
        true
    }

    /// One try at one server; `now` is when it begins. The clock is read as seldom as can be: on this path it costs as
    /// much as parsing the answer.
    async fn attempt(
        &self,
        group: &Arc<Group>,
        place: usize,
        in_flight: InFlight,
        request: &mut Request,
        course: &Course,
        now: Instant,
    ) -> Result<Response, Failed> {
        let way = Way {
            now,
            pool: &self.pool,
            counters: &self.counters,
            group,
            server: group.server(place),
            upgrade: request.upgrade.is_some(),
            fresh: course.fresh,
            worker: WORKER.get(),
            ends: course.ends,
        };
        let mut lease = way.lease(&self.resolver).await.map_err(Failed::early)?;
        let reused = lease.is_reused();
        // A kept connection is there at once.
        let waited = if reused { Duration::ZERO } else { now.elapsed() };
        let connection = lease.lend();
        // The server is at work until its answer's body has ended, and so is the lease.
        let home: Home = Box::new(move |connection| {
            lease.put_back(connection);
            drop(in_flight);
        });
        let deadlines = Deadlines { total: course.ends.saturating_duration_since(now + waited), ..*group.deadlines() };
        let interim = course.interim.clone();
        let mut response =
            connection.exchange(request, &deadlines, interim, home).await.map_err(|error| Failed { error, reused })?;
        response.server = way.server.site.name.clone();
        response.reused = reused;
        response.connect_micros = micros(waited);
        if reused {
            self.counters.count(Count::Reused);
        }
        Ok(response)
    }
}

/// RFC 9110 section 15.6 has more, but these are what a server in trouble says.
fn showed_by(status: StatusCode) -> Showed {
    if matches!(status.as_u16(), 500 | 502 | 503 | 504) { Showed::Error } else { Showed::Answer }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
