//! An upload that outlives the head of its answer: the two directions apart, and together again.
//!
//! The halves share the transport under a lock that nobody holds for long. The pump owns the writing half and sends
//! it back with how the upload ended; whoever owns the reading half joins them again, or drops it, which stops the
//! pump and closes the connection.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{ReadHalf, WriteHalf, split};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Connection;
use super::body::{poll_fill, send_home};
use super::upload::{Broken, Upload};
use crate::error::BodyFault;
use crate::exchange::{Home, Limits, Waits};
use crate::timer::Timer;
use crate::transport::Transport;

/// How an upload ended.
pub(super) enum Outcome {
    Done,
    /// The origin took no more: its answer counts, the connection does not.
    Origin,
    Client(BodyFault),
}

type Report = (WriteHalf<Transport>, Result<(), Broken>);

/// The reading half, and word of the pump.
pub(super) struct Half {
    read: ReadHalf<Transport>,
    pub(super) input: BytesMut,
    pub(super) timer: Timer,
    state: State,
    _pump: StopOnDrop,
}

/// Ends the pump with the half that it belongs to.
struct StopOnDrop(AbortHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

enum State {
    Running(oneshot::Receiver<Report>),
    Done(WriteHalf<Transport>),
    Failed(Option<WriteHalf<Transport>>),
}

/// Takes the connection apart and lets the rest of the upload run on its own.
pub(super) fn start(connection: Connection, upload: Upload, limits: Limits) -> Half {
    let inner = *connection.inner;
    let (read, write) = split(inner.transport);
    let (report, state) = oneshot::channel();
    let pump = tokio::spawn(async move {
        // Nobody listens any more: both halves are gone, and the connection with them.
        let _ = report.send(run(write, upload, limits).await);
    });
    let (input, timer) = (inner.input, inner.timer);
    Half { read, input, timer, state: State::Running(state), _pump: StopOnDrop(pump.abort_handle()) }
}

async fn run(mut write: WriteHalf<Transport>, mut upload: Upload, limits: Limits) -> Report {
    let mut timer = Timer::default();
    let mut stall: Option<(u64, Instant)> = None;
    let result = poll_fn(|cx| {
        if let Poll::Ready(result) = upload.poll(cx, &mut write) {
            return Poll::Ready(result);
        }
        let due = if upload.waits() == Waits::Client {
            stall = None;
            limits.end
        } else {
            let written = upload.written();
            match stall {
                Some((before, since)) if before == written => since + limits.between_bytes,
                _ => stall.insert((written, Instant::now())).1 + limits.between_bytes,
            }
            .min(limits.end)
        };
        timer.poll(cx, due).map(|()| Err(Broken::Origin(io::ErrorKind::TimedOut.into())))
    })
    .await;
    (write, result)
}

impl Half {
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        poll_fill(cx, &mut self.read, &mut self.input, wanted)
    }

    /// Ready once the upload has ended.
    pub(super) fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let receiver = match &mut self.state {
            State::Running(receiver) => receiver,
            State::Done(_) => return Poll::Ready(Outcome::Done),
            State::Failed(_) => return Poll::Ready(Outcome::Origin),
        };
        let (state, outcome) = match ready!(Pin::new(receiver).poll(cx)) {
            Ok((write, Ok(()))) => (State::Done(write), Outcome::Done),
            Ok((write, Err(Broken::Client(fault)))) => (State::Failed(Some(write)), Outcome::Client(fault)),
            Ok((write, Err(Broken::Origin(_)))) => (State::Failed(Some(write)), Outcome::Origin),
            Err(_) => (State::Failed(None), Outcome::Origin),
        };
        self.state = state;
        Poll::Ready(outcome)
    }

    /// After the body: the connection goes home once the upload is through as well.
    pub(super) fn finish_later(mut self, home: Home) {
        if let State::Done(_) = self.state {
            return self.go_home(home);
        }
        tokio::spawn(async move {
            if let State::Running(receiver) = &mut self.state
                && let Ok((write, Ok(()))) = receiver.await
            {
                self.state = State::Done(write);
                self.go_home(home);
            }
        });
    }

    fn go_home(self, home: Home) {
        if let State::Done(write) = self.state {
            let connection = Connection::assemble(self.read.unsplit(write), self.input, self.timer);
            send_home(connection, true, home);
        }
    }

    /// Closes with a reset.
    pub(super) fn reset(self) {
        if let State::Failed(Some(write)) = self.state {
            self.read.unsplit(write).reset_on_close();
        }
    }
}
