//! What an unsafe request has changed, told to the peers: the request itself, without its body, with the word that it has
//! been done, and with what its response names. Nobody asks the origin again.
//!
//! The owner of the key forgets it, and so does who has a copy. The client waits for that, so that it does not get back
//! what it has just changed, but not for a peer that takes long: what that one has stays until it expires.

use std::sync::Arc;
use std::time::{Duration, Instant};

use headland_cache::Fields;
use headland_origin::{Client, Group, Request, RequestBody};
use http::{HeaderName, HeaderValue};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::word::{Asking, Wants};
use crate::forward::{OwnedLines, Purpose};
use crate::node::Node;
use crate::plan::Plan;

/// How long a client waits until the peers know.
const TELLING_MAX: Duration = Duration::from_millis(500);
/// A kept connection may have died unnoticed: a notice is as good twice.
const TRIES: usize = 2;
/// Fields of a response that name what else it has changed.
const NAMING: [&str; 3] = ["location", "content-location", "cache-group-invalidation"];

/// One request for each peer that is well.
pub struct Notice {
    group: Arc<Group>,
    requests: Vec<(usize, [Request; TRIES])>,
}

/// What to tell, if anybody is to be told: what a peer itself was told goes no further.
pub fn of<F: OwnedLines>(plan: &Plan<F>, named: &impl Fields) -> Option<Notice> {
    let peers = plan.snapshot.peers.as_ref().filter(|_| !plan.for_peer)?;
    let group = peers.group()?.clone();
    let word = peers.word(Asking { scheme: plan.scheme, client: plan.client, wants: Wants::Forgetting })?;
    let twice = || [request(plan, &word, named), request(plan, &word, named)];
    let requests = group.well(Instant::now()).into_iter().map(|place| (place, twice())).collect();
    Some(Notice { group, requests })
}

fn request<F: OwnedLines>(plan: &Plan<F>, word: &HeaderValue, named: &impl Fields) -> Request {
    let mut request = plan.request_to_peer(Purpose::Pass, RequestBody::Empty, word);
    let mut fields = request.headers.to_map();
    for name in NAMING.map(HeaderName::from_static) {
        fields.remove(&name);
        let values = named.named(name.as_str()).filter_map(|value| HeaderValue::from_bytes(value).ok());
        for value in values {
            fields.append(name.clone(), value);
        }
    }
    request.headers = fields.into();
    request.upgrade = None;
    request
}

impl Notice {
    /// Ends when all peers have answered, or when that takes too long.
    pub async fn give(self, node: &Node) {
        let count = self.requests.len();
        let mut telling = JoinSet::new();
        for (place, requests) in self.requests {
            telling.spawn(tell(node.client.clone(), self.group.clone(), place, requests));
        }
        let mut told = 0;
        let all = async {
            while let Some(result) = telling.join_next().await {
                told += usize::from(result.is_ok_and(|told| told));
            }
        };
        // Who has not answered by then is counted as not told.
        let _ = timeout(TELLING_MAX, all).await;
        let metrics = &node.metrics.here().peers;
        (0..told).for_each(|_| metrics.told.bump());
        (told..count).for_each(|_| metrics.untold.bump());
    }
}

async fn tell(client: Arc<Client>, group: Arc<Group>, place: usize, requests: [Request; TRIES]) -> bool {
    for request in requests {
        if let Ok(response) = client.fetch_from(&group, place, request, None).await {
            return response.status.is_success();
        }
    }
    false
}
