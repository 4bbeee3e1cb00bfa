//! Interim answers (RFC 9110 section 15.2) on their way from an origin to the client that caused the exchange.
//!
//! A proxy must forward them. They arrive where the origin is asked, which may be the task of a fill, and leave where the
//! client's connection is written. One queue serves a connection (or an HTTP/2 stream) for all its requests; each
//! request has a number, so that what an exchange says after its client was answered otherwise reaches nobody.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::task::{Context, Waker};

use headland_origin::{Interim, InterimSink};
use http::{HeaderMap, HeaderName, StatusCode};
use parking_lot::Mutex;

use crate::hop_by_hop::is_hop_by_hop;

/// The interim answers to a client's current request. The origin side bounds how many one exchange may have. A request
/// without any takes no lock.
#[derive(Debug, Default)]
pub struct Interims {
    /// The request that may still get interim answers.
    request: AtomicU64,
    /// Something waits in the queue.
    any: AtomicBool,
    /// The waiting task is known: it stays the same.
    known: AtomicBool,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<(u64, StatusCode, HeaderMap)>,
    waker: Option<Waker>,
}

impl Interims {
    /// A new request begins.
    pub fn begin(self: &Arc<Self>) -> Interim {
        let exchange = self.request.fetch_add(1, AcqRel) + 1;
        Interim { sink: self.clone(), exchange }
    }

    /// What has come, oldest first; the task, which is always the same one, is woken when more does.
    pub fn take(&self, cx: &Context<'_>) -> Vec<(StatusCode, HeaderMap)> {
        if !self.known.load(Relaxed) {
            self.queue.lock().waker = Some(cx.waker().clone());
            self.known.store(true, Relaxed);
        }
        self.drain()
    }

    /// What has come, now that the final answer is here; nothing comes after it.
    pub fn end(&self) -> Vec<(StatusCode, HeaderMap)> {
        let taken = self.drain();
        self.request.fetch_add(1, AcqRel);
        taken
    }

    /// What has come for the current request; what is left of an earlier one is dropped.
    fn drain(&self) -> Vec<(StatusCode, HeaderMap)> {
        if !self.any.load(Acquire) {
            return Vec::new();
        }
        let mut queue = self.queue.lock();
        self.any.store(false, Relaxed);
        let current = self.request.load(Acquire);
        let waiting = std::mem::take(&mut queue.waiting).into_iter();
        waiting.filter(|(of, ..)| *of == current).map(|(_, status, headers)| (status, headers)).collect()
    }
}

impl InterimSink for Interims {
    fn interim(&self, exchange: u64, status: StatusCode, mut headers: HeaderMap) {
        let surplus: Vec<HeaderName> = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
        for name in surplus {
            headers.remove(name);
        }
        let mut queue = self.queue.lock();
        if self.request.load(Acquire) == exchange {
            queue.waiting.push((exchange, status, headers));
            self.any.store(true, Release);
            if let Some(waker) = &queue.waker {
                waker.wake_by_ref();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn hint(link: &'static str) -> HeaderMap {
        [("link", link), ("connection", "close")]
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .into_iter()
            .collect()
    }

    #[test]
    fn what_comes_is_kept_in_order_without_the_fields_of_a_connection() {
        let interims = Arc::<Interims>::default();
        let interim = interims.begin();
        interim.pass(StatusCode::PROCESSING, HeaderMap::new());
        interim.pass(StatusCode::EARLY_HINTS, hint("</a>"));
        let taken = interims.take(&Context::from_waker(Waker::noop()));
        assert_eq!(taken.iter().map(|(status, _)| status.as_u16()).collect::<Vec<_>>(), [102, 103]);
        assert_eq!(taken[1].1.keys().collect::<Vec<_>>(), ["link"]);
        assert!(interims.end().is_empty());
    }

    #[test]
    fn what_comes_late_reaches_nobody() {
        let interims = Arc::<Interims>::default();
        let first = interims.begin();
        first.pass(StatusCode::EARLY_HINTS, hint("</a>"));
        let second = interims.begin();
        first.pass(StatusCode::EARLY_HINTS, hint("</b>"));
        assert!(interims.take(&Context::from_waker(Waker::noop())).is_empty());
        assert!(interims.end().is_empty());
        second.pass(StatusCode::EARLY_HINTS, hint("</c>"));
        assert!(interims.end().is_empty());
    }
}
