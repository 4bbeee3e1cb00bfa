//! The queue over a stack that lets in what the test says: the traits hold for another one than quinn.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::*;
use crate::quic::{Counted, Facts, Receiving};

/// A connection with so much room for all of its streams; what was written, in order.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    room: usize,
    wakers: Vec<Waker>,
    written: Vec<(u64, usize)>,
    closed: bool,
}

struct FakeSending(u64, Fake);

impl Fake {
    fn stream(&self, id: u64) -> FakeSending {
        FakeSending(id, self.clone())
    }

    fn open(&self, bytes: usize) {
        let mut state = self.0.lock();
        state.room += bytes;
        state.wakers.drain(..).for_each(Waker::wake);
    }

    /// Lets everybody run, then tells what was written meanwhile, what one stream wrote in a row as one.
    async fn written(&self) -> Vec<(u64, usize)> {
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
        let mut rows: Vec<(u64, usize)> = Vec::new();
        for (stream, bytes) in std::mem::take(&mut self.0.lock().written) {
            match rows.last_mut() {
                Some(last) if last.0 == stream => last.1 += bytes,
                _ => rows.push((stream, bytes)),
            }
        }
        rows
    }
}

impl Sending for FakeSending {
    fn id(&self) -> u64 {
        self.0
    }

    fn poll_write(&mut self, parts: &mut [Bytes], cx: &mut Context<'_>) -> Poll<Result<usize, Cut>> {
        let mut state = self.1.0.lock();
        if state.closed {
            return Poll::Ready(Err(Cut::Connection));
        }
        let bytes = parts[0].len().min(state.room);
        if bytes == 0 && !parts[0].is_empty() {
            state.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        state.room -= bytes;
        state.written.push((self.0, bytes));
        drop(parts[0].split_to(bytes));
        Poll::Ready(Ok(usize::from(parts[0].is_empty())))
    }

    fn set_priority(&self, _: i32) {}

    fn finish(&mut self) -> bool {
        true
    }

    fn reset(&mut self, _: u32) {}

    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        std::future::ready(())
    }
}

impl Receiving for () {
    fn is_early(&self) -> bool {
        false
    }

    async fn read(&mut self, _: usize) -> Result<Option<Bytes>, Cut> {
        Ok(None)
    }

    fn stop(&mut self, _: u32) {}
}

impl Quic for Fake {
    type Sending = FakeSending;
    type Receiving = ();

    async fn accept_request(&self) -> Option<(FakeSending, ())> {
        None
    }

    async fn accept_uni(&self) -> Option<()> {
        None
    }

    async fn open_uni(&self) -> Option<FakeSending> {
        None
    }

    fn close(&self, _: u32) {
        self.0.lock().closed = true;
        self.open(0);
    }

    fn is_closed(&self) -> bool {
        self.0.lock().closed
    }

    fn round_trip(&self) -> Duration {
        Duration::ZERO
    }

    fn bound_ahead(&self) {}

    fn bytes_sent(&self) -> u64 {
        0
    }

    fn counted(&self) -> Counted {
        Counted::default()
    }

    fn facts(&self) -> Option<Facts> {
        None
    }
}

struct Queue {
    quic: Fake,
    order: Arc<Order<FakeSending>>,
}

impl Queue {
    fn new() -> Self {
        Queue { quic: Fake::default(), order: Arc::default() }
    }

    /// A stream waits with so many bytes; the task ends when they are written, or never will be.
    fn enter(
        &self,
        id: u64,
        urgency: u8,
        incremental: bool,
        sizes: &[usize],
    ) -> tokio::task::JoinHandle<Result<(), Cut>> {
        let parts = sizes.iter().map(|size| Bytes::from(vec![0; *size])).collect();
        enter(&self.order, &self.quic, self.quic.stream(id), Priority { urgency, incremental }, parts);
        let order = self.order.clone();
        tokio::spawn(async move { std::future::poll_fn(|cx| order.poll_leave(id, cx)).await.1 })
    }
}

#[tokio::test]
async fn room_goes_down_the_order_and_parts_share_it() {
    let queue = Queue::new();
    let late = queue.enter(0, 7, false, &[100]);
    let parts = [queue.enter(4, 3, true, &[40_000]), queue.enter(8, 3, true, &[40_000])];
    let urgent = queue.enter(12, 0, false, &[10, 0, 20]);
    assert!(queue.order.is_first(12) && !queue.order.is_free(16, Priority { urgency: 1, incremental: false }));
    queue.quic.open(30 + 3 * 16_384);
    assert_eq!(queue.quic.written().await, [(12, 30), (4, 16_384), (8, 16_384), (4, 16_384)]);
    assert_eq!(urgent.await.unwrap(), Ok(()));
    queue.order.reorder(0, Priority { urgency: 1, incremental: false });
    queue.quic.open(1 << 20);
    assert_eq!(queue.quic.written().await, [(0, 100), (8, 16_384), (4, 7_232), (8, 7_232)]);
    assert_eq!(late.await.unwrap(), Ok(()));
    for part in parts {
        assert_eq!(part.await.unwrap(), Ok(()));
    }
    assert!(queue.order.is_free(20, Priority { urgency: 7, incremental: true }));
    // Who gave room went when nobody waited; the next one finds another.
    let again = queue.enter(24, 3, true, &[1]);
    assert_eq!(queue.quic.written().await, [(24, 1)]);
    assert_eq!(again.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn who_goes_away_gives_its_place_up_and_a_connection_that_ends_wakes_everybody() {
    let queue = Queue::new();
    let (first, second) = (queue.enter(0, 0, false, &[100]), queue.enter(4, 7, false, &[100]));
    queue.quic.open(60);
    assert_eq!(queue.quic.written().await, [(0, 60)]);
    assert_eq!(queue.order.taken(0), 60);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!(queue.order.withdraw(0).map(|stream| stream.id()), Some(0));
    queue.quic.open(10);
    assert_eq!(queue.quic.written().await, [(4, 10)]);
    queue.quic.close(0);
    assert_eq!(second.await.unwrap(), Err(Cut::Connection));
}
