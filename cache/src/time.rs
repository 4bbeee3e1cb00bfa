//! Time as the cache sees it: a value that is passed in, never read here.
//!
//! The node's clock is the wall clock at start plus the monotonic time since, so it never goes back and a
//! stepped wall clock neither expires nor immortalises anything. Reading it is the edge's business.

use serde::{Deserialize, Serialize};

/// A moment on the node's clock, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Time(u64);

impl Time {
    /// The epoch itself: before everything that can be stored.
    pub const ZERO: Time = Time(0);

    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Time(millis)
    }

    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Time(secs.saturating_mul(1000))
    }

    pub const fn as_millis(self) -> u64 {
        self.0
    }

    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// Milliseconds from `earlier` to `self`; zero when `earlier` is later.
    pub const fn millis_since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole seconds from `earlier` to `self`; zero when `earlier` is later.
    pub const fn secs_since(self, earlier: Time) -> u64 {
        self.millis_since(earlier) / 1000
    }

    #[must_use]
    pub const fn minus_millis(self, millis: u64) -> Time {
        Time(self.0.saturating_sub(millis))
    }

    #[must_use]
    pub const fn plus_millis(self, millis: u64) -> Time {
        Time(self.0.saturating_add(millis))
    }

    #[must_use]
    pub const fn plus(self, delta: DeltaSeconds) -> Time {
        self.plus_millis(delta.as_secs() * 1000)
    }
}

/// A non-negative number of seconds, as RFC 9111 section 1.2.2 means it: what is too large counts as 2^31.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct DeltaSeconds(u32);

impl DeltaSeconds {
    pub const ZERO: DeltaSeconds = DeltaSeconds(0);
    /// RFC 9111 section 1.2.2: the value used for one that is too large to represent.
    pub const MAX: DeltaSeconds = DeltaSeconds(1 << 31);

    #[must_use]
    pub const fn saturating(secs: u64) -> Self {
        if secs >= Self::MAX.0 as u64 { Self::MAX } else { DeltaSeconds(secs as u32) }
    }

    pub const fn as_secs(self) -> u64 {
        self.0 as u64
    }
}
