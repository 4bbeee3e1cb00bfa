//! Answers of one connection that wait for room, and who gives it to them: what is of more use to the client leaves first.
//!
//! Whoever nobody waits before writes by itself. What does not get in waits here, stream and bytes, and one task per
//! connection offers room down the order of [`Turns`] whenever the transport has some. The transport itself is given
//! little more than it can send now: what it has taken is not ordered any more, and the client's window is used up by it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::h3::{Priority, Taken, Turns};
use crate::quic::{Cut, Quic, Sending};

/// What waits of one answer.
struct Slot<S> {
    stream: S,
    parts: Vec<Bytes>,
    /// Parts that are written.
    written: usize,
    /// Bytes that were written since it waits.
    taken: u64,
    outcome: Option<Result<(), Cut>>,
    waker: Option<Waker>,
}

struct Waiting<S> {
    turns: Turns,
    slots: BTreeMap<u64, Slot<S>>,
    /// Whether somebody gives room, and how it is woken.
    served: bool,
    waker: Option<Waker>,
}

pub(super) struct Order<S> {
    waiting: Mutex<Waiting<S>>,
    /// Slots that there are: who finds none need not look further.
    count: AtomicUsize,
}

impl<S> Default for Order<S> {
    fn default() -> Self {
        let waiting = Waiting { turns: Turns::default(), slots: BTreeMap::new(), served: false, waker: None };
        Order { waiting: Mutex::new(waiting), count: AtomicUsize::new(0) }
    }
}

impl<S: Sending> Order<S> {
    /// Whether nobody waits who has to send before this stream.
    pub(super) fn is_free(&self, stream: u64, priority: Priority) -> bool {
        self.count.load(Relaxed) == 0 || self.waiting.lock().turns.is_free(stream, priority)
    }

    /// Whether it is this stream that room is offered first.
    pub(super) fn is_first(&self, stream: u64) -> bool {
        self.waiting.lock().turns.is_first(stream)
    }

    /// Bytes of a waiting stream that were written since it waits.
    pub(super) fn taken(&self, stream: u64) -> u64 {
        self.waiting.lock().slots.get(&stream).map_or(0, |slot| slot.taken)
    }

    /// The client wants a stream at another time.
    pub(super) fn reorder(&self, stream: u64, priority: Priority) {
        let mut waiting = self.waiting.lock();
        if waiting.turns.reorder(stream, priority) {
            waiting.slots[&stream].stream.set_priority(priority.rank(stream));
            waiting.wake();
        }
    }

    /// Ready with the stream when its bytes are written, or never will be.
    pub(super) fn poll_leave(&self, stream: u64, cx: &mut Context<'_>) -> Poll<(S, Result<(), Cut>)> {
        let mut waiting = self.waiting.lock();
        let slot = waiting.slots.get_mut(&stream).expect("who waits has a slot");
        let Some(outcome) = slot.outcome else {
            if slot.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
                slot.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        };
        drop(waiting);
        let stream = self.withdraw(stream).expect("it was there");
        Poll::Ready((stream, outcome))
    }

    /// Waits no more; the stream, if it waited.
    pub(super) fn withdraw(&self, stream: u64) -> Option<S> {
        let mut waiting = self.waiting.lock();
        waiting.turns.leave(stream);
        let slot = waiting.slots.remove(&stream)?;
        self.count.fetch_sub(1, Relaxed);
        // Room that was kept for what comes next of this stream is for all now, unless that comes at once.
        waiting.wake();
        Some(slot.stream)
    }

    /// Offers room until nobody waits.
    async fn give(&self, quic: &impl Quic) {
        std::future::poll_fn(|cx| {
            let mut waiting = self.waiting.lock();
            if waiting.slots.is_empty() {
                waiting.served = false;
                waiting.waker = None;
                return Poll::Ready(());
            }
            waiting.waker = Some(cx.waker().clone());
            quic.bound_ahead();
            let Waiting { turns, slots, .. } = &mut *waiting;
            turns.offer(|stream, most| slots.get_mut(&stream).map_or(Taken::Gone, |slot| slot.take(most, cx)));
            Poll::Pending
        })
        .await;
    }
}

/// A stream waits with these bytes.
pub(super) fn enter<Q: Quic>(
    order: &Arc<Order<Q::Sending>>,
    quic: &Q,
    stream: Q::Sending,
    priority: Priority,
    parts: Vec<Bytes>,
) {
    let mut waiting = order.waiting.lock();
    let id = stream.id();
    waiting.turns.enter(id, priority);
    waiting.slots.insert(id, Slot { stream, parts, written: 0, taken: 0, outcome: None, waker: None });
    order.count.fetch_add(1, Relaxed);
    if std::mem::replace(&mut waiting.served, true) {
        waiting.wake();
    } else {
        let (order, quic) = (order.clone(), quic.clone());
        tokio::spawn(async move { order.give(&quic).await });
    }
}

impl<S> Waiting<S> {
    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

impl<S: Sending> Slot<S> {
    /// Writes as much as there is room for, and as may be.
    fn take(&mut self, most: Option<u64>, cx: &mut Context<'_>) -> Taken {
        let before = self.taken;
        while self.written < self.parts.len() {
            let left = most.map(|most| most - (self.taken - before));
            if left == Some(0) {
                return Taken::Part(self.taken - before);
            }
            match self.poll_write(left, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(cut)) => return self.end(Err(cut), Taken::Gone),
                Poll::Pending => return Taken::Part(self.taken - before),
            }
        }
        self.end(Ok(()), Taken::Whole)
    }

    fn poll_write(&mut self, most: Option<u64>, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        let parts = &mut self.parts[self.written..];
        let Some(most) = most else {
            let before = length(parts);
            let whole = std::task::ready!(self.stream.poll_write(parts, cx))?;
            self.taken += before - length(&parts[whole..]);
            self.written += whole;
            return Poll::Ready(Ok(()));
        };
        let part = &mut parts[0];
        let most = part.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        let mut allowed = [part.slice(..most)];
        let whole = std::task::ready!(self.stream.poll_write(&mut allowed, cx))?;
        let taken = if whole == 1 { most } else { most - allowed[0].len() };
        drop(part.split_to(taken));
        self.taken += taken as u64;
        self.written += usize::from(part.is_empty());
        Poll::Ready(Ok(()))
    }

    fn end(&mut self, outcome: Result<(), Cut>, taken: Taken) -> Taken {
        self.outcome = Some(outcome);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        taken
    }
}

fn length(parts: &[Bytes]) -> u64 {
    parts.iter().map(|part| part.len() as u64).sum()
}

#[cfg(test)]
mod tests;
