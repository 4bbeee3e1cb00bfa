//! Step 5, Fetching: the origin is asked, once for all who want the same thing.
//!
//! A request that the cache has a part in joins the fill that is running for its key, or leads a new one. The fill is
//! a task of its own ([`crate::fill`]), so it goes on when the client that began it leaves; that client is its first
//! follower. What the cache has no part in is passed through on the request's own behalf.

use std::sync::Arc;

use headland_cache::{
    Broken, BypassReason, CacheKey, FillHead, Follower, Freshness, Join, NoHead, Object, Outcome, RequestFacts, Reuse,
    Standing, StoredHead, Tags, VaryFacts, assess, may_serve_on_error,
};
use headland_origin::{BodyFault, Fault, FetchError, FieldLines, RequestBody, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, Method, StatusCode};
use tokio::sync::oneshot;

use crate::answer::{Answer, Content, Head, OriginTrace, Trace};
use crate::condition::ResponseView;
use crate::deliver;
use crate::early_hints;
use crate::fill::{self, Handover};
use crate::forward::{OwnedLines, Purpose};
use crate::invalidation;
use crate::node::Node;
use crate::origin_fields::{OriginFields, take_over};
use crate::partial;
use crate::peers::{relay, word};
use crate::plan::Plan;
use crate::queried;
use crate::recoding;
use crate::representation::Posted;
use crate::request::{Found, only_if_cached};
use crate::rules::Decided;
use crate::snapshot::Site;
use crate::tier;

/// How often a request joins again when its fill ended without a response for it.
const JOINS_MAX: usize = 4;

/// Answers a planned request.
pub async fn fetch<F: OwnedLines + Clone + Send + Sync + 'static>(
    node: Arc<Node>,
    plan: Box<Plan<F>>,
    body: RequestBody,
) -> Answer {
    if plan.outcome.is_hit() {
        return hit(&node, plan).await;
    }
    let (site, request_id) = (plan.site.clone(), plan.request_id.clone());
    let answer = match (&plan.key, plan.outcome) {
        _ if plan.on_disk => tier::answer(&node, plan).await,
        _ if plan.keyed_by_body => queried::answer(&node, plan, body).await,
        (Some(key), Outcome::Miss(_)) => {
            let key = key.clone();
            relay::missed(&node, plan, &key).await
        }
        _ => pass(&node, plan, body).await,
    };
    let mut answer = answer.of(&site);
    answer.trace.request_id = Some(request_id);
    answer
}

/// What is to be done with a request whose outcome was found out only after its first steps.
pub async fn go_on<F: OwnedLines + Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    plan: Box<Plan<F>>,
    key: &CacheKey,
) -> Answer {
    match plan.outcome {
        Outcome::Local => only_if_cached(),
        Outcome::Bypass(_) => {
            let body = plan.posted.as_ref().map_or(RequestBody::Empty, queried::whole);
            pass(node, plan, body).await
        }
        outcome if outcome.is_hit() => hit(node, plan).await,
        _ => relay::missed(node, plan, key).await,
    }
}

/// Starts a revalidation that no client waits for, unless one is running.
pub fn refresh<F: OwnedLines + Clone + Send + Sync + 'static>(node: &Arc<Node>, plan: Option<Box<Plan<F>>>) {
    let Some(mut plan) = plan else { return };
    relay::take_way(&mut plan);
    let Some((key, (object, _))) = plan.key.as_ref().zip(plan.stored.as_ref()) else { return };
    if let Some(lead) = node.collapse.try_lead(key.as_ref(), object.vary.hash()) {
        tokio::spawn(fill::run(node.clone(), plan, lead, None));
    }
}

/// Joins or leads the fill for the key until there is an answer.
pub async fn collapsed<F: OwnedLines + Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    mut plan: Box<Plan<F>>,
    key: &CacheKey,
) -> Answer {
    let mut variant = plan.stored.as_ref().map_or(0, |(object, _)| object.vary.hash());
    let arrived = node.ledger.epoch();
    early_hints::send(node, &plan, key);
    for _ in 0..JOINS_MAX {
        match node.collapse.join(key.as_ref(), variant) {
            Join::Crowded => break,
            Join::Lead(lead) => {
                // Another fill may have ended between the look into the store and this one.
                if let Some(answer) = look_again(node, &mut plan, key).await {
                    lead.found();
                    return answer;
                }
                let follower = lead.follow();
                let (sender, handover) = oneshot::channel();
                tokio::spawn(fill::run(node.clone(), plan.clone(), lead, Some(sender)));
                return lead_answer(node, plan, follower, handover).await;
            }
            Join::Follow(mut follower) => match follower.head().await {
                // Who asks after a purge must not get what was fetched before it.
                Ok(head) if head.born < arrived && is_purged(node, key, &head) => {
                    node.collapse.outdate_followed(&follower);
                }
                Ok(head) if head.vary.matches(&plan.varied()) => {
                    return follow_answer(node, &plan, &head, follower, true).await;
                }
                // Made for another request: those that want the same variant share the next one.
                Ok(head) => variant = VaryFacts::of(head.vary.spec(), &plan.varied()).hash(),
                Err(NoHead::LookAgain) => {
                    if let Some(mut answer) = look_again(node, &mut plan, key).await {
                        answer.trace.collapsed = true;
                        return answer;
                    }
                }
                Err(NoHead::Abandoned) => {}
                Err(NoHead::Uncacheable) => {
                    plan.outcome = Outcome::Bypass(BypassReason::Uncacheable);
                    return pass(node, plan, RequestBody::Empty).await;
                }
                Err(NoHead::Failed(broken)) => return failed_answer(node, &plan, broken).await,
            },
        }
    }
    plan.outcome = Outcome::Bypass(BypassReason::Crowded);
    pass(node, plan, RequestBody::Empty).await
}

fn is_purged(node: &Node, key: &CacheKey, head: &FillHead) -> bool {
    node.ledger.standing_of(key.as_ref(), &head.tags, &head.vary, head.born) != Standing::Clear
}

/// What the store has now; none when the origin still has to be asked.
async fn look_again<F: OwnedLines + Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    plan: &mut Plan<F>,
    key: &CacheKey,
) -> Option<Answer> {
    let Found::Object(object, standing) = node.find(key.as_ref(), &plan.varied()) else { return None };
    if plan.stored.as_ref().is_some_and(|(known, _)| Arc::ptr_eq(known, &object)) {
        return None;
    }
    let now = node.clock.now();
    let facts = RequestFacts::gather(&plan.method, &plan.fields);
    let decided = plan.decided_with(&object.head);
    if let Reuse::Serve(outcome) = assess(&facts, decided.policy(&plan.site.policy), &object.freshness, standing, now) {
        drop(decided);
        let answer = stored(node, plan, &object, outcome).await;
        return Some(finished(node, plan, &object.head, &object.freshness, &object.tags, answer));
    }
    drop(decided);
    // What is there now is what has to be validated.
    plan.stored = Some((object, standing));
    None
}

/// The answer of the client that began a fill.
async fn lead_answer<F: OwnedLines + Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    mut plan: Box<Plan<F>>,
    mut follower: Follower,
    handover: oneshot::Receiver<Handover>,
) -> Answer {
    let head = follower.head().await;
    // The fill hands over before it ends without a head, and after it has shown one.
    let handover = handover.await.ok();
    match (head, handover) {
        (Ok(head), handover) => {
            let answer = follow_answer(node, &plan, &head, follower, false).await;
            match handover {
                Some(Handover::Stored(origin, own)) => brought(answer, origin, own),
                _ => answer,
            }
        }
        (Err(_), Some(Handover::Apart { object, origin, own, pace })) => {
            let answer = partial::answer(node, &plan, &object, plan.outcome, Some(pace)).await;
            let answer = brought(answer, origin, own);
            finished(node, &plan, &object.head, &object.freshness, &object.tags, answer)
        }
        (Err(_), Some(Handover::Confirmed(object, origin))) => {
            let mut answer = stored(node, &plan, &object, Outcome::Revalidated).await;
            answer.trace.origin = Some(origin);
            finished(node, &plan, &object.head, &object.freshness, &object.tags, answer)
        }
        (Err(_), Some(Handover::Own(response))) => {
            plan.decide_on_response(&ResponseView {
                status: response.status.as_u16(),
                headers: &OriginFields(&response.headers),
            });
            own_answer(node, &plan, response)
        }
        (Err(_), Some(Handover::Failed(error))) => {
            let stale = stale_answer(node, &plan).await;
            stale.unwrap_or_else(|| Answer::fetch_error(&error, None, plan.outcome))
        }
        (Err(NoHead::Failed(broken)), _) => failed_answer(node, &plan, broken).await,
        (Err(_), _) => failed_answer(node, &plan, Broken::ABANDONED).await,
    }
}

/// The answer to the client that caused what is stored, with the fields that are its own.
fn brought(mut answer: Answer, origin: Box<OriginTrace>, own: Option<FieldLines>) -> Answer {
    answer.trace.stored = true;
    answer.trace.origin = Some(origin);
    if let Some(own) = own {
        answer.edit(|headers| headers.extend(own.into_map()));
    }
    answer
}

/// An answer from a fill that has its head.
async fn follow_answer<F: OwnedLines>(
    node: &Arc<Node>,
    plan: &Plan<F>,
    head: &Arc<FillHead>,
    follower: Follower,
    collapsed: bool,
) -> Answer {
    let facts = RequestFacts::gather(&plan.method, &plan.fields);
    let reader = follower.into_reader();
    let now = node.clock.now();
    let mut answer = deliver::filling(head, reader, &facts, plan.outcome, now);
    answer.trace.collapsed = collapsed;
    answer.trace.key_hash = plan.key.as_ref().map(CacheKey::hash);
    if let Some((form, key)) = plan.form(&facts, &head.head, head.length).zip(plan.key.as_ref()) {
        answer = recoding::shared(node, key, FillHead::clone(head), form, answer, &facts, now).await;
    }
    finished(node, plan, &head.head, &head.freshness, &head.tags, answer)
}

/// An answer from a stored object, in the form that the client wants.
async fn stored<F: OwnedLines + Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    plan: &Plan<F>,
    object: &Arc<Object>,
    outcome: Outcome,
) -> Answer {
    if object.body.is_apart() {
        return partial::answer(node, plan, object, outcome, None).await;
    }
    let facts = RequestFacts::gather(&plan.method, &plan.fields);
    let now = node.clock.now();
    let as_it_is = || deliver::stored(object, &facts, outcome, now);
    let Some(form) = plan.form(&facts, &object.head, Some(object.body.len())) else { return as_it_is() };
    match recoding::made(node, object, form) {
        Some(made) => recoding::stored(object, &made, &facts, outcome, now),
        None => {
            recoding::shared(node, &object.key, recoding::head_of(object, outcome), form, as_it_is(), &facts, now).await
        }
    }
}

/// A hit in a form that has to be made first, or whose bytes have to be put together.
pub async fn hit<F: OwnedLines + Clone + Send + Sync + 'static>(node: &Arc<Node>, plan: Box<Plan<F>>) -> Answer {
    let Some((object, _)) = &plan.stored else { return Answer::error(StatusCode::BAD_GATEWAY, "nothing is stored") };
    let answer = stored(node, &plan, object, plan.outcome).await;
    let answer = finished(node, &plan, &object.head, &object.freshness, &object.tags, answer).of(&plan.site);
    if plan.outcome == Outcome::StaleWhileRevalidate {
        refresh(node, Some(plan));
    }
    answer
}

/// An answer that no cache may share, to the client that caused it. Its own conditions were left out of the fill's
/// request, so they are not evaluated here either: a whole answer is always right.
fn own_answer<F: OwnedLines>(node: &Arc<Node>, plan: &Plan<F>, response: Response) -> Answer {
    let mut answer = passed(node, plan, response);
    if plan.method == Method::HEAD {
        answer.content = Content::Empty;
    }
    answer
}

/// When the origin failed: what is stored, if the client may have it stale.
async fn stale_answer<F: OwnedLines + Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    plan: &Plan<F>,
) -> Option<Answer> {
    let (object, _) = plan.stored.as_ref()?;
    let standing = node.ledger.check(object);
    let now = node.clock.now();
    let facts = RequestFacts::gather(&plan.method, &plan.fields);
    let decided = plan.decided_with(&object.head);
    if !may_serve_on_error(&facts, decided.policy(&plan.site.policy), &object.freshness, standing, now) {
        return None;
    }
    drop(decided);
    let answer = stored(node, plan, object, Outcome::StaleIfError).await;
    Some(finished(node, plan, &object.head, &object.freshness, &object.tags, answer))
}

async fn failed_answer<F: OwnedLines + Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    plan: &Plan<F>,
    broken: Broken,
) -> Answer {
    stale_answer(node, plan).await.unwrap_or_else(|| broken_answer(plan.outcome, broken))
}

/// How an origin's failure is told to whoever waits for the response.
pub fn broken(error: &FetchError) -> Broken {
    Broken { error: error.proxy_status_error(), timeout: error.is_timeout() }
}

/// 502, 503 or 504, for an origin that failed before anything was sent.
pub fn broken_answer(outcome: Outcome, broken: Broken) -> Answer {
    let mut answer = Answer::failed(broken.timeout, broken.error, broken.error, broken.to_string());
    answer.trace.outcome = outcome;
    answer
}

/// Passes a request through on its own behalf.
pub async fn pass<F: OwnedLines>(node: &Arc<Node>, mut plan: Box<Plan<F>>, body: RequestBody) -> Answer {
    let request = plan.request(Purpose::Pass, body);
    let posted = Posted::before(node, &plan);
    let fetched = node.client.fetch(plan.group(), request, plan.interim.clone()).await;
    match fetched {
        Ok(response) => {
            let fields = OriginFields(&response.headers);
            plan.decide_on_response(&ResponseView { status: response.status.as_u16(), headers: &fields });
            if let Some(notice) = invalidation::after(node, &plan, &response) {
                // On the heap: few requests change anything.
                Box::pin(notice.give(node)).await;
            }
            if let Some(posted) = posted {
                posted.store(node, &plan, &response);
            }
            remember(node, &plan, &response);
            passed(node, &plan, response)
        }
        Err(error) => Answer::fetch_error(&error, client_fault(&error), plan.outcome),
    }
}

/// The status when it was the client's body that failed, not the origin.
fn client_fault(error: &headland_origin::FetchError) -> Option<StatusCode> {
    match &error.fault {
        Fault::ClientBody(fault) => Some(body_status(fault)),
        _ => None,
    }
}

/// The status for a request body that could not be read.
pub fn body_status(fault: &BodyFault) -> StatusCode {
    match fault {
        BodyFault::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        BodyFault::Timeout => StatusCode::REQUEST_TIMEOUT,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// A key that was remembered as uncacheable and now gives a cacheable answer is collapsed and stored from the next
/// request on.
fn remember<F: OwnedLines>(node: &Arc<Node>, plan: &Plan<F>, response: &Response) {
    let (Some(key), Outcome::Bypass(BypassReason::Uncacheable)) = (&plan.key, plan.outcome) else { return };
    // The usual answer says so itself, again and again: it is not judged each time.
    let says_no =
        |value: &[u8]| [b"no-store".as_slice(), b"private"].iter().any(|word| value.eq_ignore_ascii_case(word));
    if response.headers.get("cache-control").is_some_and(says_no) {
        return;
    }
    let now = node.clock.now();
    let facts = RequestFacts::gather(&Method::GET, &plan.fields);
    let status = response.status.as_u16();
    if headland_cache::admit(&facts, plan.policy(), status, &OriginFields(&response.headers), now, now).is_ok() {
        node.uncacheable.forget(key.hash());
    }
}

/// The answer that passes a response on.
fn passed<F: OwnedLines>(node: &Arc<Node>, plan: &Plan<F>, response: Response) -> Answer {
    let mut trace = Trace::new(plan.outcome);
    trace.key_hash = plan.key.as_ref().map(CacheKey::hash);
    trace.origin = Some(Box::new(origin_trace(&response)));
    let mut headers = response.headers;
    // What is said to caches is said to a peer, too.
    if !plan.for_peer {
        take_over(&mut headers, || node.clock.now());
    }
    if let Some(cookie) = &response.binding {
        headers.push(&SET_COOKIE, cookie);
    }
    let content = match response.upgraded {
        Some(upgraded) => Content::Tunnel(upgraded),
        None => Content::Origin(response.body),
    };
    let (status, length) = (response.status, response.length);
    let mut answer = Answer { status, head: Head::Lines(headers), length, part: None, content, trace, close: false };
    if let Some(rules) = &plan.site.recoding {
        answer = recoding::private(node, rules, &plan.method, &plan.fields, answer);
    }
    if plan.for_peer { answer } else { edited(&plan.site, &plan.decided, answer) }
}

/// The answer of a peer that the request was passed on to.
pub fn relayed<F: OwnedLines>(node: &Arc<Node>, plan: &mut Plan<F>, response: Response) -> Answer {
    let fields = OriginFields(&response.headers);
    plan.decide_on_response(&ResponseView { status: response.status.as_u16(), headers: &fields });
    passed(node, plan, response)
}

/// What every answer from the store gets last: for a client what the rules edit, for a peer what it has to know.
pub fn finished<F: OwnedLines>(
    node: &Node,
    plan: &Plan<F>,
    head: &StoredHead,
    freshness: &Freshness,
    tags: &Tags,
    mut answer: Answer,
) -> Answer {
    if plan.for_peer {
        answer.edit(|headers| word::tell(headers, freshness, tags, node.clock.now()));
        return answer;
    }
    edited(&plan.site, &plan.decided_with(head), answer)
}

pub fn origin_trace(response: &Response) -> OriginTrace {
    OriginTrace {
        server: response.server.clone(),
        status: response.status.as_u16(),
        reused: response.reused,
        connect_us: response.connect_micros,
        first_byte_us: response.first_byte_micros,
    }
}

pub fn edited(site: &Site, decided: &Decided, mut answer: Answer) -> Answer {
    let rules = &site.rules;
    if rules.edits_response(decided) {
        answer.edit(|headers: &mut HeaderMap| rules.edit_response(decided, headers));
    }
    answer
}
