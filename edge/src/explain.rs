//! What a request for a URL would meet now, and why: the same walk as a request's, told instead of taken.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use headland_cache::target::canonical_url;
use headland_cache::{CacheKey, Fields, KeyBuffer, Object, Outcome, RequestFacts, Reuse, Time, assess};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

use crate::condition::{RequestView, ResponseView};
use crate::node::Node;
use crate::recoding;
use crate::request::Found;
use crate::rules::{Decided, Verdict};
use crate::snapshot::{Site, Snapshot};

mod stored;

/// Explains a URL; the error is one sentence.
pub fn explain(node: &Node, method: &str, url: &str, headers: &[(String, String)]) -> Result<Value, String> {
    let snapshot = node.snapshot();
    let fields = fields_of(headers)?;
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| format!("\"{method}\" is no method"))?;
    let place = Place::of(&snapshot, &method, url, &fields)?;
    let mut told = json!({
        "method": method.as_str(),
        "url": place.text(),
        "site": &*place.site.metrics.name,
        "origin": place.origin(&snapshot),
        "rules": place.site.rules.names(&place.decided).collect::<Vec<_>>(),
        "key": place.told_key(&fields),
    });
    if let Some(peers) = &snapshot.peers {
        told["owner"] = (*peers.owner_url(place.key.hash())).into();
    }
    let verdict = match &place.verdict {
        Some(verdict) => verdict.clone(),
        None => place.look(node, &method, &fields, &mut told),
    };
    told["answer"] = verdict;
    Ok(told)
}

/// Scheme, host and target of a URL after the key rules of its site.
pub fn canonical(node: &Node, url: &str) -> Result<(&'static str, String, String), String> {
    let snapshot = node.snapshot();
    let parsed = canonical_url(url).map_err(|error| error.to_string())?;
    let Some(site) = snapshot.sites.find(parsed.host.as_bytes()) else {
        return Ok((parsed.scheme.word(), parsed.host, parsed.target));
    };
    let target = site.keyed_target(parsed.host.as_bytes(), parsed.target.as_bytes(), &HeaderMap::new(), NODE);
    Ok((parsed.scheme.word(), parsed.host, String::from_utf8_lossy(&target).into_owned()))
}

/// The header fields by which a GET of this URL chooses its variant, as the rules of its site leave them.
pub fn varied(node: &Node, url: &str, headers: &[(String, String)]) -> Result<Vec<(String, String)>, String> {
    let snapshot = node.snapshot();
    let fields = fields_of(headers)?;
    let parsed = canonical_url(url).map_err(|error| error.to_string())?;
    if snapshot.sites.find(parsed.host.as_bytes()).is_none() {
        return Ok(headers.to_vec());
    }
    let Place { site, decided, .. } = Place::of(&snapshot, &Method::GET, url, &fields)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let edited = site.rules.edited(&decided, &fields);
    Ok(edited.lines().map(|(name, value)| (text(name), text(value))).collect())
}

/// Where the questions of the control side come from.
const NODE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn fields_of(headers: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut fields = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("\"{name}\" is no header name"))?;
        let value = HeaderValue::from_str(value).map_err(|_| format!("{value:?} is no header value"))?;
        fields.append(name, value);
    }
    Ok(fields)
}

/// Where a URL leads before anything stored is looked at.
struct Place {
    site: Arc<Site>,
    decided: Decided,
    key: CacheKey,
    /// The answer of a rule that ends the walk.
    verdict: Option<Value>,
}

impl Place {
    fn of(snapshot: &Snapshot, method: &Method, url: &str, fields: &HeaderMap) -> Result<Self, String> {
        let parsed = canonical_url(url).map_err(|error| error.to_string())?;
        let host = parsed.host.as_bytes();
        let site = snapshot.sites.find(host).ok_or_else(|| format!("no site answers for {}", parsed.host))?;
        let view = RequestView { method, host, target: parsed.target.as_bytes(), fields, client: NODE };
        let (decided, verdict) = site.rules.decide(&view);
        let verdict = verdict.map(|verdict| match verdict {
            Verdict::Redirect { status, location } => {
                json!({"outcome": "local", "status": status, "location": location})
            }
            Verdict::Deny { status } => json!({"outcome": "local", "status": status}),
        });
        let mut key = KeyBuffer::new();
        key.begin(parsed.scheme, host, &site.rules.keyed(&decided, parsed.target.as_bytes()));
        for (name, value) in site.rules.key_parts(&decided, fields) {
            key.part(name.as_bytes(), value);
        }
        Ok(Place { site: site.clone(), decided, key: key.key().into(), verdict })
    }

    fn text(&self) -> String {
        let key = self.key.as_ref();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        format!("{}://{}{}", key.scheme().word(), text(key.host()), text(key.target()))
    }

    /// The parts that the key is made of; its hash is over their bytes, each with its length.
    fn told_key(&self, fields: &HeaderMap) -> Value {
        let key = self.key.as_ref();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let parts = self.site.rules.key_parts(&self.decided, fields);
        let parts: serde_json::Map<String, Value> =
            parts.map(|(name, value)| (name.to_owned(), value.map(text).into())).collect();
        json!({
            "hash": format!("{:032x}", key.hash()),
            "scheme": key.scheme().word(),
            "host": text(key.host()),
            "target": text(key.target()),
            "parts": parts,
        })
    }

    fn origin(&self, snapshot: &Snapshot) -> String {
        let chosen = self.site.rules.origin(&self.decided).and_then(|name| snapshot.groups.get(name));
        chosen.unwrap_or(&self.site.group).name().to_string()
    }

    /// What is stored, and what would be done with it.
    fn look(&self, node: &Node, method: &Method, fields: &HeaderMap, told: &mut Value) -> Value {
        let policy = self.decided.policy(&self.site.policy);
        if method != Method::GET && self.site.rules.keys_body(&self.decided) {
            return json!({
                "outcome": "depends",
                "reason": "body",
                "clause": "a rule makes the request body part of the key; it is not known here",
            });
        }
        if method != Method::GET && method != Method::HEAD {
            return bypass("method", "RFC 9111 section 4: only GET and HEAD are answered from the store");
        }
        if policy.mode == headland_cache::Mode::Bypass {
            return bypass("rule", "a rule of the site");
        }
        let now = node.clock.now();
        let candidates = node.store.candidates(self.key.as_ref());
        if !candidates.is_empty() {
            told["variants"] = stored::variants(candidates.iter().map(|object| &**object), fields, now).into();
        }
        told["on_disk"] = node.may_be_on_disk(self.key.as_ref()).into();
        match node.find(self.key.as_ref(), fields) {
            Found::Object(object, standing) => {
                let view = RequestView {
                    method,
                    host: self.key.as_ref().host(),
                    target: self.key.as_ref().target(),
                    fields,
                    client: NODE,
                };
                let response = ResponseView { status: object.head.status(), headers: &object.head };
                let decided = self.site.rules.decided_with(&self.decided, &view, &response);
                let policy = decided.policy(&self.site.policy);
                told["stored"] = stored::stored(&object, policy, standing, now);
                let facts = RequestFacts::gather(method, fields);
                told["form"] = self.form(node, &object, &facts, fields);
                let reuse = assess(&facts, policy, &object.freshness, standing, now);
                told_reuse(reuse, stored::clause(reuse, &object.freshness))
            }
            Found::Purged => miss("purged", "what was stored has been purged"),
            Found::OtherVariant => miss("vary", "RFC 9111 section 4.1: stored for other values of the fields in Vary"),
            Found::Nothing if self.has_equivalent(node, method, fields, now) => {
                told_reuse(Reuse::Serve(Outcome::Hit), "No-Vary-Search section 6: stored for an equivalent target")
            }
            Found::Nothing if node.uncacheable.contains(self.key.hash(), now) => {
                bypass("uncacheable", "the last answer could not be shared, so nobody waits for the next one")
            }
            Found::Nothing => miss("absent", "RFC 9111 section 4: nothing is stored under the key"),
        }
    }
}

impl Place {
    /// The content coding that the edge would answer in, and whether that form is there.
    fn form(&self, node: &Node, object: &Object, facts: &RequestFacts<'_>, fields: &HeaderMap) -> Value {
        let (status, length) = (object.head.status(), Some(object.body.len()));
        let rules = self.site.recoding.as_ref();
        let form = rules.and_then(|rules| rules.wanted(fields, facts, &object.head, status, length));
        form.map_or(
            Value::Null,
            |form| json!({"coding": form.name(), "made": recoding::made(node, object, form).is_some()}),
        )
    }

    /// Whether a fresh response for an equivalent target would be served.
    fn has_equivalent(&self, node: &Node, method: &Method, fields: &HeaderMap, now: Time) -> bool {
        let equivalent = self.site.no_vary_search.then(|| node.find_equivalent(self.key.as_ref(), fields)).flatten();
        equivalent.is_some_and(|(object, standing)| {
            let facts = RequestFacts::gather(method, fields);
            let policy = self.decided.policy(&self.site.policy);
            assess(&facts, policy, &object.freshness, standing, now) == Reuse::Serve(Outcome::Hit)
        })
    }
}

fn bypass(reason: &str, clause: &str) -> Value {
    json!({"outcome": "bypass", "reason": reason, "clause": clause})
}

fn miss(reason: &str, clause: &str) -> Value {
    json!({"outcome": "miss", "reason": reason, "clause": clause})
}

fn told_reuse(reuse: Reuse, clause: &str) -> Value {
    match reuse {
        Reuse::Serve(outcome) => {
            json!({"outcome": outcome.word(), "reason": "the stored response answers", "clause": clause})
        }
        Reuse::Validate(reason) | Reuse::Unusable(reason) => {
            let outcome = headland_cache::Outcome::Miss(reason);
            let validates = matches!(reuse, Reuse::Validate(_));
            json!({"outcome": outcome.word(), "reason": outcome.reason(), "validates": validates, "clause": clause})
        }
        Reuse::OnlyIfCached504 => {
            json!({"outcome": "local", "status": 504, "reason": "only-if-cached", "clause": clause})
        }
    }
}
