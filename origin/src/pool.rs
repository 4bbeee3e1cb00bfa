//! The connection pool as a pure machine: no sockets, no clock, no lock.
//!
//! One pool serves all threads. It is told what happens (`take`, `connected`, `put_back`, `stream_ended`, `closed`,
//! `failed`, `give_up`, `tick`) and answers with what to do: reuse this connection, open a new one, wait. What an
//! input means for *others* (a waiter that gets its turn, a connection to be closed) comes out as events, which the
//! shell drains after each call and acts on once its lock is released.
//!
//! Model: an identity (compared whole) has connections. A connection is connecting, busy (lent out) or idle. An
//! exclusive one (HTTP/1.1) carries one exchange and its handle is moved out to the borrower; a shared one (HTTP/2)
//! carries many and its handle is cloned. Waiters of one identity are served in the order in which they came.
//!
//! Invariants, audited by the model test after every step: no bound is ever exceeded; the idle set is exactly the
//! connections without an exchange; nobody waits while something they may have is free; an identity without
//! connections and waiters is forgotten.

mod ahead;
mod serve;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use crate::arena::{Arena, Key};

/// What one identity may have. Given anew with every take, so that a reload applies at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once, those being opened counted.
    pub connections_max: u32,
    /// Idle connections kept.
    pub idle_max: u32,
    /// How long a connection may be idle.
    pub idle: Duration,
    /// How long after it was opened a connection is still lent out.
    pub lifetime: Duration,
    /// Requests that may wait for a connection.
    pub queue_max: u32,
    /// The endpoint may speak HTTP/2: while one connection is being opened, others wait for it.
    pub sharing: bool,
}

/// What all identities together may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    pub connections_max: u32,
    pub idle_max: u32,
}

/// A handle on an open connection. A shared one can be lent to several borrowers at once.
pub trait Share: Sized {
    /// Another handle on the same connection; `None` when it carries one exchange at a time.
    fn share(&self) -> Option<Self>;

    /// How many exchanges the connection carries at once, as the peer would have it at this moment.
    fn exchanges_max(&self) -> u32;
}

/// Names one connection from the decision to open it until its last exchange has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(Key);

/// Names one waiter. Tickets are issued in rising order and never twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    serial: u64,
    node: Key,
}

/// The right to one exchange on a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Grant<C> {
    /// Use this connection; report `put_back`, `stream_ended` or `closed` afterwards.
    Reuse(ConnectionId, C),
    /// Open one; report `connected` or `failed`.
    Open(ConnectionId),
}

/// The answer to `take`.
#[derive(Debug, PartialEq, Eq)]
pub enum Take<C> {
    Granted(Grant<C>),
    /// A grant will come as an event, unless the ticket is given up first.
    Wait(Ticket),
    QueueFull,
}

/// Why the pool wants a connection closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retirement {
    /// It was idle for as long as it may be.
    Idle,
    /// It is as old as it may become.
    Lifetime,
    /// A bound on idle connections was reached.
    Surplus,
    /// Its place under the total bound is needed by another identity.
    MadeRoom,
    /// The pool lets go of everything idle.
    Drained,
    /// A borrower reported that it carries no more exchanges.
    Broken,
}

/// What an input meant for others.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<C> {
    Granted(Ticket, Grant<C>),
    Close(C, Retirement),
}

struct Connection<C> {
    node: Key,
    /// The pool's own handle: of a shared connection always, of an exclusive one while it is idle.
    handle: Option<C>,
    /// Exchanges running on it; the one it is being opened for counts.
    exchanges: u32,
    phase: Phase,
    /// The worker that used it last.
    worker: u16,
    retire_at: Instant,
    idle_since: Option<Instant>,
    idle_until: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Exclusive,
    Shared,
    /// Lent out no more; gone with its last exchange.
    Retired,
}

/// What a taker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Any,
    Fresh,
}

struct Node<I> {
    identity: I,
    limits: Limits,
    open: u32,
    connecting: u32,
    /// Idle connections, newest last.
    idle: Vec<Key>,
    /// So many of them are kept ahead of need.
    kept: u32,
    /// Shared connections that may be lent, oldest first.
    shared: Vec<Key>,
    waiters: VecDeque<Waiter>,
    /// Stands in `Pool::blocked`.
    blocked: bool,
}

#[derive(Debug, Clone, Copy)]
struct Waiter {
    serial: u64,
    worker: u16,
}

pub struct Pool<I, C> {
    totals: Totals,
    index: HashMap<I, Key>,
    nodes: Arena<Node<I>>,
    connections: Arena<Connection<C>>,
    /// Every idle connection by the moment it ends: the first is the next to expire and the first to make room.
    idle: BTreeSet<(Instant, Key)>,
    /// Nodes whose waiters lack only a place under the total bound, in the order of their turns.
    blocked: VecDeque<Key>,
    waiting: usize,
    next_serial: u64,
    events: Vec<Event<C>>,
}

impl<I: Clone + Eq + Hash, C: Share> Pool<I, C> {
    pub fn new(totals: Totals) -> Self {
        Pool {
            totals,
            index: HashMap::new(),
            nodes: Arena::new(),
            connections: Arena::new(),
            idle: BTreeSet::new(),
            blocked: VecDeque::new(),
            waiting: 0,
            next_serial: 0,
            events: Vec::new(),
        }
    }

    /// A request of `worker` wants an exchange with `identity`.
    pub fn take(&mut self, identity: &I, limits: Limits, worker: u16, now: Instant) -> Take<C> {
        self.take_from(Source::Any, identity, limits, worker, now)
    }

    /// As `take`, but on a new connection if it can be: a kept one has just proved to be dead. Shared ones tell when
    /// they die, and may do.
    pub fn take_fresh(&mut self, identity: &I, limits: Limits, worker: u16, now: Instant) -> Take<C> {
        self.take_from(Source::Fresh, identity, limits, worker, now)
    }

    fn take_from(&mut self, source: Source, identity: &I, limits: Limits, worker: u16, now: Instant) -> Take<C> {
        self.tick(now);
        let key = self.node(identity, limits, now);
        // Who comes now does not overtake who waits.
        let granted = if self.nodes[key].waiters.is_empty() { self.obtain(key, source, worker, now) } else { None };
        if let Some(grant) = granted {
            return Take::Granted(grant);
        }
        let node = &mut self.nodes[key];
        if node.waiters.len() >= limits.queue_max as usize {
            self.forget_if_unused(key);
            return Take::QueueFull;
        }
        let serial = self.next_serial;
        self.next_serial += 1;
        node.waiters.push_back(Waiter { serial, worker });
        self.waiting += 1;
        self.enrol_if_blocked(key);
        Take::Wait(Ticket { serial, node: key })
    }

    /// The connection is open and the exchange it was opened for may begin. `shared` is the pool's own handle, when
    /// it carries several at once.
    pub fn connected(&mut self, id: ConnectionId, shared: Option<C>, now: Instant) {
        self.tick(now);
        let connection = &mut self.connections[id.0];
        assert_eq!(connection.phase, Phase::Connecting, "a connection connects once");
        let node = &mut self.nodes[connection.node];
        node.connecting -= 1;
        connection.retire_at = now + node.limits.lifetime;
        if let Some(handle) = shared {
            connection.phase = Phase::Shared;
            connection.handle = Some(handle);
            node.shared.push(id.0);
        } else {
            connection.phase = Phase::Exclusive;
            node.limits.sharing = false;
        }
        let node = connection.node;
        self.settle(node, now);
    }

    /// The connection could not be opened.
    pub fn failed(&mut self, id: ConnectionId, now: Instant) {
        self.tick(now);
        let connection = &self.connections[id.0];
        assert_eq!(connection.phase, Phase::Connecting, "a connection that was open is closed instead");
        let key = connection.node;
        let node = &mut self.nodes[key];
        node.connecting -= 1;
        // Those who waited for this one must not fail one after the other, each a connect deadline later.
        node.limits.sharing = false;
        self.remove(id.0);
        self.settle(key, now);
    }

    /// The exchange is over and an exclusive connection can carry another.
    pub fn put_back(&mut self, id: ConnectionId, handle: C, worker: u16, now: Instant) {
        let connection = &mut self.connections[id.0];
        assert_eq!(connection.phase, Phase::Exclusive, "only an exclusive handle comes back");
        connection.handle = Some(handle);
        connection.worker = worker;
        self.end_exchange(id.0, now);
    }

    /// One exchange on a shared connection is over, well or not; the connection stands.
    pub fn stream_ended(&mut self, id: ConnectionId, now: Instant) {
        assert_ne!(self.connections[id.0].phase, Phase::Exclusive, "an exclusive connection is put back or closed");
        self.end_exchange(id.0, now);
    }

    /// One exchange is over and the connection carries no other: it closed, broke, or is going away. Exchanges that
    /// still run on a shared one are left to end.
    pub fn closed(&mut self, id: ConnectionId, now: Instant) {
        assert_ne!(self.connections[id.0].phase, Phase::Connecting, "a connection that never opened has failed");
        self.retire(id.0, Retirement::Broken);
        self.end_exchange(id.0, now);
    }

    /// The waiter waits no longer. False when it has been granted already: the grant must then be used or returned.
    pub fn give_up(&mut self, ticket: Ticket) -> bool {
        let Some(node) = self.nodes.get_mut(ticket.node) else { return false };
        let Ok(place) = node.waiters.binary_search_by_key(&ticket.serial, |waiter| waiter.serial) else {
            return false;
        };
        node.waiters.remove(place);
        self.waiting -= 1;
        self.forget_if_unused(ticket.node);
        true
    }

    /// Closes what has been idle for too long.
    pub fn tick(&mut self, now: Instant) {
        while let Some(&(until, key)) = self.idle.first() {
            if until > now {
                return;
            }
            let why = if until >= self.connections[key].retire_at { Retirement::Lifetime } else { Retirement::Idle };
            self.close(key, why);
        }
    }

    /// Closes everything idle; what is lent out is unaffected.
    pub fn drain(&mut self) {
        while let Some(&(_, key)) = self.idle.first() {
            self.close(key, Retirement::Drained);
        }
    }

    /// When `tick` has something to do next.
    pub fn next_tick(&self) -> Option<Instant> {
        self.idle.first().map(|&(until, _)| until)
    }

    /// What the inputs since the last call meant for others.
    pub fn take_events(&mut self) -> Vec<Event<C>> {
        std::mem::take(&mut self.events)
    }

    /// Connections open, those being opened counted.
    pub fn open(&self) -> usize {
        self.connections.len()
    }

    pub fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Requests that wait for a connection.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    fn node(&mut self, identity: &I, limits: Limits, now: Instant) -> Key {
        if let Some(&key) = self.index.get(identity) {
            if self.nodes[key].limits != limits {
                self.nodes[key].limits = limits;
                // What others wait for may be allowed now, and what is idle too much.
                self.settle(key, now);
            }
            if self.nodes.get(key).is_some() {
                return key;
            }
        }
        let key = self.nodes.insert(Node {
            identity: identity.clone(),
            limits,
            open: 0,
            connecting: 0,
            idle: Vec::new(),
            kept: 0,
            shared: Vec::new(),
            waiters: VecDeque::new(),
            blocked: false,
        });
        self.index.insert(identity.clone(), key);
        key
    }

    fn forget_if_unused(&mut self, key: Key) {
        let Some(node) = self.nodes.get(key) else { return };
        if node.open > 0 || !node.waiters.is_empty() {
            return;
        }
        let node = self.nodes.remove(key).expect("looked at just now");
        if node.blocked {
            self.blocked.retain(|&other| other != key);
        }
        self.index.remove(&node.identity);
    }
}
