//! Answers to POST that are what a GET for the same URI would get: Content-Location says so, and a lifetime is given
//! (RFC 9110 section 9.3.3, RFC 9111 section 3). Such an answer is stored as that GET's, when all of it came along with its
//! head; nothing is held back for it.

use std::sync::Arc;

use headland_cache::freshness::LifetimeSource;
use headland_cache::groups;
use headland_cache::invalidate::is_representation_of;
use headland_cache::object::Parts;
use headland_cache::stored_fields::storable;
use headland_cache::{
    Admitted, Birth, Body, KeyBuffer, Object, RequestFacts, Scheme, Standing, StoredHead, Time, admit,
};
use headland_origin::Response;
use http::{Method, StatusCode};

use crate::forward::OwnedLines;
use crate::node::Node;
use crate::origin_fields::{OriginFields, take_over};
use crate::plan::Plan;

/// When a POST was sent: the ledger's epoch and the time.
#[derive(Debug)]
pub struct Posted {
    birth: Birth,
    at: Time,
}

impl Posted {
    /// Before the origin is asked; none for other methods.
    pub fn before<F: OwnedLines>(node: &Node, plan: &Plan<F>) -> Option<Self> {
        (plan.method == Method::POST).then(|| Posted { birth: Birth::now(&node.ledger), at: node.clock.now() })
    }

    /// Stores the answer where it may be, after what it made invalid is gone.
    pub fn store<F: OwnedLines>(self, node: &Node, plan: &Plan<F>, response: &Response) {
        let fields = OriginFields(&response.headers);
        let https = plan.scheme == Scheme::Https;
        if response.status != StatusCode::OK || !is_representation_of(https, &plan.host, &plan.target, &fields) {
            return;
        }
        let Some(body) = response.body.here() else { return };
        let now = node.clock.now();
        let facts = RequestFacts::gather(&Method::GET, &plan.fields);
        let Ok(admitted) = admit(&facts, plan.policy(), 200, &fields, self.at, now) else { return };
        if matches!(admitted.freshness.source(), LifetimeSource::Heuristic | LifetimeSource::None) {
            return;
        }
        let Some(object) = self.object(node, plan, response, admitted, body) else { return };
        let purged =
            node.ledger.standing_of(object.key.as_ref(), &object.tags, &object.vary, object.born) != Standing::Clear;
        if !purged && !object.tags.overflowed() {
            let object = Arc::new(object);
            node.store.insert(object.clone());
            node.stored(&object);
            node.note_equivalents(&plan.site, &object);
            node.metrics.here().stored.bump();
        }
    }

    fn object<F: OwnedLines>(
        &self,
        node: &Node,
        plan: &Plan<F>,
        response: &Response,
        admitted: Admitted,
        body: &[u8],
    ) -> Option<Object> {
        let mut headers = response.headers.clone();
        take_over(&mut headers, || admitted.freshness.response_time());
        let fields = OriginFields(&headers);
        let vary = plan.vary_line(&fields, 200, Some(body.len() as u64));
        let head = StoredHead::from_lines(200, storable(&fields, &admitted.withheld).chain(vary)).ok()?;
        let mut key = KeyBuffer::default();
        plan.key_of(&plan.target, &mut key);
        Some(Object::new(Parts {
            key: key.key().into(),
            head,
            body: Body::copy_of(body),
            trailers: None,
            vary: plan.vary_facts(admitted.vary),
            tags: groups::tags_of(&OriginFields(&response.headers), plan.scheme, &plan.host),
            freshness: admitted.freshness,
            born: self.birth.epoch(),
            generation: node.store.next_generation(),
        }))
    }
}
