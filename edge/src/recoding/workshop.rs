//! Where bodies are coded: a bounded number of coders, whose steps run on helper threads, never on a worker.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use headland_cache::{Broken, Form};
use http::HeaderMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::coder::Coder;
use crate::connection::content::{Piece, Source};

/// Coders at work at a time. Each holds up to a few MiB; who finds none is answered without one.
const CODERS_MAX: usize = 256;

/// The coders of a node.
pub struct Workshop {
    places: Arc<Semaphore>,
    /// Steps that run at a time: one per core, whoever waits for them.
    steps: Arc<Semaphore>,
    pub counters: Counters,
}

/// What the workshop did. Coding costs so much more than counting that one set for all workers does.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bodies that were begun, by the form that was made.
    pub bodies: [AtomicU64; Form::ALL.len()],
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    /// Answers that went out as they were because all coders were busy.
    pub crowded: AtomicU64,
    /// Bodies that could not be undone: broken, or out of all proportion.
    pub failed: AtomicU64,
}

/// A coder with its place in the workshop.
pub struct Bench {
    coder: Coder,
    _place: OwnedSemaphorePermit,
}

/// Who takes what was coded.
pub trait Sink {
    /// Takes some bytes; false when nobody wants more.
    fn put(&mut self, data: Vec<u8>) -> impl Future<Output = bool> + Send;
}

/// How a body ended.
pub enum Done {
    Whole {
        last: Vec<u8>,
        trailers: Option<HeaderMap>,
    },
    Broken(Broken),
    /// Nobody wanted more.
    Unwanted,
}

impl Workshop {
    #[must_use]
    pub fn new(cores: usize) -> Self {
        Workshop {
            places: Arc::new(Semaphore::new(CODERS_MAX)),
            steps: Arc::new(Semaphore::new(cores.max(1))),
            counters: Counters::default(),
        }
    }

    /// A coder from one form to another, if there is such a one and it has a place.
    pub fn bench(&self, from: Form, to: Form) -> Option<Bench> {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            self.counters.crowded.fetch_add(1, Relaxed);
            return None;
        };
        let coder = Coder::new(from, to).ok().flatten()?;
        self.counters.bodies[to as usize].fetch_add(1, Relaxed);
        Some(Bench { coder, _place: place })
    }

    /// Codes a body from its first byte to its last. With `eager`, what has come is sent on whenever nothing more is
    /// there yet; else only the beginning is, because each flush costs a little of what coding saves.
    pub async fn run(&self, bench: Bench, source: Source, eager: bool, sink: &mut impl Sink) -> Done {
        self.run_through(bench, source, eager, sink).await.unwrap_or_else(|early| early)
    }

    async fn run_through(
        &self,
        mut bench: Bench,
        mut source: Source,
        eager: bool,
        sink: &mut impl Sink,
    ) -> Result<Done, Done> {
        let (mut may_flush, mut taken) = (true, false);
        loop {
            let Some(piece) = next(&mut source, taken && may_flush).await else {
                // Nothing more is here: what was taken goes on its way.
                (may_flush, taken) = (eager, false);
                bench = self.step(bench, Bytes::new(), true, sink).await?;
                continue;
            };
            let mut data = match piece {
                Piece::Data(data) => data,
                Piece::End => return Ok(self.finish(bench, None).await),
                Piece::Trailers(trailers) => return Ok(self.finish(bench, Some(trailers)).await),
                Piece::Broken(broken) => return Err(Done::Broken(broken)),
            };
            while !data.is_empty() {
                let step = data.split_to(data.len().min(bench.coder.step_bytes()));
                bench = self.step(bench, step, false, sink).await?;
                taken = true;
            }
        }
    }

    /// One step on a helper thread, and what came of it handed on.
    async fn step(&self, mut bench: Bench, data: Bytes, flush: bool, sink: &mut impl Sink) -> Result<Bench, Done> {
        self.counters.bytes_in.fetch_add(data.len() as u64, Relaxed);
        let (bench, data) = self
            .aside(move || bench.coder.step(&data, flush).map(|data| (bench, data)))
            .await
            .map_err(|_| self.failed())?;
        self.counters.bytes_out.fetch_add(data.len() as u64, Relaxed);
        if data.is_empty() || sink.put(data).await { Ok(bench) } else { Err(Done::Unwanted) }
    }

    async fn finish(&self, bench: Bench, trailers: Option<HeaderMap>) -> Done {
        let Ok(last) = self.aside(move || bench.coder.finish()).await else { return self.failed() };
        self.counters.bytes_out.fetch_add(last.len() as u64, Relaxed);
        Done::Whole { last, trailers }
    }

    /// Runs on a helper thread, when it is its turn.
    async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
        let turn = self.steps.clone().acquire_owned().await.expect("it is never closed");
        let working = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        working.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    fn failed(&self) -> Done {
        self.counters.failed.fetch_add(1, Relaxed);
        Done::Broken(Broken { error: "http_response_content_coding", timeout: false })
    }
}

/// The next piece; none when `impatient` and nothing is here yet.
async fn next(source: &mut Source, impatient: bool) -> Option<Piece> {
    std::future::poll_fn(|cx| match source.poll(cx) {
        std::task::Poll::Ready(piece) => std::task::Poll::Ready(Some(piece)),
        std::task::Poll::Pending if impatient => std::task::Poll::Ready(None),
        std::task::Poll::Pending => std::task::Poll::Pending,
    })
    .await
}
