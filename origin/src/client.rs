//! Fetching: choose a server, get a connection, make the exchange, and again where that is safe.
//!
//! One client serves all worker threads. It decides nothing itself: [`crate::group`] says whom to ask,
//! [`crate::lease`] on which connection, [`crate::retry`] whether again. The attempts of one request follow each other in
//! [`course`]; [`hedge`] makes two at a time. A request's deadlines are counted from the
//! moment it comes in, over all its attempts.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::time::Instant;

use crate::counters::{Count, Counters, Snapshot};
use crate::early_data::EarlyData;
use crate::error::{FetchError, Phase};
use crate::exchange::{Deadlines, Home};
use crate::group::{Group, InFlight};
pub use crate::lease::Connections;
use crate::lease::SharedPool;
use crate::message::{Interim, Request, Response, too_long};
use crate::pool::Totals;
use crate::resolve::{FRESH, Resolver};
use crate::settings::PoolLimits;

mod course;
mod hedge;
mod keeper;
mod reach;
#[cfg(test)]
pub(crate) mod tests;
mod witness;

use course::Course;
use keeper::Keeper;
pub(crate) use keeper::is_alive;
use reach::Way;
pub(crate) use witness::Witness;

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
    /// The request had gone out with a TLS handshake.
    early: bool,
}

impl Failed {
    /// Without a connection.
    fn unconnected(error: FetchError, early: bool) -> Self {
        Failed { error, reused: false, early }
    }
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
        self.fetched(group, None, request, interim).await
    }

    /// The answer of this server of the group and of no other: who asks has chosen it.
    pub async fn fetch_from(
        &self,
        group: &Arc<Group>,
        place: usize,
        request: Request,
        interim: Option<Interim>,
    ) -> Result<Response, FetchError> {
        self.fetched(group, Some(place), request, interim).await
    }

    async fn fetched(
        &self,
        group: &Arc<Group>,
        only: Option<usize>,
        request: Request,
        interim: Option<Interim>,
    ) -> Result<Response, FetchError> {
        self.counters.count(Count::Request);
        let result = self.attempts(group, only, request, interim).await;
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
            early: if course.early && group.is_sent_early(place) { EarlyData::of(request) } else { None },
            worker: WORKER.get(),
            ends: course.ends,
        };
        let mut lease =
            way.lease(&self.resolver).await.map_err(|error| Failed::unconnected(error, way.sent_early()))?;
        let reused = lease.is_reused();
        let connection = lease.lend();
        let early = connection.early();
        // A kept connection is there at once.
        let out = if reused { now } else { early.map_or_else(Instant::now, |sent| sent.at) };
        let (waited, early) = (out.duration_since(now), early.is_some());
        // The server is at work until its answer's body has ended, and so is the lease.
        let home: Home = Box::new(move |connection| {
            lease.put_back(connection);
            drop(in_flight);
        });
        let deadlines = Deadlines { total: course.ends.saturating_duration_since(now + waited), ..*group.deadlines() };
        let interim = course.interim.clone();
        let mut response = connection.exchange(request, &deadlines, interim, home).await.map_err(|error| Failed {
            error,
            reused,
            early,
        })?;
        response.server = way.server.site.name.clone();
        response.reused = reused;
        response.early = early;
        let bytes_max = group.body_bytes_max();
        // To HEAD and in a 304 the length is that of a body which does not come.
        let comes = request.method != Method::HEAD && response.status != StatusCode::NOT_MODIFIED;
        if comes && response.length.is_some_and(|length| length > bytes_max) {
            return Err(Failed { error: too_long(Phase::Head), reused, early: false });
        }
        let (counters, group) = (self.counters.clone(), group.clone());
        response.body.witnessed_by(Witness { counters, group, place }, bytes_max);
        response.connect_micros = micros(waited);
        if reused {
            self.counters.count(Count::Reused);
        }
        Ok(response)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
