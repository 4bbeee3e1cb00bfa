//! The disk tier at work: opened before the doors, asked when memory has nothing, closed when the last request has ended.
//!
//! The index is read while requests are served: what it does not know yet is a miss.
//!
//! What the page cache has is read at once, everything else by the disk's own threads. What is found is judged like
//! anything else that is stored: the ledger's word, freshness, the request's own directives. So a purge that came
//! meanwhile, also one from before a restart, is obeyed.
//!
//! A small response goes into memory when there is room for it, or when it is read again before as many others were as
//! memory has objects: one that is asked for once pushes nothing out. A large one is sent as it is read, and goes into
//! memory by the same rule once it was read to its end. Whatever has to be validated goes there first.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headland_cache::disk::{DiskTier, FoundBody, FoundRecord, Patience, Surroundings, VolumeSettings};
use headland_cache::object::Parts;
use headland_cache::{Body, CacheKey, DiskLimits, Object, Outcome, RequestFacts, Standing, Time, VaryFacts};
use headland_origin::RequestBody;
use serde_json::Value;
use tokio::runtime::Builder;

use crate::answer::{Answer, Content};
use crate::clock::Clock;
use crate::deliver;
use crate::fetching;
use crate::forward::OwnedLines;
use crate::inspection::{Inspector, Question};
use crate::node::Node;
use crate::plan::Plan;
use crate::request::Found;
use crate::route::Routes;
use crate::settings::{self, DiskSettings, Settings};
use stream::DiskReader;

pub mod part;
mod rest;
pub mod stream;
mod waiting;

/// How long the writer may take to end.
pub const CLOSE_WITHIN: Duration = Duration::from_secs(20);

/// Opens the files of a node that does not run, to look at them. The error is one sentence.
pub fn open_aside(settings: &DiskSettings) -> Result<DiskTier, String> {
    let (begun, clock) = (Instant::now(), Clock::start());
    let surroundings = Surroundings {
        stopwatch: Arc::new(move || begun.elapsed().as_micros() as u64),
        now: Arc::new(move || clock.now()),
        is_worth_keeping: Arc::new(|_| true),
        tell: Arc::new(|sentence| drop(writeln!(std::io::stderr(), "headland: {sentence}"))),
    };
    open_tier(settings, &surroundings)
}

/// What operators ask of the tier, and the answer.
pub fn inspect(node: &Node, question: &Question) -> Result<Value, String> {
    let disk = node.disk.get().ok_or("the node has no disk tier")?;
    let snapshot = node.snapshot();
    let site_of = |host: &[u8]| match snapshot.sites.find(host) {
        Some(site) => String::from(site.metrics.name.clone()),
        None => String::from_utf8_lossy(host).into_owned(),
    };
    let forget = |key: &CacheKey| node.forget(key.as_ref());
    Inspector { disk, now: node.clock.now(), site_of: &site_of, forget: &forget }.answer(question)
}

/// The same of the files of a node that does not run.
pub fn inspect_aside(disk: &DiskTier, settings: &Settings, question: &Question) -> Result<Value, String> {
    let mut sites = Routes::default();
    for site in &settings.sites {
        let name = Arc::new(site.name.clone());
        for host in &site.hosts {
            sites.add(host, &name);
        }
    }
    let site_of = |host: &[u8]| match sites.find(host) {
        Some(name) => String::clone(name),
        None => String::from_utf8_lossy(host).into_owned(),
    };
    let forget = |key: &CacheKey| disk.remove(key.as_ref());
    Inspector { disk, now: Clock::start().now(), site_of: &site_of, forget: &forget }.answer(question)
}

/// Opens the tier, before anything is served. The error is one sentence.
pub fn open(node: &Arc<Node>, settings: &DiskSettings) -> Result<(), String> {
    if node.disk.get().is_some() {
        return Err("cache.disk: it was opened before; a node starts once".to_owned());
    }
    let tier = Arc::new(open_tier(settings, &surroundings(node))?);
    node.ledger.continue_from(tier.newest_birth());
    node.store.continue_generations(tier.first_generation());
    let (departures, sites) = (tier.clone(), Arc::downgrade(node));
    node.store.on_departure(Box::new(move |object, again| {
        if let Some(node) = sites.upgrade() {
            departures.evicted(object, again, node.admission_of(object));
        }
    }));
    node.disk.set(tier).map_err(|_| "cache.disk: it was opened twice".to_owned())?;
    warm(node);
    Ok(())
}

fn open_tier(settings: &DiskSettings, surroundings: &Surroundings) -> Result<DiskTier, String> {
    let limits = DiskLimits {
        segment_bytes: settings.segment_bytes,
        write_bytes_per_s: Some(settings.write_bytes_per_s).filter(|rate| *rate > 0),
        keeps_page_cache: settings.page_cache,
        readers: usize::from(settings.readers),
        index_bytes_max: settings.index_bytes_max,
    };
    let volume = |each: &settings::VolumeSettings| VolumeSettings {
        path: each.path.clone().into(),
        size_bytes: each.size_bytes,
    };
    let volumes: Vec<_> = settings.volumes.iter().map(volume).collect();
    DiskTier::open(&volumes, limits, surroundings)
}

/// What the tier has to know of the node, which it does not keep alive.
fn surroundings(node: &Arc<Node>) -> Surroundings {
    let begun = Instant::now();
    let (dated, judge) = (Arc::downgrade(node), Arc::downgrade(node));
    Surroundings {
        stopwatch: Arc::new(move || begun.elapsed().as_micros() as u64),
        now: Arc::new(move || dated.upgrade().map_or(Time::from_millis(0), |node| node.clock.now())),
        is_worth_keeping: Arc::new(move |parts| judge.upgrade().is_some_and(|node| is_worth_keeping(&node, parts))),
        // The threads of the disk may wait for the log.
        tell: Arc::new(|sentence| drop(writeln!(std::io::stderr(), "headland: {sentence}"))),
    }
}

/// Neither purged nor expired.
fn is_worth_keeping(node: &Node, parts: &Parts) -> bool {
    let standing = node.ledger.standing_of(parts.key.as_ref(), &parts.tags, &parts.vary, parts.born);
    standing != Standing::Hard && parts.freshness.is_fresh(node.clock.now())
}

/// Writes down what is wanted in memory, and closes the tier.
pub fn close(node: &Node) {
    let Some(disk) = node.disk.get() else { return };
    let wanted = node.store.wanted();
    for object in &wanted {
        disk.evicted(object, true, node.admission_of(object));
    }
    disk.keep_hottest(wanted.iter().map(|object| object.key.as_ref().short_hash()));
    disk.close(CLOSE_WITHIN);
}

/// Brings back what was wanted in memory when the node ended, as long as there is room, while requests are served.
fn warm(node: &Arc<Node>) {
    let node = node.clone();
    let work = move || {
        let (Some(disk), Ok(runtime)) = (node.disk.get(), Builder::new_current_thread().build()) else { return };
        disk.settle();
        for hash in disk.take_hottest() {
            for record in disk.records(hash) {
                let object = &record.object;
                let is_usable = node.ledger.check(object) == Standing::Clear
                    && object.freshness.response_time() <= node.clock.now();
                if node.drain.has_begun() || !node.store.has_room_for(object.weight() + record.length()) {
                    return;
                }
                if is_usable && let Some(body) = record.whole_body() {
                    runtime.block_on(insert(&node, &record, body));
                }
            }
        }
    };
    // Without the thread, memory fills as requests come.
    drop(std::thread::Builder::new().name("disk-warmer".to_owned()).spawn(work));
}

/// Answers a request that memory has nothing for, while the disk may.
pub async fn answer<F: OwnedLines + Clone + Send + Sync + 'static>(node: &Arc<Node>, mut plan: Box<Plan<F>>) -> Answer {
    plan.on_disk = false;
    let Some((key, disk)) = plan.key.clone().zip(node.disk.get().cloned()) else {
        return fetching::pass(node, plan, RequestBody::Empty).await;
    };
    let found = if let Ok(found) = at_once(&disk, &key, |vary| vary.matches(&plan.varied())) {
        found
    } else {
        let looked_for = plan.clone();
        wait_for(&disk, &key, move |vary| vary.matches(&looked_for.varied())).await
    };
    let Some(record) = found else {
        // Another one may have stored it meanwhile, or something else under the key.
        let found = node.find(key.as_ref(), &plan.varied());
        return judged(node, plan, &key, found).await;
    };
    let object = record.object.clone();
    if object.freshness.response_time() > node.clock.now() {
        // The clock was set back since: nobody knows how old it is.
        node.forget_object(&object);
        return judged(node, plan, &key, Found::Nothing).await;
    }
    let standing = match node.ledger.check(&object) {
        // It stays until its segment goes, and the rule with it: other variants under its key may be fresh.
        Standing::Hard => return judged(node, plan, &key, Found::Purged).await,
        standing => standing,
    };
    node.metrics.here().disk_hits.bump();
    plan.outcome = plan.outcome_of(node, &key, Found::Object(object.clone(), standing));
    let is_hit = plan.outcome == Outcome::Hit;
    if is_hit
        && let FoundBody::Pieces(_) = record.body
        && !is_recoded(&plan, &object, record.length())
    {
        let length = record.length();
        let mut answer = streamed(node, disk, &plan, &object, record);
        let Content::Disk(mut reader) = answer.content else { return answer };
        if reader.begin().await {
            answer.content = Content::Disk(Box::new(reader.continued_by(rest::of(node, plan, object, length))));
            return answer;
        }
        plan.stored = None;
        return judged(node, plan, &key, Found::Nothing).await;
    }
    // One whose bytes are stored apart has to be found by all who read its parts.
    let is_here = matches!(record.body, FoundBody::Here(_)) && !object.body.is_apart();
    if plan.stored.is_some() && !(is_hit && is_here && !belongs_into_memory(node, &disk, &record)) {
        let Some(object) = into_memory(node, &disk, Arc::new(record)).await else {
            plan.stored = None;
            let found = node.find(key.as_ref(), &plan.varied());
            return judged(node, plan, &key, found).await;
        };
        plan.stored = Some((object, standing));
    }
    let mut answer = fetching::go_on(node, plan, &key).await;
    answer.trace.from_disk = answer.trace.outcome == Outcome::Hit;
    answer
}

/// The page cache does not have it.
struct Waits;

/// Looks a record up where the page cache has it.
fn at_once(
    disk: &DiskTier,
    key: &CacheKey,
    matches: impl Fn(&VaryFacts) -> bool,
) -> Result<Option<FoundRecord>, Waits> {
    disk.read(key.as_ref(), matches, Patience::None).map_err(|_| Waits)
}

/// Looks it up by another thread.
async fn wait_for(
    disk: &Arc<DiskTier>,
    key: &CacheKey,
    matches: impl Fn(&VaryFacts) -> bool + Send + 'static,
) -> Option<FoundRecord> {
    let (reader, looked_for) = (disk.clone(), key.clone());
    let look = move || reader.read(looked_for.as_ref(), matches, Patience::Waits).ok();
    waiting::submit(disk, key.as_ref(), false, look)?.await.ok()??
}

/// What is to be done with a request that the disk has nothing for.
async fn judged<F: OwnedLines + Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    mut plan: Box<Plan<F>>,
    key: &CacheKey,
    found: Found,
) -> Answer {
    plan.outcome = plan.outcome_of(node, key, found);
    fetching::go_on(node, plan, key).await
}

/// Whether the client wants it in a form that has to be made from the whole.
fn is_recoded<F: OwnedLines>(plan: &Plan<F>, object: &Object, length: u64) -> bool {
    let facts = RequestFacts::gather(&plan.method, &plan.fields);
    plan.form(&facts, &object.head, Some(length)).is_some()
}

/// The rule of promotion. The body of a large one is not with it yet.
fn belongs_into_memory(node: &Node, disk: &DiskTier, record: &FoundRecord) -> bool {
    let object = &record.object;
    let is_read_again = disk.is_read_again(object.key.as_ref(), node.store.len());
    let yet_to_come = if let FoundBody::Pieces(body) = &record.body { body.len() } else { 0 };
    is_read_again || node.store.has_room_for(object.weight() + yet_to_come)
}

/// A fresh response that is sent as it is read.
fn streamed<F: OwnedLines + Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    disk: Arc<DiskTier>,
    plan: &Plan<F>,
    object: &Arc<Object>,
    record: FoundRecord,
) -> Answer {
    let FoundBody::Pieces(body) = &record.body else { unreachable!("only large bodies are sent as they are read") };
    let facts = RequestFacts::gather(&plan.method, &plan.fields);
    let body = body.clone();
    let length = body.len();
    let mut answer = deliver::on_disk(object, length, &facts, plan.outcome, node.clock.now(), |first, end| {
        let is_kept = belongs_into_memory(node, &disk, &record);
        let reader = DiskReader::new(disk, object.key.clone(), body, first, end);
        let keeper = node.clone();
        Content::Disk(Box::new(if is_kept { reader.keeping(move |whole| keep(keeper, record, whole)) } else { reader }))
    });
    answer.trace.from_disk = true;
    fetching::finished(node, plan, &object.head, &object.freshness, &object.tags, answer)
}

/// Puts a body that was read to its end into memory.
fn keep(node: Arc<Node>, record: FoundRecord, body: Body) {
    tokio::spawn(async move {
        insert(&node, &record, body).await;
    });
}

/// Reads what is left of a record, and puts it into memory.
async fn into_memory(node: &Node, disk: &Arc<DiskTier>, record: Arc<FoundRecord>) -> Option<Arc<Object>> {
    let body = match &record.body {
        FoundBody::Here(_) => record.whole_body()?,
        FoundBody::Pieces(_) => {
            let (reader, key) = (record.clone(), record.object.key.clone());
            waiting::submit(disk, key.as_ref(), false, move || reader.whole_body())?.await.ok()??
        }
    };
    insert(node, &record, body).await
}

/// None where something newer is in memory, or where it was removed while it was read.
async fn insert(node: &Node, record: &FoundRecord, body: Body) -> Option<Arc<Object>> {
    let object = if record.owns_body() {
        record.object.clone()
    } else {
        Arc::new(Object::new(Parts { body, ..record.object.parts().clone() }))
    };
    let stored = node.store.insert_absent_in_steps(&object).await;
    if !record.is_current() {
        node.store.remove_object(&object);
        return None;
    }
    stored.then_some(object)
}

#[cfg(test)]
mod tests;
