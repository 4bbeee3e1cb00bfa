//! RFC 9111 section 4.4: a successful unsafe request invalidates what is stored for its target, and for the targets that
//! the response names on the same host. RFC 9875 section 3: and the groups that it names.
//!
//! Nodes that own keys together are one cache to their clients, so the peers forget it, too, before the client has its
//! answer ([`crate::peers::notice`]).

use headland_cache::invalidate::{invalidates, other_targets};
use headland_cache::target::canonical_target;
use headland_cache::{CacheKey, Fields, KeyBuffer, PurgeKind, PurgeMode, PurgeRule, Scheme, groups};
use headland_origin::Response;

use crate::forward::OwnedLines;
use crate::node::Node;
use crate::origin_fields::OriginFields;
use crate::peers::notice::{self, Notice};
use crate::plan::Plan;

/// Forgets what a request has changed, if it has changed anything; what the peers are to be told of it.
pub fn after<F: OwnedLines>(node: &Node, plan: &Plan<F>, response: &Response) -> Option<Notice> {
    // What a rule calls a question changes nothing.
    if plan.keyed_by_body || !invalidates(&plan.method, response.status.as_u16()) {
        return None;
    }
    let named = OriginFields(&response.headers);
    forget(node, plan, &named);
    notice::of(plan, &named)
}

/// Forgets the target of the request and what is named beside it.
pub fn forget<F: OwnedLines>(node: &Node, plan: &Plan<F>, named: &impl Fields) {
    for group in groups::invalidated(named, plan.scheme, &plan.host) {
        if let Ok(rule) = PurgeRule::new(PurgeKind::Tag, &group, PurgeMode::Hard, node.clock.now()) {
            node.ledger.apply(rule);
        }
    }
    let mut key = KeyBuffer::default();
    let mut forget = |target: &[u8]| {
        plan.key_of(target, &mut key);
        let key = key.key();
        let equivalent = node.ledger.alternates.equivalent_to(key.host(), key.target());
        for key in std::iter::once(key).chain(equivalent.iter().map(CacheKey::as_ref)) {
            // What is on its way into the store first, so that it cannot slip in behind.
            node.collapse.outdate(key);
            node.forget(key);
        }
    };
    forget(&plan.target);
    let mut canonical = Vec::new();
    let https = plan.scheme == Scheme::Https;
    for other in other_targets(https, &plan.host, &plan.target, named) {
        if canonical_target(&other, &mut canonical).is_ok() {
            forget(&canonical);
        }
    }
}
