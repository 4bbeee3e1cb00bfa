//! One timer per connection, for whatever it waits for.
//!
//! Moving a deadline costs a store: the timer itself is only set again when it fires before the deadline, so a
//! kept-alive connection that answers thousands of requests a second touches the timer wheel once per idle period.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline that can be moved cheaply.
#[derive(Debug, Default)]
pub struct Deadline {
    at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// The deadline is `after` from `now`.
    pub fn set(&mut self, now: std::time::Instant, after: Duration) {
        self.at = Some(Instant::from_std(now) + after);
    }

    /// Nothing is waited for.
    pub fn clear(&mut self) {
        self.at = None;
    }

    pub fn is_set(&self) -> bool {
        self.at.is_some()
    }

    /// Ready once the deadline has passed.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        // A timer set for a later moment would fire too late; one set for an earlier moment is moved when it fires.
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn passed(deadline: &mut Deadline) {
        std::future::poll_fn(|cx| deadline.poll(cx)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_fires_when_it_should_after_it_was_moved_both_ways() {
        let start = Instant::now();
        let mut deadline = Deadline::default();
        deadline.set(start.into_std(), Duration::from_secs(10));
        tokio::select! {
            () = passed(&mut deadline) => panic!("too early"),
            () = tokio::time::sleep(Duration::from_secs(9)) => {}
        }
        deadline.set(Instant::now().into_std(), Duration::from_secs(10));
        passed(&mut deadline).await;
        assert_eq!(start.elapsed(), Duration::from_secs(19));
        deadline.set(Instant::now().into_std(), Duration::from_secs(30));
        std::future::poll_fn(|cx| {
            assert!(deadline.poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        deadline.set(Instant::now().into_std(), Duration::from_secs(1));
        passed(&mut deadline).await;
        assert_eq!(start.elapsed(), Duration::from_secs(20));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cleared_deadline_never_fires() {
        let mut deadline = Deadline::default();
        deadline.set(Instant::now().into_std(), Duration::from_secs(1));
        deadline.clear();
        tokio::select! {
            () = passed(&mut deadline) => panic!("it was cleared"),
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
        }
    }
}
