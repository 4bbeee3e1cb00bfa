//! `PURGE`, `BAN` and `PURGEKEYS` on the data port.
//!
//! The rule must be durable before the answer, and what is durable is Python's, as is what a client means and what a
//! token allows: so a purge waits at this desk until the control side has taken it, written it down, applied it to the
//! ledger and answered. The desk is bounded, and without a token only allowed addresses reach it.

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

/// What the control side is told of a request's fields: tokens, modifiers, and what names tags, hosts and paths in the
/// dialects of the clients that purge.
const FIELDS: [&str; 19] = [
    "authorization",
    "fastly-key",
    "accesskey",
    "x-auth-key",
    "soft-purge",
    "fastly-soft-purge",
    "x-purge-method",
    "surrogate-key",
    "cache-tag",
    "cache-tags",
    "xkey",
    "xkey-purge",
    "xkey-softpurge",
    "x-host",
    "x-url",
    "x-content-type",
    "x-cache-tags",
    "x-magento-tags-pattern",
    "purge-cache-tags",
];
/// Those that carry a token.
const TOKENS: usize = 4;
/// What nginx-helper asks for by GET: a path behind the first, everything by the second.
const GET_PATH: &[u8] = b"/purge/";
const GET_ALL: &[u8] = b"/purgeall";

/// A purge asked for on the data port. What it means is for the control side to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeRequest {
    /// `PURGE`, `BAN`, `PURGEKEYS`, or `PURGEALL` for the GET that means it.
    pub method: String,
    /// The canonical URL, after the key rules of its site.
    pub url: String,
    /// Those of [`FIELDS`] that it has.
    pub fields: Vec<(&'static str, String)>,
    pub client: IpAddr,
    /// Whether purging is allowed from its address; otherwise it brings a token.
    pub allowed: bool,
}

impl PurgeRequest {
    /// Whether the request is a purge, and from an allowed address or with a token.
    pub fn recognise<F: Fields>(
        received: &Received<'_, F>,
        host: &[u8],
        target: &[u8],
        snapshot: &Snapshot,
        site: &Site,
    ) -> Option<Result<Self, Answer>> {
        let allowed = || snapshot.purge_allow.contains(received.client);
        let (method, target) = match received.method.as_str() {
            "GET" if snapshot.purge_by_get => wanted_by_get(target).filter(|_| allowed())?,
            method @ ("PURGE" | "BAN" | "PURGEKEYS") => (method, target),
            _ => return None,
        };
        let (fields, allowed) = (fields_of(received.fields), allowed());
        if !allowed && !fields.iter().any(|(name, _)| FIELDS[..TOKENS].contains(name)) {
            return Some(Err(Answer::error(StatusCode::FORBIDDEN, "purging is not allowed from this address")));
        }
        let target = site.keyed_target(host, target, received.fields, received.client);
        Some(Ok(PurgeRequest {
            method: method.to_owned(),
            url: format!("{}://{}{}", received.scheme.word(), text(host), text(&target)),
            fields,
            client: received.client,
            allowed,
        }))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn fields_of(fields: &impl Fields) -> Vec<(&'static str, String)> {
    let values = |name: &'static str| fields.named(name).map(move |value| (name, text(value)));
    FIELDS.into_iter().flat_map(values).collect()
}

/// The purge that a GET stands for, and the target of it.
fn wanted_by_get(target: &[u8]) -> Option<(&'static str, &[u8])> {
    if target == GET_ALL {
        return Some(("PURGEALL", b"/"));
    }
    target.starts_with(GET_PATH).then(|| ("PURGE", &target[GET_PATH.len() - 1..]))
}

/// What the control side says of a purge.
#[derive(Debug)]
pub struct Settled {
    pub status: u16,
    /// A document of JSON.
    pub body: String,
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
            Ok(Ok(settled)) => answer(settled),
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

fn answer(settled: Settled) -> Answer {
    let status = StatusCode::from_u16(settled.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = Answer::local(status, settled.body);
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
        PurgeRequest {
            method: "PURGE".to_owned(),
            url: "http://a/".to_owned(),
            fields: Vec::new(),
            client: IpAddr::from([127, 0, 0, 1]),
            allowed: true,
        }
    }

    #[tokio::test]
    async fn a_purge_is_answered_once_the_control_side_has_settled_it() {
        let desk = Arc::new(PurgeDesk::default());
        let control = std::thread::spawn({
            let desk = desk.clone();
            move || {
                let (id, taken) = desk.take(Duration::from_secs(60)).unwrap();
                desk.settle(id, Settled { status: 200, body: "{}".to_owned() });
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
    fn what_nginx_helper_asks_for_by_get_is_known() {
        for (target, wanted) in [
            (&b"/purge/a?b"[..], Some(("PURGE", &b"/a?b"[..]))),
            (b"/purgeall", Some(("PURGEALL", b"/"))),
            (b"/purge", None),
            (b"/purged/x", None),
        ] {
            assert_eq!(wanted_by_get(target), wanted, "{}", text(target));
        }
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
