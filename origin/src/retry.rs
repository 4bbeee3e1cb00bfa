//! When a failed attempt may be made again, and within which budget. Pure.
//!
//! Two licences: no byte of the request reached the origin, or the method is idempotent (RFC 9110 9.2.2). Either
//! way the body must be whole. So what a POST began is never sent twice.

use http::Method;

use crate::error::{Deadline, Fault, FetchError, Phase};

/// Retries that may come at once after a quiet time.
const BURST: u32 = 10;
/// The unit of account: a hundredth of a retry, so that a percentage is a whole number of them.
const RETRY: u32 = 100;

/// What to do about a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The failure is the answer.
    GiveUp,
    /// A kept connection had died unnoticed, as they do: once more, on a fresh one. Not the server's failure, and
    /// free of charge.
    Refresh,
    /// Again, on another server if there is one, within the budget.
    Again,
    /// Likewise, but only on another server: this one was slow and would be slower for being asked twice.
    Elsewhere,
}

/// Judges a failed attempt of a request. `whole`: no byte of its body was taken; `reused`: the connection had served
/// before.
pub fn judge(method: &Method, whole: bool, reused: bool, error: &FetchError) -> Verdict {
    let licensed = whole && (error.nothing_sent || method.is_idempotent());
    if !licensed {
        return Verdict::GiveUp;
    }
    if had_died(reused, error) {
        Verdict::Refresh
    } else if is_transports(error) {
        if error.is_timeout() { Verdict::Elsewhere } else { Verdict::Again }
    } else {
        Verdict::GiveUp
    }
}

/// The failure counts against the server's health. That a kept connection had died does not.
pub fn blames_server(reused: bool, error: &FetchError) -> bool {
    is_transports(error) && !had_died(reused, error)
}

/// A kept connection that ends before an answer begins was most likely closed before the request came.
fn had_died(reused: bool, error: &FetchError) -> bool {
    reused && error.fault == Fault::Reset && matches!(error.phase, Phase::Send | Phase::Head)
}

/// The way to the server failed, or the server on the way. What it answers is not of that kind, or a stranger could
/// have a server ejected by asking for a page that breaks; nor are the client's failures and our own bounds.
fn is_transports(error: &FetchError) -> bool {
    match error.fault {
        Fault::Timeout(deadline) => !matches!(deadline, Deadline::Queue | Deadline::Total),
        Fault::Refused
        | Fault::Unreachable
        | Fault::Dns
        | Fault::Tls(_)
        | Fault::Reset
        | Fault::StreamReset
        | Fault::Truncated
        | Fault::Io(_) => true,
        _ => false,
    }
}

/// Retries as a share of requests: a sick origin must not be sent a multiple of its load.
#[derive(Debug)]
pub struct Budget {
    /// What each request pays in: hundredths of a retry.
    percent: u32,
    /// Hundredths of a retry.
    saved: u32,
}

impl Budget {
    pub fn new(percent: u32) -> Self {
        Budget { percent, saved: if percent == 0 { 0 } else { BURST * RETRY } }
    }

    /// A request came.
    pub fn deposit(&mut self) {
        self.saved = self.saved.saturating_add(self.percent).min(BURST * RETRY);
    }

    /// A retry is wanted: true when it is paid for.
    pub fn withdraw(&mut self) -> bool {
        let Some(rest) = self.saved.checked_sub(RETRY) else { return false };
        self.saved = rest;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{BodyFault, Excess, TlsFault};

    fn error(fault: Fault, phase: Phase) -> FetchError {
        FetchError::new(fault, phase)
    }

    #[test]
    fn a_post_is_sent_again_only_if_nothing_of_it_was_sent() {
        let post = |error: &FetchError| judge(&Method::POST, true, false, error);
        assert_eq!(post(&error(Fault::Refused, Phase::Connect)), Verdict::Again);
        assert_eq!(post(&error(Fault::Tls(TlsFault::Protocol), Phase::Handshake)), Verdict::Again);
        assert_eq!(post(&error(Fault::Reset, Phase::Send)), Verdict::GiveUp);
        assert_eq!(post(&error(Fault::Reset, Phase::Head)), Verdict::GiveUp);
        assert_eq!(post(&error(Fault::Reset, Phase::Head).with_nothing_sent(true)), Verdict::Again);
    }

    #[test]
    fn a_post_on_a_dead_kept_connection_is_refreshed_only_if_nothing_was_sent() {
        let dead = error(Fault::Reset, Phase::Send);
        assert_eq!(judge(&Method::POST, true, true, &dead), Verdict::GiveUp);
        assert_eq!(judge(&Method::POST, true, true, &dead.with_nothing_sent(true)), Verdict::Refresh);
    }

    #[test]
    fn idempotent_methods_are_sent_again_while_their_body_is_whole() {
        let reset = error(Fault::Reset, Phase::Head);
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
            assert_eq!(judge(&method, true, false, &reset), Verdict::Again, "{method}");
            assert_eq!(judge(&method, true, true, &reset), Verdict::Refresh, "{method}");
            assert_eq!(judge(&method, false, true, &reset), Verdict::GiveUp, "{method}");
        }
        assert_eq!(judge(&Method::PATCH, true, false, &reset), Verdict::GiveUp);
    }

    #[test]
    fn a_stream_that_is_reset_is_no_dead_connection() {
        let reset = error(Fault::StreamReset, Phase::Head);
        assert_eq!(judge(&Method::GET, true, true, &reset), Verdict::Again);
        assert!(blames_server(true, &reset));
    }

    #[test]
    fn a_body_that_was_begun_is_never_sent_again_even_if_nothing_arrived() {
        let reset = error(Fault::Reset, Phase::Send).with_nothing_sent(true);
        assert_eq!(judge(&Method::PUT, false, true, &reset), Verdict::GiveUp);
    }

    #[test]
    fn what_another_attempt_cannot_mend_is_the_answer() {
        let hopeless = [
            error(Fault::QueueFull, Phase::Queue),
            error(Fault::Overloaded, Phase::Queue),
            error(Fault::NoServer, Phase::Queue),
            error(Fault::Prohibited, Phase::Resolve),
            error(Fault::Canceled, Phase::Head),
            error(Fault::Malformed("status line"), Phase::Head),
            error(Fault::TooLarge(Excess::Head), Phase::Head),
            error(Fault::ClientBody(BodyFault::Disconnected), Phase::Send),
            FetchError::timeout(Deadline::Queue, Phase::Queue),
            FetchError::timeout(Deadline::Total, Phase::Head),
        ];
        for error in hopeless {
            assert_eq!(judge(&Method::GET, true, true, &error), Verdict::GiveUp, "{error}");
        }
    }

    #[test]
    fn a_slow_server_is_not_asked_twice() {
        for deadline in [Deadline::Connect, Deadline::FirstByte, Deadline::BetweenBytes] {
            let slow = FetchError::timeout(deadline, Phase::Head);
            assert_eq!(judge(&Method::GET, true, false, &slow), Verdict::Elsewhere);
        }
    }

    #[test]
    fn the_budget_is_a_share_of_requests_after_the_first_burst() {
        let mut budget = Budget::new(20);
        assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 10);
        let retries = (0..1000)
            .filter(|_| {
                budget.deposit();
                budget.withdraw()
            })
            .count();
        assert_eq!(retries, 200);
    }

    #[test]
    fn no_budget_allows_no_retry() {
        let mut budget = Budget::new(0);
        budget.deposit();
        assert!(!budget.withdraw());
    }
}
