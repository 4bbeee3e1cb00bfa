//! A miss of what a peer owns: passed on to it, or fetched through it as a copy.
//!
//! The peer's answer is the answer, whatever it is. When it gives none, or says that it cannot, the key's next owner is
//! asked, and then the origin, by us. The same happens to requests that wait for a peer when it is found down.

use std::sync::Arc;
use std::time::{Duration, Instant};

use headland_cache::{CacheKey, Epoch, Fields, KeyRef, Standing, VarySpec, groups};
use headland_origin::{FetchError, Group, Request, RequestBody, Response};
use http::{Method, StatusCode};
use smallvec::SmallVec;

use super::Peers;
use super::word::{Asking, Wants, age_ms};
use crate::answer::Answer;
use crate::fetching;
use crate::fill;
use crate::forward::{OwnedLines, PEER, Purpose};
use crate::node::Node;
use crate::origin_fields::OriginFields;
use crate::plan::{Asks, Plan};

/// Peers that are asked for one request.
const ASKED_MAX: usize = 2;
/// How often a request that waits for a peer looks whether that is still well.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A purge reaches the peers so much later, or is given so much later than the origin was asked, in milliseconds.
const SPREAD_MS: u64 = 250;

/// What a peer gave.
pub struct Given {
    pub response: Response,
    /// When it came from the origin, by the purges that this node knows.
    pub born: Epoch,
    /// It came out of the peer's store.
    pub is_stored: bool,
}

/// Answers a miss: from the peer that owns the key, else from the origin.
pub async fn missed<F: OwnedLines + Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    mut plan: Box<Plan<F>>,
    key: &CacheKey,
) -> Answer {
    let snapshot = plan.snapshot.clone();
    let Some(peers) = snapshot.peers.as_ref().filter(|_| may_be_relayed(&plan)) else {
        return fetching::collapsed(node, plan, key).await;
    };
    if peers.owner(key.hash(), &[]).is_none() {
        return fetching::collapsed(node, plan, key).await;
    }
    let is_hot = node.heat.asked(key.hash(), node.clock.now()) > peers.hot;
    if plan.stored.is_some() || is_hot && !plan.wants_a_part() {
        copy(&mut plan);
        return fetching::collapsed(node, plan, key).await;
    }
    // Boxed: the way to the origin, which most requests take, has no room for it.
    match Box::pin(ask(node, peers, &plan, key, Purpose::Pass)).await {
        Some(given) if !is_purged(node, &plan, key.as_ref(), &given) => {
            node.metrics.here().peers.relayed.bump();
            if !given.is_stored {
                fill::note_uncacheable(node, &plan, key, &given.response);
            }
            fetching::relayed(node, &mut plan, given.response)
        }
        _ => {
            plan.is_copy = true;
            fetching::collapsed(node, plan, key).await
        }
    }
}

/// The way of a fill that nobody waits for: through the peer, where the key belongs to one.
pub fn take_way<F: OwnedLines>(plan: &mut Plan<F>) {
    let hash = plan.key.as_ref().map(CacheKey::hash);
    let peers = plan.snapshot.peers.as_ref().filter(|_| may_be_relayed(plan));
    let is_others = peers.zip(hash).is_some_and(|(peers, hash)| peers.owner(hash, &[]).is_some());
    if is_others {
        copy(plan);
    }
}

/// What is fetched is the copy of a whole: parts are the owner's business.
fn copy<F>(plan: &mut Plan<F>) {
    (plan.through_peer, plan.is_copy, plan.asks) = (true, true, Asks::WholeAsOne);
}

/// Only what may be stored has an owner, and a request is passed on once.
fn may_be_relayed<F: OwnedLines>(plan: &Plan<F>) -> bool {
    let reads = plan.method == Method::GET || plan.method == Method::HEAD;
    reads && !plan.for_peer && plan.posted.is_none() && plan.upgrade.is_none()
}

/// The answer of the key's owner, or of the next one; none when the origin is to be asked from here.
async fn ask<F: OwnedLines>(
    node: &Node,
    peers: &Peers,
    plan: &Plan<F>,
    key: &CacheKey,
    purpose: Purpose,
) -> Option<Given> {
    let group = peers.group()?;
    let word = peers.word(Asking { scheme: plan.scheme, client: plan.client, wants: Wants::Answer })?;
    let mut asked = SmallVec::<[usize; ASKED_MAX]>::new();
    while asked.len() < ASKED_MAX
        && let Some(place) = peers.owner(key.hash(), &asked)
    {
        let request = plan.request_to_peer(purpose, RequestBody::Empty, &word);
        match fetch(node, group, place, request, plan).await {
            Ok(response) if can_answer(&response) => return Some(given(node, response)),
            Ok(_) | Err(_) => node.metrics.here().peers.failed.bump(),
        }
        asked.push(place);
    }
    None
}

/// What the peer that a fill's key belongs to gives of it, unless it was purged here meanwhile.
pub async fn for_fill<F: OwnedLines>(node: &Node, plan: &Plan<F>) -> Option<Given> {
    let (peers, key) = plan.snapshot.peers.as_ref().filter(|_| plan.through_peer).zip(plan.key.as_ref())?;
    let given = Box::pin(ask(node, peers, plan, key, Purpose::Fill)).await?;
    let given = (!is_purged(node, plan, key.as_ref(), &given)).then_some(given)?;
    node.metrics.here().peers.copied.bump();
    Some(given)
}

/// Ends early when the peer is found down meanwhile, so that nobody waits for one that hangs.
async fn fetch<F: OwnedLines>(
    node: &Node,
    group: &Arc<Group>,
    place: usize,
    request: Request,
    plan: &Plan<F>,
) -> Result<Response, Option<FetchError>> {
    let mut fetched = std::pin::pin!(node.client.fetch_from(group, place, request, plan.interim.clone()));
    loop {
        match tokio::time::timeout(LOOK_EVERY, &mut fetched).await {
            Ok(result) => return result.map_err(Some),
            Err(_) if group.is_out(place, Instant::now()) => return Err(None),
            Err(_) => {}
        }
    }
}

/// A peer that does not know us or the site, or is this node under another name, says so.
fn can_answer(response: &Response) -> bool {
    !matches!(response.status, StatusCode::MISDIRECTED_REQUEST | StatusCode::LOOP_DETECTED)
}

/// Takes the peer's words to us out of its answer, and its words to the client: ours take their place.
fn given(node: &Node, mut response: Response) -> Given {
    let age = age_ms(&OriginFields(&response.headers));
    let ours = [PEER.as_str(), "x-cache", "server-timing", "alt-svc", "x-request-id"];
    response.headers.retain(|name| !ours.iter().any(|each| name == each.as_bytes()));
    let now = node.ledger.epoch();
    let born = age.map_or(now, |age| {
        let moment = node.clock.now().minus_millis(age.saturating_add(SPREAD_MS));
        node.ledger.times.epoch_at(moment, now)
    });
    Given { response, born, is_stored: age.is_some() }
}

/// A purge that is known here had not reached the peer yet.
fn is_purged<F: OwnedLines>(node: &Node, plan: &Plan<F>, key: KeyRef<'_>, given: &Given) -> bool {
    let fields = OriginFields(&given.response.headers);
    let tags = groups::tags_of(&fields, key.scheme(), key.host());
    let vary = VarySpec::parse(&fields.named("vary").collect::<SmallVec<[&[u8]; 2]>>()).unwrap_or_default();
    let purged = node.ledger.standing_of(key, &tags, &plan.vary_facts(vary), given.born) != Standing::Clear;
    if purged {
        node.metrics.here().peers.outdated.bump();
    }
    purged
}
