//! What the tier has to be told by the node: it reads no clock, and knows no purges.

use std::sync::Arc;

use super::latency::Stopwatch;
use crate::Time;
use crate::object::Parts;

/// Functions of the node. They may be called from any thread, and must not wait.
#[derive(Clone)]
pub struct Surroundings {
    pub stopwatch: Stopwatch,
    /// The time as responses are dated by.
    pub now: Arc<dyn Fn() -> Time + Send + Sync>,
    /// Whether a response is worth carrying over when its segment goes: neither expired nor purged.
    pub is_worth_keeping: Arc<dyn Fn(&Parts) -> bool + Send + Sync>,
    /// Takes a sentence for the node's log.
    pub tell: Arc<dyn Fn(&str) + Send + Sync>,
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Surroundings")
    }
}
