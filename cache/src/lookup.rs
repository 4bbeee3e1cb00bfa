//! May this stored response answer this request (RFC 9111 section 4)?
//!
//! Pure: request facts, rules, freshness, the ledger's word and the time go in, a [`Reuse`] comes out. The common
//! case, a fresh object and a request without directives, is decided by three comparisons.

use crate::directives::MaxStale;
use crate::facts::RequestFacts;
use crate::freshness::Freshness;
use crate::policy::{Mode, Policy};
use crate::standing::Standing;
use crate::{MissReason, Outcome, Time};

/// What to do with a stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// Serve it. With [`Outcome::StaleWhileRevalidate`] the caller also starts one revalidation.
    Serve(Outcome),
    /// Ask the origin first, conditionally where there is a validator. On failure see [`may_serve_on_error`].
    Validate(MissReason),
    /// It must not be used for this request, not even on error.
    Unusable(MissReason),
    /// The request has only-if-cached, and nothing may be served: answer 504 (RFC 9111 section 5.2.1.7).
    OnlyIfCached504,
}

/// Decides about one stored response whose Vary matches.
pub fn assess(request: &RequestFacts, policy: &Policy, freshness: &Freshness, standing: Standing, now: Time) -> Reuse {
    let plain = !request.directives.any && standing == Standing::Clear;
    if plain && freshness.is_fresh(now) && !freshness.no_cache() {
        return Reuse::Serve(Outcome::Hit);
    }
    let verdict = consider(request, policy, freshness, standing, now);
    // only-if-cached costs the origin nothing, so it is obeyed whatever the rules say of client directives.
    if request.directives.only_if_cached && !matches!(verdict, Reuse::Serve(_)) {
        return Reuse::OnlyIfCached504;
    }
    verdict
}

/// The same decision where nothing is stored that could answer; `why` tells an empty key from another variant.
pub fn assess_absence(request: &RequestFacts, why: MissReason) -> Reuse {
    if request.directives.only_if_cached { Reuse::OnlyIfCached504 } else { Reuse::Unusable(why) }
}

fn consider(request: &RequestFacts, policy: &Policy, freshness: &Freshness, standing: Standing, now: Time) -> Reuse {
    if policy.mode == Mode::Bypass {
        return Reuse::Unusable(MissReason::Request);
    }
    if standing == Standing::Hard {
        return Reuse::Unusable(MissReason::Purged);
    }
    let fresh = standing == Standing::Clear && freshness.is_fresh(now);
    let stale_reason = if standing == Standing::Soft { MissReason::Purged } else { MissReason::Expired };
    // RFC 9111 section 5.2.2.4.
    if freshness.no_cache() {
        return Reuse::Validate(stale_reason);
    }
    let demand = Demand::of(request, policy, freshness, fresh, now);
    if demand == Demand::Validation {
        return Reuse::Validate(MissReason::Request);
    }
    if fresh {
        return Reuse::Serve(Outcome::Hit);
    }
    let staleness = freshness.staleness(now);
    // RFC 5861 section 3; the window opens on expiry, or on a soft purge that came before it.
    let in_grace = demand == Demand::Nothing && staleness < freshness.grace(policy);
    let accepted = standing == Standing::Clear && client_accepts(request, policy, freshness, staleness);
    if in_grace || accepted { Reuse::Serve(Outcome::StaleWhileRevalidate) } else { Reuse::Validate(stale_reason) }
}

/// What the request's directives ask of a stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demand {
    Nothing,
    /// It sets a bound that is kept, and with that wants nothing stale (RFC 9111 section 5.2.1.1).
    Freshness,
    Validation,
}

impl Demand {
    fn of(request: &RequestFacts, policy: &Policy, freshness: &Freshness, fresh: bool, now: Time) -> Self {
        let directives = &request.directives;
        if !directives.any || !policy.honour_client_directives {
            return Demand::Nothing;
        }
        // RFC 9111 section 5.2.1.4. RFC 8246 section 2 keeps it as the way to insist, immutable or not.
        if directives.no_cache {
            return Demand::Validation;
        }
        // RFC 8246 section 2: a reload (max-age=0) does not revalidate an immutable response that is fresh.
        let immutable = fresh && freshness.immutable();
        if directives.max_age.is_some_and(|max_age| freshness.age(now) > max_age.as_secs()) && !immutable {
            return Demand::Validation;
        }
        // RFC 9111 section 5.2.1.3.
        if directives.min_fresh.is_some_and(|min| freshness.ttl(now) < min.as_secs().cast_signed()) {
            return Demand::Validation;
        }
        let bounded = directives.max_age.is_some() || directives.min_fresh.is_some();
        if bounded { Demand::Freshness } else { Demand::Nothing }
    }
}

/// RFC 9111 section 5.2.1.2: max-stale, unless the response forbids it (section 4.2.4).
fn client_accepts(request: &RequestFacts, policy: &Policy, freshness: &Freshness, staleness: u64) -> bool {
    if !policy.honour_client_directives || !freshness.may_be_stale() {
        return false;
    }
    match request.directives.max_stale {
        Some(MaxStale::Any) => true,
        Some(MaxStale::Within(limit)) => staleness <= limit.as_secs(),
        None => false,
    }
}

/// Whether a stored response that had to be validated may be served after all, now that the origin has failed
/// (RFC 5861 section 4, RFC 9111 section 4.2.4).
///
/// A response that is still fresh may: the client only preferred another one (RFC 9111 section 5.2.1.4).
pub fn may_serve_on_error(
    request: &RequestFacts,
    policy: &Policy,
    freshness: &Freshness,
    standing: Standing,
    now: Time,
) -> bool {
    if standing == Standing::Hard || freshness.no_cache() || policy.mode == Mode::Bypass {
        return false;
    }
    if standing == Standing::Clear && freshness.is_fresh(now) {
        return true;
    }
    let asked = match request.directives.stale_if_error {
        Some(window) if policy.honour_client_directives && freshness.may_be_stale() => window.as_secs(),
        _ => 0,
    };
    freshness.staleness(now) < freshness.error_grace(policy).max(freshness.grace(policy)).max(asked)
}

#[cfg(test)]
mod tests;
