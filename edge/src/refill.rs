//! Refills after a purge: of what was purged, a bounded number is fetched anew at a time from each origin, the hottest
//! first, so that a purge of everything is no stampede.
//!
//! A fetch that replaces something purged takes a turn before it asks the origin, and gives it back at its end. When no
//! turn is free, what may be served stale is; a revalidation that nobody waits for is left for later; all else waits.
//! The next turn goes to the fetch for which most clients wait, of a sample of those that wait, and every few turns to
//! the oldest, so that none is forgotten. Fetches of what was never stored, or has expired, take no turn.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use headland_cache::collapse::Audience;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Fetches that may wait for a turn at one origin; more are refused.
const WAITING_MAX: usize = 16_384;
/// How long one waits before it is refused.
const WAIT: Duration = Duration::from_secs(20);
/// How many of those that wait are compared for the next turn.
const SAMPLE: usize = 64;
/// Every so many turns, the oldest is next.
const OLDEST_EVERY: u64 = 8;

/// The turns of all origins, by the name of the group.
#[derive(Debug, Default)]
pub struct Refills {
    gates: Mutex<HashMap<Arc<str>, Arc<Gate>>>,
    waited: AtomicU64,
    refused: AtomicU64,
}

/// One origin's turns.
#[derive(Debug, Default)]
struct Gate(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    running: usize,
    turns: u64,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    audience: Audience,
    /// Carries the turn itself, so that it goes on to the next when nobody receives it.
    go: oneshot::Sender<Turn>,
}

/// The right to ask the origin; given back when dropped.
#[derive(Debug)]
pub struct Turn(Option<Arc<Gate>>);

/// What there is for a fetch that wants a turn.
#[derive(Debug)]
pub enum Place {
    Turn(Turn),
    Wait(oneshot::Receiver<Turn>),
    Crowded,
}

impl Refills {
    /// A turn at an origin if one is free, else a place among those that wait.
    pub fn enter(&self, origin: &Arc<str>, at_once_max: usize, audience: Audience) -> Place {
        let gate = self.gates.lock().entry(origin.clone()).or_default().clone();
        let mut queue = gate.0.lock();
        if queue.running < at_once_max {
            queue.running += 1;
            drop(queue);
            return Place::Turn(Turn(Some(gate)));
        }
        if queue.waiting.len() >= WAITING_MAX {
            self.refused.fetch_add(1, Relaxed);
            return Place::Crowded;
        }
        self.waited.fetch_add(1, Relaxed);
        let (go, turn) = oneshot::channel();
        queue.waiting.push_back(Waiting { audience, go });
        Place::Wait(turn)
    }

    /// Whether a turn is free now.
    pub fn is_free(&self, origin: &Arc<str>, at_once_max: usize) -> bool {
        self.gates.lock().get(origin).is_none_or(|gate| gate.0.lock().running < at_once_max)
    }

    /// Waits for a turn as long as one may.
    pub async fn wait(&self, turn: oneshot::Receiver<Turn>) -> Option<Turn> {
        let turn = tokio::time::timeout(WAIT, turn).await;
        if turn.is_err() {
            self.refused.fetch_add(1, Relaxed);
        }
        turn.ok()?.ok()
    }

    /// Fetches that wait now, that ever waited, and that were refused.
    pub fn usage(&self) -> (usize, u64, u64) {
        let gates: Vec<_> = self.gates.lock().values().cloned().collect();
        let waiting = gates.iter().map(|gate| gate.0.lock().waiting.len()).sum();
        (waiting, self.waited.load(Relaxed), self.refused.load(Relaxed))
    }
}

impl Queue {
    /// Takes out who is next.
    fn next(&mut self) -> Option<Waiting> {
        self.turns += 1;
        if self.turns.is_multiple_of(OLDEST_EVERY) {
            return self.waiting.pop_front();
        }
        let step = self.waiting.len().div_ceil(SAMPLE).max(1);
        let first = usize::try_from(self.turns).unwrap_or(0) % step;
        let sample = (first..self.waiting.len()).step_by(step);
        let hottest = sample.max_by_key(|&at| (self.waiting[at].audience.readers(), std::cmp::Reverse(at)))?;
        self.waiting.remove(hottest)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(gate) = self.0.take() else { return };
        loop {
            let mut queue = gate.0.lock();
            let Some(next) = queue.next() else {
                queue.running -= 1;
                return;
            };
            drop(queue);
            match next.go.send(Turn(Some(gate.clone()))) {
                Ok(()) => return,
                // It waits no more. What comes back is emptied, so that this loop goes on instead of a deeper one.
                Err(mut unwanted) => drop(unwanted.0.take()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
