//! Passive health by comparison: a server that fails, or is slow, far more than the others of its group. Pure; time is
//! an argument.
//!
//! What a server answers counts here, 500 among it, and so does losing against a hedged request; but only in comparison:
//! a page that breaks on every server says nothing of any of them, so that no stranger can have a server ejected by asking
//! for it. Counts fade, so that only the last seconds speak.

use std::time::{Duration, Instant};

/// After so long an answer counts a third.
const FADES: Duration = Duration::from_secs(10);
/// Answers that a judgement takes, of the server and of the others together.
const ANSWERS_MIN: f64 = 5.0;
/// A server that fails is an outlier only if the others fail at most this share as often.
const OTHERS_SHARE_MAX: f64 = 0.5;
/// Servers that fail at most this share are well: what fails beside them is another one's fault.
const WELL_SHARE_MAX: f64 = 0.1;
/// Nobody is slow below this, whatever the others take.
const SLOW_MICROS_MIN: f64 = 10_000.0;

/// The answers of one server, fading.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    answers: f64,
    failures: f64,
    micros: f64,
    at: Option<Instant>,
}

/// What a tally shows at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Shown {
    pub answers: f64,
    pub failures: f64,
    /// Of all answers together.
    pub micros: f64,
}

impl Tally {
    /// An answer, a failure of the transport, or a request given up for another's answer.
    pub fn note(&mut self, failed: bool, micros: u64, now: Instant) {
        let Shown { answers, failures, micros: sum } = self.shown(now);
        *self = Tally {
            answers: answers + 1.0,
            failures: failures + f64::from(u8::from(failed)),
            micros: sum + micros as f64,
            at: Some(self.at.map_or(now, |at| at.max(now))),
        };
    }

    pub fn shown(&self, now: Instant) -> Shown {
        let passed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let weight = (-passed.as_secs_f64() / FADES.as_secs_f64()).exp();
        Shown { answers: self.answers * weight, failures: self.failures * weight, micros: self.micros * weight }
    }

    /// It begins anew, as when a server comes back.
    pub fn clear(&mut self) {
        *self = Tally::default();
    }
}

impl Shown {
    #[must_use]
    pub fn and(self, other: Shown) -> Shown {
        Shown {
            answers: self.answers + other.answers,
            failures: self.failures + other.failures,
            micros: self.micros + other.micros,
        }
    }

    fn failing(self) -> f64 {
        self.failures / self.answers
    }

    fn mean_micros(self) -> f64 {
        self.micros / self.answers
    }

    /// Of these servers enough is known, and hardly anything fails.
    pub fn are_well(self) -> bool {
        self.answers >= ANSWERS_MIN && self.failing() <= WELL_SHARE_MAX
    }

    /// It fails in `percent` of its answers at least, and far more than the others; 0 never.
    pub fn fails_more(self, others: Shown, percent: u32) -> bool {
        percent > 0
            && self.answers >= ANSWERS_MIN
            && others.answers >= ANSWERS_MIN
            && self.failing() * 100.0 >= f64::from(percent)
            && others.failing() <= self.failing() * OTHERS_SHARE_MAX
    }

    /// It takes `factor` times as long as the others; 0 never.
    pub fn is_slower(self, others: Shown, factor: u32) -> bool {
        factor > 0
            && self.answers >= ANSWERS_MIN
            && others.answers >= ANSWERS_MIN
            && self.mean_micros() >= (others.mean_micros() * f64::from(factor)).max(SLOW_MICROS_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(answers: u32, failures: u32, micros: u64, now: Instant) -> Shown {
        let mut tally = Tally::default();
        for number in 0..answers {
            tally.note(number < failures, micros, now);
        }
        tally.shown(now)
    }

    #[test]
    fn a_server_that_fails_while_the_others_do_not_is_an_outlier() {
        let now = Instant::now();
        let well = tally(20, 1, 1_000, now);
        assert!(tally(10, 6, 1_000, now).fails_more(well, 50));
        assert!(!tally(10, 4, 1_000, now).fails_more(well, 50));
        assert!(!tally(4, 4, 1_000, now).fails_more(well, 50), "four answers are no evidence");
        assert!(!tally(10, 10, 1_000, now).fails_more(tally(2, 0, 1_000, now), 50), "nor is there one without others");
        assert!(!tally(10, 10, 1_000, now).fails_more(well, 0));
    }

    #[test]
    fn a_page_that_breaks_everywhere_ejects_nobody() {
        let now = Instant::now();
        assert!(!tally(50, 50, 1_000, now).fails_more(tally(100, 90, 1_000, now), 50));
    }

    #[test]
    fn a_server_is_slow_in_comparison_and_never_within_ten_milliseconds() {
        let now = Instant::now();
        let usual = tally(20, 0, 20_000, now);
        assert!(tally(10, 0, 90_000, now).is_slower(usual, 4));
        assert!(!tally(10, 0, 70_000, now).is_slower(usual, 4));
        assert!(!tally(10, 0, 9_000, now).is_slower(tally(20, 0, 100, now), 4));
        assert!(!tally(10, 0, 90_000, now).is_slower(usual, 0));
    }

    #[test]
    fn what_was_a_while_ago_counts_no_more() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        for _ in 0..20 {
            tally.note(true, 1_000, now);
        }
        let later = now + 3 * FADES;
        assert!(tally.shown(later).answers < 1.1);
        tally.note(false, 1_000, later);
        assert!(tally.shown(later).failing() < 0.51);
    }
}
