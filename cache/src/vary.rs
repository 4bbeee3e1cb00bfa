//! Vary (RFC 9111 section 4.1): which request fields chose a stored response, and whether another request would
//! have chosen it too.
//!
//! [`VarySpec`] is the set of names, [`VaryFacts`] the set with the values of one request. Values are normalised, so
//! that spelling does not split what means the same: Accept-Encoding becomes the set of known codings it allows, any
//! other field its comma-separated members without the white space around them. Comparing allocates nothing for
//! values of ordinary length.

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use crate::Fields;
use crate::codings::AcceptedCodings;
use crate::disk::{Take, put_text};
use crate::syntax::{self, is_token};

/// A response whose Vary names more fields than this is not stored.
pub const VARY_NAMES_MAX: usize = 16;

/// The names in a Vary field: lower case, sorted, without duplicates.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct VarySpec {
    names: Box<[Box<str>]>,
}

/// Why a Vary field makes a response unusable for another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VaryError {
    /// `*`, or something that is no field name: no other request matches (RFC 9111 section 4.1).
    Star,
    /// More than [`VARY_NAMES_MAX`] names.
    TooMany,
}

impl VarySpec {
    /// Reads the Vary lines of a response.
    pub fn parse(lines: &[&[u8]]) -> Result<Self, VaryError> {
        let mut names: SmallVec<[Box<str>; 4]> = SmallVec::new();
        for name in lines.iter().flat_map(|line| line.split(|&b| b == b',')).map(syntax::trim) {
            if name.is_empty() {
                continue;
            }
            if name == b"*" || !is_token(name) {
                return Err(VaryError::Star);
            }
            let name = std::str::from_utf8(name).map_err(|_| VaryError::Star)?.to_ascii_lowercase();
            if let Err(place) = names.binary_search_by(|known| (**known).cmp(&name)) {
                if names.len() == VARY_NAMES_MAX {
                    return Err(VaryError::TooMany);
                }
                names.insert(place, name.into_boxed_str());
            }
        }
        Ok(VarySpec { names: names.into_vec().into_boxed_slice() })
    }

    /// The names, in lower case and in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether `name` (in lower case) is in the set.
    pub fn contains(&self, name: &str) -> bool {
        self.names.iter().any(|known| &**known == name)
    }

    /// The set less one name.
    #[must_use]
    pub fn without(self, name: &str) -> Self {
        if !self.contains(name) {
            return self;
        }
        VarySpec { names: self.names.into_iter().filter(|known| &**known != name).collect() }
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.names.iter().map(|name| size_of::<Box<str>>() + name.len()).sum()
    }
}

/// The names in Vary with the values that one request had for them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct VaryFacts {
    spec: VarySpec,
    /// For each name of the spec a length (4 bytes, little-endian) and the normalised value.
    values: Box<[u8]>,
}

/// A normalised value while it is compared: on the stack up to the size of an ordinary one.
type Scratch = SmallVec<[u8; 256]>;

impl VaryFacts {
    /// Appends them as a disk keeps them.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.spec.names.len() as u8);
        self.spec.names().for_each(|name| put_text(out, name.as_bytes()));
        put_text(out, &self.values);
    }

    /// Reads what [`VaryFacts::encode`] wrote.
    pub(crate) fn decode(take: &mut Take<'_>) -> Option<Self> {
        let names = (0..take.u8()?).map(|_| std::str::from_utf8(take.text()?).ok().map(Into::into));
        let names = names.collect::<Option<Box<[Box<str>]>>>()?;
        Some(VaryFacts { spec: VarySpec { names }, values: take.text()?.into() })
    }

    /// What `request` says in the fields that `spec` names.
    pub fn of(spec: &VarySpec, request: &impl Fields) -> Self {
        let mut values = Scratch::new();
        for name in spec.names() {
            put_value(name, request, &mut values);
        }
        VaryFacts { spec: spec.clone(), values: values.into_vec().into_boxed_slice() }
    }

    /// RFC 9111 section 4.1: whether every field that was nominated matches that of `request`.
    pub fn matches(&self, request: &impl Fields) -> bool {
        if self.spec.is_empty() {
            return true;
        }
        let mut rest = &*self.values;
        let mut scratch = Scratch::new();
        self.spec.names().all(|name| {
            scratch.clear();
            put_value(name, request, &mut scratch);
            match rest.split_at_checked(scratch.len()) {
                Some((value, behind)) if *value == *scratch => {
                    rest = behind;
                    true
                }
                _ => false,
            }
        })
    }

    pub fn spec(&self) -> &VarySpec {
        &self.spec
    }

    /// Names and values in one number: equal facts have equal hashes.
    pub fn hash(&self) -> u64 {
        if self.spec.is_empty() {
            return 0;
        }
        let mut bytes = Scratch::new();
        for name in self.spec.names() {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(b':');
        }
        bytes.extend_from_slice(&self.values);
        xxh3_64(&bytes)
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.spec.heap_bytes() + self.values.len()
    }
}

/// Appends the length-prefixed, normalised value of `name`, which is in lower case. A field that is absent differs
/// from one that is empty.
fn put_value(name: &str, request: &impl Fields, out: &mut Scratch) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    match name {
        "accept-encoding" => out.push(AcceptedCodings::of(request).bits()),
        // No list: a comma is part of a cookie's value (RFC 6265 section 5.4; RFC 9113 section 8.2.3 for the lines).
        "cookie" => {
            for line in request.named(name) {
                out.extend_from_slice(b"; ");
                out.extend_from_slice(line);
            }
        }
        _ => {
            for line in request.named(name) {
                if out.len() == start + 4 {
                    out.push(b'=');
                }
                put_list(line, start + 5, out);
            }
        }
    }
    if name == "accept-language" && out.len() > start + 5 {
        order_languages(&mut out[start + 5..]);
    }
    let len = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
}

/// RFC 9110 section 12.5.4: language ranges are matched without regard to case, and weights say what is preferred; ranges
/// of one weight have no order that can be relied upon.
fn order_languages(list: &mut [u8]) {
    list.make_ascii_lowercase();
    let copy = SmallVec::<[u8; 128]>::from_slice(list);
    let mut ranges: SmallVec<[&[u8]; 8]> = copy.split(|&byte| byte == b',').collect();
    ranges.sort_by(|a, b| syntax::weight(b).cmp(&syntax::weight(a)).then_with(|| a.cmp(b)));
    let mut at = 0;
    for range in ranges {
        if at > 0 {
            list[at] = b',';
            at += 1;
        }
        list[at..at + range.len()].copy_from_slice(range);
        at += range.len();
    }
}

/// Appends the members of a list line, separated by one comma, to what stands behind `start`.
///
/// RFC 9111 section 4.1 allows to normalise where the field's syntax allows it: white space around commas and empty
/// members never mean anything (RFC 9110 section 5.6.1). Inside a quoted string nothing is touched.
fn put_list(line: &[u8], start: usize, out: &mut Scratch) {
    let mut quoted = false;
    let mut escaped = false;
    let members = line.split(|&byte| {
        let separates = byte == b',' && !quoted;
        quoted ^= byte == b'"' && !escaped;
        escaped = quoted && byte == b'\\' && !escaped;
        separates
    });
    for member in members.map(syntax::trim).filter(|member| !member.is_empty()) {
        if out.len() > start {
            out.push(b',');
        }
        out.extend_from_slice(member);
    }
}

#[cfg(test)]
mod tests;
