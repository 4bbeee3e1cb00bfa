//! 103 (Early Hints, RFC 8297) from memory: a client that has to wait for the origin is told at once which links the
//! last stored answer for its key wanted preloaded or preconnected.
//!
//! Sent where the site sets it, and only to clients that can take it. On HTTP/2 an interim answer is a frame of its
//! own. On HTTP/1.1 some clients take the first status line for the final one; browsers that navigate do not, and only
//! they have a use for links. What the origin itself hints at follows later.

use headland_cache::early_hints::links_of;
use headland_cache::{CacheKey, FillHead, Hints, Standing};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::forward::OwnedLines;
use crate::metrics::Protocol;
use crate::node::Node;
use crate::plan::Plan;

/// Remembers what a shared response may have hinted at next time.
pub fn remember(node: &Node, key: &CacheKey, head: &FillHead) {
    if head.tags.overflowed() {
        // A purge by one of the lost tags would miss it.
        return;
    }
    let (vary, tags) = (head.vary.clone(), head.tags.clone());
    node.hints.record(key, Hints { links: links_of(&head.head), vary, tags, born: head.born });
}

/// Sends what is known of the key to the client that waits, unless it was purged or is for other requests.
pub fn send<F: OwnedLines>(node: &Node, plan: &Plan<F>, key: &CacheKey) {
    let Some(interim) = plan.interim.as_ref().filter(|_| plan.site.early_hints && takes(plan)) else { return };
    let Some(hints) = node.hints.find(key.as_ref()) else { return };
    let standing = node.ledger.standing_of(key.as_ref(), &hints.tags, &hints.vary, hints.born);
    if standing != Standing::Clear || !hints.vary.matches(&plan.varied()) {
        return;
    }
    let values = hints.links.iter().filter_map(|link| HeaderValue::from_bytes(link).ok());
    let headers: HeaderMap = values.map(|value| (header::LINK, value)).collect();
    interim.pass(StatusCode::EARLY_HINTS, headers);
}

fn takes<F: OwnedLines>(plan: &Plan<F>) -> bool {
    let navigates = || plan.fields.first("sec-fetch-mode").is_some_and(|mode| mode == b"navigate");
    plan.method == Method::GET && (plan.protocol != Protocol::H1 || navigates())
}
