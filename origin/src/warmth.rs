//! How many connections to a server should be opened ahead of need: a pure machine, one per server.
//!
//! A request that finds an open connection waits one round trip; one that does not waits two or three. Origins close
//! what is idle for some seconds, so after each pause the next request would pay. As long as a server was asked lately,
//! some connections to it are therefore kept open, with TLS done: as many as ran at once lately, within a bound. When the
//! origin closes idle ones, that tells its patience, and from then on they are replaced a little before.

use std::time::{Duration, Instant};

/// How often each server is looked after.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Connections found closed when they had been idle for less than this tell of a restart, not of an idle timeout.
const PATIENCE_MIN: Duration = Duration::from_secs(2);
/// How long before the origin's patience ends a connection counts as gone: two looks, one to see and one to open.
const MARGIN: Duration = Duration::from_secs(2);
/// How long it is believed; then the origin may have become more patient.
const BELIEVED: Duration = Duration::from_secs(600);
/// How long a server that could not be connected to is left alone.
const BACK_OFF: Duration = Duration::from_secs(10);

/// What an idle connection was seen to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// How long it has been idle.
    pub idle: Duration,
    pub alive: bool,
}

/// What is known of one server.
#[derive(Debug, Default)]
pub struct Warmth {
    /// The shortest idle time after which the origin had closed a connection, and when that was seen.
    patience: Option<(Duration, Instant)>,
    /// Not before this moment.
    retry_at: Option<Instant>,
    opening: u32,
}

impl Warmth {
    /// How many connections to open now, so that `wanted` are open and stay so; they count as being opened.
    pub fn look(&mut self, seen: &[Seen], wanted: u32, now: Instant) -> u32 {
        self.learn(seen, now);
        if self.retry_at.is_some_and(|at| now < at) {
            return 0;
        }
        let lasting = seen.iter().filter(|seen| seen.alive && self.will_last(seen.idle)).count() as u32;
        let missing = wanted.saturating_sub(lasting + self.opening);
        self.opening += missing;
        missing
    }

    /// One that was being opened is open, or could not be.
    pub fn opened(&mut self, well: bool, now: Instant) {
        self.opening -= 1;
        self.retry_at = (!well).then(|| now + BACK_OFF);
    }

    /// One was not opened after all, for want of a place.
    pub fn not_opened(&mut self) {
        self.opening -= 1;
    }

    fn learn(&mut self, seen: &[Seen], now: Instant) {
        if self.patience.is_some_and(|(_, at)| now.saturating_duration_since(at) >= BELIEVED) {
            self.patience = None;
        }
        let closed = seen.iter().filter(|seen| !seen.alive && seen.idle >= PATIENCE_MIN).map(|seen| seen.idle).min();
        if let Some(idle) = closed
            && self.patience.is_none_or(|(known, _)| idle < known)
        {
            self.patience = Some((idle, now));
        }
    }

    /// Whether a connection that has been idle for so long will still be open at the next look but one.
    fn will_last(&self, idle: Duration) -> bool {
        self.patience.is_none_or(|(patience, _)| idle + MARGIN < patience.max(PATIENCE_MIN + MARGIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(alive: bool, idle_ms: u64) -> Seen {
        Seen { idle: Duration::from_millis(idle_ms), alive }
    }

    #[test]
    fn what_is_missing_is_opened_once() {
        let (mut warmth, now) = (Warmth::default(), Instant::now());
        assert_eq!(warmth.look(&[seen(true, 500)], 3, now), 2);
        assert_eq!(warmth.look(&[seen(true, 1500)], 3, now), 0, "two are being opened");
        warmth.opened(true, now);
        warmth.opened(true, now);
        assert_eq!(warmth.look(&[seen(true, 0), seen(true, 0), seen(true, 2500)], 3, now), 0);
        assert_eq!(warmth.look(&[], 0, now), 0);
    }

    #[test]
    fn a_connection_is_replaced_before_the_origin_closes_it() {
        let (mut warmth, now) = (Warmth::default(), Instant::now());
        assert_eq!(warmth.look(&[seen(true, 4900)], 1, now), 0, "nothing is known yet");
        assert_eq!(warmth.look(&[seen(false, 5400)], 1, now), 1);
        warmth.opened(true, now);
        assert_eq!(warmth.look(&[seen(true, 3300)], 1, now), 0);
        assert_eq!(warmth.look(&[seen(true, 3500)], 1, now), 1);
        warmth.opened(true, now);
        assert_eq!(warmth.look(&[seen(true, 4500), seen(true, 1000)], 1, now), 0);
    }

    #[test]
    fn a_restart_is_not_taken_for_impatience() {
        let (mut warmth, now) = (Warmth::default(), Instant::now());
        assert_eq!(warmth.look(&[seen(false, 100)], 1, now), 1);
        warmth.opened(true, now);
        assert_eq!(warmth.look(&[seen(true, 50_000)], 1, now), 0);
    }

    #[test]
    fn what_was_learnt_is_forgotten_after_a_while() {
        let (mut warmth, now) = (Warmth::default(), Instant::now());
        assert_eq!(warmth.look(&[seen(false, 5000)], 0, now), 0);
        assert_eq!(warmth.look(&[seen(true, 4000)], 1, now + BELIEVED), 0);
    }

    #[test]
    fn a_server_that_cannot_be_reached_is_left_alone_for_a_while() {
        let (mut warmth, now) = (Warmth::default(), Instant::now());
        assert_eq!(warmth.look(&[], 1, now), 1);
        warmth.opened(false, now);
        assert_eq!(warmth.look(&[], 1, now + BACK_OFF / 2), 0);
        assert_eq!(warmth.look(&[], 1, now + BACK_OFF), 1);
    }
}
