//! The threads that may wait for a disk: a fixed number, and a bounded queue before them.
//!
//! A job whose asker has left is dropped when its turn comes, without touching the disk.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

/// Jobs that wait for a thread; more are refused, and their requests go to the origin.
const JOBS_MAX: usize = 4096;

/// One read and what follows from it.
pub trait ReadJob: Send {
    /// Whether somebody still waits for it.
    fn is_wanted(&self) -> bool;
    fn run(self: Box<Self>);
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Box<dyn ReadJob>>,
    ended: bool,
}

/// The threads of one disk.
pub struct Readers {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Readers {
    pub fn start(threads: usize) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let start = |number: usize| {
            let queue = queue.clone();
            std::thread::Builder::new().name(format!("disk-reader-{number}")).spawn(move || queue.work())
        };
        let threads = (0..threads).map(start).collect::<io::Result<Vec<_>>>()?;
        Ok(Readers { queue, threads: Mutex::new(threads) })
    }

    /// Leaves a job; false when none is taken any more, or too many wait. One that is `under_way` belongs to an answer that
    /// has begun: each has one at most, and they are not refused.
    pub fn submit(&self, job: Box<dyn ReadJob>, under_way: bool) -> bool {
        let mut state = self.queue.state.lock();
        if state.ended || (state.jobs.len() >= JOBS_MAX && !under_way) {
            return false;
        }
        state.jobs.push_back(job);
        drop(state);
        self.queue.changed.notify_one();
        true
    }

    /// Jobs that wait.
    pub fn waiting(&self) -> usize {
        self.queue.state.lock().jobs.len()
    }

    /// Drops what waits and ends the threads, which finish what they read.
    pub fn end(&self) {
        let mut state = self.queue.state.lock();
        state.ended = true;
        let left = std::mem::take(&mut state.jobs);
        drop(state);
        drop(left);
        self.queue.changed.notify_all();
        for thread in self.threads.lock().drain(..) {
            // A job may hold the last reference to the tier, and end it on one of its own threads.
            if thread.thread().id() != std::thread::current().id() {
                drop(thread.join());
            }
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.end();
    }
}

impl Queue {
    fn work(&self) {
        while let Some(job) = self.next() {
            if job.is_wanted() {
                job.run();
            }
        }
    }

    fn next(&self) -> Option<Box<dyn ReadJob>> {
        let mut state = self.state.lock();
        loop {
            if state.ended {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            self.changed.wait(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    struct Job {
        wanted: Arc<AtomicBool>,
        done: Sender<u32>,
        number: u32,
    }

    impl ReadJob for Job {
        fn is_wanted(&self) -> bool {
            self.wanted.load(SeqCst)
        }

        fn run(self: Box<Self>) {
            self.done.send(self.number).unwrap();
        }
    }

    #[test]
    fn what_nobody_waits_for_is_not_done() {
        let readers = Readers::start(1).unwrap();
        let (done, receiver) = channel();
        let (asked, left) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        for (number, wanted) in [(1, &left), (2, &asked)] {
            assert!(readers.submit(Box::new(Job { wanted: wanted.clone(), done: done.clone(), number }), false));
        }
        assert_eq!(receiver.recv().unwrap(), 2);
        readers.end();
        assert!(!readers.submit(Box::new(Job { wanted: asked, done, number: 3 }), false));
        assert!(receiver.recv().is_err(), "nothing is left behind");
    }

    #[test]
    fn too_many_are_refused() {
        let readers = Readers::start(0).unwrap();
        let (done, _receiver) = channel();
        let job = |number| Job { wanted: Arc::new(AtomicBool::new(true)), done: done.clone(), number };
        assert!((0..JOBS_MAX as u32).all(|number| readers.submit(Box::new(job(number)), false)));
        assert!(!readers.submit(Box::new(job(0)), false));
        assert!(readers.submit(Box::new(job(0)), true));
        assert_eq!(readers.waiting(), JOBS_MAX + 1);
    }
}
