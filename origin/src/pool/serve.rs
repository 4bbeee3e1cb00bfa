//! Who gets what: lending, opening within the bounds, and the turns of those who wait.

use std::hash::Hash;
use std::time::Instant;

use super::ahead::TURN_AFTER;
use super::{Connection, ConnectionId, Event, Grant, Node, Phase, Pool, Retirement, Share, Source, Ticket};
use crate::arena::Key;

impl<I: Clone + Eq + Hash, C: Share> Pool<I, C> {
    /// What the node can have at this moment.
    pub(super) fn obtain(&mut self, node: Key, source: Source, worker: u16, now: Instant) -> Option<Grant<C>> {
        self.retire_aged(node, now);
        if let Some(key) = self.shared_with_room(node) {
            return Some(self.lend(key));
        }
        if source == Source::Fresh {
            let entry = &self.nodes[node];
            if entry.open >= entry.limits.connections_max
                && let Some(&oldest) = entry.idle.first()
                && entry.open > 1
            {
                self.close(oldest, Retirement::MadeRoom);
            }
            if let Some(grant) = self.open_one(node, worker, now) {
                return Some(grant);
            }
        }
        if let Some(key) = self.next_idle(node, worker, now) {
            return Some(self.lend(key));
        }
        self.open_one(node, worker, now)
    }

    pub(super) fn open_one(&mut self, node: Key, worker: u16, now: Instant) -> Option<Grant<C>> {
        if !self.may_open(node) {
            return None;
        }
        // Counted before room is made: should its own last idle connection have to go, the node stays.
        self.nodes[node].open += 1;
        if !self.make_room() {
            self.nodes[node].open -= 1;
            return None;
        }
        self.nodes[node].connecting += 1;
        let key = self.connections.insert(Connection {
            node,
            handle: None,
            exchanges: 1,
            phase: Phase::Connecting,
            worker,
            retire_at: now,
            idle_since: None,
            idle_until: None,
        });
        Some(Grant::Open(ConnectionId(key)))
    }

    /// The oldest shared connection that can carry more, so that spare ones fall idle and go.
    fn shared_with_room(&self, node: Key) -> Option<Key> {
        let exchanges_max = self.exchanges_max(node);
        let has_room = |key: &Key| self.connections[*key].exchanges < exchanges_max;
        self.nodes[node].shared.iter().copied().find(has_room)
    }

    /// What each shared connection of the node may carry. A new one does not know yet what its peer admits; those
    /// beside it, to the same peer, do. A peer that admits nothing at this moment holds the first exchange back itself.
    pub(super) fn exchanges_max(&self, node: Key) -> u32 {
        let of_one = |key: &Key| self.connections[*key].handle.as_ref().map_or(1, Share::exchanges_max);
        self.nodes[node].shared.iter().map(of_one).min().unwrap_or(1).max(1)
    }

    /// The newest idle connection of the worker's own, else the newest of anyone's, so that the rest can shrink. But
    /// those that are to be kept take turns.
    fn next_idle(&self, node: Key, worker: u16, now: Instant) -> Option<Key> {
        let Node { idle, kept, .. } = &self.nodes[node];
        let oldest = *idle.first()?;
        let since = self.connections[oldest].idle_since;
        let is_long = since.is_some_and(|since| now.saturating_duration_since(since) >= TURN_AFTER);
        if is_long && idle.len() <= *kept as usize {
            return Some(oldest);
        }
        let own = idle.iter().rev().find(|key| self.connections[**key].worker == worker);
        own.or(idle.last()).copied()
    }

    fn lend(&mut self, key: Key) -> Grant<C> {
        self.wake(key);
        let connection = &mut self.connections[key];
        connection.exchanges += 1;
        let handle = match connection.phase {
            Phase::Shared => connection.handle.as_ref().and_then(Share::share),
            _ => connection.handle.take(),
        };
        Grant::Reuse(ConnectionId(key), handle.expect("what is lendable has a handle to lend"))
    }

    /// The node's own bounds admit one more connection.
    fn may_open(&self, node: Key) -> bool {
        let entry = &self.nodes[node];
        let expects_shared = entry.limits.sharing && entry.connecting > 0;
        entry.open < entry.limits.connections_max && !expects_shared
    }

    /// Under the total bound there is a place, if need be that of the idle connection that would expire first.
    fn make_room(&mut self) -> bool {
        if self.connections.len() < self.totals.connections_max as usize {
            return true;
        }
        let Some(&(_, key)) = self.idle.first() else { return false };
        self.close(key, Retirement::MadeRoom);
        true
    }

    pub(super) fn end_exchange(&mut self, key: Key, now: Instant) {
        self.tick(now);
        let connection = &mut self.connections[key];
        assert!(connection.exchanges > 0, "an exchange ends once");
        connection.exchanges -= 1;
        let node = connection.node;
        if connection.exchanges == 0 {
            if now >= connection.retire_at {
                self.retire(key, Retirement::Lifetime);
            }
            self.rest(key, now);
        }
        self.settle(node, now);
    }

    /// The connection has no exchange: it becomes idle, or goes if it is lent no more.
    fn rest(&mut self, key: Key, now: Instant) {
        let connection = &mut self.connections[key];
        if connection.phase == Phase::Retired {
            self.remove(key);
            return;
        }
        let node = &mut self.nodes[connection.node];
        let until = connection.retire_at.min(now + node.limits.idle);
        connection.idle_since = Some(now);
        connection.idle_until = Some(until);
        node.idle.push(key);
        self.idle.insert((until, key));
    }

    /// The connection is idle no more.
    fn wake(&mut self, key: Key) {
        let connection = &mut self.connections[key];
        let Some(until) = connection.idle_until.take() else { return };
        self.idle.remove(&(until, key));
        let idle = &mut self.nodes[connection.node].idle;
        let place = idle.iter().rposition(|&other| other == key).expect("an idle connection is its node's");
        idle.remove(place);
    }

    /// Gives the node's waiters their turns, holds the bounds on idle ones, then lets others have what is left.
    pub(super) fn settle(&mut self, node: Key, now: Instant) {
        if let Some(place) = self.poorer_place(node) {
            self.serve_turn(place, now);
        }
        self.serve(node, now);
        self.trim(node);
        while !self.blocked.is_empty() && self.serve_turn(0, now) {}
        self.forget_if_unused(node);
    }

    fn serve(&mut self, node: Key, now: Instant) {
        while let Some(&waiter) = self.nodes[node].waiters.front() {
            let Some(grant) = self.obtain(node, Source::Any, waiter.worker, now) else { break };
            self.nodes[node].waiters.pop_front();
            self.waiting -= 1;
            self.events.push(Event::Granted(Ticket { serial: waiter.serial, node }, grant));
        }
        self.enrol_if_blocked(node);
    }

    /// Who waits for a place while this node, itself waited for, holds at least two more than they do. Moving a
    /// place then evens things out; with a smaller difference it would only move back, a handshake each time.
    fn poorer_place(&self, node: Key) -> Option<usize> {
        let entry = &self.nodes[node];
        if entry.waiters.is_empty() {
            return None;
        }
        self.blocked.iter().position(|&other| self.nodes[other].open + 1 < entry.open)
    }

    /// Waiters that lack only a place under the total bound take turns by node.
    pub(super) fn enrol_if_blocked(&mut self, node: Key) {
        let entry = &self.nodes[node];
        if entry.waiters.is_empty() || entry.blocked || !self.may_open(node) {
            return;
        }
        self.nodes[node].blocked = true;
        self.blocked.push_back(node);
    }

    /// The turn of one node that waits for a place. False when there is none to be had.
    fn serve_turn(&mut self, place: usize, now: Instant) -> bool {
        let node = self.blocked[place];
        let waiter = self.nodes[node].waiters.front().copied();
        let mut granted = None;
        if let Some(waiter) = waiter
            && self.may_open(node)
        {
            let Some(grant) = self.obtain(node, Source::Any, waiter.worker, now) else { return false };
            granted = Some((waiter, grant));
        }
        self.blocked.remove(place);
        self.nodes[node].blocked = false;
        if let Some((waiter, grant)) = granted {
            let reuses = matches!(grant, Grant::Reuse(..));
            self.nodes[node].waiters.pop_front();
            self.waiting -= 1;
            self.events.push(Event::Granted(Ticket { serial: waiter.serial, node }, grant));
            if reuses {
                // It took no place after all, and where one could be lent more may be.
                self.serve(node, now);
            }
            self.enrol_if_blocked(node);
        }
        true
    }

    /// Closes the oldest idle connections above the bounds, the node's own first.
    fn trim(&mut self, node: Key) {
        while let Some(entry) = self.nodes.get(node)
            && entry.idle.len() > entry.limits.idle_max as usize
        {
            self.close(entry.idle[0], Retirement::Surplus);
        }
        while self.idle.len() > self.totals.idle_max as usize {
            let &(_, key) = self.idle.first().expect("more than none are idle");
            self.close(key, Retirement::Surplus);
        }
    }

    fn retire_aged(&mut self, node: Key, now: Instant) {
        let aged =
            |pool: &Self| pool.nodes[node].shared.iter().copied().find(|&key| pool.connections[key].retire_at <= now);
        while let Some(key) = aged(self) {
            self.retire(key, Retirement::Lifetime);
        }
    }

    /// The connection is lent out no more; it goes with its last exchange.
    pub(super) fn retire(&mut self, key: Key, why: Retirement) {
        let connection = &mut self.connections[key];
        if connection.phase == Phase::Shared {
            self.nodes[connection.node].shared.retain(|&other| other != key);
        }
        connection.phase = Phase::Retired;
        if let Some(handle) = connection.handle.take() {
            self.events.push(Event::Close(handle, why));
        }
    }

    /// Ends an idle connection.
    pub(super) fn close(&mut self, key: Key, why: Retirement) {
        self.wake(key);
        let connection = &mut self.connections[key];
        assert_eq!(connection.exchanges, 0, "only an idle connection is closed");
        let handle = connection.handle.take().expect("an idle connection has its handle");
        self.events.push(Event::Close(handle, why));
        let node = connection.node;
        self.nodes[node].shared.retain(|&other| other != key);
        self.remove(key);
        self.forget_if_unused(node);
    }

    pub(super) fn remove(&mut self, key: Key) {
        let connection = self.connections.remove(key).expect("a connection is removed once");
        self.nodes[connection.node].open -= 1;
    }
}
