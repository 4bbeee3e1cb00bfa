//! May this response be stored (RFC 9111 section 3), and for how long?
//!
//! Where this cache is more lenient or more careful than the letter:
//! - Set-Cookie: refused, unless public, s-maxage, a targeted field or a qualified directive that names Set-Cookie shows
//!   that the origin means shared caches; even then the cookie itself is never stored ([`crate::stored_fields`]).
//! - Statuses that depend on what stands outside the key (412, 416, 431 ...) are not stored without a rule for them.
//! - A response to a request with a Cookie is not guessed a lifetime for ([`crate::freshness`]).
//! - A request with a method override is taken for one of another method.
//! - A coding unknown here makes a response that varies on Accept-Encoding unstorable.
//! - An answer with credentials for the one page that Access-Control-Allow-Origin names varies on Origin, said or not.
//! - An explicit stale-while-revalidate or stale-if-error is obeyed beside s-maxage ([`crate::freshness`]).

use smallvec::SmallVec;

use crate::codings;
use crate::directives::{DirectiveSource, FieldNames};
use crate::facts::{RequestFacts, ResponseFacts};
use crate::freshness::{Freshness, LifetimeSource, is_heuristically_cacheable};
use crate::policy::{Mode, Policy};
use crate::vary::{VaryError, VarySpec};
use crate::{Fields, Time};

/// Why a response is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The request's method is not GET, or may be overridden.
    Method,
    /// The status is interim, not understood where must-understand asks for it, due to the request itself, or an error
    /// that nobody gave a lifetime.
    Status,
    /// 206 and 304 are not complete responses.
    Partial,
    /// no-store of the response.
    NoStore,
    /// no-store of the request: this exchange leaves no trace, the next one may.
    Request,
    /// private: for one user only.
    Private,
    /// The request had Authorization and the response does not allow sharing (RFC 9111 section 3.5).
    Authorization,
    /// The response sets a cookie.
    SetCookie,
    /// `Vary: *`: no other request can match.
    VaryStar,
    /// Vary names too many fields, or varies by a coding unknown here.
    Vary,
    /// Neither fresh for any time nor validatable nor allowed to be stale.
    Zero,
    /// A rule says bypass.
    Policy,
}

impl Refusal {
    /// All words of [`Refusal::word`], in the order of [`Refusal::index`].
    pub const WORDS: [&'static str; 12] = [
        "method",
        "status",
        "partial",
        "no-store",
        "request",
        "private",
        "authorization",
        "set-cookie",
        "vary-star",
        "vary",
        "zero",
        "rule",
    ];

    /// A small dense number for tables of counters.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word for logs and metrics.
    pub const fn word(self) -> &'static str {
        Self::WORDS[self.index()]
    }

    /// Whether the next response under the same key will likely be refused as well, whoever asks: only then should the
    /// key be remembered as uncacheable. What one request alone can cause (its method, no-store, credentials, an
    /// error) must not spoil the key for all others.
    pub const fn is_lasting(self) -> bool {
        match self {
            Refusal::Method | Refusal::Request | Refusal::Authorization | Refusal::Status | Refusal::Partial => false,
            Refusal::NoStore
            | Refusal::Private
            | Refusal::SetCookie
            | Refusal::VaryStar
            | Refusal::Vary
            | Refusal::Zero
            | Refusal::Policy => true,
        }
    }
}

/// A response that may be stored.
#[derive(Debug, Clone)]
pub struct Admitted {
    pub freshness: Freshness,
    pub vary: VarySpec,
    /// Fields that the response's own directives keep out of the store: qualified private and no-cache.
    pub withheld: FieldNames,
}

/// The verdict on a response head (RFC 9111 section 3). `request` is the one that was sent to the origin: a fill that
/// asks with GET on behalf of a HEAD has the method GET.
pub fn admit<R: Fields>(
    request: &RequestFacts,
    policy: &Policy,
    status: u16,
    headers: &R,
    request_time: Time,
    response_time: Time,
) -> Result<Admitted, Refusal> {
    let facts = ResponseFacts::gather(headers);
    refuse_by_request(request, policy)?;
    refuse_by_status(&facts, policy, status)?;
    refuse_by_directives(request, &facts)?;
    let vary = vary_of(&facts)?;
    let freshness = Freshness::of(request, &facts, policy, status, request_time, response_time);
    if !is_permitted(&facts, &freshness, status) {
        return Err(if status < 400 { Refusal::Zero } else { Refusal::Status });
    }
    if !is_of_use(&facts, &freshness, policy, response_time) {
        return Err(Refusal::Zero);
    }
    let mut withheld = facts.directives.private_fields;
    withheld.extend(facts.directives.no_cache_fields);
    Ok(Admitted { freshness, vary, withheld })
}

fn refuse_by_request(request: &RequestFacts, policy: &Policy) -> Result<(), Refusal> {
    if policy.mode == Mode::Bypass {
        return Err(Refusal::Policy);
    }
    // RFC 9111 section 3: the method must be understood. HEAD is answered from a stored GET, never stored itself.
    if request.method != http::Method::GET || request.method_override {
        return Err(Refusal::Method);
    }
    // RFC 9111 section 5.2.1.5.
    if request.directives.no_store && policy.honour_client_directives {
        return Err(Refusal::Request);
    }
    Ok(())
}

fn refuse_by_status(facts: &ResponseFacts, policy: &Policy, status: u16) -> Result<(), Refusal> {
    match status {
        // RFC 9111 section 3: the status must be final, and 206 and 304 need a cache that combines.
        206 | 304 => Err(Refusal::Partial),
        ..200 | 600.. => Err(Refusal::Status),
        // RFC 9111 section 5.2.2.3.
        _ if facts.directives.must_understand && !is_understood(status) => Err(Refusal::Status),
        _ if is_due_to_the_request(status) && policy.ttl_for(status).is_none() => Err(Refusal::Status),
        _ => Ok(()),
    }
}

/// The final statuses of RFC 9110 section 15 whose caching requirements are those of any response.
const fn is_understood(status: u16) -> bool {
    matches!(
        status,
        200..=205 | 300..=303 | 307 | 308 | 400..=406 | 408..=415 | 417 | 421 | 422 | 426 | 500..=505
    )
}

/// Statuses that come from request fields or a connection outside the cache key: keeping one would hand one
/// client's mistake to the others (`CPDoS`).
const fn is_due_to_the_request(status: u16) -> bool {
    matches!(status, 401 | 407 | 408 | 411..=413 | 415..=417 | 421 | 425 | 426 | 428 | 429 | 431 | 511)
}

fn refuse_by_directives(request: &RequestFacts, facts: &ResponseFacts) -> Result<(), Refusal> {
    let directives = &facts.directives;
    // RFC 9111 section 5.2.2.3: must-understand lifts no-store; the status is understood, or we were not here.
    if directives.no_store && !directives.must_understand_well_formed {
        return Err(Refusal::NoStore);
    }
    if directives.private {
        return Err(Refusal::Private);
    }
    if request.authorization && !directives.permits_authorization {
        return Err(Refusal::Authorization);
    }
    let mut withheld = directives.private_fields.iter().chain(&directives.no_cache_fields);
    let meant_for_sharing = withheld.any(|name| **name == *b"set-cookie")
        || directives.public
        || directives.s_maxage.is_some_and(|s_maxage| s_maxage.as_secs() > 0)
        || directives.source == DirectiveSource::Targeted;
    if facts.set_cookie && !meant_for_sharing {
        return Err(Refusal::SetCookie);
    }
    Ok(())
}

pub(crate) fn vary_of(facts: &ResponseFacts) -> Result<VarySpec, Refusal> {
    // An answer with credentials for the page that it names is that page's, also where the origin forgets to say so.
    let forgotten = (facts.credentials_allowed && facts.allowed_origin.is_some()).then_some(b"origin".as_slice());
    let lines: SmallVec<[&[u8]; 4]> = facts.vary.iter().copied().chain(forgotten).collect();
    let vary = VarySpec::parse(&lines).map_err(|error| match error {
        VaryError::Star => Refusal::VaryStar,
        VaryError::TooMany => Refusal::Vary,
    })?;
    if vary.contains("accept-encoding") && !codings::all_known(&facts.content_encoding) {
        return Err(Refusal::Vary);
    }
    Ok(vary)
}

/// RFC 9111 section 3, last requirement: a lifetime somebody gave, public, or a status that is cacheable by itself.
fn is_permitted(facts: &ResponseFacts, freshness: &Freshness, status: u16) -> bool {
    let given = !matches!(freshness.source(), LifetimeSource::None | LifetimeSource::Heuristic);
    given || facts.directives.public || is_heuristically_cacheable(status)
}

/// Whether anything can ever come of storing it: time left, a validator, or permission to serve it stale.
fn is_of_use(facts: &ResponseFacts, freshness: &Freshness, policy: &Policy, now: Time) -> bool {
    let validatable = facts.etag.is_some() || facts.last_modified.is_some();
    let fresh = freshness.is_fresh(now) && !freshness.no_cache();
    let stale_for = freshness.grace(policy).max(freshness.error_grace(policy));
    fresh || validatable || stale_for > freshness.staleness(now)
}

#[cfg(test)]
mod tests;
