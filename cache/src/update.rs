//! What a 304 does to a stored response (RFC 9111 sections 3.2 and 4.3.4).
//!
//! The caller asks in this order: [`selects`], whether the 304 speaks of the stored response at all; [`merge`], the
//! head that results; [`renew`], whether and for how long that may be kept. The merged head is then stored like
//! any other, through [`crate::stored_fields::storable`].

use http::Method;

use crate::admit::{Admitted, Refusal, admit, vary_of};
use crate::conditional::Validators;
use crate::directives::FieldNames;
use crate::facts::{RequestFacts, ResponseFacts, is_targeted_field};
use crate::freshness::{Freshness, LifetimeSource};
use crate::policy::Policy;
use crate::stored_fields::is_personal;
use crate::{Fields, Time, etag, http_date};

/// RFC 9111 section 4.3.4: whether a 304 confirms the stored response. If not, it must be fetched again, whole.
///
/// Two leniencies, both safe because the question named this response's validators only. A 304 without any validator
/// answers it: many origins leave out the `ETag` that RFC 9110 section 15.4.5 asks for. And tags are compared weakly:
/// servers that compress on the fly send `W/"x"` with the compressed 200 and `"x"` with its 304.
pub fn selects(stored: &Validators, not_modified: &Validators) -> bool {
    match (not_modified.etag, not_modified.last_modified) {
        (Some(tag), _) => stored.etag.is_some_and(|known| etag::weak_match(known, tag)),
        (None, Some(modified)) => stored.last_modified == Some(modified),
        (None, None) => true,
    }
}

/// A stored head updated by a 304.
#[derive(Debug, Clone)]
pub struct MergedHead<'a> {
    lines: Vec<(&'a [u8], &'a [u8])>,
    /// The Date that the 304 lacked.
    date: Option<String>,
}

impl Fields for MergedHead<'_> {
    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let date = self.date.iter().map(|date| (b"date".as_slice(), date.as_bytes()));
        self.lines.iter().map(|&(name, value)| (name, value)).chain(date)
    }
}

/// RFC 9111 section 3.2: every field in the 304 replaces all stored lines of its name, those of [`is_kept`] excepted.
///
/// Without a Date in the 304, the time of its arrival stands in (RFC 9110 section 6.6.1): the age starts anew.
pub fn merge<'a>(stored: &'a impl Fields, not_modified: &'a impl Fields, response_time: Time) -> MergedHead<'a> {
    let news: Vec<(&[u8], &[u8])> =
        not_modified.lines().filter(|(name, _)| !is_kept(name) && !is_personal(name)).collect();
    let replaced = |name: &[u8]| news.iter().any(|(new, _)| new.eq_ignore_ascii_case(name));
    let dated = replaced(b"date");
    let superseded =
        |name: &[u8]| replaced(name) || name.eq_ignore_ascii_case(b"date") || name.eq_ignore_ascii_case(b"age");
    let mut lines: Vec<(&[u8], &[u8])> = stored.lines().filter(|(name, _)| !superseded(name)).collect();
    lines.extend_from_slice(&news);
    MergedHead { lines, date: (!dated).then(|| http_date::format(response_time)) }
}

/// Fields of the stored response that a 304 does not touch. RFC 9111 section 3.2: Content-Length, and those that
/// describe how the stored bytes are to be read (Content-Type does not: the bytes are stored as they came); the `ETag` is
/// the one that was just confirmed.
fn is_kept(name: &[u8]) -> bool {
    const KEPT: [&[u8]; 6] =
        [b"content-length", b"content-encoding", b"content-range", b"transfer-encoding", b"connection", b"etag"];
    KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept))
}

/// What becomes of a stored response after a 304 has confirmed it. In every case it answers the request at hand.
#[derive(Debug, Clone)]
pub enum Renewal {
    /// Keep it under the merged head, with this freshness.
    Renewed(Admitted),
    /// Keep it as it was: the request that validated it forbids to store anything it brought.
    Untouched,
    /// Drop it: under the merged head it may not be stored any more.
    Withdrawn(Refusal),
}

/// Decides that for a stored response of this status.
///
/// A client's own request must not throw out what is stored for all. So no-store (RFC 9111 section 5.2.1.5) and
/// Authorization without permission to share (section 3.5) only keep the 304 from being used; the rest of the request
/// does not matter, because what is stored was not made for it.
#[allow(clippy::too_many_arguments)] // all of it is input of one decision
pub fn renew(
    request: &RequestFacts,
    policy: &Policy,
    status: u16,
    stored: &Freshness,
    merged: &MergedHead,
    not_modified: &impl Fields,
    request_time: Time,
    response_time: Time,
) -> Renewal {
    let facts = ResponseFacts::gather(merged);
    let no_store = request.directives.no_store && policy.honour_client_directives;
    if no_store || (request.authorization && !facts.directives.permits_authorization) {
        return Renewal::Untouched;
    }
    // Targeted fields are not stored, so a 304 that does not repeat one leaves the promises made by the stored one
    // in force (RFC 9111 section 3.2 keeps what is not sent again).
    let repeated = not_modified.lines().any(|(name, _)| is_targeted_field(name));
    let verdict = if stored.targeted() && !repeated {
        vary_of(&facts).map(|vary| {
            let freshness = stored.confirmed(&facts, request_time, response_time);
            Admitted { freshness, vary, withheld: FieldNames::new() }
        })
    } else {
        let cookie = request.cookie && stored.source() != LifetimeSource::Heuristic;
        let nobody = RequestFacts { cookie, ..RequestFacts::plain(&Method::GET) };
        admit(&nobody, policy, status, merged, request_time, response_time)
    };
    verdict.map_or_else(Renewal::Withdrawn, Renewal::Renewed)
}

#[cfg(test)]
mod tests;
