//! Which address validation tokens were used (RFC 9000 section 8.1.4): each is taken once, by whichever worker.
//!
//! Two generations of nonces: when one is full the older one is forgotten, and what was issued before its successor began
//! is taken for used. So memory is bounded, and no token is taken twice.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use quinn::{TokenLog, TokenReuseError};

/// Tokens of one generation: 2 MiB or so.
const GENERATION_TOKENS_MAX: usize = 50_000;

/// Shared by all workers. Tokens of before the process began are taken once more at most.
#[derive(Debug, Default)]
pub struct UsedTokens(Mutex<Used>);

#[derive(Debug, Default)]
struct Used {
    young: HashSet<u128>,
    old: HashSet<u128>,
    /// When the latest of the tokens that were forgotten was issued.
    forgotten: Option<SystemTime>,
    latest: Option<SystemTime>,
    latest_old: Option<SystemTime>,
}

impl TokenLog for UsedTokens {
    fn check_and_insert(&self, nonce: u128, issued: SystemTime, _: Duration) -> Result<(), TokenReuseError> {
        let mut used = self.0.lock();
        let may_be_forgotten = used.forgotten.is_some_and(|forgotten| issued <= forgotten);
        if may_be_forgotten || used.old.contains(&nonce) || !used.young.insert(nonce) {
            return Err(TokenReuseError);
        }
        used.latest = used.latest.max(Some(issued));
        if used.young.len() >= GENERATION_TOKENS_MAX {
            used.forgotten = used.forgotten.max(used.latest_old);
            used.latest_old = used.latest.take();
            used.old = std::mem::take(&mut used.young);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_taken_once_even_after_many_others() {
        let used = UsedTokens::default();
        let take = |nonce: u128| {
            let issued = SystemTime::UNIX_EPOCH + Duration::from_secs(nonce as u64);
            used.check_and_insert(nonce, issued, Duration::MAX).is_ok()
        };
        let last = 2 * GENERATION_TOKENS_MAX as u128 + 5;
        assert!((1..last).all(take));
        assert!([1, 2, 60_000, last - 1].into_iter().all(|nonce| !take(nonce)));
        assert!(take(last));
        assert!(used.0.lock().young.len() < 100);
    }
}
