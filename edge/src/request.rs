//! A request, step by step.
//!
//! ```text
//! Received -> Routed -> Keyed -> LookedUp -> Fetching -> Delivering -> Done
//! ```
//!
//! Each step takes the state before it by value and returns the next one, or a [`Next`] that ends the walk. All of it
//! is decided here without awaiting: what can be answered from memory is answered, all else becomes a
//! [`crate::plan::Plan`]. Delivering and Done belong to the connection that the request came on.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};

use headland_cache::target::{TargetError, apply_query, canonical_host, canonical_target};
use headland_cache::{
    BypassReason, Fields, KeyBuffer, MissReason, Mode, Object, Outcome, Policy, RequestFacts, Reuse, Scheme, Standing,
    StoredHead, Time, assess,
};
use http::{HeaderValue, Method, StatusCode, header};

use crate::answer::Answer;
use crate::condition::{RequestView, ResponseView};
use crate::deliver;
use crate::forward::{self, OwnedLines};
use crate::invalidation;
use crate::metrics::Protocol;
use crate::node::Node;
use crate::peers::word::{self, Wants};
use crate::plan::{Asks, Plan};
use crate::purge::PurgeRequest;
use crate::recoding;
use crate::rules::{Decided, Verdict};
use crate::snapshot::{Site, Snapshot};

/// Step 1: a request whose head broke no rule of its protocol.
#[derive(Debug, Clone, Copy)]
pub struct Received<'r, F> {
    pub method: &'r Method,
    pub scheme: Scheme,
    /// Host, as sent; empty for an HTTP/1.0 request without one.
    pub authority: &'r [u8],
    /// Path and query as sent, or `*`.
    pub target: &'r [u8],
    pub fields: &'r F,
    pub protocol: Protocol,
    pub client: IpAddr,
    /// The name that the client asked for in the TLS handshake.
    pub sni: Option<&'r str>,
    pub has_body: bool,
    /// The protocol that the client wants to switch to.
    pub upgrade: Option<&'r [u8]>,
    pub now: Time,
}

/// What happens after the steps.
#[allow(clippy::large_enum_variant, reason = "boxing the answer would cost each hit an allocation")]
pub enum Next<F> {
    /// It can be written at once; a plan beside it is a revalidation to start in the background.
    Answer(Answer, Option<Box<Plan<F>>>),
    /// The origin has to be asked.
    Fetch(Box<Plan<F>>),
    /// A purge on the data port: durable first, then answered.
    Purge(PurgeRequest),
}

/// Buffers that one connection reuses for all its requests.
#[derive(Debug, Default)]
pub struct Scratch {
    key: KeyBuffer,
    target: Vec<u8>,
    /// The last Host that was canonical as it was sent, and its scheme: most requests of a connection are for one host.
    canonical: Option<(Scheme, Box<[u8]>)>,
}

impl Scratch {
    /// [`canonical_host`], without looking again at a host that was canonical the last time.
    fn canonical_host<'r>(&mut self, authority: &'r [u8], scheme: Scheme) -> Result<Cow<'r, [u8]>, TargetError> {
        if self.canonical.as_ref().is_some_and(|(known, host)| *known == scheme && **host == *authority) {
            return Ok(Cow::Borrowed(authority));
        }
        let host = canonical_host(authority, scheme)?;
        if *host == *authority {
            self.canonical = Some((scheme, authority.into()));
        }
        Ok(host)
    }
}

/// Step 2: its site is known, and what the site's rules say.
struct Routed<'r, F> {
    received: Received<'r, F>,
    site: &'r Arc<Site>,
    host: Cow<'r, [u8]>,
    decided: Decided,
    for_peer: bool,
}

/// Step 3: its key is in the scratch buffer.
struct Keyed<'r, F> {
    routed: Routed<'r, F>,
    facts: RequestFacts<'r>,
}

/// Walks a request through the steps as far as they go without waiting.
pub fn walk<F: OwnedLines + Clone>(
    node: &Node,
    snapshot: &Arc<Snapshot>,
    scratch: &mut Scratch,
    received: Received<'_, F>,
) -> Next<F> {
    let Ok((received, wants)) = word::of_peer(snapshot, received) else {
        let answer = Answer::error(StatusCode::MISDIRECTED_REQUEST, "whoever asks is no peer of this node");
        return Next::Answer(answer, None);
    };
    let routed = match route(node, snapshot, scratch, received, wants.is_some()) {
        Ok(routed) => routed,
        Err(next) => return *next,
    };
    if wants.is_some() {
        node.metrics.here().peers.served.bump();
    }
    if wants == Some(Wants::Forgetting) {
        let changed = routed.plan(snapshot, &scratch.target, Outcome::Bypass(BypassReason::Method));
        invalidation::forget(node, &changed, &changed.fields);
        return Next::Answer(Answer::local(StatusCode::NO_CONTENT, ""), None);
    }
    if let Some(reason) = routed.bypasses() {
        return Next::Fetch(Box::new(routed.plan(snapshot, &scratch.target, Outcome::Bypass(reason))));
    }
    if routed.keys_body() {
        let rules = &routed.site.rules;
        if let Some(query) = rules.key_query(&routed.decided) {
            apply_query(&mut scratch.target, query);
        }
        let mut plan = routed.plan(snapshot, &scratch.target, Outcome::Bypass(BypassReason::Method));
        plan.keyed_by_body = true;
        return Next::Fetch(Box::new(plan));
    }
    let keyed = routed.key(scratch);
    keyed.look_up(node, snapshot, scratch)
}

/// Received -> Routed: canonical host and target, the loop check, the site and its request rules.
fn route<'r, F: OwnedLines + Clone>(
    node: &Node,
    snapshot: &'r Arc<Snapshot>,
    scratch: &mut Scratch,
    received: Received<'r, F>,
    for_peer: bool,
) -> Result<Routed<'r, F>, Box<Next<F>>> {
    let refuse = |status, why: &'static str| Box::new(Next::Answer(Answer::error(status, why), None));
    if received.target == b"*" || ends_here(&received) {
        return Err(Box::new(Next::Answer(options_here(), None)));
    }
    let host = scratch
        .canonical_host(received.authority, received.scheme)
        .map_err(|_| refuse(StatusCode::BAD_REQUEST, "the host is malformed"))?;
    canonical_target(received.target, &mut scratch.target)
        .map_err(|_| refuse(StatusCode::BAD_REQUEST, "the request target is malformed"))?;
    if received.method == Method::TRACE {
        // It would send the client's credentials back to whoever made it ask (RFC 9110 section 9.3.8).
        return Err(refuse(StatusCode::METHOD_NOT_ALLOWED, "TRACE is not served"));
    }
    if forward::loop_count(received.fields, &snapshot.names.node) > 0 {
        let mut answer = Answer::error(StatusCode::LOOP_DETECTED, "this node has forwarded the request before");
        answer.trace.error = deliver::trace_error("proxy_loop_detected", "CDN-Loop names this node");
        return Err(Box::new(Next::Answer(answer, None)));
    }
    let Some(site) = snapshot.sites.find(&host) else {
        return Err(refuse(StatusCode::MISDIRECTED_REQUEST, "no site answers for this host"));
    };
    if !node.certificates_cover(received.sni, &host) {
        return Err(refuse(StatusCode::MISDIRECTED_REQUEST, "this connection was made for another host"));
    }
    if let Some(purge) = PurgeRequest::recognise(&received, &host, &scratch.target, snapshot, site) {
        return Err(Box::new(match purge {
            Ok(purge) => Next::Purge(purge),
            Err(answer) => Next::Answer(answer.of(site), None),
        }));
    }
    decide(site, host, &scratch.target, received, for_peer)
}

fn decide<'r, F: OwnedLines + Clone>(
    site: &'r Arc<Site>,
    host: Cow<'r, [u8]>,
    target: &[u8],
    received: Received<'r, F>,
    for_peer: bool,
) -> Result<Routed<'r, F>, Box<Next<F>>> {
    if site.rules.is_empty() {
        return Ok(Routed { received, site, host, decided: Decided::default(), for_peer });
    }
    let Received { method, fields, client, .. } = received;
    let view = RequestView { method, host: &host, target, fields, client };
    let (decided, verdict) = site.rules.decide(&view);
    let answer = match verdict {
        None => return Ok(Routed { received, site, host, decided, for_peer }),
        Some(Verdict::Deny { status }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
            Answer::error(status, "a rule of this site refuses the request")
        }
        Some(Verdict::Redirect { status, location }) => redirect(status, location, &view),
    };
    Err(Box::new(Next::Answer(answer.of(site), None)))
}

/// RFC 9110 section 7.6.2: the last proxy that an OPTIONS request may reach answers it as its recipient.
fn ends_here<F: Fields>(received: &Received<'_, F>) -> bool {
    received.method == Method::OPTIONS && forward::max_forwards(received.fields) == Some(0)
}

/// A server-wide OPTIONS (RFC 9110 section 9.3.7), or one that may go no further: it asks about this node, so no origin
/// is asked.
fn options_here() -> Answer {
    let mut answer = Answer::local(StatusCode::NO_CONTENT, "");
    answer.edit(|headers| {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    });
    answer
}

/// A redirect; `${host}`, `${target}`, `${path}` and `${query}` stand for the request's own.
fn redirect<F>(status: u16, location: &str, view: &RequestView<'_, F>) -> Answer {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let location = location
        .replace("${host}", &text(view.host))
        .replace("${target}", &text(view.target))
        .replace("${path}", &text(view.path()))
        .replace("${query}", &text(view.query()));
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND);
    match HeaderValue::from_str(&location) {
        Ok(value) => {
            let mut answer = Answer::local(status, format!("{location}\n"));
            answer.edit(|headers| drop(headers.insert(header::LOCATION, value)));
            answer
        }
        Err(_) => Answer::error(StatusCode::BAD_REQUEST, "the redirect would not be a header value"),
    }
}

impl<'r, F: OwnedLines + Clone> Routed<'r, F> {
    fn policy(&self) -> &Policy {
        self.decided.policy(&self.site.policy)
    }

    /// What the rules say of a stored response to this request.
    fn decided_with(&self, target: &[u8], head: &StoredHead) -> Cow<'_, Decided> {
        let Received { method, fields, client, .. } = self.received;
        let view = RequestView { method, host: &self.host, target, fields, client };
        let response = ResponseView { status: head.status(), headers: head };
        self.site.rules.decided_with(&self.decided, &view, &response)
    }

    /// Why the cache is left aside, if it is.
    fn bypasses(&self) -> Option<BypassReason> {
        let received = &self.received;
        if self.keys_body() {
            return (self.policy().mode == Mode::Bypass).then_some(BypassReason::Rule);
        }
        if received.method != Method::GET && received.method != Method::HEAD {
            return Some(BypassReason::Method);
        }
        // A body on GET has no meaning that a cache could key (RFC 9110 section 9.3.1).
        if received.has_body || received.upgrade.is_some() {
            return Some(BypassReason::Request);
        }
        (self.policy().mode == Mode::Bypass).then_some(BypassReason::Rule)
    }

    /// Whether a rule caches the answers to what is asked in bodies.
    fn keys_body(&self) -> bool {
        let asks = |method: &Method| *method == Method::POST || method.as_str() == "QUERY";
        asks(self.received.method) && self.received.upgrade.is_none() && self.site.rules.keys_body(&self.decided)
    }

    /// Routed -> Keyed: the key from the canonical form, after what the rules keep of the query.
    fn key(self, scratch: &mut Scratch) -> Keyed<'r, F> {
        let rules = &self.site.rules;
        if let Some(query) = rules.key_query(&self.decided) {
            apply_query(&mut scratch.target, query);
        }
        scratch.key.begin(self.received.scheme, &self.host, &scratch.target);
        for (name, value) in rules.key_parts(&self.decided, self.received.fields) {
            scratch.key.part(name.as_bytes(), value);
        }
        let facts = RequestFacts::gather(self.received.method, self.received.fields);
        Keyed { routed: self, facts }
    }

    /// The plan of a request that the cache has no part in.
    fn plan(self, snapshot: &Arc<Snapshot>, target: &[u8], outcome: Outcome) -> Plan<F> {
        let Received { method, scheme, fields, protocol, client, upgrade, .. } = self.received;
        Plan {
            snapshot: snapshot.clone(),
            site: self.site.clone(),
            decided: self.decided,
            method: method.clone(),
            scheme,
            host: self.host.as_ref().into(),
            target: bytes::Bytes::copy_from_slice(target),
            fields: fields.clone(),
            protocol,
            client,
            upgrade: upgrade.and_then(|value| HeaderValue::from_bytes(value).ok()),
            request_id: forward::accepted_request_id(fields).unwrap_or_else(new_request_id),
            key: None,
            outcome,
            stored: None,
            on_disk: false,
            asks: Asks::Part,
            keyed_by_body: false,
            posted: None,
            for_peer: self.for_peer,
            through_peer: false,
            is_copy: false,
            interim: None,
        }
    }
}

impl<F: OwnedLines + Clone> Keyed<'_, F> {
    /// Keyed -> `LookedUp`: the ledger's word and the stored responses give one outcome.
    fn look_up(self, node: &Node, snapshot: &Arc<Snapshot>, scratch: &Scratch) -> Next<F> {
        let key = scratch.key.key();
        let now = self.routed.received.now;
        let Routed { received, site, decided, .. } = &self.routed;
        let found = if site.rules.edits_request(decided) {
            node.find(key, &site.rules.edited(decided, received.fields))
        } else {
            node.find(key, received.fields)
        };
        let (object, standing) = match found {
            Found::Object(object, standing) => (object, standing),
            Found::Nothing | Found::OtherVariant if node.may_be_on_disk(key) => {
                let mut plan = self.cached_plan(snapshot, scratch, Outcome::Miss(MissReason::Absent), None);
                plan.on_disk = true;
                return Next::Fetch(Box::new(plan));
            }
            Found::Nothing => {
                return match self.equivalent(node, scratch) {
                    Some(answer) => Next::Answer(answer, None),
                    None => self.miss(node, snapshot, scratch, MissReason::Absent, None),
                };
            }
            Found::OtherVariant => return self.miss(node, snapshot, scratch, MissReason::Vary, None),
            Found::Purged => return self.miss(node, snapshot, scratch, MissReason::Purged, None),
        };
        let decided = self.routed.decided_with(&scratch.target, &object.head);
        let reuse = assess(&self.facts, decided.policy(&self.routed.site.policy), &object.freshness, standing, now);
        match reuse {
            Reuse::Serve(outcome) => {
                let Some(answer) = self.present(node, &object, outcome) else {
                    drop(decided);
                    let plan = self.cached_plan(snapshot, scratch, outcome, Some((object, standing)));
                    return Next::Fetch(Box::new(plan));
                };
                let mut answer = answer.of(self.routed.site);
                self.finish(&decided, &object, &mut answer);
                drop(decided);
                let refresh = (outcome == Outcome::StaleWhileRevalidate)
                    .then(|| Box::new(self.cached_plan(snapshot, scratch, outcome, Some((object, standing)))));
                Next::Answer(answer, refresh)
            }
            Reuse::Validate(reason) => {
                drop(decided);
                self.miss(node, snapshot, scratch, reason, Some((object, standing)))
            }
            Reuse::Unusable(reason) => {
                drop(decided);
                self.miss(node, snapshot, scratch, reason, None)
            }
            Reuse::OnlyIfCached504 => Next::Answer(only_if_cached().of(self.routed.site), None),
        }
    }

    /// The answer from a stored object, in the form that the client wants; none when that has to be made first, or when
    /// the bytes have to be put together.
    fn present(&self, node: &Node, object: &Object, outcome: Outcome) -> Option<Answer> {
        let Received { fields, now, .. } = &self.routed.received;
        if object.body.is_apart() {
            return None;
        }
        let as_it_is = || deliver::stored(object, &self.facts, outcome, *now);
        let Some(rules) = &self.routed.site.recoding else { return Some(as_it_is()) };
        let (status, length) = (object.head.status(), object.body.len());
        let Some(form) = rules.wanted(*fields, &self.facts, &object.head, status, Some(length)) else {
            return Some(as_it_is());
        };
        if let Some(made) = recoding::made(node, object, form) {
            return Some(recoding::stored(object, &made, &self.facts, outcome, *now));
        }
        let answer = as_it_is();
        recoding::is_head_alone(&answer).then(|| recoding::head_alone(answer, form))
    }

    /// A fresh response that is stored for another target and declares itself good for this one. What would have to be
    /// validated is fetched for its own target instead.
    fn equivalent(&self, node: &Node, scratch: &Scratch) -> Option<Answer> {
        let Routed { site, received, .. } = &self.routed;
        if !site.no_vary_search {
            return None;
        }
        let varied = site.rules.edited(&self.routed.decided, received.fields);
        let (object, standing) = node.find_equivalent(scratch.key.key(), &varied)?;
        let decided = self.routed.decided_with(&scratch.target, &object.head);
        let reuse = assess(&self.facts, decided.policy(&site.policy), &object.freshness, standing, received.now);
        let Reuse::Serve(Outcome::Hit) = reuse else { return None };
        // What would have to be made first is the business of the target that it is stored for.
        if object.body.is_apart() {
            return None;
        }
        let as_it_is = || deliver::stored(&object, &self.facts, Outcome::Hit, received.now);
        let mut answer = self.present(node, &object, Outcome::Hit).unwrap_or_else(as_it_is).of(site);
        self.finish(&decided, &object, &mut answer);
        Some(answer)
    }

    fn miss(
        self,
        node: &Node,
        snapshot: &Arc<Snapshot>,
        scratch: &Scratch,
        reason: MissReason,
        stored: Option<(Arc<headland_cache::Object>, Standing)>,
    ) -> Next<F> {
        if self.facts.directives.only_if_cached {
            return Next::Answer(only_if_cached().of(self.routed.site), None);
        }
        let key = scratch.key.key();
        if stored.is_none() && node.uncacheable.contains(key.hash(), self.routed.received.now) {
            let outcome = Outcome::Bypass(BypassReason::Uncacheable);
            let mut plan = self.routed.plan(snapshot, &scratch.target, outcome);
            plan.key = Some(key.into());
            return Next::Fetch(Box::new(plan));
        }
        Next::Fetch(Box::new(self.cached_plan(snapshot, scratch, Outcome::Miss(reason), stored)))
    }

    fn cached_plan(
        self,
        snapshot: &Arc<Snapshot>,
        scratch: &Scratch,
        outcome: Outcome,
        stored: Option<(Arc<headland_cache::Object>, Standing)>,
    ) -> Plan<F> {
        let mut plan = self.routed.plan(snapshot, &scratch.target, outcome);
        plan.key = Some(scratch.key.key().into());
        plan.stored = stored;
        plan
    }

    fn finish(&self, decided: &Decided, object: &Object, answer: &mut Answer) {
        if self.routed.for_peer {
            let now = self.routed.received.now;
            return answer.edit(|headers| word::tell(headers, &object.freshness, &object.tags, now));
        }
        let rules = &self.routed.site.rules;
        if rules.edits_response(decided) {
            answer.edit(|headers| rules.edit_response(decided, headers));
        }
    }
}

/// A new request id: unique on this node, and hard to meet twice on others.
fn new_request_id() -> HeaderValue {
    static FIRST: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = FIRST.wrapping_add(NEXT.fetch_add(1, Relaxed));
    let text: [u8; 16] = std::array::from_fn(|at| b"0123456789abcdef"[(id >> (60 - 4 * at)) as usize & 15]);
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

/// What the store holds for a request.
pub enum Found {
    Nothing,
    /// Something is stored under the key, but for other values of the fields in its Vary.
    OtherVariant,
    /// What was stored for the request has been purged.
    Purged,
    Object(Arc<headland_cache::Object>, Standing),
}

pub fn only_if_cached() -> Answer {
    Answer::error(StatusCode::GATEWAY_TIMEOUT, "nothing stored satisfies only-if-cached")
}
