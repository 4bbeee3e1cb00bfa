//! The pool behind its one lock, and the lease: the right to an exchange, which cannot be forgotten.
//!
//! The lock is held for one call of the pure machine and never across an await. What the call meant for others is
//! done after it is released: waiters get their leases, retired connections are dropped. A lease reports its end to
//! the pool whichever way it ends; one that was granted and not used, because the request went away in that moment,
//! gives its healthy connection back.
//!
//! Nothing runs per idle connection: while any is idle, one task closes those that expire.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::client::is_alive;
use crate::connect::Endpoint;
use crate::counters::{Count, Counters};
use crate::error::{Deadline, Fault, FetchError, Phase};
use crate::exchange::Connection;
use crate::h2;
use crate::pool::{ConnectionId, Event, Grant, Limits, Pool, Retirement, Share, Take, Ticket, Totals};
use crate::warmth::Seen;

/// A worker that there is not: what was opened ahead is nobody's own.
const WORKER_NONE: u16 = u16::MAX;
/// Expired connections are looked for at most this often.
const REAP_EVERY: Duration = Duration::from_secs(1);

impl Share for Connection {
    fn share(&self) -> Option<Self> {
        match self {
            Connection::H1(_) => None,
            Connection::H2(handle) => Some(Connection::H2(handle.clone())),
        }
    }

    fn exchanges_max(&self) -> u32 {
        match self {
            Connection::H1(_) => 1,
            Connection::H2(handle) => u32::try_from(handle.capacity()).unwrap_or(u32::MAX),
        }
    }
}

/// How a connection is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    pub(crate) limits: Limits,
    pub(crate) worker: u16,
    /// A kept connection has just proved to be dead: a new one is wanted.
    pub(crate) fresh: bool,
    /// When it is asked for.
    pub(crate) now: Instant,
    pub(crate) until: Instant,
}

pub(crate) struct SharedPool {
    state: Mutex<State>,
    counters: Arc<Counters>,
}

struct State {
    pool: Pool<Endpoint, Connection>,
    waiters: HashMap<Ticket, oneshot::Sender<Lease>>,
    reaping: bool,
}

/// Connections at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Connections {
    pub open: usize,
    pub idle: usize,
    /// Requests that wait for one.
    pub waiting: usize,
}

impl SharedPool {
    pub(crate) fn new(totals: Totals, counters: Arc<Counters>) -> Arc<Self> {
        let state = State { pool: Pool::new(totals), waiters: HashMap::new(), reaping: false };
        Arc::new(SharedPool { state: Mutex::new(state), counters })
    }

    pub(crate) fn connections(&self) -> Connections {
        let state = self.state.lock();
        Connections { open: state.pool.open(), idle: state.pool.idle(), waiting: state.pool.waiting() }
    }

    /// Closes everything idle.
    pub(crate) fn drain(self: &Arc<Self>) {
        self.with(|state, _| state.pool.drain());
    }

    /// The idle connections to an endpoint, newest first; dead ones are closed.
    pub(crate) fn inspect(self: &Arc<Self>, endpoint: &Endpoint, kept: u32) -> SmallVec<[Seen; 8]> {
        self.with(|state, now| state.pool.inspect(endpoint, kept, is_alive, now.into_std()))
    }

    /// The right to open one more connection before anybody asks for it, if there is a place to spare.
    pub(crate) fn open_ahead(self: &Arc<Self>, endpoint: &Endpoint, limits: Limits) -> Option<Lease> {
        let id = self.with(|state, now| state.pool.open_ahead(endpoint, limits, WORKER_NONE, now.into_std()))?;
        Some(Lease::new(self.clone(), Grant::Open(id), WORKER_NONE))
    }

    /// A lease on a live connection, or on one that is to be opened.
    pub(crate) async fn acquire(self: &Arc<Self>, endpoint: &Endpoint, demand: Demand) -> Result<Lease, FetchError> {
        loop {
            let mut lease = self.take(endpoint, demand).await?;
            if lease.is_connecting() || lease.revive(demand.worker) {
                return Ok(lease);
            }
            self.counters.found_dead();
        }
    }

    async fn take(self: &Arc<Self>, endpoint: &Endpoint, demand: Demand) -> Result<Lease, FetchError> {
        let taken = self.with_at(demand.now, |state, now| {
            let Demand { limits, worker, fresh, .. } = demand;
            let take = if fresh {
                state.pool.take_fresh(endpoint, limits, worker, now.into_std())
            } else {
                state.pool.take(endpoint, limits, worker, now.into_std())
            };
            match take {
                Take::Granted(grant) => Ok(Lease::new(self.clone(), grant, worker)),
                Take::Wait(ticket) => {
                    let (sender, receiver) = oneshot::channel();
                    state.waiters.insert(ticket, sender);
                    Err(Some(Waiting { pool: self, ticket, receiver }))
                }
                Take::QueueFull => Err(None),
            }
        });
        match taken {
            Ok(lease) => Ok(lease),
            Err(Some(waiting)) => {
                self.counters.count(Count::Queued);
                waiting.until(demand).await
            }
            Err(None) => {
                self.counters.count(Count::QueueRefused);
                Err(FetchError::new(Fault::QueueFull, Phase::Queue))
            }
        }
    }

    /// One call of the machine, and after it what it meant for others.
    fn with<R>(self: &Arc<Self>, call: impl FnOnce(&mut State, Instant) -> R) -> R {
        self.with_at(Instant::now(), call)
    }

    fn with_at<R>(self: &Arc<Self>, now: Instant, call: impl FnOnce(&mut State, Instant) -> R) -> R {
        let mut state = self.state.lock();
        let result = call(&mut state, now);
        let events = state.pool.take_events();
        let mut retired = Vec::new();
        let mut granted = Vec::new();
        for event in events {
            match event {
                Event::Close(connection, why) => {
                    self.counters.closed(why);
                    retired.push(connection);
                }
                Event::Granted(ticket, grant) => {
                    let sender = state.waiters.remove(&ticket).expect("a ticket that is granted has its waiter");
                    granted.push((sender, grant));
                }
            }
        }
        let reap = !state.reaping && state.pool.idle() > 0;
        drop(state);
        drop(retired);
        for (sender, grant) in granted {
            // A waiter that has gone in this moment leaves the lease to be dropped here, which gives it back.
            let _ = sender.send(Lease::new(self.clone(), grant, 0));
        }
        if reap {
            self.reap();
        }
        result
    }

    /// Starts the task that closes what expires, on the runtime at hand.
    fn reap(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if std::mem::replace(&mut self.state.lock().reaping, true) {
            return;
        }
        let mut reaper = Reaper { pool: Arc::downgrade(self), done: false };
        runtime.spawn(async move {
            while let Some(next) = reaper.round() {
                sleep_until(next).await;
            }
        });
    }
}

/// The task's hold on the pool. Should its runtime end, another one may start a new task.
struct Reaper {
    pool: Weak<SharedPool>,
    done: bool,
}

impl Reaper {
    /// Closes what has expired. When to come again; `None` when nothing is idle, or the pool is gone.
    fn round(&mut self) -> Option<Instant> {
        let pool = self.pool.upgrade()?;
        let next = pool.with(|state, now| {
            state.pool.tick(now.into_std());
            let next = state.pool.next_tick();
            // Said under the lock: who makes the next connection idle starts the next task.
            state.reaping = next.is_some();
            next.map(|next| Instant::from_std(next).max(now + REAP_EVERY))
        });
        self.done = next.is_none();
        next
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade()
            && !self.done
        {
            pool.state.lock().reaping = false;
        }
    }
}

/// A place in the queue; leaving early gives it up.
struct Waiting<'a> {
    pool: &'a Arc<SharedPool>,
    ticket: Ticket,
    receiver: oneshot::Receiver<Lease>,
}

impl Waiting<'_> {
    async fn until(mut self, demand: Demand) -> Result<Lease, FetchError> {
        match timeout_at(demand.until, &mut self.receiver).await {
            Ok(Ok(mut lease)) => {
                lease.worker = demand.worker;
                Ok(lease)
            }
            Ok(Err(_)) => Err(FetchError::new(Fault::Canceled, Phase::Queue)),
            Err(_) => Err(FetchError::timeout(Deadline::Queue, Phase::Queue)),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        if state.pool.give_up(self.ticket) {
            state.waiters.remove(&self.ticket);
        }
    }
}

/// The right to one exchange on one connection.
pub(crate) struct Lease {
    pool: Arc<SharedPool>,
    id: ConnectionId,
    hold: Hold,
    worker: u16,
    reused: bool,
}

enum Hold {
    /// The connection is to be opened.
    Connecting,
    /// The connection is here.
    Ready(Connection),
    /// An exchange has it; of a shared one this handle tells whether it stands.
    Lent(Option<h2::Handle>),
    Ended,
}

impl Lease {
    fn new(pool: Arc<SharedPool>, grant: Grant<Connection>, worker: u16) -> Self {
        match grant {
            Grant::Open(id) => Lease { pool, id, hold: Hold::Connecting, worker, reused: false },
            Grant::Reuse(id, connection) => Lease { pool, id, hold: Hold::Ready(connection), worker, reused: true },
        }
    }

    pub(crate) fn is_connecting(&self) -> bool {
        matches!(self.hold, Hold::Connecting)
    }

    /// The connection had served before.
    pub(crate) fn is_reused(&self) -> bool {
        self.reused
    }

    /// The connection is open.
    pub(crate) fn connected(&mut self, connection: Connection) {
        let shared = connection.share();
        self.hold = Hold::Ready(connection);
        self.pool.with(|state, now| state.pool.connected(self.id, shared, now.into_std()));
    }

    /// Makes a kept connection ready for use on this thread. If it proves dead the lease is over.
    fn revive(&mut self, worker: u16) -> bool {
        self.worker = worker;
        let alive = match &mut self.hold {
            // Asked before it moves: the thread that it comes from has heard more than this one.
            Hold::Ready(Connection::H1(connection)) => connection.is_alive() && connection.rehome().is_ok(),
            Hold::Ready(Connection::H2(handle)) => handle.is_usable(),
            _ => true,
        };
        if !alive {
            self.close();
        }
        alive
    }

    /// The connection, for the exchange.
    pub(crate) fn lend(&mut self) -> Connection {
        let Hold::Ready(connection) = std::mem::replace(&mut self.hold, Hold::Ended) else {
            unreachable!("a lease is lent once, when its connection is here")
        };
        let shared = if let Connection::H2(handle) = &connection { Some(handle.clone()) } else { None };
        self.hold = Hold::Lent(shared);
        connection
    }

    /// The exchange ended well and the connection may serve again.
    pub(crate) fn put_back(mut self, connection: Connection) {
        self.hold = Hold::Ready(connection);
    }

    fn close(&mut self) {
        self.hold = Hold::Ended;
        self.pool.with(|state, now| state.pool.closed(self.id, now.into_std()));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let id = self.id;
        match std::mem::replace(&mut self.hold, Hold::Ended) {
            Hold::Ended => {}
            Hold::Connecting => self.pool.with(|state, now| state.pool.failed(id, now.into_std())),
            Hold::Ready(Connection::H2(handle)) | Hold::Lent(Some(handle)) if handle.is_usable() => {
                self.pool.with(|state, now| state.pool.stream_ended(id, now.into_std()));
            }
            Hold::Ready(connection @ Connection::H1(_)) => {
                self.pool.with(|state, now| state.pool.put_back(id, connection, self.worker, now.into_std()));
            }
            Hold::Lent(None) => {
                self.pool.counters.closed(Retirement::Broken);
                self.close();
            }
            Hold::Ready(Connection::H2(_)) | Hold::Lent(Some(_)) => self.close(),
        }
    }
}

/// The moment `limit` from now, but not after `latest`.
pub(crate) fn within(limit: Duration, latest: Instant) -> Instant {
    (Instant::now() + limit).min(latest)
}
