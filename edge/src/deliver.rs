//! Answers from the store and from fills: conditional requests, ranges, HEAD, Age.
//!
//! Pure but for cloning shared memory: no byte of a body is copied.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use headland_cache::conditional::{Precondition, Validators, belongs_in_304, precondition};
use headland_cache::range::{self, Selection};
use headland_cache::{FillHead, FillReader, Freshness, Object, Outcome, RequestFacts, StoredHead, Time};
use http::{HeaderMap, HeaderName, Method, StatusCode, header};

use crate::answer::{Answer, Content, ErrorTrace, Head, Part, Trace};
use crate::multipart::Multipart;
use crate::snapshot::Site;

impl Answer {
    /// Of several parts of the content.
    fn in_parts(mut self, multipart: Multipart, slice: impl FnOnce(Wanted) -> Content) -> Self {
        self.status = StatusCode::PARTIAL_CONTENT;
        self.length = Some(multipart.length());
        self.edit(|headers| drop(headers.insert(header::CONTENT_TYPE, multipart.media_type())));
        self.content = slice(Wanted::Parts(multipart));
        self
    }

    /// Counted for a site.
    #[must_use]
    pub fn of(mut self, site: &Arc<Site>) -> Self {
        self.trace.site = Some(site.metrics.clone());
        self
    }
}

pub fn trace_error(error: &'static str, cause: &'static str) -> Option<Box<ErrorTrace>> {
    Some(Box::new(ErrorTrace { error, cause: Cow::Borrowed(cause) }))
}

/// Answers from a stored object.
pub fn stored(object: &Object, facts: &RequestFacts<'_>, outcome: Outcome, now: Time) -> Answer {
    let mut trace = Trace::new(outcome);
    trace.key_hash = Some(object.key.hash());
    date(&mut trace, &object.freshness, now);
    let length = object.body.len();
    let slice = |wanted| match wanted {
        Wanted::Bytes { first, end } => Content::Stored(object.body.clone(), first..end),
        Wanted::Parts(multipart) => Content::Parts(multipart.pieces(&object.body)),
    };
    select(&object.head, Some(length), facts, trace, object.freshness.response_time(), true, slice)
}

/// Answers from a response whose body is read from disk as it is sent; `read` gives the bytes from one offset to another.
pub fn on_disk(
    object: &Object,
    length: u64,
    facts: &RequestFacts<'_>,
    outcome: Outcome,
    now: Time,
    read: impl FnOnce(u64, u64) -> Content,
) -> Answer {
    let mut trace = Trace::new(outcome);
    trace.key_hash = Some(object.key.hash());
    date(&mut trace, &object.freshness, now);
    // Several parts would be read one after the other: such a request gets the whole.
    select(&object.head, Some(length), facts, trace, object.freshness.response_time(), false, |wanted| match wanted {
        Wanted::Bytes { first, end } => read(first, end),
        Wanted::Parts(_) => unreachable!("no parts were offered"),
    })
}

/// The head of an answer from a response that is stored apart, and the bytes that belong to it, if any do.
pub fn apart(whole: &Object, facts: &RequestFacts<'_>, outcome: Outcome, now: Time) -> (Answer, Option<Range<u64>>) {
    let mut trace = Trace::new(outcome);
    trace.key_hash = Some(whole.key.hash());
    date(&mut trace, &whole.freshness, now);
    let mut wanted = None;
    let length = Some(whole.body.len());
    let answer = select(&whole.head, length, facts, trace, whole.freshness.response_time(), false, |bytes| {
        let Wanted::Bytes { first, end } = bytes else { unreachable!("no parts were offered") };
        wanted = Some(first..end);
        Content::Empty
    });
    (answer, wanted)
}

/// Answers from a fill that has its head; the bytes follow as they arrive.
pub fn filling(head: &FillHead, reader: FillReader, facts: &RequestFacts<'_>, outcome: Outcome, now: Time) -> Answer {
    let mut trace = Trace::new(outcome);
    date(&mut trace, &head.freshness, now);
    // Parts that are not here yet could only be sent in the order they come: such a request gets the whole.
    select(&head.head, head.length, facts, trace, head.freshness.response_time(), false, |wanted| {
        let Wanted::Bytes { first, end } = wanted else { unreachable!("no parts were offered") };
        let whole = first == 0 && end >= head.length.unwrap_or(u64::MAX);
        Content::Fill(if whole { reader } else { reader.narrowed(first, end) })
    })
}

/// What of the stored bytes an answer has.
enum Wanted {
    Bytes { first: u64, end: u64 },
    Parts(Multipart),
}

/// Age and what is left of freshness (RFC 9111 section 5.1: on every answer that was not validated for it).
fn date(trace: &mut Trace, freshness: &Freshness, now: Time) {
    trace.age_s = Some(freshness.age(now));
    trace.ttl_s = Some(freshness.ttl(now));
}

/// The part of a representation that the request's own conditions select, in the order of RFC 9110 section 13.2.2.
fn select(
    head: &StoredHead,
    length: Option<u64>,
    facts: &RequestFacts<'_>,
    trace: Trace,
    received: Time,
    offers_parts: bool,
    slice: impl FnOnce(Wanted) -> Content,
) -> Answer {
    let whole = StatusCode::from_u16(head.status()).unwrap_or(StatusCode::OK);
    let mut answer = Answer {
        status: whole,
        head: Head::Stored(head.clone()),
        length,
        part: None,
        content: Content::Empty,
        trace,
        close: false,
    };
    // Nothing is compared where the request compares nothing.
    let validators = if facts.is_conditional() { Validators::of(head) } else { Validators::default() };
    match precondition(facts, head.status(), &validators, received) {
        Precondition::Pass => {}
        Precondition::NotModified => {
            answer.status = StatusCode::NOT_MODIFIED;
            answer.head = Head::Map(not_modified_fields(head));
            answer.length = None;
            return answer;
        }
        Precondition::Failed => {
            let trace = answer.trace;
            return Answer {
                trace,
                ..Answer::error(StatusCode::PRECONDITION_FAILED, "a condition of the request does not hold")
            };
        }
    }
    let (first, end) = match length
        .map_or(Selection::Whole, |length| range::select(facts, head.status(), &validators, received, length))
    {
        Selection::Parts(parts) if offers_parts => {
            return answer.in_parts(Multipart::of(head, length.unwrap_or_default(), &parts), slice);
        }
        Selection::Whole | Selection::Parts(_) => (0, length.unwrap_or(u64::MAX)),
        Selection::Part { first, last } => {
            let total = length.unwrap_or_default();
            answer.status = StatusCode::PARTIAL_CONTENT;
            answer.part = Some(Part::Of { first, last, total });
            answer.length = Some(last - first + 1);
            (first, last + 1)
        }
        Selection::Unsatisfiable => {
            let part = Some(Part::Unsatisfied { total: length.unwrap_or_default() });
            let trace = answer.trace;
            return Answer {
                part,
                trace,
                ..Answer::error(StatusCode::RANGE_NOT_SATISFIABLE, "no part of the range exists")
            };
        }
    };
    if facts.method == Method::HEAD {
        return answer;
    }
    answer.content = slice(Wanted::Bytes { first, end });
    answer
}

/// The fields of a 304: what a recipient needs to update what it has, and no more.
fn not_modified_fields(head: &StoredHead) -> HeaderMap {
    let mut headers = head.to_header_map();
    let has_etag = headers.contains_key(header::ETAG);
    let surplus: Vec<HeaderName> =
        headers.keys().filter(|name| !belongs_in_304(name.as_str().as_bytes(), has_etag)).cloned().collect();
    for name in surplus {
        headers.remove(name);
    }
    headers
}

/// Whether a body may follow at all, by method and status (RFC 9112 section 6.3).
pub fn has_content(method: &Method, status: StatusCode) -> bool {
    method != Method::HEAD
        && !status.is_informational()
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED
}
