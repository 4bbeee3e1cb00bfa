//! Which worker thread this is. Counters are written by their own worker only, and the origin pool prefers a thread's
//! own idle connections.

use std::cell::Cell;

thread_local! {
    static INDEX: Cell<u16> = const { Cell::new(0) };
}

/// Numbers the calling thread; called once, when a worker thread starts.
pub fn enter(index: u16) {
    INDEX.set(index);
    headland_origin::enter_worker(index);
}

/// The calling thread's number; 0 outside worker threads.
pub fn index() -> usize {
    usize::from(INDEX.get())
}
