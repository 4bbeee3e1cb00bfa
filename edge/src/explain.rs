//! What a GET for a URL would meet now, and why: the same walk as a request's, told instead of taken.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use headland_cache::target::canonical_url;
use headland_cache::{CacheKey, Fields, KeyBuffer, Object, RequestFacts, Reuse, Standing, assess};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

use crate::condition::RequestView;
use crate::node::Node;
use crate::request::Found;
use crate::rules::{Decided, Verdict};
use crate::snapshot::{Site, Snapshot};

/// Explains a URL; the error is one sentence.
pub fn explain(node: &Node, url: &str, headers: &[(String, String)]) -> Result<Value, String> {
    let snapshot = node.snapshot();
    let fields = fields_of(headers)?;
    let place = Place::of(&snapshot, url, &fields)?;
    let mut told = json!({
        "url": place.text(),
        "site": &*place.site.metrics.name,
        "origin": place.origin(&snapshot),
        "rules": place.site.rules.names(&place.decided).collect::<Vec<_>>(),
        "key": {"hash": format!("{:032x}", place.key.hash()), "url": place.text()},
    });
    let verdict = match &place.verdict {
        Some(verdict) => verdict.clone(),
        None => place.look(node, &fields, &mut told),
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

/// Where the questions of the control side come from.
const NODE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn view<'a>(host: &'a [u8], target: &'a [u8], fields: &'a HeaderMap) -> RequestView<'a, HeaderMap> {
    RequestView { method: &Method::GET, host, target, fields, client: NODE }
}

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
    fn of(snapshot: &Snapshot, url: &str, fields: &HeaderMap) -> Result<Self, String> {
        let parsed = canonical_url(url).map_err(|error| error.to_string())?;
        let host = parsed.host.as_bytes();
        let site = snapshot.sites.find(host).ok_or_else(|| format!("no site answers for {}", parsed.host))?;
        let (decided, verdict) = site.rules.decide(&view(host, parsed.target.as_bytes(), fields));
        let verdict = verdict.map(|verdict| match verdict {
            Verdict::Redirect { status, location } => {
                json!({"outcome": "local", "status": status, "location": location})
            }
            Verdict::Deny { status } => json!({"outcome": "local", "status": status}),
        });
        let mut key = KeyBuffer::new();
        key.begin(parsed.scheme, host, &site.rules.keyed(&decided, parsed.target.as_bytes()));
        for name in site.rules.key_headers(&decided) {
            key.part(name.as_bytes(), Fields::first(fields, name));
        }
        Ok(Place { site: site.clone(), decided, key: key.key().into(), verdict })
    }

    fn text(&self) -> String {
        let key = self.key.as_ref();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        format!("{}://{}{}", key.scheme().word(), text(key.host()), text(key.target()))
    }

    fn origin(&self, snapshot: &Snapshot) -> String {
        let chosen = self.site.rules.origin(&self.decided).and_then(|name| snapshot.groups.get(name));
        chosen.unwrap_or(&self.site.group).name().to_string()
    }

    /// What is stored, and what would be done with it.
    fn look(&self, node: &Node, fields: &HeaderMap, told: &mut Value) -> Value {
        let policy = self.decided.policy.as_deref().unwrap_or(&self.site.policy);
        if policy.mode == headland_cache::Mode::Bypass {
            return json!({"outcome": "bypass", "reason": "rule"});
        }
        let now = node.clock.now();
        match node.find(self.key.as_ref(), fields) {
            Found::Object(object, standing) => {
                told["stored"] = stored(&object, standing, now);
                let facts = RequestFacts::gather(&Method::GET, fields);
                reuse(assess(&facts, policy, &object.freshness, standing, now))
            }
            Found::Purged => json!({"outcome": "miss", "reason": "purged"}),
            Found::OtherVariant => json!({"outcome": "miss", "reason": "vary"}),
            Found::Nothing if node.uncacheable.contains(self.key.hash(), now) => {
                json!({"outcome": "bypass", "reason": "uncacheable"})
            }
            Found::Nothing => json!({"outcome": "miss", "reason": "absent"}),
        }
    }
}

fn stored(object: &Object, standing: Standing, now: headland_cache::Time) -> Value {
    let freshness = &object.freshness;
    json!({
        "tier": "memory",
        "status": object.head.status(),
        "bytes": object.body.len(),
        "weight_bytes": object.weight(),
        "age_s": freshness.age(now),
        "ttl_s": freshness.ttl(now),
        "lifetime_s": freshness.lifetime().as_secs(),
        "lifetime_from": freshness.source().word(),
        "purged": match standing { Standing::Clear => "no", Standing::Soft => "soft", Standing::Hard => "hard" },
        "vary": object.vary.spec().names().collect::<Vec<_>>(),
        "tags": object.tags.iter().map(|tag| String::from_utf8_lossy(tag).into_owned()).collect::<Vec<_>>(),
        "etag": object.head.etag().map(|etag| String::from_utf8_lossy(etag).into_owned()),
        "epoch": object.born.0,
    })
}

fn reuse(reuse: Reuse) -> Value {
    match reuse {
        Reuse::Serve(outcome) => json!({"outcome": outcome.word(), "reason": "the stored response answers"}),
        Reuse::Validate(reason) => {
            let outcome = headland_cache::Outcome::Miss(reason);
            json!({"outcome": outcome.word(), "reason": outcome.reason(), "validates": true})
        }
        Reuse::Unusable(reason) => {
            let outcome = headland_cache::Outcome::Miss(reason);
            json!({"outcome": outcome.word(), "reason": outcome.reason()})
        }
        Reuse::OnlyIfCached504 => json!({"outcome": "local", "status": 504, "reason": "only-if-cached"}),
    }
}
