//! The bytes of a stored response's head on disk: plain little-endian fields, every text with its length before it.
//!
//! Reading never trusts a length: what does not hold together is no response. The layout belongs to
//! [`super::record::VERSION`].

use http::HeaderMap;

use crate::head::StoredHead;
use crate::key::CacheKey;
use crate::object::Parts;
use crate::vary::VaryFacts;
use crate::{Body, Epoch, Fields, Freshness, Tags};

/// What follows the tags: nothing, the trailers, or the length of a body whose bytes are records of their own.
const PLAIN: u8 = 0;
const TRAILERS: u8 = 1;
const APART: u8 = 2;

/// Where fields are taken from, one after the other.
pub struct Take<'a>(pub &'a [u8]);

impl<'a> Take<'a> {
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub fn u8(&mut self) -> Option<u8> {
        Some(self.array::<1>()?[0])
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A text with its length in four bytes before it.
    pub fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.bytes(length as usize)
    }
}

/// Appends a text with its length before it.
pub fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text);
}

/// The head of an object: everything but its body.
pub fn encode(parts: &Parts) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    put_text(&mut out, parts.key.as_ref().bytes());
    out.extend_from_slice(&parts.born.0.to_le_bytes());
    out.extend_from_slice(&parts.generation.to_le_bytes());
    out.extend_from_slice(&parts.head.status().to_le_bytes());
    put_lines(&mut out, parts.head.lines());
    parts.freshness.encode(&mut out);
    parts.vary.encode(&mut out);
    out.extend_from_slice(&(parts.tags.iter().count() as u32).to_le_bytes());
    parts.tags.iter().for_each(|tag| put_text(&mut out, tag));
    match &parts.trailers {
        _ if parts.body.is_apart() => {
            out.push(APART);
            out.extend_from_slice(&parts.body.len().to_le_bytes());
        }
        None => out.push(PLAIN),
        Some(trailers) => {
            out.push(TRAILERS);
            put_lines(&mut out, trailers.lines());
        }
    }
    out
}

/// The same head, with the body that belongs to it.
pub fn decode(meta: &[u8], body: Body) -> Option<Parts> {
    let mut take = Take(meta);
    let key = CacheKey::from_bytes(take.text()?)?;
    let born = Epoch(take.u64()?);
    let generation = take.u64()?;
    let status = take.u16()?;
    let head = StoredHead::from_lines(status, take_lines(&mut take)?).ok()?;
    let freshness = Freshness::decode(&mut take)?;
    let vary = VaryFacts::decode(&mut take)?;
    let tags = (0..take.u32()?).map(|_| take.text()).collect::<Option<Vec<_>>>()?;
    let tags = Tags::from_list(tags);
    let (body, trailers) = match take.u8()? {
        PLAIN => (body, None),
        TRAILERS => (body, Some(Box::new(to_map(take_lines(&mut take)?)?))),
        APART => (Body::apart(take.u64()?), None),
        _ => return None,
    };
    take.0.is_empty().then_some(Parts { key, head, body, trailers, freshness, vary, tags, born, generation })
}

/// The key and the ledger's epoch of a head, without the rest.
pub fn key_and_birth(meta: &[u8]) -> Option<(&[u8], Epoch)> {
    let mut take = Take(meta);
    Some((take.text()?, Epoch(take.u64()?)))
}

fn put_lines<'a>(out: &mut Vec<u8>, lines: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    let mut count = 0_u32;
    for (name, value) in lines {
        put_text(out, name);
        put_text(out, value);
        count += 1;
    }
    out[at..at + 4].copy_from_slice(&count.to_le_bytes());
}

fn take_lines<'a>(take: &mut Take<'a>) -> Option<Vec<(&'a [u8], &'a [u8])>> {
    (0..take.u32()?).map(|_| Some((take.text()?, take.text()?))).collect()
}

fn to_map(lines: Vec<(&[u8], &[u8])>) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        let name = http::HeaderName::from_bytes(name).ok()?;
        map.append(name, http::HeaderValue::from_bytes(value).ok()?);
    }
    Some(map)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{in_language, parts};

    #[test]
    fn what_is_written_is_read_back() {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", "1".parse().unwrap());
        let whole = Parts {
            tags: Tags::from_list([&b"a"[..], b"b"]),
            trailers: Some(Box::new(trailers)),
            born: Epoch(7),
            generation: 9,
            ..in_language(parts("h", "/t?x=1", 10), "de")
        };
        let read = decode(&encode(&whole), whole.body.clone()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{whole:?}"));
        let apart = Parts { body: Body::apart(1 << 40), ..parts("h", "/", 0) };
        let read = decode(&encode(&apart), Body::default()).unwrap();
        assert!(read.body.is_apart() && read.body.len() == 1 << 40);
        let plain = parts("h", "/", 0);
        assert_eq!(format!("{:?}", decode(&encode(&plain), plain.body.clone()).unwrap()), format!("{plain:?}"));
        assert_eq!(key_and_birth(&encode(&whole)).unwrap(), (whole.key.as_ref().bytes(), Epoch(7)));
    }

    proptest! {
        #[test]
        fn nothing_that_is_read_can_do_harm(at in 0_usize..400, byte: u8, cut in 0_usize..400) {
            let mut bytes = encode(&in_language(parts("h", "/t", 10), "de"));
            let length = bytes.len();
            bytes[at % length] = byte;
            bytes.truncate(cut.max(1));
            let _ = decode(&bytes, Body::default());
        }
    }
}
