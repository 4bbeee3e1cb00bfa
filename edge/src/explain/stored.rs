//! What is stored under a key, told term by term: heads, variants, the arithmetic of freshness, and the clause by which a
//! decision falls.

use headland_cache::freshness::LifetimeSource;
use headland_cache::{Fields, Freshness, MissReason, Object, Outcome, Policy, Reuse, Standing, Time};
use http::HeaderMap;
use serde_json::{Map, Value, json};

/// The stored response that the request selects.
pub fn stored(object: &Object, policy: &Policy, standing: Standing, now: Time) -> Value {
    json!({
        "tier": "memory",
        "status": object.head.status(),
        "bytes": object.body.len(),
        "in_parts": object.body.is_apart(),
        "weight_bytes": object.weight(),
        "purged": match standing { Standing::Clear => "no", Standing::Soft => "soft", Standing::Hard => "hard" },
        "epoch": object.born.0,
        "tags": object.tags.iter().map(text).collect::<Vec<_>>(),
        "head": head(object),
        "freshness": freshness(&object.freshness, policy, now),
    })
}

/// Every response under the key, the latest first, with the values that chose it and whether the request has them too.
pub fn variants<'a>(objects: impl Iterator<Item = &'a Object>, request: &HeaderMap, now: Time) -> Vec<Value> {
    objects
        .map(|object| {
            json!({
                "vary": object.vary.spec().names().collect::<Vec<_>>(),
                "matches": object.vary.matches(request),
                "status": object.head.status(),
                "etag": object.head.etag().map(text),
                "content_encoding": object.head.get("content-encoding").map(text),
                "bytes": object.body.len(),
                "age_s": object.freshness.age(now),
                "ttl_s": object.freshness.ttl(now),
            })
        })
        .collect()
}

/// RFC 9111 section 4.2.3 and what follows from it; everything in seconds.
fn freshness(freshness: &Freshness, policy: &Policy, now: Time) -> Value {
    json!({
        "initial_age_s": freshness.initial_age(),
        "resident_s": freshness.age(now).saturating_sub(freshness.initial_age()),
        "age_s": freshness.age(now),
        "lifetime_s": freshness.lifetime().as_secs(),
        "lifetime_from": freshness.source().word(),
        "lifetime_clause": lifetime_clause(freshness),
        "ttl_s": freshness.ttl(now),
        "stale_while_revalidate_s": freshness.grace(policy),
        "stale_if_error_s": freshness.error_grace(policy),
        "no_cache": freshness.no_cache(),
        "may_be_stale": freshness.may_be_stale(),
        "immutable": freshness.immutable(),
    })
}

fn lifetime_clause(freshness: &Freshness) -> &'static str {
    match freshness.source() {
        _ if freshness.targeted() => "RFC 9213 section 2.2: a field for this cache",
        LifetimeSource::SMaxAge => "RFC 9111 section 5.2.2.10: s-maxage",
        LifetimeSource::MaxAge => "RFC 9111 section 5.2.2.1: max-age",
        LifetimeSource::Expires => "RFC 9111 section 5.3: Expires less Date",
        LifetimeSource::Rule => "a rule of the site",
        LifetimeSource::Heuristic => "RFC 9111 section 4.2.2: a tenth of the time since Last-Modified",
        LifetimeSource::None => "RFC 9111 section 4.2.1: none that can be read",
    }
}

/// The clause by which a stored response is used or not.
pub fn clause(reuse: Reuse, freshness: &Freshness) -> &'static str {
    match reuse {
        Reuse::Serve(Outcome::Hit) => "RFC 9111 section 4.2: fresh, its lifetime exceeds its age",
        Reuse::Serve(Outcome::StaleWhileRevalidate) => "RFC 5861 section 3: stale, within stale-while-revalidate",
        Reuse::Serve(_) => "RFC 9111 section 4.2.4: stale, and allowed to be",
        Reuse::Validate(MissReason::Request) | Reuse::Unusable(MissReason::Request) => {
            "RFC 9111 section 5.2.1: the request asks for more than is stored"
        }
        Reuse::Validate(MissReason::Purged) => "purged softly: validated before it is used",
        Reuse::Unusable(MissReason::Purged) => "purged",
        Reuse::Validate(_) if freshness.no_cache() => "RFC 9111 section 5.2.2.4: no-cache asks for validation",
        Reuse::Validate(_) => "RFC 9111 section 4.3: stale, so it is validated with the origin",
        Reuse::Unusable(MissReason::Vary) => "RFC 9111 section 4.1: stored for other values of the fields in Vary",
        Reuse::Unusable(_) => "RFC 9111 section 4: nothing stored can be used",
        Reuse::OnlyIfCached504 => "RFC 9111 section 5.2.1.7: only-if-cached",
    }
}

/// The field lines as stored; those of one name are joined.
fn head(object: &Object) -> Map<String, Value> {
    let mut lines = Map::new();
    for (name, value) in object.head.lines() {
        match lines.entry(text(name)) {
            serde_json::map::Entry::Vacant(place) => drop(place.insert(text(value).into())),
            serde_json::map::Entry::Occupied(mut place) => {
                let joined = format!("{}, {}", place.get().as_str().unwrap_or_default(), text(value));
                *place.get_mut() = joined.into();
            }
        }
    }
    lines
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
