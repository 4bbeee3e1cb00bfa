//! `PURGE` on the data port.
//!
//! The rule must be durable before the answer, and what is durable is Python's: so a purge waits at this desk until
//! the control side has taken it, written it down, applied it to the ledger and answered. The desk is bounded.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use headland_cache::{Fields, Outcome};
use http::{HeaderValue, StatusCode, header};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::answer::Answer;
use crate::request::Received;
use crate::snapshot::{Site, Snapshot};

/// Purges that may wait for the control side.
const WAITING_MAX: usize = 1024;
/// How long one waits before the client is told that nothing is sure.
const WAIT: Duration = Duration::from_secs(10);

/// A purge asked for on the data port, from an allowed address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeRequest {
    pub kind: &'static str,
    /// For `url`: the canonical URL.
    pub value: String,
    pub soft: bool,
    pub client: IpAddr,
}

impl PurgeRequest {
    /// Whether the request is a purge, and one that may be made: the method is PURGE and the address is allowed.
    pub fn recognise<F: Fields>(
        received: &Received<'_, F>,
        host: &[u8],
        target: &[u8],
        snapshot: &Snapshot,
        site: &Site,
    ) -> Option<Result<Self, Answer>> {
        if received.method.as_str() != "PURGE" {
            return None;
        }
        if !snapshot.purge_allow.contains(received.client) {
            return Some(Err(Answer::error(StatusCode::FORBIDDEN, "purging is not allowed from this address")));
        }
        let target = site.keyed_target(host, target, received.fields, received.client);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let soft = received.fields.first("soft-purge").or(received.fields.first("fastly-soft-purge"));
        Some(Ok(PurgeRequest {
            kind: "url",
            value: format!("{}://{}{}", received.scheme.word(), text(host), text(&target)),
            soft: soft.is_some_and(|value| value != b"0"),
            client: received.client,
        }))
    }
}

/// What the control side says of a purge.
#[derive(Debug)]
pub struct Settled {
    pub ok: bool,
    /// The receipt's identifier, or the reason of the failure.
    pub text: String,
}

/// Where purges of the data port wait for the control side.
#[derive(Debug, Default)]
pub struct PurgeDesk {
    state: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    queue: VecDeque<(u64, PurgeRequest)>,
    answers: HashMap<u64, oneshot::Sender<Settled>>,
}

impl PurgeDesk {
    /// Hands a purge in and waits for its answer.
    pub async fn purge(&self, request: PurgeRequest) -> Answer {
        let Some((id, settled)) = self.hand_in(request) else {
            return Answer::error(StatusCode::SERVICE_UNAVAILABLE, "too many purges are waiting");
        };
        let settled = tokio::time::timeout(WAIT, settled).await;
        self.state.lock().answers.remove(&id);
        match settled {
            Ok(Ok(Settled { ok: true, text })) => purged(&text),
            Ok(Ok(Settled { ok: false, text })) => Answer::error(StatusCode::SERVICE_UNAVAILABLE, text),
            Ok(Err(_)) | Err(_) => {
                Answer::error(StatusCode::SERVICE_UNAVAILABLE, "the purge could not be made durable in time")
            }
        }
    }

    fn hand_in(&self, request: PurgeRequest) -> Option<(u64, oneshot::Receiver<Settled>)> {
        let mut state = self.state.lock();
        // One that is no longer waited for may still wait to be taken.
        if state.answers.len().max(state.queue.len()) >= WAITING_MAX {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        let id = state.next;
        state.next += 1;
        state.queue.push_back((id, request));
        state.answers.insert(id, sender);
        self.arrived.notify_one();
        Some((id, receiver))
    }

    /// The next purge to be made durable; waits up to `timeout` on the calling thread.
    pub fn take(&self, timeout: Duration) -> Option<(u64, PurgeRequest)> {
        let mut state = self.state.lock();
        if state.queue.is_empty() {
            self.arrived.wait_for(&mut state, timeout);
        }
        state.queue.pop_front()
    }

    /// Settles a purge that was taken.
    pub fn settle(&self, id: u64, settled: Settled) {
        let sender = self.state.lock().answers.remove(&id);
        if let Some(sender) = sender {
            // The client may have gone; the purge holds all the same.
            drop(sender.send(settled));
        }
    }
}

/// 200 whether or not it was cached, as most clients expect.
fn purged(id: &str) -> Answer {
    let body = serde_json::json!({ "status": "ok", "id": id }).to_string();
    let mut answer = Answer::local(StatusCode::OK, body);
    answer.trace.outcome = Outcome::Local;
    answer.edit(|headers| drop(headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))));
    answer
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;

    fn request() -> PurgeRequest {
        PurgeRequest { kind: "url", value: "http://a/".to_owned(), soft: false, client: IpAddr::from([127, 0, 0, 1]) }
    }

    #[tokio::test]
    async fn a_purge_is_answered_once_the_control_side_has_settled_it() {
        let desk = Arc::new(PurgeDesk::default());
        let control = std::thread::spawn({
            let desk = desk.clone();
            move || {
                let (id, taken) = desk.take(Duration::from_secs(60)).unwrap();
                desk.settle(id, Settled { ok: true, text: "p1".to_owned() });
                taken
            }
        });
        let answer = desk.purge(request()).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(control.join().unwrap(), request());
    }

    #[tokio::test(start_paused = true)]
    async fn a_purge_that_nobody_settles_is_not_said_to_hold() {
        let desk = PurgeDesk::default();
        assert_eq!(desk.purge(request()).await.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(desk.state.lock().answers.is_empty());
    }

    #[test]
    fn the_desk_is_bounded() {
        let desk = PurgeDesk::default();
        let held: Vec<_> = (0..WAITING_MAX).map(|_| desk.hand_in(request()).unwrap()).collect();
        assert!(desk.hand_in(request()).is_none());
        drop(held);
        desk.state.lock().answers.clear();
        assert!(desk.hand_in(request()).is_none(), "nobody takes what waits");
    }
}
