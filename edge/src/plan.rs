//! A request that the origin has to be asked for: everything about it, owned, because a fill may outlive its connection.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use headland_cache::conditional::Validators;
use headland_cache::range::single;
use headland_cache::{
    BypassReason, CacheKey, Fields, Form, KeyBuffer, MissReason, Object, Outcome, Policy, RequestFacts, Reuse, Scheme,
    Standing, StoredHead, VaryFacts, VarySpec, assess, assess_absence,
};
use headland_origin::{Group, Interim, Request, RequestBody, RequestFields};
use http::{HeaderValue, Method, header};

use crate::answer::Trace;
use crate::condition::{RequestView, ResponseView};
use crate::edited::Edited;
use crate::forward::{ForwardContext, OwnedLines, Purpose, forward_headers, forward_text, max_forwards};
use crate::metrics::Protocol;
use crate::node::Node;
use crate::origin_fields::OriginFields;
use crate::request::Found;
use crate::rules::Decided;
use crate::snapshot::{Site, Snapshot};

/// All that is needed to answer a request from the origin, owned: it may outlive the connection.
#[derive(Clone)]
pub struct Plan<F> {
    pub snapshot: Arc<Snapshot>,
    pub site: Arc<Site>,
    pub decided: Decided,
    pub method: Method,
    pub scheme: Scheme,
    /// Canonical.
    pub host: Box<[u8]>,
    /// Canonical path and query, as keyed.
    pub target: Bytes,
    /// The client's fields.
    pub fields: F,
    pub protocol: Protocol,
    pub client: IpAddr,
    pub upgrade: Option<HeaderValue>,
    /// The client's own, or a new one.
    pub request_id: HeaderValue,
    /// The key, when the cache has a part in the request.
    pub key: Option<CacheKey>,
    pub outcome: Outcome,
    /// What is stored but has to be validated, and the ledger's word on it.
    pub stored: Option<(Arc<Object>, Standing)>,
    /// Memory has nothing, and the disk has not been asked yet.
    pub on_disk: bool,
    pub asks: Asks,
    /// A rule makes the body part of the key; it has not been read yet.
    pub keyed_by_body: bool,
    /// The body that is part of the key.
    pub posted: Option<Bytes>,
    /// A peer asks: it is told what it has to know, and nobody but the origin is asked.
    pub for_peer: bool,
    /// The fill asks the peer that the key belongs to, first.
    pub through_peer: bool,
    /// The key belongs to a peer: what is stored here is a copy.
    pub is_copy: bool,
    /// Where the origin's interim answers go, when somebody waits for them.
    pub interim: Option<Interim>,
}

/// What a fill asks for and keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asks {
    /// The range that the client wants, if it wants one.
    Part,
    /// The whole, whatever the client wants; what is too long for one object is kept in parts.
    Whole,
    /// The whole, and nothing is kept in parts: the origin has just failed to give some that fit.
    WholeAsOne,
}

/// A range of a representation, and the condition under which the client has use for it.
pub struct PartWanted<'a> {
    range: String,
    condition: Option<&'a [u8]>,
}

impl PartWanted<'_> {
    /// Asks for it.
    pub fn ask(&self, request: &mut Request) {
        let mut fields = request.headers.to_map();
        let condition = self.condition.map(|condition| (header::IF_RANGE, condition));
        for (name, value) in std::iter::once((header::RANGE, self.range.as_bytes())).chain(condition) {
            // What the client sent is a field value.
            if let Ok(value) = HeaderValue::from_bytes(value) {
                fields.insert(name, value);
            }
        }
        request.headers = fields.into();
    }
}

impl<F: OwnedLines> Plan<F> {
    pub fn policy(&self) -> &Policy {
        self.decided.policy(&self.site.policy)
    }

    /// What the rules say of a stored response to this request.
    pub fn decided_with(&self, head: &StoredHead) -> Cow<'_, Decided> {
        let response = ResponseView { status: head.status(), headers: head };
        self.site.rules.decided_with(&self.decided, &self.view(), &response)
    }

    pub fn group(&self) -> &Arc<Group> {
        let chosen = self.site.rules.origin(&self.decided).and_then(|name| self.snapshot.groups.get(name));
        chosen.unwrap_or(&self.site.group)
    }

    /// How the request stands before there is an answer.
    pub fn trace(&self) -> Trace {
        let mut trace = Trace::new(self.outcome);
        trace.site = Some(self.site.metrics.clone());
        trace.request_id = Some(self.request_id.clone());
        trace
    }

    /// What the response was chosen by. Where codings are made at the edge, they do not choose.
    pub fn vary_facts(&self, vary: VarySpec) -> VaryFacts {
        let vary = if self.site.recoding.is_some() { vary.without("accept-encoding") } else { vary };
        VaryFacts::of(&vary, &self.varied())
    }

    /// The fields that a variant is chosen by: the client's, as the rules have edited them.
    pub fn varied(&self) -> Edited<'_, F> {
        self.site.rules.edited(&self.decided, &self.fields)
    }

    /// The line of Vary that coding at the edge adds.
    pub fn vary_line(
        &self,
        head: &impl Fields,
        status: u16,
        length: Option<u64>,
    ) -> Option<(&'static [u8], &'static [u8])> {
        self.site.recoding.as_ref()?.vary_line(head, status, length)
    }

    /// The form that the client wants of a response.
    pub fn form(&self, facts: &RequestFacts<'_>, head: &StoredHead, length: Option<u64>) -> Option<Form> {
        self.site.recoding.as_ref()?.wanted(&self.fields, facts, head, head.status(), length)
    }

    pub fn view(&self) -> RequestView<'_, F> {
        RequestView {
            method: &self.method,
            host: &self.host,
            target: &self.target,
            fields: &self.fields,
            client: self.client,
        }
    }

    /// The key of a GET for a canonical target.
    pub fn key_of(&self, target: &[u8], key: &mut KeyBuffer) {
        let decided = self.site.decided_for_get(&self.host, target, &self.fields, self.client);
        key.begin(self.scheme, &self.host, &self.site.rules.keyed(&decided, target));
        for (name, value) in self.site.rules.key_parts(&decided, &self.fields) {
            key.part(name.as_bytes(), value);
        }
    }

    /// Applies the rules that look at the response.
    pub fn decide_on_response(&mut self, response: &ResponseView<'_, OriginFields<'_>>) {
        let mut decided = std::mem::take(&mut self.decided);
        self.site.rules.decide_on_response(&mut decided, &self.view(), response);
        self.decided = decided;
    }

    /// The request as the origin gets it. A fill asks for the whole representation, unless
    /// [`Plan::part_wanted`] says otherwise.
    pub fn request(&self, purpose: Purpose, body: RequestBody) -> Request {
        let (fields, host) = self.request_fields(purpose, &self.forward_context(purpose));
        let host_header = self.site.host_header.clone();
        let authority = host.or(host_header).unwrap_or_else(|| self.own_host());
        self.request_of(purpose, body, authority, fields)
    }

    /// The request as a peer gets it: as the client sent it, with the word of who asks. What rules edit, the peer edits.
    pub fn request_to_peer(&self, purpose: Purpose, body: RequestBody, word: &HeaderValue) -> Request {
        let context = ForwardContext { for_peer: Some(word), ..self.forward_context(purpose) };
        let stored = self.stored.as_ref().filter(|_| purpose == Purpose::Fill);
        let text = if stored.is_some() { None } else { forward_text(&self.fields, &context) };
        let fields = text.map_or_else(
            || {
                let mut headers = forward_headers(&self.fields, &context);
                if let Some((object, _)) = stored {
                    Validators::of(&object.head).apply(&mut headers);
                }
                headers.into()
            },
            RequestFields::Text,
        );
        self.request_of(purpose, body, self.own_host(), fields)
    }

    fn forward_context(&self, purpose: Purpose) -> ForwardContext<'_> {
        ForwardContext {
            purpose,
            peer: self.client,
            peer_trusted: self.snapshot.trusted_proxies.contains(self.client),
            https: self.scheme == Scheme::Https,
            authority: &self.host,
            via: self.snapshot.names.via_for(self.protocol, false),
            loop_token: &self.snapshot.names.loop_token,
            request_id: &self.request_id,
            identity_only: self.site.recoding.is_some(),
            for_peer: None,
            max_forwards: self.max_forwards(),
        }
    }

    fn own_host(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.host).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    fn request_of(
        &self,
        purpose: Purpose,
        body: RequestBody,
        authority: HeaderValue,
        headers: RequestFields,
    ) -> Request {
        // HEAD is answered from a stored GET, so the fill fetches that.
        let is_get = purpose == Purpose::Fill && self.posted.is_none();
        let method = if is_get { Method::GET } else { self.method.clone() };
        Request {
            method,
            authority,
            target: self.target.clone(),
            headers,
            body,
            upgrade: self.upgrade.clone(),
            client: Some(self.client),
        }
    }

    /// The part that a fill asks the origin for, as the client does: one range of what is not stored whole.
    pub fn part_wanted(&self) -> Option<PartWanted<'_>> {
        let is_whole = self.stored.as_ref().is_some_and(|(object, _)| !object.body.is_apart());
        if self.asks != Asks::Part || is_whole || self.posted.is_some() || self.method != Method::GET {
            return None;
        }
        let facts = RequestFacts::gather(&self.method, &self.fields);
        let range = facts.range.filter(|_| self.site.partial_content).and_then(single)?;
        Some(PartWanted { range, condition: facts.if_range })
    }

    /// The client wants a range.
    pub fn wants_a_part(&self) -> bool {
        self.fields.first("range").is_some()
    }

    /// One less than the client said; what said nothing more was answered here.
    fn max_forwards(&self) -> Option<u64> {
        if self.method != Method::OPTIONS {
            return None;
        }
        max_forwards(&self.fields).map(|left| left.saturating_sub(1))
    }

    /// The fields for the origin, and the Host that a rule sets.
    fn request_fields(&self, purpose: Purpose, context: &ForwardContext<'_>) -> (RequestFields, Option<HeaderValue>) {
        let rules = &self.site.rules;
        let stored = self.stored.as_ref().filter(|_| purpose == Purpose::Fill && self.posted.is_none());
        if stored.is_none()
            && !rules.edits_request(&self.decided)
            && let Some(text) = forward_text(&self.fields, context)
        {
            return (RequestFields::Text(text), None);
        }
        let mut headers = forward_headers(&self.fields, context);
        if let Some((object, _)) = stored {
            Validators::of(&object.head).apply(&mut headers);
        }
        rules.edit_request(&self.decided, &mut headers);
        let host = headers.remove(header::HOST);
        (headers.into(), host)
    }

    /// What becomes of the request, now that it is known what is stored for it; `Local` where only-if-cached forbids to
    /// ask. What can be used or validated is kept in the plan.
    pub fn outcome_of(&mut self, node: &Node, key: &CacheKey, found: Found) -> Outcome {
        let now = node.clock.now();
        let facts = RequestFacts::gather(&self.method, &self.fields);
        let reuse = match &found {
            Found::Object(object, standing) => {
                let decided = self.decided_with(&object.head);
                assess(&facts, decided.policy(&self.site.policy), &object.freshness, *standing, now)
            }
            Found::OtherVariant => assess_absence(&facts, MissReason::Vary),
            Found::Purged => assess_absence(&facts, MissReason::Purged),
            Found::Nothing => assess_absence(&facts, MissReason::Absent),
        };
        let remembered = || node.uncacheable.contains(key.hash(), now);
        let outcome = match reuse {
            Reuse::Serve(outcome) => outcome,
            Reuse::OnlyIfCached504 => Outcome::Local,
            Reuse::Unusable(_) if remembered() => Outcome::Bypass(BypassReason::Uncacheable),
            Reuse::Validate(reason) | Reuse::Unusable(reason) => Outcome::Miss(reason),
        };
        drop(facts);
        if let Found::Object(object, standing) = found
            && !matches!(reuse, Reuse::Unusable(_))
        {
            self.stored = Some((object, standing));
        }
        outcome
    }
}
