//! The node's clock: the only place of the edge that reads time for the cache.
//!
//! It is the wall clock at start plus the monotonic time since: it never goes back, so a stepped wall clock neither
//! expires nor immortalises stored responses. The Date text is made once a second per worker thread.
//! Tests put it forward; only code in the node's own process can, and reading costs the same as without.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use headland_cache::Time;

/// Length of an IMF-fixdate (RFC 9110 section 5.6.7).
pub const DATE_LEN: usize = 29;

/// Reads the node's time.
#[derive(Debug)]
pub struct Clock {
    /// Unix time at start, and what the clock was put forward since.
    wall_at_start_ms: AtomicU64,
    started: Instant,
}

impl Clock {
    /// Starts the clock at the present wall time.
    #[must_use]
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        Clock { wall_at_start_ms: AtomicU64::new(wall_ms), started: Instant::now() }
    }

    pub fn now(&self) -> Time {
        self.at(Instant::now())
    }

    /// The node's time at a monotonic instant.
    pub fn at(&self, instant: Instant) -> Time {
        let elapsed = instant.saturating_duration_since(self.started);
        Time::from_millis(self.wall_at_start_ms.load(Ordering::Relaxed) + elapsed.as_millis() as u64)
    }

    /// Puts the clock forward, as if so much time had passed; deadlines of sockets do not notice.
    pub fn advance(&self, by_ms: u64) {
        self.wall_at_start_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// Milliseconds since the node started.
    pub fn uptime_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

/// The Date field's value at `now`, made at most once a second per thread.
pub fn http_date(now: Time) -> [u8; DATE_LEN] {
    thread_local! {
        static LAST: Cell<(u64, [u8; DATE_LEN])> = const { Cell::new((u64::MAX, [b' '; DATE_LEN])) };
    }
    let secs = now.as_secs();
    LAST.with(|last| {
        let (at, text) = last.get();
        if at == secs {
            return text;
        }
        let text = format_date(secs);
        last.set((secs, text));
        text
    })
}

fn format_date(secs: u64) -> [u8; DATE_LEN] {
    let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(secs));
    let mut out = [b' '; DATE_LEN];
    out.copy_from_slice(&text.as_bytes()[..DATE_LEN]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_is_an_imf_fixdate_and_follows_the_second() {
        assert_eq!(&http_date(Time::from_secs(784_111_777)), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&http_date(Time::from_secs(784_111_778)), b"Sun, 06 Nov 1994 08:49:38 GMT");
        assert_eq!(&http_date(Time::from_millis(784_111_778_999)), b"Sun, 06 Nov 1994 08:49:38 GMT");
    }

    #[test]
    fn clock_never_goes_back() {
        let clock = Clock::start();
        let first = clock.now();
        assert!(clock.now() >= first);
    }

    #[test]
    fn clock_is_put_forward_by_tests() {
        let clock = Clock::start();
        let first = clock.now();
        clock.advance(3_600_000);
        assert!(clock.now().as_millis() - first.as_millis() >= 3_600_000);
        assert!(clock.uptime_ms() < 3_600_000);
    }
}
