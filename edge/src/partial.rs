//! Answers from what is stored in parts (RFC 9111 section 3.4), and how the parts get there.
//!
//! ```text
//! 206 or a long 200 -> fill::apart: the whole as one object without bytes -> Fetch pours the bytes into parts
//! request -> answer -> Reading: part after part from memory, from disk, from a fill under way, or by a Fetch of its own
//! ```
//!
//! Each part is a fill of its own, so whoever wants the same part shares one fetch, and one request to the origin brings
//! many parts. A fetch runs a few parts ahead of the client it was begun for, and stops when that client leaves: no
//! body is ever in memory whole for a slow reader. Where the origin turns out to have another representation, the
//! stored one is dropped and the request begins again with the whole.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use headland_cache::{BypassReason, MissReason, Object, Outcome, RequestFacts};
use headland_origin::RequestBody;

use crate::answer::{Answer, Content};
use crate::deliver;
use crate::fetching;
use crate::forward::OwnedLines;
use crate::node::Node;
use crate::pipe;
use crate::plan::{Asks, Plan};
use crate::recoding;
use reading::Reading;

pub use fetch::{Fetch, Missed};
pub use pace::{Pace, pace};
pub use version::Version;

mod fetch;
mod pace;
mod reading;
mod version;

/// Parts that are looked up before an answer, to see what is missing.
const LOOKED_UP_MAX: usize = 1024;
/// Pieces of an answer that goes out at once.
const PIECES_MAX: u64 = 64;

/// Answers from a response that is stored apart. `pace` belongs to the fetch that has just brought it.
pub async fn answer<F: OwnedLines + Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    plan: &Plan<F>,
    whole: &Arc<Object>,
    outcome: Outcome,
    pace: Option<Pace>,
) -> Answer {
    let facts = RequestFacts::gather(&plan.method, &plan.fields);
    let now = node.clock.now();
    let (mut answer, wanted) = deliver::apart(whole, &facts, outcome, now);
    let Some(wanted) = wanted else { return answer };
    let form = plan.form(&facts, &whole.head, Some(whole.body.len()));
    if let Some(made) = form.and_then(|form| recoding::made(node, whole, form)) {
        return recoding::stored(whole, &made, &facts, outcome, now);
    }
    let version = Version::new(whole.clone());
    match content(node, plan, &version, &wanted, pace).await {
        Ok((content, is_stored)) => {
            // What came with the missing part says more than what was stored.
            if !is_stored
                && let Some(updated) = version.current(node).filter(|current| !Arc::ptr_eq(current, whole))
                && let (updated, Some(again)) = deliver::apart(&updated, &facts, outcome, node.clock.now())
                && again == wanted
            {
                answer = updated;
            }
            answer.content = content;
            if outcome == Outcome::Hit && !is_stored {
                answer.trace.outcome = Outcome::Miss(MissReason::Partial);
            }
        }
        Err(Missed::Changed) => return again(node, plan.clone(), &version).await,
        Err(Missed::Failed(broken)) => return fetching::broken_answer(Outcome::Miss(MissReason::Partial), broken),
    }
    match form {
        Some(form) => {
            let head = recoding::head_of(whole, outcome);
            recoding::shared(node, &whole.key, head, form, answer, &facts, now).await
        }
        None => answer,
    }
}

/// The bytes, and whether all of them are stored. Waits until the first of them are sure to come, and until the origin
/// has begun to give the first of those that are missing: whether it has another representation by now must show before
/// anything is sent.
async fn content<F: OwnedLines + Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    plan: &Plan<F>,
    version: &Version,
    wanted: &Range<u64>,
    pace: Option<Pace>,
) -> Result<(Content, bool), Missed> {
    let is_new = pace.is_some();
    let missing = version.missing(node, wanted, LOOKED_UP_MAX).filter(|_| !is_new);
    if !is_new
        && missing.is_none()
        && let Some(pieces) = here(node, version, wanted)
    {
        return Ok((Content::Parts(pieces), true));
    }
    let mut reading = Reading::new(node.clone(), Box::new(plan.clone()), version.clone(), wanted.clone(), pace);
    if let Some(at) = missing {
        reading.make_sure(at).await?;
    }
    let first = reading.open().await?;
    // What the disk has of a part need not be what is wanted.
    let is_stored = missing.is_none() && !reading.is_fetching();
    let (sender, reader) = pipe::channel();
    tokio::spawn(async move {
        tokio::select! {
            () = reading.run(first, &sender) => {}
            () = sender.is_unwanted() => {}
        }
    });
    Ok((Content::Piped(reader), is_stored))
}

/// All of it out of memory, where it is there and not too much.
fn here(node: &Node, version: &Version, wanted: &Range<u64>) -> Option<Vec<Bytes>> {
    let parts = version.parts(wanted.clone());
    if parts.clone().count() as u64 > PIECES_MAX {
        return None;
    }
    let mut pieces = Vec::new();
    for part in parts {
        pieces.extend(version.held(node, part)?.slice(&part.cut(wanted))?);
    }
    Some(pieces)
}

/// The stored parts are of no use any more: the origin is asked for the whole.
fn again<'a, F: OwnedLines + Clone + Send + Sync + 'static>(
    node: &'a Arc<Node>,
    mut plan: Plan<F>,
    version: &Version,
) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
    version.forget(node);
    plan.stored = None;
    plan.asks = Asks::WholeAsOne;
    plan.outcome = Outcome::Miss(MissReason::Partial);
    Box::pin(async move {
        if let Some(key) = plan.key.clone() {
            return fetching::collapsed(node, Box::new(plan), &key).await;
        }
        plan.outcome = Outcome::Bypass(BypassReason::Request);
        fetching::pass(node, Box::new(plan), RequestBody::Empty).await
    })
}
