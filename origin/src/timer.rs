//! A deadline that costs next to nothing while nothing is late.
//!
//! Most waits end long before their deadline, so the runtime's timer is not set and cancelled for each of them:
//! one timer per connection stays set for the earliest deadline asked for, and is moved on only when it fires.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Ready once `due` has passed; else the task is woken then, or earlier.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() > due {
            sleep.as_mut().reset(due);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= due {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
    }

    /// Lets go of the task that waited last: an idle connection must not keep a finished task in memory.
    pub(crate) fn forget_task(&mut self) {
        if let Some(sleep) = &mut self.sleep {
            let _ = sleep.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// Forgets the runtime too, before the connection moves to another.
    pub(crate) fn clear(&mut self) {
        self.sleep = None;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moved_on_fires_at_its_new_time() {
        let start = Instant::now();
        let mut timer = Timer::default();
        let seconds = Duration::from_secs;
        let early = poll_fn(|cx| Poll::Ready(timer.poll(cx, start + seconds(1)))).await;
        assert!(early.is_pending());
        poll_fn(|cx| timer.poll(cx, start + seconds(5))).await;
        assert_eq!(start.elapsed().as_secs(), 5);
        let later = poll_fn(|cx| Poll::Ready(timer.poll(cx, start + seconds(60)))).await;
        assert!(later.is_pending());
        poll_fn(|cx| timer.poll(cx, start + seconds(7))).await;
        assert_eq!(start.elapsed().as_secs(), 7);
    }
}
