//! Incomplete responses (RFC 9111 sections 3.3 and 3.4): what a 206 brought, kept in parts of one size until the whole is
//! there, if ever.
//!
//! A response that is stored in parts is one object under its own key, with the head of the whole and a body that stands
//! apart ([`Body::apart`](crate::Body::apart)); and for each part one object under a key that names version and part. A
//! part holds one run of bytes without a hole, often all of it. Parts belong to one version of the body: what is purged,
//! stale or replaced is decided on the first object alone, and without it nobody finds them.
//!
//! Only what is known to be the same representation is joined (RFC 9110 section 8.8.1: by a strong validator). All of
//! this file is pure.

use std::ops::Range;

use crate::body::CHUNK_BYTES;
use crate::conditional::Validators;
use crate::head::StoredHead;
use crate::key::{CacheKey, KeyBuffer};
use crate::{Time, etag, http_date};

/// Bytes of a part, but for the last one.
pub const PART_BYTES: u64 = CHUNK_BYTES as u64;

/// The Content-Range of one part of a whole of known length (RFC 9110 section 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    pub first: u64,
    pub last: u64,
    pub total: u64,
}

impl ContentRange {
    /// Reads the field. None for what is no range of bytes, for one that satisfies nothing, and where the whole has an
    /// unknown length: a run of such a whole cannot be put in its place.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let space = memchr::memchr(b' ', value)?;
        // RFC 9110 section 14.1: range units are case-insensitive.
        value[..space].eq_ignore_ascii_case(b"bytes").then_some(())?;
        let text = std::str::from_utf8(&value[space + 1..]).ok()?;
        let (range, total) = text.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last, total) = (position(first)?, position(last)?, position(total)?);
        (first <= last && last < total).then_some(ContentRange { first, last, total })
    }

    /// Of a whole that is there from its first byte to its last.
    pub fn whole(total: u64) -> Option<Self> {
        Some(ContentRange { first: 0, last: total.checked_sub(1)?, total })
    }

    /// Positions of the bytes.
    pub fn bytes(self) -> Range<u64> {
        self.first..self.last + 1
    }
}

fn position(digits: &str) -> Option<u64> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// What proves that two parts are of one representation (RFC 9110 section 8.8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrongValidator<'a> {
    Tag(&'a [u8]),
    /// Last-Modified, at least one second before Date (RFC 9110 section 8.8.2.2).
    Modified(&'a [u8]),
}

impl<'a> StrongValidator<'a> {
    /// Of a response that came at `received`.
    pub fn of(validators: &Validators<'a>, received: Time) -> Option<Self> {
        if let Some(tag) = validators.etag {
            // RFC 9110 section 13.1.5: a date is no help where there is a tag.
            return etag::is_strong(tag).then_some(StrongValidator::Tag(tag));
        }
        let seconds = |value: Option<&[u8]>| value.and_then(|value| http_date::parse(value, received));
        let modified = seconds(validators.last_modified)?;
        let sent = seconds(validators.date)?;
        (modified < sent).then_some(validators.last_modified).flatten().map(StrongValidator::Modified)
    }

    /// The value of If-Range that asks for this representation or none of its parts.
    pub fn if_range(self) -> &'a [u8] {
        match self {
            StrongValidator::Tag(value) | StrongValidator::Modified(value) => value,
        }
    }

    /// Whether a whole is this representation: it has to say so.
    pub fn is_of(self, answer: &Validators) -> bool {
        match self {
            StrongValidator::Tag(tag) => answer.etag == Some(tag),
            StrongValidator::Modified(date) => answer.etag.is_none() && answer.last_modified == Some(date),
        }
    }

    /// Whether a 206 that answers such an If-Range belongs to this representation. It has to repeat the tag (RFC 9110
    /// section 15.3.7), but not the date.
    pub fn admits(self, answer: &Validators) -> bool {
        match self {
            StrongValidator::Tag(tag) => answer.etag == Some(tag),
            StrongValidator::Modified(date) => answer.last_modified.is_none_or(|other| other == date),
        }
    }
}

/// A part of a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub index: u64,
    /// Length of the whole.
    total: u64,
}

impl Part {
    /// The part with the byte at `position` of a whole of `total` bytes.
    pub fn at(position: u64, total: u64) -> Part {
        Part { index: position / PART_BYTES, total }
    }

    /// Positions of all its bytes.
    pub fn bytes(self) -> Range<u64> {
        let start = self.index * PART_BYTES;
        start..self.total.min(start + PART_BYTES)
    }

    /// Those of a range that are in it.
    pub fn cut(self, wanted: &Range<u64>) -> Range<u64> {
        let bytes = self.bytes();
        bytes.start.max(wanted.start)..bytes.end.min(wanted.end)
    }

    /// Its key.
    pub fn key(self, whole: &CacheKey, generation: u64) -> CacheKey {
        let mut buffer = KeyBuffer::default();
        buffer.begin_from(whole.as_ref());
        // No rule can add a part of this name.
        buffer.part(b":part", Some(format!("{generation}-{}", self.index).as_bytes()));
        buffer.key().into()
    }

    /// What is missing of the part while it holds `run`: one range, so that one request brings it. A run in the middle
    /// is fetched again with what is around it.
    pub fn gap(self, run: Option<Range<u64>>) -> Range<u64> {
        let bytes = self.bytes();
        match run {
            Some(run) if run.start == bytes.start => run.end..bytes.end,
            Some(run) if run.end == bytes.end => bytes.start..run.start,
            _ => bytes,
        }
    }

    /// The head under which a run of it is stored. Its positions are those of the whole.
    pub fn head(self, run: &Range<u64>) -> Option<StoredHead> {
        let range = format!("bytes {}-{}/{}", run.start, run.end.checked_sub(1)?, self.total);
        StoredHead::from_lines(206, [(&b"content-range"[..], range.as_bytes())]).ok()
    }
}

/// The run that a stored part holds, by its head.
pub fn run_of(head: &StoredHead) -> Option<Range<u64>> {
    head.get("content-range").and_then(ContentRange::parse).map(ContentRange::bytes)
}

/// Whether all of `wanted` is in `run`.
pub fn covers(run: &Range<u64>, wanted: &Range<u64>) -> bool {
    run.start <= wanted.start && wanted.end <= run.end
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fixtures::parts;

    const KIB: u64 = 1024;

    #[test]
    fn a_content_range_says_which_bytes_of_how_many() {
        for (value, read) in [
            ("bytes 5-9/10", Some((5, 9, 10))),
            ("Bytes 0-0/1", Some((0, 0, 1))),
            ("bytes 5-8/10", Some((5, 8, 10))),
            ("bytes 5-9/*", None),
            ("bytes */10", None),
            ("bytes 9-5/10", None),
            ("bytes 5-10/10", None),
            ("bytes +5-9/10", None),
            ("bytes 5-18446744073709551615/18446744073709551615", None),
            ("bytes 5-18446744073709551616/1", None),
            ("bytes  5-9/10", None),
            ("items 5-9/10", None),
            ("bytes 5-9", None),
            ("bytes -9/10", None),
            ("", None),
        ] {
            let expected = read.map(|(first, last, total)| ContentRange { first, last, total });
            assert_eq!(ContentRange::parse(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn parts_cover_the_whole_without_a_hole() {
        for total in [1, KIB, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 5 * PART_BYTES + 7] {
            let mut at = 0;
            while at < total {
                let part = Part::at(at, total);
                assert_eq!(part.bytes().start, at);
                assert_eq!(part.cut(&(0..total)), part.bytes());
                at = part.bytes().end;
            }
            assert_eq!(at, total);
        }
    }

    #[test]
    fn a_gap_and_the_run_beside_it_make_the_part() {
        let part = Part::at(PART_BYTES + 3, 2 * PART_BYTES - 10);
        let Range { start, end } = part.bytes();
        assert_eq!((start, end), (PART_BYTES, 2 * PART_BYTES - 10));
        assert_eq!(part.gap(None), start..end);
        assert_eq!(part.gap(Some(start..start + 7)), start + 7..end);
        assert_eq!(part.gap(Some(end - 7..end)), start..end - 7);
        assert_eq!(part.gap(Some(start + 1..end - 1)), start..end);
        assert!(part.gap(Some(start..end)).is_empty());
    }

    #[test]
    fn a_part_is_found_by_version_and_number_and_says_what_it_holds() {
        let key = parts("h", "/a", 0).key;
        let (first, second) = (Part::at(0, 3 * PART_BYTES), Part::at(PART_BYTES, 3 * PART_BYTES));
        let keys = [first.key(&key, 1), second.key(&key, 1), first.key(&key, 2), key];
        for (at, one) in keys.iter().enumerate() {
            assert!(keys[at + 1..].iter().all(|other| other.as_ref() != one.as_ref()));
        }
        let run = PART_BYTES + 5..PART_BYTES + 9;
        assert_eq!(run_of(&second.head(&run).unwrap()), Some(run));
    }

    #[test]
    fn only_a_strong_validator_joins_parts() {
        let received = Time::from_secs(1_700_000_000);
        let (old, sent) = (b"Tue, 14 Nov 2023 22:13:18 GMT".as_slice(), b"Tue, 14 Nov 2023 22:13:20 GMT".as_slice());
        let of = |etag, last_modified, date| StrongValidator::of(&Validators { etag, last_modified, date }, received);
        let (tag, weak) = (b"\"a\"".as_slice(), b"W/\"a\"".as_slice());
        assert_eq!(of(Some(tag), Some(old), Some(sent)), Some(StrongValidator::Tag(tag)));
        assert_eq!(of(Some(weak), Some(old), Some(sent)), None);
        assert_eq!(of(None, Some(old), Some(sent)), Some(StrongValidator::Modified(old)));
        assert_eq!(of(None, Some(sent), Some(sent)), None);
        assert_eq!(of(None, Some(old), None), None);
        let answer = |etag, last_modified| Validators { etag, last_modified, date: None };
        assert!(StrongValidator::Tag(tag).admits(&answer(Some(tag), None)));
        assert!(!StrongValidator::Tag(tag).admits(&answer(None, Some(old))));
        assert!(StrongValidator::Modified(old).admits(&answer(None, None)));
        assert!(!StrongValidator::Modified(old).admits(&answer(None, Some(sent))));
        assert!(StrongValidator::Modified(old).is_of(&answer(None, Some(old))));
        assert!(!StrongValidator::Modified(old).is_of(&answer(None, None)));
        assert!(!StrongValidator::Tag(tag).is_of(&answer(Some(weak), None)));
    }
}
