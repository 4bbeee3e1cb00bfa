//! The field lines of one request, kept as the bytes they arrived in plus where each name and value lies.
//!
//! Nothing is copied: the list owns the head's bytes (split off the read buffer) and 8 bytes per line. A browser's
//! request fits the inline spans, so a cache hit allocates nothing for its fields. [`FlatFields::to_header_map`] is
//! for the cold path (forwarding); its values are slices of the same bytes.
//!
//! Invariant: every span lies within the bytes; names are tokens, values have no byte that HTTP forbids.

use bytes::Bytes;
use headland_cache::Fields;
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

/// Field lines that fit without an allocation; browsers send 12 to 20.
const LINES_INLINE: usize = 32;

/// A stretch of the head, in bytes from its start. A head has at most 64 Ki of them, its last four line
/// ends (see `HEAD_BYTES_CEILING`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u16,
    pub(super) end: u16,
}

impl Span {
    /// The bytes that the span stands for.
    #[inline]
    pub(super) fn of(self, head: &[u8]) -> &[u8] {
        &head[usize::from(self.start)..usize::from(self.end)]
    }
}

/// Where one field line has its name and its value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) name: Span,
    pub(super) value: Span,
}

/// The lines of a head in the order they came.
pub(super) type Lines = SmallVec<[Line; LINES_INLINE]>;

/// The field lines of one request head.
#[derive(Clone, Debug, Default)]
pub struct FlatFields {
    head: Bytes,
    lines: Lines,
}

impl FlatFields {
    pub(super) fn new(head: Bytes, lines: Lines) -> Self {
        Self { head, lines }
    }

    /// The bytes of the whole head, request line and line ends included.
    pub fn head(&self) -> &Bytes {
        &self.head
    }

    /// How many field lines there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The value of the first line called `name`, in any case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Every line as (name as sent, value without surrounding white space).
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let head: &[u8] = &self.head;
        self.lines.iter().map(move |line| (line.name.of(head), line.value.of(head)))
    }

    /// The lines whose names are kept, as they came, line ends included; neighbours come in one piece.
    pub fn runs(&self, keep: impl Fn(&[u8]) -> bool) -> impl Iterator<Item = &[u8]> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let kept = |line: &Line| keep(line.name.of(&self.head));
            at += self.lines[at..].iter().position(kept)?;
            let first = at;
            at += self.lines[first..].iter().position(|line| !kept(line)).unwrap_or(self.lines.len() - first);
            Some(&self.head[usize::from(self.lines[first].name.start)..self.start_of(at)])
        })
    }

    /// Where a line begins; behind the last one, where the empty line does.
    fn start_of(&self, at: usize) -> usize {
        self.lines.get(at).map_or(self.head.len() - b"\r\n".len(), |line| usize::from(line.name.start))
    }

    /// The same lines as a map: names in lower case, values as slices of the head.
    pub fn to_header_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.lines.len());
        self.owned_lines(|name, value| {
            map.append(name, value);
        });
        map
    }

    /// Calls `take` with each line: the name in lower case, the value as a slice of the head.
    pub fn owned_lines(&self, mut take: impl FnMut(HeaderName, HeaderValue)) {
        for line in &self.lines {
            let name = HeaderName::from_bytes(line.name.of(&self.head)).expect("the parser let only tokens through");
            let value = self.head.slice(usize::from(line.value.start)..usize::from(line.value.end));
            take(name, HeaderValue::from_maybe_shared(value).expect("the parser let only field values through"));
        }
    }
}

impl Fields for FlatFields {
    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.iter()
    }
}
