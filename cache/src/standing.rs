//! The purge ledger's word on one stored object.
//!
//! The ledger compares the object's birth with the rules that match it; [`crate::lookup`] obeys the word. `Clear`
//! says nothing about freshness: a clear object may still have expired.

/// What purging has done to a stored object, from nothing to everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Standing {
    /// No rule younger than the object matches it.
    #[default]
    Clear,
    /// A soft purge: the object counts as stale from now on, whatever lifetime it had left.
    Soft,
    /// A hard purge: the object is gone, and must not be served even on error.
    Hard,
}
