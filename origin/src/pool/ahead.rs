//! Connections opened ahead of need: what is idle is looked at, and one more may be opened where nobody loses by it.
//!
//! Those that are kept so take turns ([`TURN_AFTER`]): used now and then, none of them is idle for long enough that the
//! origin closes it, and none has to be replaced for that. What is idle beyond them is left to age.

use std::hash::Hash;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::{ConnectionId, Grant, Limits, Pool, Retirement, Share};
use crate::warmth::Seen;

/// A connection that is kept ahead of need and has been idle for so long goes first.
pub(super) const TURN_AFTER: Duration = Duration::from_secs(1);
/// Idle connections that are looked at, the newest ones.
pub const INSPECTED_MAX: usize = 32;

impl<I: Clone + Eq + Hash, C: Share> Pool<I, C> {
    /// The newest idle connections of an identity, of which so many are kept. Those that are not alive are closed.
    pub fn inspect(
        &mut self,
        identity: &I,
        kept: u32,
        mut is_alive: impl FnMut(&mut C) -> bool,
        now: Instant,
    ) -> SmallVec<[Seen; 8]> {
        self.tick(now);
        let mut seen = SmallVec::new();
        let Some(&node) = self.index.get(identity) else { return seen };
        self.nodes[node].kept = kept;
        let newest: SmallVec<[_; 8]> = self.nodes[node].idle.iter().rev().take(INSPECTED_MAX).copied().collect();
        for key in newest {
            let connection = &mut self.connections[key];
            let alive = is_alive(connection.handle.as_mut().expect("an idle connection has its handle"));
            let since = connection.idle_since.expect("an idle connection has been so since some moment");
            seen.push(Seen { idle: now.saturating_duration_since(since), alive });
            if !alive {
                self.close(key, Retirement::Broken);
            }
        }
        if self.nodes.get(node).is_some() {
            self.settle(node, now);
        }
        seen
    }

    /// One more connection, to be opened before anybody asks: none where that would cost somebody else a place, where
    /// requests wait already, or where it could not stay.
    pub fn open_ahead(&mut self, identity: &I, limits: Limits, worker: u16, now: Instant) -> Option<ConnectionId> {
        self.tick(now);
        let node = self.node(identity, limits, now);
        let entry = &self.nodes[node];
        let has_place = self.connections.len() < self.totals.connections_max as usize
            && self.idle.len() < self.totals.idle_max as usize
            && entry.idle.len() < entry.limits.idle_max as usize
            && entry.waiters.is_empty();
        let opened = if has_place { self.open_one(node, worker, now) } else { None };
        let Some(Grant::Open(id)) = opened else {
            self.forget_if_unused(node);
            return None;
        };
        Some(id)
    }
}
