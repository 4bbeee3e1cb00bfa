//! A response that brings a part of a representation, or more than is kept whole, is stored in parts (RFC 9111 section
//! 3.3): the head of the whole as an object without bytes, which everybody who waits finds, and the bytes by a
//! [`Fetch`] that goes on as far as the client that caused it.

use std::sync::Arc;

use headland_cache::conditional::Validators;
use headland_cache::object::Parts;
use headland_cache::partial::{ContentRange, StrongValidator};
use headland_cache::range::{Selection, select};
use headland_cache::stored_fields::storable;
use headland_cache::{Admitted, Body, Fields, Lead, Object, Refusal, RequestFacts, StoredHead, groups};
use headland_origin::Response;
use http::StatusCode;

use super::{Client, Handover, hand_over, own_fields, release};
use crate::fetching::origin_trace;
use crate::forward::OwnedLines;
use crate::node::Node;
use crate::origin_fields::{OriginFields, take_over};
use crate::partial::{Fetch, Version, pace};
use crate::plan::{Asks, Plan};
use crate::renewal::{Asked, may_enter};

/// Which bytes of the whole the response brings, where it is to be stored in parts.
pub(super) fn range<F: OwnedLines>(
    node: &Node,
    plan: &Plan<F>,
    response: &Response,
    asked: Asked,
) -> Option<ContentRange> {
    if !plan.site.partial_content || plan.posted.is_some() || plan.asks == Asks::WholeAsOne {
        return None;
    }
    match response.status {
        StatusCode::PARTIAL_CONTENT => part(plan, response, asked),
        StatusCode::OK => long_whole(node, plan, response, asked),
        _ => None,
    }
}

/// A 206 with one part of a whole of known length, which was asked for.
fn part<F: OwnedLines>(plan: &Plan<F>, response: &Response, asked: Asked) -> Option<ContentRange> {
    plan.part_wanted()?;
    let fields = OriginFields(&response.headers);
    let mut lines = fields.named("content-range");
    let range = ContentRange::parse(lines.next()?)?;
    let bytes = range.bytes();
    let is_alone = lines.next().is_none();
    let is_whole = is_alone && response.length.is_none_or(|length| length == bytes.end - bytes.start);
    (is_whole && is_enough(plan, &Validators::of(&fields), range, asked)).then_some(range)
}

/// Whether the client can be given what it wants of it: what cannot be completed has to hold all of that.
fn is_enough<F: OwnedLines>(plan: &Plan<F>, validators: &Validators, range: ContentRange, asked: Asked) -> bool {
    if StrongValidator::of(validators, asked.response_time).is_some() {
        return true;
    }
    let facts = RequestFacts::gather(&plan.method, &plan.fields);
    match select(&facts, 200, validators, asked.response_time, range.total) {
        Selection::Part { first, last } => range.first <= first && last <= range.last,
        _ => false,
    }
}

/// A whole that is too long to be kept as one, in memory or on disk, of an origin that can give its parts again.
fn long_whole<F: OwnedLines>(node: &Node, plan: &Plan<F>, response: &Response, asked: Asked) -> Option<ContentRange> {
    let on_disk = node.disk.get().map_or(u64::MAX, |disk| disk.body_bytes_max());
    let as_one = plan.policy().object_bytes_max.min(on_disk);
    let length = response.length.filter(|length| *length > as_one)?;
    let fields = OriginFields(&response.headers);
    let gives_ranges = fields.named("accept-ranges").any(|unit| unit.eq_ignore_ascii_case(b"bytes"));
    StrongValidator::of(&Validators::of(&fields), asked.response_time).filter(|_| gives_ranges)?;
    ContentRange::whole(length)
}

/// Stores it. Whoever waits for the whole fill finds the object and reads on its own; so does the client.
#[allow(clippy::too_many_arguments, reason = "all that a fetch has brought")]
pub(super) async fn store<F: OwnedLines + Clone + Send + Sync + 'static>(
    node: Arc<Node>,
    plan: Box<Plan<F>>,
    lead: Lead,
    client: Client,
    mut response: Response,
    admitted: Admitted,
    asked: Asked,
    range: ContentRange,
) {
    let Some(object) = whole(&node, &plan, &lead, &mut response, &admitted, asked, range.total) else {
        return release(&node, &plan, lead, client, response, Refusal::Policy, asked.response_time);
    };
    let object = Arc::new(object);
    let version = Version::new(object.clone());
    let first = version.key(version.part(range.first));
    // The number of the version is new, so nobody leads any of its parts.
    let Some(part) = node.collapse.try_lead(first.as_ref(), 0) else {
        return release(&node, &plan, lead, client, response, Refusal::Policy, asked.response_time);
    };
    node.store.insert(object.clone());
    node.stored(&object);
    node.note_equivalents(&plan.site, &object);
    if lead.is_outdated() {
        node.forget_object(&object);
    }
    let origin = Box::new(origin_trace(&response));
    let own = own_fields(&mut response.headers, &admitted.withheld);
    let (pace, leash) = pace();
    if let Some(step) = leash.try_step() {
        step.take(version.part(range.first), &part);
    }
    hand_over(client, Handover::Apart { object, origin, own, pace });
    lead.found();
    Fetch { node, plan, version, leash }.receive(part, response.body, range.bytes()).await;
}

/// The object that stands for all of it; none where it may not enter the store.
fn whole<F: OwnedLines>(
    node: &Node,
    plan: &Plan<F>,
    lead: &Lead,
    response: &mut Response,
    admitted: &Admitted,
    asked: Asked,
    total: u64,
) -> Option<Object> {
    let tags = groups::tags_of(&OriginFields(&response.headers), plan.scheme, &plan.host);
    take_over(&mut response.headers, || asked.response_time);
    let fields = OriginFields(&response.headers);
    let vary = plan.vary_line(&fields, 200, Some(total));
    // RFC 9111 section 3.4: the whole is answered with 200 and says nothing of parts.
    let lines = storable(&fields, &admitted.withheld).filter(|(name, _)| !name.eq_ignore_ascii_case(b"content-range"));
    let object = Object::new(Parts {
        key: lead.key().clone(),
        head: StoredHead::from_lines(200, lines.chain(vary)).ok()?,
        body: Body::apart(total),
        trailers: None,
        freshness: admitted.freshness.clone(),
        vary: plan.vary_facts(admitted.vary.clone()),
        tags,
        born: asked.born,
        generation: node.store.next_generation(),
    });
    (may_enter(node, &object) && !lead.is_outdated()).then_some(object)
}
