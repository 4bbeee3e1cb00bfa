//! What the server writes: field sections, frames before content, the control stream's first bytes, GOAWAY.
//!
//! Names are referred to where the static table has them, values are literals without Huffman: a few bytes more on the
//! wire, a good deal less work.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, StatusCode};

use super::static_table::{TABLE, index_of};
use super::varint;

/// A head with its fields as this node sends them fits into this.
const USUAL_BYTES: usize = 512;
/// Room for type and length of the frame: a length of two bytes, or after all of four.
const FRAME_BYTES: usize = 3;
const HEADERS: u8 = 0x1;

/// A HEADERS frame being written.
#[derive(Debug)]
pub struct FieldSection(BytesMut);

impl FieldSection {
    /// The head of an answer (RFC 9114 section 4.3.2).
    pub fn head(status: StatusCode) -> Self {
        let mut section = Self::trailers();
        let status = status.as_str();
        let known = TABLE.iter().position(|(name, value)| *name == ":status" && *value == status);
        if let Some(index) = known {
            integer(&mut section.0, 0xc0, 6, index as u64);
        } else {
            integer(&mut section.0, 0x50, 4, 24);
            string(&mut section.0, 0, 7, status.as_bytes());
        }
        section
    }

    /// A section without a status.
    pub fn trailers() -> Self {
        let mut out = BytesMut::with_capacity(USUAL_BYTES);
        out.put_bytes(0, FRAME_BYTES);
        // Nothing of the dynamic table (RFC 9204 section 4.5.1).
        out.put_slice(&[0, 0]);
        FieldSection(out)
    }

    /// One line; the name is in lower case (section 4.2).
    pub fn field(&mut self, name: &str, value: &[u8]) {
        match index_of(name) {
            Some(index) => integer(&mut self.0, 0x50, 4, index.into()),
            None => string(&mut self.0, 0x20, 3, name.as_bytes()),
        }
        string(&mut self.0, 0, 7, value);
    }

    pub fn fields(&mut self, headers: &HeaderMap) {
        headers.iter().for_each(|(name, value)| self.field(name.as_str(), value.as_bytes()));
    }

    /// The frame.
    pub fn finish(mut self) -> BytesMut {
        let length = self.0.len() - FRAME_BYTES;
        if let Ok(length) = u16::try_from(length)
            && length < 0x4000
        {
            self.0[0] = HEADERS;
            self.0[1..FRAME_BYTES].copy_from_slice(&(0x4000 | length).to_be_bytes());
            return self.0;
        }
        let mut out = BytesMut::with_capacity(length + 16);
        out.put_u8(HEADERS);
        varint::put(&mut out, length as u64);
        out.put_slice(&self.0[FRAME_BYTES..]);
        out
    }
}

/// Type and length of a DATA frame.
pub fn data_frame(out: &mut BytesMut, length: u64) {
    out.put_u8(0x0);
    varint::put(out, length);
}

/// The control stream up to and with SETTINGS (sections 6.2.1 and 7.2.4): no dynamic table, no blocked streams, and the
/// largest field section that is taken.
pub fn settings(section_bytes_max: u32) -> Bytes {
    let mut payload = BytesMut::new();
    for (setting, value) in [(0x1, 0), (0x6, u64::from(section_bytes_max)), (0x7, 0)] {
        varint::put(&mut payload, setting);
        varint::put(&mut payload, value);
    }
    let mut out = BytesMut::new();
    out.put_slice(&[0x0, 0x4, payload.len() as u8]);
    out.put_slice(&payload);
    out.freeze()
}

/// GOAWAY: requests from this stream on are not processed (section 7.2.6).
pub fn go_away(stream: u64) -> Bytes {
    let mut id = BytesMut::new();
    varint::put(&mut id, stream);
    let mut out = BytesMut::new();
    out.put_slice(&[0x7, id.len() as u8]);
    out.put_slice(&id);
    out.freeze()
}

/// An integer behind some bits that stand before its prefix (RFC 7541 section 5.1).
fn integer(out: &mut BytesMut, before: u8, prefix_bits: u8, mut value: u64) {
    let all = u64::MAX >> (64 - prefix_bits);
    if value < all {
        return out.put_u8(before | value as u8);
    }
    out.put_u8(before | all as u8);
    value -= all;
    while value >= 0x80 {
        out.put_u8(0x80 | (value & 0x7f) as u8);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn string(out: &mut BytesMut, before: u8, prefix_bits: u8, text: &[u8]) {
    integer(out, before, prefix_bits, text.len() as u64);
    out.put_slice(text);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::h3::frame::{Event, Frames};
    use crate::h3::qpack;

    fn read(frame: &[u8]) -> Vec<(String, String)> {
        let mut input = Bytes::copy_from_slice(frame);
        let Ok(Event::Head(section)) = Frames::new(1 << 20).next(&mut input) else { panic!("no head") };
        assert!(input.is_empty());
        let mut lines = Vec::new();
        qpack::decode::<()>(section, 1 << 20, |name, value| {
            let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
            lines.push((text(name), text(value)));
            Ok(())
        })
        .unwrap();
        lines
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (status, length) in [(200, 3), (299, 200), (404, 70_000)] {
            let mut section = FieldSection::head(StatusCode::from_u16(status).unwrap());
            let value = "v".repeat(length);
            section.field("content-type", b"text/html");
            section.field("x-a-name-of-some-length", value.as_bytes());
            let lines = read(&section.finish());
            assert_eq!(lines[0], (":status".to_owned(), status.to_string()));
            assert_eq!(lines[1], ("content-type".to_owned(), "text/html".to_owned()));
            assert_eq!(lines[2], ("x-a-name-of-some-length".to_owned(), value));
        }
    }

    #[test]
    fn frames_of_the_control_stream_have_their_bytes() {
        assert_eq!(&settings(65_536)[..], [0, 4, 9, 1, 0, 6, 0x80, 1, 0, 0, 7, 0]);
        assert_eq!(&go_away(8)[..], [7, 1, 8]);
        assert_eq!(go_away(varint::VARINT_MAX - 3).len(), 10);
    }
}
