//! Keys whose last response could not be stored, remembered for a while so that their requests do not wait for each
//! other.
//!
//! A fixed table of one word per slot: half a fingerprint, half an expiry. A key may push another out, and about one
//! key in four thousand million may be taken for another; either costs one wait or one shared fetch, never a wrong
//! response. Reading and writing are single atomic operations.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::Time;

/// Keys remembered at most; 8 bytes each.
pub const UNCACHEABLE_KEYS_MAX: usize = 1 << 16;

/// The keys remembered as uncacheable.
pub struct Uncacheable {
    slots: Box<[AtomicU64]>,
}

impl Uncacheable {
    #[must_use]
    pub fn new() -> Self {
        Uncacheable { slots: std::iter::repeat_with(AtomicU64::default).take(UNCACHEABLE_KEYS_MAX).collect() }
    }

    /// Remembers the key with this hash until a moment (to the second).
    pub fn remember(&self, hash: u128, until: Time) {
        let until = u32::try_from(until.as_secs()).unwrap_or(u32::MAX);
        self.slot(hash).store(fingerprint(hash) | u64::from(until), Ordering::Relaxed);
    }

    /// Whether the key is remembered.
    pub fn contains(&self, hash: u128, now: Time) -> bool {
        let slot = self.slot(hash).load(Ordering::Relaxed);
        slot & FINGERPRINT == fingerprint(hash) && slot & !FINGERPRINT > now.as_secs()
    }

    /// Forgets the key: its response was stored after all.
    pub fn forget(&self, hash: u128) {
        let slot = self.slot(hash);
        let held = slot.load(Ordering::Relaxed);
        if held & FINGERPRINT == fingerprint(hash) {
            // Should another key have come in between, it stays.
            let _ = slot.compare_exchange(held, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn slot(&self, hash: u128) -> &AtomicU64 {
        &self.slots[hash as usize % UNCACHEABLE_KEYS_MAX]
    }
}

impl Default for Uncacheable {
    fn default() -> Self {
        Uncacheable::new()
    }
}

const FINGERPRINT: u64 = 0xFFFF_FFFF << 32;

/// Bits of the hash that do not choose the slot.
fn fingerprint(hash: u128) -> u64 {
    (hash >> 64) as u64 & FINGERPRINT
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: u128 = 0x1234_5678_9ABC_DEF0_1122_3344_5566_7788;

    #[test]
    fn a_key_is_remembered_until_its_time() {
        let memory = Uncacheable::new();
        assert!(!memory.contains(KEY, Time::ZERO));
        memory.remember(KEY, Time::from_secs(10));
        assert!(memory.contains(KEY, Time::from_millis(9_999)));
        assert!(!memory.contains(KEY, Time::from_secs(10)));
    }

    #[test]
    fn a_key_can_be_forgotten_and_pushed_out() {
        let (memory, other) = (Uncacheable::new(), KEY ^ 1 << 100);
        memory.remember(KEY, Time::from_secs(10));
        memory.forget(other);
        assert!(memory.contains(KEY, Time::ZERO));
        memory.remember(other, Time::from_secs(10));
        assert!(!memory.contains(KEY, Time::ZERO) && memory.contains(other, Time::ZERO));
        memory.forget(other);
        assert!(!memory.contains(other, Time::ZERO));
    }
}
