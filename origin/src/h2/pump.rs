//! An upload that outlives the head of its answer.
//!
//! It runs in a task of its own, so that neither direction waits for the other. The task ends with the answer,
//! unless the answer ended well and lets it go on.

use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::body::Ending;
use super::upload::{Ended, Upload};
use crate::error::BodyFault;
use crate::exchange::{Limits, Waits};
use crate::timer::Timer;

/// The answer's side of it: dropped, it stops the upload.
pub(super) struct Pump {
    task: AbortHandle,
    broken: Arc<OnceLock<BodyFault>>,
    stays: bool,
}

impl Pump {
    pub(super) fn start(upload: Box<Upload>, ending: Arc<Ending>, limits: Limits) -> Self {
        let broken = Arc::new(OnceLock::new());
        let run = run(upload, ending, limits, broken.clone());
        Self { task: tokio::spawn(run).abort_handle(), broken, stays: false }
    }

    /// What the client did, if that is why the stream broke.
    pub(super) fn broken(&self) -> Option<&BodyFault> {
        self.broken.get()
    }

    /// The answer is complete; the upload goes on without it.
    pub(super) fn go_on(mut self) {
        self.stays = true;
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        if !self.stays {
            self.task.abort();
        }
    }
}

async fn run(mut upload: Box<Upload>, ending: Arc<Ending>, limits: Limits, broken: Arc<OnceLock<BodyFault>>) {
    let mut timer = Timer::default();
    let mut stall = None;
    let ended = poll_fn(|cx| match upload.poll(cx) {
        Poll::Ready(ended) => Poll::Ready(ended),
        // An origin that takes nothing for too long shall not have the rest; its answer counts.
        Poll::Pending => poll_late(cx, &mut timer, &mut stall, &upload, limits).map(|()| Ok(Ended::Unwanted)),
    })
    .await;
    if let Err(fault) = ended {
        // Noted before the reader can see the reset.
        let _ = broken.set(fault);
        upload.cancel();
    }
    drop(upload);
    Ending::part(ending);
}

fn poll_late(
    cx: &mut Context<'_>,
    timer: &mut Timer,
    stall: &mut Option<(u64, Instant)>,
    upload: &Upload,
    limits: Limits,
) -> Poll<()> {
    let sent = upload.sent();
    let due = match (upload.waits(), *stall) {
        (Waits::Client, _) => {
            *stall = None;
            limits.end
        }
        (Waits::Origin, Some((before, since))) if before == sent => since + limits.between_bytes,
        (Waits::Origin, _) => stall.insert((sent, Instant::now())).1 + limits.between_bytes,
    };
    timer.poll(cx, due.min(limits.end))
}
