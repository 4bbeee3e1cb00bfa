//! Health of one server: who fails several times in a row is left alone for a while. Pure; time is an argument.
//!
//! Each further ejection is twice as long, up to a bound, until the server has been well for as long as it was last
//! out. A server that comes back is on probation: its first failure sends it out again, its first success ends that.
//! Failures are those of the transport (connect, TLS, reset, deadline); what the server answers counts only in comparison
//! ([`crate::outlier`]). Beside that, active checks may say that it is down, as long as they say so.

use std::time::{Duration, Instant};

/// No ejection is longer.
pub const EJECTION_MAX: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Failures in a row that eject; 0 never ejects.
    pub failures: u32,
    /// The first ejection.
    pub base: Duration,
    /// The share of servers that may be out at a time.
    pub percent_max: u32,
    /// The share of a server's answers that are failures, in percent; 0 never ejects.
    pub error_percent: u32,
    /// How much slower than the others it is; 0 never ejects.
    pub latency_factor: u32,
}

/// Why a server was ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Failures in a row.
    Failures,
    /// Far more failures than the others, answers counted.
    Errors,
    /// Far slower than the others.
    Latency,
}

impl Cause {
    pub const WORDS: [&str; 3] = ["failures", "errors", "latency"];
}

impl Rules {
    /// One more of `servers` may go while `ejected` are out.
    pub fn admit_another(&self, ejected: usize, servers: usize) -> bool {
        (ejected + 1) * 100 <= servers * self.percent_max as usize
    }

    fn duration(&self, ejections: u32) -> Duration {
        let doublings = ejections.saturating_sub(1).min(20);
        self.base.saturating_mul(1 << doublings).min(EJECTION_MAX)
    }
}

/// What is known of one server's health.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// Failures in a row.
    failures: u32,
    /// Ejections since it was last well for long.
    ejections: u32,
    ejected_until: Option<Instant>,
    on_probation: bool,
    /// When it came, or came back, or is to.
    well_since: Option<Instant>,
    /// Active checks say so.
    down: bool,
}

impl Health {
    /// Of a server that joins others at work.
    pub fn newcomer(now: Instant) -> Self {
        Health { well_since: Some(now), ..Health::default() }
    }

    /// Since when it has been in service without a break; none from the start.
    pub fn well_since(&self) -> Option<Instant> {
        self.well_since
    }

    pub fn is_ejected(&self, now: Instant) -> bool {
        self.ejected_until.is_some_and(|until| now < until)
    }

    /// It is not to be asked: ejected, or down by its checks.
    pub fn is_out(&self, now: Instant) -> bool {
        self.down || self.is_ejected(now)
    }

    pub fn is_down(&self) -> bool {
        self.down
    }

    /// It has come back, and nothing is known of it since.
    pub fn is_on_probation(&self) -> bool {
        self.on_probation
    }

    /// What active checks say; true when that is news.
    pub fn checked(&mut self, down: bool, now: Instant) -> bool {
        let was_down = std::mem::replace(&mut self.down, down);
        if was_down && !down {
            self.well_since = Some(now);
            self.failures = 0;
        }
        was_down != down
    }

    /// The server answered.
    pub fn succeeded(&mut self, now: Instant, rules: &Rules) {
        if self.is_ejected(now) {
            return; // An exchange from before; it says nothing of now.
        }
        self.failures = 0;
        self.on_probation = false;
        if self.ejected_until.is_some_and(|until| now >= until + rules.duration(self.ejections)) {
            self.ejections = 0;
            self.ejected_until = None;
        }
    }

    /// The server failed. True when it is ejected by that; `admitted` says whether the bound on the share allows it.
    pub fn failed(&mut self, now: Instant, rules: &Rules, admitted: bool) -> bool {
        if rules.failures == 0 || self.is_ejected(now) {
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        let limit = if self.on_probation { 1 } else { rules.failures };
        self.failures >= limit && self.eject(now, rules, admitted)
    }

    /// Ejects the server for whatever reason. True when that was possible; `admitted` as above.
    pub fn eject(&mut self, now: Instant, rules: &Rules, admitted: bool) -> bool {
        if !admitted || self.is_ejected(now) {
            return false;
        }
        self.failures = 0;
        self.ejections = self.ejections.saturating_add(1);
        self.ejected_until = Some(now + rules.duration(self.ejections));
        self.well_since = self.ejected_until;
        self.on_probation = true;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const RULES: Rules = Rules { failures: 3, base: SECOND, percent_max: 50, error_percent: 50, latency_factor: 0 };

    fn eject(health: &mut Health, now: Instant) {
        while !health.failed(now, &RULES, true) {}
    }

    #[test]
    fn failures_in_a_row_eject_and_a_success_between_does_not() {
        let (mut health, now) = (Health::default(), Instant::now());
        assert!(!health.failed(now, &RULES, true));
        assert!(!health.failed(now, &RULES, true));
        health.succeeded(now, &RULES);
        assert!(!health.failed(now, &RULES, true));
        assert!(!health.failed(now, &RULES, true));
        assert!(health.failed(now, &RULES, true));
        assert!(health.is_ejected(now));
        assert!(!health.is_ejected(now + SECOND));
    }

    #[test]
    fn each_further_ejection_is_twice_as_long_up_to_the_bound() {
        let (mut health, mut now) = (Health::default(), Instant::now());
        for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            eject(&mut health, now);
            assert!(health.is_ejected(now + Duration::from_millis(u64::from(expected) * 1000 - 1)));
            now += expected * SECOND;
            assert!(!health.is_ejected(now), "out for {expected} s");
        }
    }

    #[test]
    fn one_failure_after_its_return_sends_it_out_again() {
        let (mut health, now) = (Health::default(), Instant::now());
        eject(&mut health, now);
        assert!(health.failed(now + SECOND, &RULES, true));
        // A success after the return ends the probation.
        health.succeeded(now + 3 * SECOND, &RULES);
        assert!(!health.failed(now + 3 * SECOND, &RULES, true));
    }

    #[test]
    fn a_server_that_was_well_for_long_starts_anew() {
        let (mut health, now) = (Health::default(), Instant::now());
        eject(&mut health, now);
        eject(&mut health, now + SECOND);
        health.succeeded(now + 5 * SECOND, &RULES);
        eject(&mut health, now + 5 * SECOND);
        assert!(!health.is_ejected(now + 6 * SECOND), "the first ejection again");
    }

    #[test]
    fn what_began_before_an_ejection_neither_ends_nor_prolongs_it() {
        let (mut health, now) = (Health::default(), Instant::now());
        eject(&mut health, now);
        health.succeeded(now, &RULES);
        assert!(!health.failed(now, &RULES, true));
        assert!(health.is_ejected(now));
        assert!(!health.is_ejected(now + SECOND));
    }

    #[test]
    fn the_share_of_ejected_servers_is_bounded() {
        assert!(!RULES.admit_another(0, 1));
        assert!(RULES.admit_another(0, 2));
        assert!(!RULES.admit_another(1, 3));
        assert!(Rules { percent_max: 100, ..RULES }.admit_another(0, 1));
        let (mut health, now) = (Health::default(), Instant::now());
        (0..10).for_each(|_| assert!(!health.failed(now, &RULES, false)));
        assert!(health.failed(now, &RULES, true), "as soon as there is room");
    }

    #[test]
    fn what_checks_say_stands_until_they_say_otherwise() {
        let (mut health, now) = (Health::default(), Instant::now());
        assert!(health.checked(true, now));
        assert!(!health.checked(true, now));
        assert!(health.is_out(now + 1000 * SECOND) && !health.is_ejected(now));
        assert!(health.checked(false, now + SECOND));
        assert!(!health.is_out(now + SECOND));
        assert_eq!(health.well_since(), Some(now + SECOND), "its share grows from here");
        eject(&mut health, now + SECOND);
        health.checked(false, now + SECOND);
        assert!(health.is_out(now + SECOND), "a check that is well does not end an ejection");
    }

    #[test]
    fn zero_failures_never_eject() {
        let (mut health, now) = (Health::default(), Instant::now());
        let never = Rules { failures: 0, ..RULES };
        (0..100).for_each(|_| assert!(!health.failed(now, &never, true)));
    }
}
