//! The disk tier at work: opened before the doors, asked when memory has nothing, closed when the last request has ended.
//!
//! The disk is read on helper threads. What is found goes into memory and is judged there like anything else that is
//! stored: the ledger's word, freshness, the request's own directives. So a purge that came meanwhile, also one from
//! before a restart, is obeyed.

use std::sync::Arc;
use std::time::Duration;

use headland_cache::{Admission, DiskLimits, DiskTier, FoundRecord, Object, Outcome, Standing};
use headland_origin::RequestBody;

use crate::answer::Answer;
use crate::fetching;
use crate::forward::OwnedLines;
use crate::node::Node;
use crate::plan::Plan;
use crate::request::Found;
use crate::settings::{self, DiskSettings};

/// Reads that run at a time, each on a thread.
pub const READS_MAX: usize = 32;
/// How long the writer may take to end.
const CLOSE_WITHIN: Duration = Duration::from_secs(20);

/// Opens the tier, before anything is served. The error is one sentence.
pub fn open(node: &Arc<Node>, settings: &DiskSettings) -> Result<(), String> {
    let limits = DiskLimits { size_bytes: settings.size_bytes, segment_bytes: settings.segment_bytes };
    let admission = match settings.admission {
        settings::Admission::Always => Admission::Always,
        settings::Admission::SecondHit => Admission::SecondHit,
        settings::Admission::Never => Admission::Never,
    };
    if node.disk.get().is_some() {
        return Err("cache.disk: it was opened before; a node starts once".to_owned());
    }
    let tier = Arc::new(DiskTier::open(std::path::Path::new(&settings.path), limits, admission)?);
    node.ledger.continue_from(tier.newest_birth());
    node.store.continue_generations(tier.first_generation());
    let departures = tier.clone();
    node.store.on_departure(Box::new(move |object, again| departures.evicted(object, again)));
    node.disk.set(tier).map_err(|_| "cache.disk: it was opened twice".to_owned())
}

/// Writes down what is wanted in memory, and closes the tier.
pub fn close(node: &Node) {
    let Some(disk) = node.disk.get() else { return };
    node.store.wanted().iter().for_each(|object| disk.evicted(object, true));
    disk.close(CLOSE_WITHIN);
}

/// Answers a request that memory has nothing for, while the disk may.
pub async fn answer<F: OwnedLines + Clone + Send + Sync + 'static>(node: &Arc<Node>, mut plan: Box<Plan<F>>) -> Answer {
    plan.on_disk = false;
    let Some(key) = plan.key.clone() else { return fetching::pass(node, plan, RequestBody::Empty).await };
    // Who waits for a turn waits for the disk.
    let turn = node.reads.clone().acquire_owned().await;
    let reader = node.clone();
    let looked_for = key.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let disk = reader.disk.get()?;
        let read = disk.read(looked_for.as_ref(), |vary| vary.matches(&plan.varied()));
        Some((plan, read))
    });
    let Ok(Some((mut plan, read))) = reading.await else {
        return Answer::error(http::StatusCode::INTERNAL_SERVER_ERROR, "the disk tier is gone");
    };
    let stored = match read {
        Some(read) => into_memory(node, &read).await,
        None => None,
    };
    let found = match stored {
        // Another one may have stored it meanwhile, or something else under the key.
        None => node.find(key.as_ref(), &plan.varied()),
        Some(object) => match node.ledger.check(&object) {
            Standing::Hard => {
                node.forget_object(&object);
                Found::Purged
            }
            standing => {
                node.metrics.here().disk_hits.bump();
                Found::Object(object, standing)
            }
        },
    };
    let on_disk = matches!(found, Found::Object(..));
    plan.outcome = plan.outcome_of(node, &key, found);
    let mut answer = fetching::go_on(node, plan, &key).await;
    if on_disk && answer.trace.outcome == Outcome::Hit {
        answer.trace.from_disk = true;
    }
    answer
}

/// Puts what was read into memory; none where something newer is there, or where it was removed while it was read.
async fn into_memory(node: &Node, read: &FoundRecord) -> Option<Arc<Object>> {
    let disk = node.disk.get()?;
    let object = Arc::new(Object::new(read.parts.clone()));
    if object.freshness.response_time() > node.clock.now() {
        // The clock was set back since: nobody knows how old it is.
        node.forget_object(&object);
        return None;
    }
    let stored = node.store.insert_absent_in_steps(&object).await;
    if !disk.is_current(read) {
        node.store.remove_object(&object);
        return None;
    }
    stored.then_some(object)
}
