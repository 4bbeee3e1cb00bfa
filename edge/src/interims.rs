//! Interim answers (RFC 9110 section 15.2) on their way from an origin to the client that caused the exchange.
//!
//! A proxy must forward them. They arrive where the origin is asked, which may be the task of a fill, and leave where the
//! client's connection is written. One queue serves a connection (or an HTTP/2 stream) for all its requests; each
//! request has a number, so that what an exchange says after its client was answered otherwise reaches nobody.

use std::sync::Arc;
use std::task::{Context, Waker};

use headland_origin::{Interim, InterimSink};
use http::{HeaderMap, HeaderName, StatusCode};
use parking_lot::Mutex;

use crate::hop_by_hop::is_hop_by_hop;

/// The interim answers to a client's current request. The origin side bounds how many one exchange may have.
#[derive(Debug, Default)]
pub struct Interims {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// The request that may still get interim answers.
    request: u64,
    waiting: Vec<(StatusCode, HeaderMap)>,
    waker: Option<Waker>,
}

impl Interims {
    /// A new request begins; what was for the one before it is forgotten.
    pub fn begin(self: &Arc<Self>) -> Interim {
        let mut queue = self.queue.lock();
        queue.request += 1;
        queue.waiting.clear();
        Interim { sink: self.clone(), exchange: queue.request }
    }

    /// What has come, oldest first; the task is woken when more does.
    pub fn take(&self, cx: &Context<'_>) -> Vec<(StatusCode, HeaderMap)> {
        let mut queue = self.queue.lock();
        if !queue.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            queue.waker = Some(cx.waker().clone());
        }
        std::mem::take(&mut queue.waiting)
    }

    /// What has come, now that the final answer is here; nothing comes after it.
    pub fn end(&self) -> Vec<(StatusCode, HeaderMap)> {
        let mut queue = self.queue.lock();
        queue.request += 1;
        std::mem::take(&mut queue.waiting)
    }
}

impl InterimSink for Interims {
    fn interim(&self, exchange: u64, status: StatusCode, mut headers: HeaderMap) {
        let surplus: Vec<HeaderName> = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
        for name in surplus {
            headers.remove(name);
        }
        let mut queue = self.queue.lock();
        if queue.request == exchange {
            queue.waiting.push((status, headers));
            if let Some(waker) = queue.waker.take() {
                drop(queue);
                waker.wake();
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
