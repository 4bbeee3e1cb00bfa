//! Slow start: a server that has just come, or come back, gets its share of requests little by little. Pure.
//!
//! A cold server (empty caches, code not compiled yet) that is sent its whole share at once fails at once.

use std::time::{Duration, Instant};

/// What it begins with, in percent of its share.
const FIRST_PERCENT: u32 = 10;
const WHOLE_PERCENT: u32 = 100;

/// The share, in percent, of a server that came at `since` and has its whole share after `over`.
pub fn percent(since: Option<Instant>, over: Duration, now: Instant) -> u32 {
    let Some(since) = since else { return WHOLE_PERCENT };
    let passed = now.saturating_duration_since(since).as_millis();
    let rest = u128::from(WHOLE_PERCENT - FIRST_PERCENT);
    let earned = (rest * passed).checked_div(over.as_millis()).unwrap_or(rest).min(rest);
    FIRST_PERCENT + earned as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_grows_from_a_tenth_to_the_whole() {
        let (since, over) = (Instant::now(), Duration::from_secs(10));
        let after = |seconds| percent(Some(since), over, since + Duration::from_secs(seconds));
        assert_eq!([after(0), after(5), after(10), after(1_000)], [10, 55, 100, 100]);
        assert_eq!(percent(None, over, since), 100);
        assert_eq!(percent(Some(since), Duration::ZERO, since), 100);
    }
}
