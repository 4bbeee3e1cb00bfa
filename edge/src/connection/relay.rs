//! Hands a request body from the connection that reads it to the exchange that sends it, one frame at a time.
//!
//! Both ends live on one worker thread, but the exchange may outlive the request's answer, so they share a slot. The
//! slot holds one frame: the client is read no faster than the origin takes. A relay that is dropped before its end
//! fails the upload; a reader that is dropped tells the connection that nobody wants the rest.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use headland_origin::BodyFault;
use http_body::{Body, Frame};
use parking_lot::Mutex;

#[derive(Default)]
struct Slot {
    frame: Option<Result<Frame<Bytes>, BodyFault>>,
    ended: bool,
    reader_gone: bool,
    reader: Option<Waker>,
    feeder: Option<Waker>,
}

/// The connection's end.
pub struct Feeder(Arc<Mutex<Slot>>);

/// The exchange's end: the request body.
pub struct Relayed(Arc<Mutex<Slot>>);

/// Makes both ends.
pub fn relay() -> (Feeder, Relayed) {
    let slot = Arc::new(Mutex::new(Slot::default()));
    (Feeder(slot.clone()), Relayed(slot))
}

/// The exchange dropped the body: it wants no more of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unwanted;

impl Feeder {
    /// Ready when the slot is free for the next frame.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Unwanted>> {
        let mut slot = self.0.lock();
        if slot.reader_gone {
            return Poll::Ready(Err(Unwanted));
        }
        if slot.frame.is_none() {
            return Poll::Ready(Ok(()));
        }
        slot.feeder = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Puts a frame into the slot, which is free.
    pub fn push(&self, frame: Frame<Bytes>) {
        self.put(Some(Ok(frame)), false);
    }

    /// The body is complete.
    pub fn finish(self) {
        self.put(None, true);
    }

    /// The body will never be complete.
    pub fn fail(self, fault: BodyFault) {
        self.put(Some(Err(fault)), true);
    }

    fn put(&self, frame: Option<Result<Frame<Bytes>, BodyFault>>, ended: bool) {
        let mut slot = self.0.lock();
        if frame.is_some() {
            slot.frame = frame;
        }
        slot.ended |= ended;
        if let Some(reader) = slot.reader.take() {
            reader.wake();
        }
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        let mut slot = self.0.lock();
        if !slot.ended {
            slot.frame = Some(Err(BodyFault::Disconnected));
            slot.ended = true;
        }
        if let Some(reader) = slot.reader.take() {
            reader.wake();
        }
    }
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let mut slot = self.0.lock();
        if let Some(frame) = slot.frame.take() {
            if let Some(feeder) = slot.feeder.take() {
                feeder.wake();
            }
            return Poll::Ready(Some(frame));
        }
        if slot.ended {
            return Poll::Ready(None);
        }
        slot.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        let slot = self.0.lock();
        slot.ended && slot.frame.is_none()
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        let mut slot = self.0.lock();
        slot.reader_gone = true;
        if let Some(feeder) = slot.feeder.take() {
            feeder.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn frames_arrive_in_order_and_the_end_is_seen() {
        let (feeder, body) = relay();
        let reading = tokio::spawn(body.collect());
        for part in ["a", "b", "c"] {
            std::future::poll_fn(|cx| feeder.poll_ready(cx)).await.unwrap();
            feeder.push(Frame::data(Bytes::from_static(part.as_bytes())));
        }
        std::future::poll_fn(|cx| feeder.poll_ready(cx)).await.unwrap();
        feeder.finish();
        assert_eq!(reading.await.unwrap().unwrap().to_bytes(), "abc");
    }

    #[tokio::test]
    async fn a_feeder_that_is_dropped_fails_the_body() {
        let (feeder, mut body) = relay();
        drop(feeder);
        assert!(body.frame().await.unwrap().is_err());
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_body_that_is_dropped_is_unwanted() {
        let (feeder, body) = relay();
        drop(body);
        assert_eq!(std::future::poll_fn(|cx| feeder.poll_ready(cx)).await, Err(Unwanted));
    }
}
