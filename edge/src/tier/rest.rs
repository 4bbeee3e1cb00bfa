//! The rest of a body of which the disk has lost a piece, after a part of it was sent: the origin is asked for it.
//!
//! Only what is known to be the same representation is joined, by a strong validator (RFC 9110 section 14.2, RFC 9111
//! section 3.4). Where there is none, or the origin has something else by now, the client sees a broken transfer. Nothing of it is
//! stored: the damaged record is dropped already, and the next request is a miss.

use std::sync::Arc;

use headland_cache::conditional::Validators;
use headland_cache::object::Parts;
use headland_cache::partial::StrongValidator;
use headland_cache::{Body, Object};

use crate::forward::OwnedLines;
use crate::node::Node;
use crate::partial::{Fetch, Version, pace};
use crate::pipe;
use crate::plan::Plan;

/// How the bytes from one place up to another are had elsewhere.
pub type Rest = Box<dyn FnOnce(u64, u64) -> pipe::Reader + Send>;

/// None where nothing can be joined to what was sent.
pub fn of<F: OwnedLines + Send + Sync + 'static>(
    node: &Arc<Node>,
    plan: Box<Plan<F>>,
    object: Arc<Object>,
    length: u64,
) -> Option<Rest> {
    StrongValidator::of(&Validators::of(&object.head), object.freshness.response_time())?;
    if plan.posted.is_some() {
        return None;
    }
    let node = node.clone();
    Some(Box::new(move |at, end| {
        let whole = Object::new(Parts { body: Body::apart(length), ..object.parts().clone() });
        let version = Version::new(Arc::new(whole));
        let (_, leash) = pace();
        node.metrics.here().resumed.bump();
        Fetch { node, plan, version, leash }.alone(at..end)
    }))
}
