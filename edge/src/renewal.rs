//! What a response that speaks of a stored one makes of it: a 304 that confirms it (RFC 9111 section 4.3.4), or one that
//! brings more of its bytes (section 3.4). Both update its head as section 3.2 says; the body stays.

use std::sync::Arc;

use headland_cache::conditional::Validators;
use headland_cache::groups;
use headland_cache::object::Parts;
use headland_cache::stored_fields::storable;
use headland_cache::update::{Renewal, merge, renew, selects};
use headland_cache::{Epoch, Object, RequestFacts, Standing, StoredHead, Time};
use headland_origin::{FieldLines, Response};
use http::Method;

use crate::forward::OwnedLines;
use crate::node::Node;
use crate::origin_fields::{OriginFields, take_over};
use crate::plan::Plan;

/// The times between which the origin was asked, and the ledger's epoch before.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub born: Epoch,
    pub request_time: Time,
    pub response_time: Time,
}

/// What a response made of a stored one.
pub enum Update {
    Renewed(Box<Object>),
    /// It stays as it was.
    Untouched,
    /// It answers those who asked, and is then kept no longer.
    Withdrawn,
}

/// Whether a 304 is about the stored response (RFC 9111 section 4.3.4).
pub fn speaks_of(stored: &Object, response: &Response) -> bool {
    selects(&Validators::of(&stored.head), &Validators::of(&OriginFields(&response.headers)))
}

/// The stored response under the head that results. Of a part's fields, Content-Range is none of the whole's.
pub fn updated<F: OwnedLines>(plan: &Plan<F>, stored: &Object, sent: &FieldLines, asked: Asked) -> Update {
    let facts = RequestFacts::gather(&Method::GET, &plan.fields);
    let mut headers = sent.clone();
    take_over(&mut headers, || asked.response_time);
    let (headers, as_sent) = (OriginFields(&headers), OriginFields(sent));
    let merged = merge(&stored.head, &headers, asked.response_time);
    let status = stored.head.status();
    let policy = plan.policy();
    let (request_time, response_time) = (asked.request_time, asked.response_time);
    let renewal = renew(&facts, policy, status, &stored.freshness, &merged, &as_sent, request_time, response_time);
    let admitted = match renewal {
        Renewal::Renewed(admitted) => admitted,
        Renewal::Untouched => return Update::Untouched,
        Renewal::Withdrawn(_) => return Update::Withdrawn,
    };
    let vary = plan.vary_line(&merged, status, Some(stored.body.len()));
    let lines = storable(&merged, &admitted.withheld).chain(vary);
    let Ok(head) = StoredHead::from_lines(status, lines) else {
        return Update::Withdrawn;
    };
    let tags = groups::tags_of(&as_sent, plan.scheme, &plan.host);
    Update::Renewed(Box::new(Object::new(Parts {
        head,
        freshness: admitted.freshness,
        vary: plan.vary_facts(admitted.vary),
        tags: if tags.is_empty() { stored.tags.clone() } else { tags },
        born: asked.born,
        ..stored.parts().clone()
    })))
}

/// Whether an object may enter the store: not when it was purged since the origin was asked (a soft purge leaves it
/// in, and the ledger's word makes it stale), and not with tags that were too many to keep: a purge by one of the lost
/// ones would miss it.
pub fn may_enter(node: &Node, object: &Object) -> bool {
    let purged =
        node.ledger.standing_of(object.key.as_ref(), &object.tags, &object.vary, object.born) == Standing::Hard;
    !purged && !object.tags.overflowed()
}

/// Whether an update may take the place of what is stored: a purge by a tag that it has lost counts, too.
pub fn may_succeed(node: &Node, stored: &Object, renewed: &Object) -> bool {
    let purged =
        node.ledger.standing_of(stored.key.as_ref(), &stored.tags, &stored.vary, renewed.born) == Standing::Hard;
    !purged && may_enter(node, renewed)
}

/// Puts an update in the place of what is stored; false where that has gone, was replaced or was purged.
pub fn succeed(node: &Node, stored: &Arc<Object>, renewed: &Arc<Object>) -> bool {
    if !may_succeed(node, stored, renewed) || !node.store.succeed(stored, renewed) {
        return false;
    }
    leave(node, stored, renewed);
    node.stored(renewed);
    // What was purged in between, by a tag that is lost.
    if !may_succeed(node, stored, renewed) {
        node.forget_object(renewed);
    }
    true
}

/// An update that varies on something else is another variant to the store: the one before must not stay beside it.
pub fn leave(node: &Node, stored: &Arc<Object>, renewed: &Object) {
    if stored.vary != renewed.vary {
        node.store.remove_object(stored);
        if let Some(disk) = node.disk.get() {
            disk.remove(stored.key.as_ref());
        }
    }
}
