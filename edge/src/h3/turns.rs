//! Who of a connection's answers is given room to send next (RFC 9218 section 10), when there is not enough for all.
//!
//! Those that wait stand in one order: the more urgent first; within an urgency what is of use only as a whole, in the
//! order of its requests, then what is of use in parts, by turns of so many bytes. Room is offered down that order. Whom
//! its own window holds up takes none of it, so it holds up nobody else; whom it does not takes all that it needs.
//!
//! Invariant: nobody takes room while somebody before it could.

use std::collections::{BTreeMap, BTreeSet};

use super::Priority;

/// Bytes that an answer sends before the next of its urgency, where they share.
const TURN_BYTES: u64 = 16 << 10;

/// Where one stands: urgency, whether it shares, what came first, stream.
type Place = (u8, bool, u64, u64);

#[derive(Debug)]
struct Waiter {
    place: Place,
    /// Bytes of its turn that it has sent.
    used: u64,
}

/// What became of an offer of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// So many bytes, and not all that waits: what was allowed, or all that there was room for.
    Part(u64),
    /// All that waits: more of it may be there in a moment.
    Whole,
    /// It wants no room any more.
    Gone,
}

#[derive(Debug, Default)]
pub struct Turns {
    order: BTreeSet<Place>,
    waiters: BTreeMap<u64, Waiter>,
    /// Turns that were given out.
    turn: u64,
}

impl Turns {
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Whether nobody who waits has to send before this one.
    pub fn is_free(&self, stream: u64, priority: Priority) -> bool {
        self.order.first().is_none_or(|first| place(stream, priority, self.turn) < *first)
    }

    /// It waits for room.
    pub fn enter(&mut self, stream: u64, priority: Priority) {
        self.leave(stream);
        self.turn += 1;
        let place = place(stream, priority, self.turn);
        self.order.insert(place);
        self.waiters.insert(stream, Waiter { place, used: 0 });
    }

    pub fn leave(&mut self, stream: u64) {
        if let Some(waiter) = self.waiters.remove(&stream) {
            self.order.remove(&waiter.place);
        }
    }

    /// The client wants it at another time; whether it waits.
    pub fn reorder(&mut self, stream: u64, priority: Priority) -> bool {
        let waits = self.waiters.contains_key(&stream);
        if waits {
            self.enter(stream, priority);
        }
        waits
    }

    /// Whether nobody who waits is before it.
    pub fn is_first(&self, stream: u64) -> bool {
        self.order.first().is_some_and(|first| first.3 == stream)
    }

    /// Offers room to everybody in order: a stream, and how many bytes it may take. It stops at one that took all it
    /// waited with, since what it has next goes before all behind it.
    pub fn offer(&mut self, mut room: impl FnMut(u64, Option<u64>) -> Taken) {
        let mut next = self.order.first().copied();
        while let Some(place) = next {
            let stream = place.3;
            let taken = room(stream, self.allowance(place));
            match taken {
                Taken::Part(bytes) => self.used(stream, bytes),
                Taken::Whole | Taken::Gone => self.leave(stream),
            }
            if taken == Taken::Whole {
                return;
            }
            // Who had its turn stands behind this place now, and is asked again.
            next = self.order.range((std::ops::Bound::Excluded(place), std::ops::Bound::Unbounded)).next().copied();
        }
    }

    /// What is left of a turn; nothing where there is nobody to share with.
    fn allowance(&self, place: Place) -> Option<u64> {
        let (urgency, shares, ..) = place;
        let mut peers = self.order.range((urgency, true, 0, 0)..=(urgency, true, u64::MAX, u64::MAX));
        let used = self.waiters.get(&place.3).map_or(0, |waiter| waiter.used);
        (shares && peers.nth(1).is_some()).then(|| TURN_BYTES.saturating_sub(used).max(1))
    }

    fn used(&mut self, stream: u64, bytes: u64) {
        let Some(waiter) = self.waiters.get_mut(&stream) else { return };
        waiter.used += bytes;
        let (urgency, shares, ..) = waiter.place;
        if shares && waiter.used >= TURN_BYTES {
            self.order.remove(&waiter.place);
            self.turn += 1;
            waiter.place = (urgency, shares, self.turn, stream);
            waiter.used = 0;
            self.order.insert(waiter.place);
        }
    }
}

fn place(stream: u64, priority: Priority, turn: u64) -> Place {
    (priority.urgency, priority.incremental, if priority.incremental { turn } else { stream }, stream)
}

#[cfg(test)]
mod tests;
