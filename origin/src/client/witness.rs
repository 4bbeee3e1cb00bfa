//! What becomes of a body after its head was given away: a body that breaks off is counted, and tells of its server.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::counters::Counters;
use crate::error::FetchError;
use crate::group::{Group, Showed};
use crate::retry::blames_server;

/// Goes with the body of an answer.
pub(crate) struct Witness {
    pub(super) counters: Arc<Counters>,
    pub(super) group: Arc<Group>,
    /// The server that answers.
    pub(super) place: usize,
}

impl Witness {
    /// The body ends with this.
    pub(crate) fn saw(&self, error: &FetchError) {
        self.counters.failed(error);
        if blames_server(false, error)
            && let Some(cause) = self.group.note(self.place, Showed::Failure, Duration::ZERO, Instant::now().into_std())
        {
            self.counters.ejected(cause);
        }
    }
}
