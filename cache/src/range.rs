//! Range and If-Range against a stored, complete response (RFC 9110 sections 13.1.5 and 14).
//!
//! Several ranges are served as parts of one answer, and never as more bytes than the whole: ranges that overlap or
//! touch become one (section 15.3.7.2), and a set that would still cost as much
//! as the whole, or has too many members, is answered with the whole, which section 14.2 always allows. Positions
//! saturate, so no number overflows.

use smallvec::SmallVec;

use crate::conditional::Validators;
use crate::facts::RequestFacts;
use crate::syntax::{decimal, trim};
use crate::{Time, etag, http_date};

/// Ranges in one request; more of them are answered with the whole.
pub const RANGES_MAX: usize = 64;
/// What a part of a multipart answer costs beside its bytes, about.
const PART_BYTES: u64 = 128;

/// Parts of a body, each as its first and last position.
pub type Parts = SmallVec<[(u64, u64); 4]>;

/// What of the body to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All of it, with the stored status.
    Whole,
    /// 206 with the bytes from `first` to `last`, both included and both inside the body.
    Part { first: u64, last: u64 },
    /// 206 with several such parts, as multipart/byteranges; they do not overlap, and are in the order they were asked for.
    Parts(Parts),
    /// 416 with `Content-Range: bytes */length`.
    Unsatisfiable,
}

/// What a request selects of a stored 200 response whose body has `length` bytes. Evaluated after the preconditions
/// (RFC 9110 section 13.2.2). `received` is when the stored response arrived.
pub fn select(request: &RequestFacts, status: u16, stored: &Validators, received: Time, length: u64) -> Selection {
    // RFC 9110 section 14.2: defined for GET only, and where the answer without it would be 200.
    let Some(range) = request.range.filter(|_| status == 200 && request.method == http::Method::GET) else {
        return Selection::Whole;
    };
    match request.if_range {
        Some(condition) if !still_the_same(condition, stored, received) => Selection::Whole,
        _ => parse(range).map_or(Selection::Whole, |specs| within(&specs, length)),
    }
}

/// The one valid range that the field asks for, in the words that an origin is asked with: its answer may be kept as a
/// part of the whole. A client's own spelling goes no further than here.
pub fn single(range: &[u8]) -> Option<String> {
    match parse(range)?[..] {
        [Spec::From { first, last: Some(last) }] => Some(format!("bytes={first}-{last}")),
        [Spec::From { first, last: None }] => Some(format!("bytes={first}-")),
        [Spec::Suffix(suffix)] => Some(format!("bytes=-{suffix}")),
        _ => None,
    }
}

/// RFC 9110 section 14.1.2: a set is satisfiable when one of its ranges is; the others are left out.
fn within(specs: &[Spec], length: u64) -> Selection {
    let mut parts = Parts::new();
    for spec in specs {
        match spec.within(length) {
            Selection::Part { first, last } => parts.push((first, last)),
            Selection::Unsatisfiable => {}
            other => return other,
        }
    }
    coalesce(&mut parts);
    match parts[..] {
        [] => Selection::Unsatisfiable,
        [(first, last)] => Selection::Part { first, last },
        _ if cost(&parts) >= length => Selection::Whole,
        _ => Selection::Parts(parts),
    }
}

fn cost(parts: &[(u64, u64)]) -> u64 {
    parts.iter().map(|(first, last)| last - first + 1 + PART_BYTES).fold(0, u64::saturating_add)
}

/// RFC 9110 section 15.3.7.2: parts that overlap or touch become one. Where none do, the order stays.
fn coalesce(parts: &mut Parts) {
    let mut merged = Parts::new();
    let mut ascending = parts.clone();
    ascending.sort_unstable();
    for (first, last) in ascending {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = (*end).max(last),
            _ => merged.push((first, last)),
        }
    }
    if merged.len() < parts.len() {
        *parts = merged;
    }
}

/// RFC 9110 section 13.1.5: an entity tag by strong comparison, or a date that equals a strong Last-Modified.
fn still_the_same(condition: &[u8], stored: &Validators, received: Time) -> bool {
    if let Some(tag) = stored.etag
        && etag::strong_match(condition, tag)
    {
        return true;
    }
    let date = |value: Option<&[u8]>| value.and_then(|value| http_date::parse(value, received));
    let (Some(asked), Some(modified), Some(sent)) =
        (date(Some(condition)), date(stored.last_modified), date(stored.date))
    else {
        return false;
    };
    // RFC 9110 section 8.8.2.2: a date is strong when it lies at least one second before the response was sent.
    asked == modified && modified < sent
}

/// One valid range-spec of the unit bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spec {
    From { first: u64, last: Option<u64> },
    Suffix(u64),
}

impl Spec {
    /// RFC 9110 section 14.1.2.
    fn within(self, length: u64) -> Selection {
        match self {
            Spec::Suffix(0) => Selection::Unsatisfiable,
            // A suffix of an empty body is the empty body, and that has no 206.
            Spec::Suffix(_) if length == 0 => Selection::Whole,
            Spec::Suffix(suffix) => Selection::Part { first: length.saturating_sub(suffix), last: length - 1 },
            Spec::From { first, .. } if first >= length => Selection::Unsatisfiable,
            Spec::From { first, last } => {
                Selection::Part { first, last: last.map_or(length - 1, |last| last.min(length - 1)) }
            }
        }
    }
}

/// The ranges in the field; `None` for too many, for another unit and for anything invalid, all of which are answered
/// with the whole (RFC 9110 section 14.2).
fn parse(range: &[u8]) -> Option<SmallVec<[Spec; 4]>> {
    let equals = memchr::memchr(b'=', range)?;
    // RFC 9110 section 14.1: range units are case-insensitive.
    range[..equals].eq_ignore_ascii_case(b"bytes").then_some(())?;
    let members = range[equals + 1..].split(|&b| b == b',').map(trim).filter(|spec| !spec.is_empty());
    let specs: SmallVec<[Spec; 4]> = members.take(RANGES_MAX + 1).map(parse_one).collect::<Option<_>>()?;
    (1..=RANGES_MAX).contains(&specs.len()).then_some(specs)
}

fn parse_one(spec: &[u8]) -> Option<Spec> {
    let dash = memchr::memchr(b'-', spec)?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    if first.is_empty() {
        return decimal(last).map(Spec::Suffix);
    }
    let first = decimal(first)?;
    if last.is_empty() {
        return Some(Spec::From { first, last: None });
    }
    // RFC 9110 section 14.1.1: an int-range whose last position is less than its first is invalid.
    decimal(last).filter(|&last| first <= last).map(|last| Spec::From { first, last: Some(last) })
}

#[cfg(test)]
mod tests;
