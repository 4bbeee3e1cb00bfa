//! A fill: one request to the origin on behalf of everybody who wants the same thing.
//!
//! It runs as a task of its own. What may be stored is shown to all followers as it arrives and put into the store
//! before the fill ends; what may not is handed to the client that began the fill, and all others are sent to the
//! origin at once. A 304 confirms what is stored. An origin that breaks off breaks the fill: nothing is stored.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use headland_cache::directives::FieldNames;
use headland_cache::freshness::LifetimeSource;
use headland_cache::groups;
use headland_cache::object::Parts;
use headland_cache::stored_fields::{is_personal, storable};
use headland_cache::{
    Admitted, Birth, Broken, CacheKey, FillHead, Lead, MissReason, Object, Outcome, Refusal, RequestFacts, Retention,
    Standing, StoredHead, Time, admit, may_serve_on_error,
};
use headland_origin::{Deadline, FetchError, FieldLines, Phase, RequestBody, Response};
use http::{HeaderMap, Method, StatusCode};
use http_body::Body as _;
use tokio::sync::oneshot;

use crate::answer::OriginTrace;
use crate::condition::ResponseView;
use crate::early_hints;
use crate::fetching::{self, origin_trace};
use crate::forward::{OwnedLines, Purpose};
use crate::node::Node;
use crate::origin_fields::{OriginFields, take_over};
use crate::partial::Pace;
use crate::peers::relay;
use crate::plan::{Asks, Plan};
use crate::queried;
use crate::refill::{Place, Turn};
use crate::renewal::{Asked, Update, leave, may_enter, may_succeed, speaks_of, updated};
use resume::Resume;

mod apart;
mod resume;

/// What a fill tells the client that began it. One is made per fetch and moved once, so that a box would cost more.
#[allow(clippy::large_enum_variant)]
pub enum Handover {
    /// The head was shown; the answer will be stored. The fields that are kept from the store are this client's own.
    Stored(Box<OriginTrace>, Option<FieldLines>),
    /// The answer is stored in parts, of which the first are coming.
    Apart { object: Arc<Object>, origin: Box<OriginTrace>, own: Option<FieldLines>, pace: Pace },
    /// The origin confirmed what is stored; this is it, updated.
    Confirmed(Arc<Object>, Box<OriginTrace>),
    /// The response is this client's alone.
    Own(Response),
    /// The origin could not be asked.
    Failed(FetchError),
    /// The origin answered with an error, which something stored stands in for.
    Hidden,
}

/// Where the handover goes; nobody, when the fill is a revalidation in the background or its client has left.
type Client = Option<oneshot::Sender<Handover>>;

fn hand_over(client: Client, handover: Handover) {
    if let Some(client) = client {
        // A client that has left needs nothing.
        drop(client.send(handover));
    }
}

/// Runs a fill to its end.
pub async fn run<F: OwnedLines + Clone + Send + Sync + 'static>(
    node: Arc<Node>,
    mut plan: Box<Plan<F>>,
    lead: Lead,
    client: Client,
) {
    // A part is of use to the client that wants it only.
    plan.asks = if client.is_none() { plan.asks.max(Asks::Whole) } else { plan.asks };
    // Keeps the rules that concern what is fetched here.
    let _birth = Birth::now(&node.ledger);
    let Some(_turn) = take_turn(&node, &plan, &lead, client.is_some()).await else {
        return not_now(&node, &plan, lead, client);
    };
    let (mut response, mut asked) = match ask(&node, &plan).await {
        Ok(answered) => answered,
        Err(error) => return fail(lead, client, error),
    };
    if response.status == StatusCode::NOT_MODIFIED
        && let Some((stored, _)) = plan.stored.take()
    {
        if speaks_of(&stored, &response) {
            return confirm(&node, &plan, &stored, lead, client, &response, asked);
        }
        // The origin confirms a representation that is not the stored one: ask again, without conditions.
        (response, asked) = match ask(&node, &plan).await {
            Ok(answered) => answered,
            Err(error) => return fail(lead, client, error),
        };
    }
    if is_failure(response.status) && may_be_hidden(&node, &plan, asked.response_time) {
        hand_over(client, Handover::Hidden);
        return lead.fail(Broken { error: "destination_unavailable", timeout: false });
    }
    plan.decide_on_response(&ResponseView {
        status: response.status.as_u16(),
        headers: &OriginFields(&response.headers),
    });
    let part = apart::range(&node, &plan, &response, asked);
    match (judge(&plan, &response, asked, part.is_some()), part) {
        (Ok(admitted), Some(part)) => apart::store(node, plan, lead, client, response, admitted, asked, part).await,
        (Ok(admitted), None) => store(&node, &plan, lead, client, response, admitted, asked).await,
        (Err(refusal), _) => release(&node, &plan, lead, client, response, refusal, asked.response_time),
    }
}

/// What is purged is fetched anew in turn, so that a purge of much is no stampede ([`crate::refill`]). None when it has
/// to be done without: something stale stands in, nobody waits for it, or it waited too long.
async fn take_turn<F: OwnedLines>(node: &Node, plan: &Plan<F>, lead: &Lead, is_awaited: bool) -> Option<Option<Turn>> {
    let soft = plan.stored.as_ref().is_some_and(|(_, standing)| *standing == Standing::Soft);
    let at_once_max = plan.snapshot.cache.refills_max as usize;
    // The keys of a peer that is lost come all at once, too.
    let stands_in = || plan.snapshot.peers.as_ref().is_some_and(|peers| peers.stands_in(lead.key().hash()));
    if at_once_max == 0 || !(soft || plan.outcome == Outcome::Miss(MissReason::Purged) || stands_in()) {
        return Some(None);
    }
    let origin = plan.group().name();
    if !node.refills.is_free(origin, at_once_max) && (!is_awaited || may_be_hidden(node, plan, node.clock.now())) {
        return None;
    }
    match node.refills.enter(origin, at_once_max, lead.audience()) {
        Place::Turn(turn) => Some(Some(turn)),
        Place::Wait(turn) => node.refills.wait(turn).await.map(Some),
        Place::Crowded => None,
    }
}

/// The end of a fill that got no turn.
fn not_now<F: OwnedLines>(node: &Node, plan: &Plan<F>, lead: Lead, client: Client) {
    if client.is_none() {
        // Whoever joined meanwhile leads now, and waits.
        return drop(lead);
    }
    if may_be_hidden(node, plan, node.clock.now()) {
        hand_over(client, Handover::Hidden);
        return lead.fail(Broken { error: "destination_unavailable", timeout: false });
    }
    fail(lead, client, FetchError::timeout(Deadline::Queue, Phase::Queue));
}

/// Asks the origin for the whole representation, or for the part that the client wants where parts are kept.
async fn ask<F: OwnedLines>(node: &Node, plan: &Plan<F>) -> Result<(Response, Asked), FetchError> {
    let born = node.ledger.epoch();
    let request_time = node.clock.now();
    if let Some(given) = relay::for_fill(node, plan).await {
        let response_time = node.clock.now();
        return Ok((given.response, Asked { born: given.born, request_time, response_time }));
    }
    let body = plan.posted.as_ref().map_or(RequestBody::Empty, queried::whole);
    let mut request = plan.request(Purpose::Fill, body);
    if let Some(part) = plan.part_wanted() {
        part.ask(&mut request);
    }
    let response = node.client.fetch(plan.group(), request, plan.interim.clone()).await?;
    node.metrics.here().origin_ttfb.record(response.first_byte_micros);
    Ok((response, Asked { born, request_time, response_time: node.clock.now() }))
}

fn fail(lead: Lead, client: Client, error: FetchError) {
    let broken = fetching::broken(&error);
    hand_over(client, Handover::Failed(error));
    lead.fail(broken);
}

/// RFC 5861 section 4 names these as the errors that something stale may stand in for.
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

fn may_be_hidden<F: OwnedLines>(node: &Node, plan: &Plan<F>, now: Time) -> bool {
    plan.stored.as_ref().is_some_and(|(object, _)| {
        let facts = RequestFacts::gather(&plan.method, &plan.fields);
        let decided = plan.decided_with(&object.head);
        let policy = decided.policy(&plan.site.policy);
        may_serve_on_error(&facts, policy, &object.freshness, node.ledger.check(object), now)
    })
}

/// May the response be stored? Its declared length counts, too, unless it is stored in parts. A fill is a GET, whatever
/// its first client asked.
fn judge<F: OwnedLines>(
    plan: &Plan<F>,
    response: &Response,
    asked: Asked,
    in_parts: bool,
) -> Result<Admitted, Refusal> {
    let facts = RequestFacts::gather(&Method::GET, &plan.fields);
    let policy = plan.policy();
    if !in_parts && response.length.is_some_and(|length| length > policy.object_bytes_max) {
        return Err(Refusal::Policy);
    }
    // RFC 9111 section 3.3: an incomplete response is stored under the rules of the whole.
    let status = if in_parts { 200 } else { response.status.as_u16() };
    let fields = OriginFields(&response.headers);
    let admitted = admit(&facts, policy, status, &fields, asked.request_time, asked.response_time)?;
    // RFC 9110 section 9.3.3: an answer to POST needs explicit freshness.
    let is_guessed = matches!(admitted.freshness.source(), LifetimeSource::Heuristic | LifetimeSource::None);
    if plan.posted.is_some() && is_guessed { Err(Refusal::Policy) } else { Ok(admitted) }
}

/// The response is one client's alone: everybody else is sent to the origin, and the key is remembered, so that its
/// requests do not wait for each other.
fn release<F: OwnedLines>(
    node: &Node,
    plan: &Plan<F>,
    lead: Lead,
    client: Client,
    response: Response,
    refusal: Refusal,
    now: Time,
) {
    if refusal.is_lasting() && !response.status.is_server_error() {
        let until = now.plus_millis(plan.snapshot.cache.uncacheable_ms);
        node.uncacheable.remember(lead.key().hash(), until);
    }
    node.metrics.here().not_stored.bump();
    hand_over(client, Handover::Own(response));
    lead.release();
}

/// A peer passed an answer on that no cache may keep: the next request for the key goes to the origin at once.
pub fn note_uncacheable<F: OwnedLines>(node: &Node, plan: &Plan<F>, key: &CacheKey, response: &Response) {
    let status = response.status;
    if status == StatusCode::NOT_MODIFIED || status == StatusCode::PARTIAL_CONTENT || status.is_server_error() {
        return;
    }
    let now = node.clock.now();
    let asked = Asked { born: node.ledger.epoch(), request_time: now, response_time: now };
    if judge(plan, response, asked, false).is_err_and(Refusal::is_lasting) {
        node.uncacheable.remember(key.hash(), now.plus_millis(plan.snapshot.cache.uncacheable_ms));
    }
}

/// A 304: the stored response is updated under its new head and serves on (RFC 9111 section 4.3.4).
fn confirm<F: OwnedLines>(
    node: &Node,
    plan: &Plan<F>,
    stored: &Arc<Object>,
    lead: Lead,
    client: Client,
    response: &Response,
    asked: Asked,
) {
    let object = match updated(plan, stored, &response.headers, asked) {
        Update::Renewed(object) => {
            let object = Arc::new(*object);
            if may_succeed(node, stored, &object) && !lead.is_outdated() {
                leave(node, stored, &object);
                node.store.insert(object.clone());
                hold(node, plan, &object);
                node.note_equivalents(&plan.site, &object);
            } else {
                node.forget_object(stored);
            }
            if lead.is_outdated() {
                node.forget_object(&object);
            }
            object
        }
        Update::Untouched => stored.clone(),
        Update::Withdrawn => {
            node.forget_object(stored);
            stored.clone()
        }
    };
    hand_over(client, Handover::Confirmed(object, Box::new(origin_trace(response))));
    lead.found();
}

/// The response may be stored: its head is shown, its body streamed, and the object put into the store.
async fn store<F: OwnedLines>(
    node: &Node,
    plan: &Plan<F>,
    lead: Lead,
    client: Client,
    mut response: Response,
    admitted: Admitted,
    asked: Asked,
) {
    let origin = Box::new(origin_trace(&response));
    let tags = groups::tags_of(&OriginFields(&response.headers), plan.scheme, &plan.host);
    take_over(&mut response.headers, || asked.response_time);
    let fields = OriginFields(&response.headers);
    let status = response.status.as_u16();
    let vary = plan.vary_line(&fields, status, response.length);
    let Ok(head) = StoredHead::from_lines(status, storable(&fields, &admitted.withheld).chain(vary)) else {
        // Larger than a stored head can be: it passes to the client that asked, and is not kept.
        return release(node, plan, lead, client, response, Refusal::Policy, asked.response_time);
    };
    let head = Arc::new(FillHead {
        head,
        freshness: admitted.freshness,
        vary: plan.vary_facts(admitted.vary),
        tags,
        length: response.length,
        outcome: plan.outcome,
        born: asked.born,
        object_bytes_max: plan.policy().object_bytes_max,
        generation: node.store.next_generation(),
    });
    if plan.site.early_hints && head.head.status() == 200 {
        early_hints::remember(node, lead.key(), &head);
    }
    let own = own_fields(&mut response.headers, &admitted.withheld);
    hand_over(client, Handover::Stored(origin, own));
    if lead.publish(head.clone()) == Retention::Window {
        node.metrics.here().not_stored.bump();
    }
    match receive(node, plan, &lead, &head, response.body).await {
        Ok(end) => seal(node, plan, lead, &head, end).await,
        Err(broken) => lead.fail(broken),
    }
}

/// The end of a body.
struct Ending {
    /// What is known to be its last piece.
    last: Bytes,
    trailers: Option<HeaderMap>,
    /// The heads under which the rest came, where the origin broke off.
    rests: Vec<(FieldLines, Asked)>,
}

/// The whole body, in several parts when the origin breaks off and can continue.
async fn receive<F: OwnedLines>(
    node: &Node,
    plan: &Plan<F>,
    lead: &Lead,
    head: &FillHead,
    mut body: headland_origin::ResponseBody,
) -> Result<Ending, Broken> {
    let mut resume = Resume::of(head).filter(|_| plan.posted.is_none());
    loop {
        let broken = match pump(node, lead, body).await {
            Ok((last, trailers)) => {
                let length = lead.received() + last.len() as u64;
                let whole = resume.as_ref().is_none_or(|resume| resume.is_whole(length));
                let rests = resume.map(|resume| resume.rests).unwrap_or_default();
                return if whole { Ok(Ending { last, trailers, rests }) } else { Err(Broken::INCOMPLETE) };
            }
            Err(broken) => broken,
        };
        // Nobody reads any more: no origin has failed.
        let Some(resume) = resume.as_mut().filter(|_| broken != Broken::ABANDONED) else { return Err(broken) };
        body = resume.rest(node, plan, lead.received()).await.ok_or(broken)?;
    }
}

/// What the response says to the client that caused it alone: its cookies, and the fields that the response withholds
/// from others (RFC 9111 sections 5.2.2.4 and 5.2.2.7).
fn own_fields(fields: &mut FieldLines, withheld: &FieldNames) -> Option<FieldLines> {
    let is_own = |name: &[u8]| is_personal(name) || withheld.iter().any(|known| name.eq_ignore_ascii_case(known));
    if !fields.iter().any(|(name, _)| is_own(name)) {
        return None;
    }
    fields.retain(is_own);
    Some(std::mem::take(fields))
}

/// Streams the body into the fill as it comes; what is known to be its last piece is given back with the trailers.
async fn pump(
    node: &Node,
    lead: &Lead,
    mut body: headland_origin::ResponseBody,
) -> Result<(Bytes, Option<HeaderMap>), Broken> {
    while !body.is_end_stream() {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        match frame.map(|frame| frame.map(http_body::Frame::into_data)) {
            None => break,
            Some(Ok(Ok(data))) => {
                node.metrics.here().origin_bytes.add(data.len() as u64);
                if body.is_end_stream() {
                    return Ok((data, None));
                }
                lead.append(&data).await.map_err(|_| Broken::ABANDONED)?;
            }
            Some(Ok(Err(frame))) => return Ok((Bytes::new(), frame.into_trailers().ok())),
            Some(Err(error)) => {
                return Err(fetching::broken(&error));
            }
        }
    }
    Ok((Bytes::new(), None))
}

/// An object is in memory: the disk tier hears of it; a copy takes the place of older ones, where there are too many.
fn hold<F>(node: &Node, plan: &Plan<F>, object: &Arc<Object>) {
    let Some(peers) = plan.snapshot.peers.as_ref().filter(|_| plan.is_copy) else { return node.stored(object) };
    for gone in node.copies.stored(object, object.weight(), peers.copies_bytes_max) {
        node.store.remove_object(&gone);
    }
}

async fn seal<F: OwnedLines>(node: &Node, plan: &Plan<F>, lead: Lead, head: &FillHead, end: Ending) {
    let key = lead.key().clone();
    // A body of another length than declared has broken the fill, and everybody who reads it knows.
    let Ok(sealed) = lead.seal(&end.last, end.trailers) else { return };
    let object = sealed.body().and_then(|body| {
        let object = Object::new(Parts {
            key,
            head: head.head.clone(),
            body: body.clone(),
            trailers: sealed.trailers().map(Box::new),
            freshness: head.freshness.clone(),
            vary: head.vary.clone(),
            tags: head.tags.clone(),
            born: head.born,
            generation: head.generation,
        });
        completed(node, plan, object, &end.rests)
    });
    if let Some(object) = object.filter(|_| !sealed.is_outdated()) {
        let object = Arc::new(object);
        node.store.insert_in_steps(object.clone()).await;
        hold(node, plan, &object);
        node.note_equivalents(&plan.site, &object);
        node.metrics.here().stored.bump();
        // An invalidation that found nothing to remove yet has left its mark.
        if sealed.is_outdated() {
            node.forget(object.key.as_ref());
        }
    }
    sealed.retire();
}

/// The response under the fields that came with its rests (RFC 9111 section 3.4); none where it may not enter the store.
fn completed<F: OwnedLines>(
    node: &Node,
    plan: &Plan<F>,
    first: Object,
    rests: &[(FieldLines, Asked)],
) -> Option<Object> {
    let mut object = Some(first).filter(|object| may_enter(node, object));
    for (sent, asked) in rests {
        let stored = object?;
        object = match updated(plan, &stored, sent, Asked { born: stored.born, ..*asked }) {
            Update::Renewed(renewed) => may_succeed(node, &stored, &renewed).then_some(*renewed),
            Update::Untouched => Some(stored),
            Update::Withdrawn => None,
        };
    }
    object
}
