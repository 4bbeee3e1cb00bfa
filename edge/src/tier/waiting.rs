//! Waiting for the disk without holding a worker thread: a reader thread does the work, a task waits for its result.

use headland_cache::KeyRef;
use headland_cache::disk::{DiskTier, ReadJob};
use tokio::sync::oneshot;

/// What is to be done, and who waits for it.
struct Job<T, W> {
    work: W,
    reply: oneshot::Sender<T>,
}

impl<T: Send, W: FnOnce() -> T + Send> ReadJob for Job<T, W> {
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn run(self: Box<Self>) {
        let Job { work, reply } = *self;
        // Who asked may have left while it was read.
        drop(reply.send(work()));
    }
}

/// Leaves work to the reader threads of the disk that has a key. Dropping the receiver takes it back, unless it has begun.
/// None when too many wait; `under_way`: an answer has begun that needs it, and there is always room for it.
pub fn submit<T: Send + 'static>(
    disk: &DiskTier,
    key: KeyRef<'_>,
    under_way: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<oneshot::Receiver<T>> {
    let (reply, result) = oneshot::channel();
    disk.submit(key, Box::new(Job { work, reply }), under_way).then_some(result)
}
