//! Several ranges of one body as multipart/byteranges (RFC 9110 section 14.6): the heads of the parts around slices of
//! the stored bytes, which are not copied.

use std::hash::{BuildHasher, Hasher, RandomState};

use bytes::Bytes;
use headland_cache::range::Parts;
use headland_cache::{Body, StoredHead};
use http::HeaderValue;

/// Hexadecimal digits of a boundary: 128 bits, so that no content holds it by chance and nobody can foresee it.
const BOUNDARY_DIGITS: usize = 32;

/// The heads of the parts, and how long it all is.
#[derive(Debug)]
pub struct Multipart {
    boundary: [u8; BOUNDARY_DIGITS],
    /// For each part its head and its first and last position.
    parts: Vec<(Bytes, u64, u64)>,
}

impl Multipart {
    /// Parts of a body of `total` bytes that is stored under `head`.
    pub fn of(head: &StoredHead, total: u64, parts: &Parts) -> Self {
        let boundary = new_boundary();
        let heads = parts.iter().enumerate().map(|(at, &(first, last))| {
            let mut text = Vec::new();
            text.extend_from_slice(if at == 0 { b"--" } else { b"\r\n--" });
            text.extend_from_slice(&boundary);
            text.extend_from_slice(b"\r\n");
            if let Some(media_type) = head.get("content-type") {
                text.extend_from_slice(b"content-type: ");
                text.extend_from_slice(media_type);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(format!("content-range: bytes {first}-{last}/{total}\r\n\r\n").as_bytes());
            (Bytes::from(text), first, last)
        });
        Multipart { boundary, parts: heads.collect() }
    }

    /// The Content-Type of the answer.
    pub fn media_type(&self) -> HeaderValue {
        let value = [b"multipart/byteranges; boundary=".as_slice(), &self.boundary].concat();
        HeaderValue::from_maybe_shared(Bytes::from(value)).expect("made of letters and digits")
    }

    /// Bytes of the answer's content.
    pub fn length(&self) -> u64 {
        let parts: u64 = self.parts.iter().map(|(head, first, last)| head.len() as u64 + last - first + 1).sum();
        parts + self.end().len() as u64
    }

    /// The content.
    pub fn pieces(self, body: &Body) -> Vec<Bytes> {
        let end = self.end();
        let mut pieces = Vec::with_capacity(2 * self.parts.len() + 1);
        for (head, first, last) in self.parts {
            pieces.push(head);
            pieces.extend(body.slice(first..last + 1));
        }
        pieces.push(end);
        pieces
    }

    fn end(&self) -> Bytes {
        Bytes::from([b"\r\n--".as_slice(), &self.boundary, b"--\r\n"].concat())
    }
}

fn new_boundary() -> [u8; BOUNDARY_DIGITS] {
    let half = || RandomState::new().build_hasher().finish();
    let digits = format!("{:016x}{:016x}", half(), half());
    digits.as_bytes().try_into().expect("two numbers of 16 digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_that_of_the_pieces_and_each_part_says_where_it_belongs() {
        let head = StoredHead::from_lines(200, [(&b"content-type"[..], &b"text/plain"[..])]).expect("plain lines");
        let body = Body::copy_of(b"0123456789");
        let multipart = Multipart::of(&head, 10, &Parts::from_slice(&[(7, 9), (0, 1)]));
        let (length, media_type) = (multipart.length(), multipart.media_type());
        let content = multipart.pieces(&body).concat();
        assert_eq!(content.len() as u64, length);
        let boundary = media_type.to_str().expect("text").rsplit('=').next().expect("a boundary").to_owned();
        let text = String::from_utf8(content).expect("text").replace(&boundary, "B");
        let part = |range: &str, data: &str| {
            format!("--B\r\ncontent-type: text/plain\r\ncontent-range: bytes {range}/10\r\n\r\n{data}\r\n")
        };
        assert_eq!(text, part("7-9", "789") + &part("0-1", "01") + "--B--\r\n");
    }
}
