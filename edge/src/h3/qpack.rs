//! Field sections, decoded (RFC 9204 section 4.5). Only the static table is there: a reference to anything else is an error
//! of the connection, as our settings allow none.

use bytes::{Buf, Bytes, BytesMut};

use super::error::Code;
use super::huffman;
use super::static_table::TABLE;

/// What a field counts beside its name and value (RFC 9114 section 4.2.2).
const FIELD_OVERHEAD_BYTES: u64 = 32;

/// Why a section was not read to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop<E> {
    /// The connection is broken.
    Connection(Code),
    /// Decoded it is larger than allowed.
    TooLarge,
    /// The taker wants no more.
    Taker(E),
}

/// Hands every field line to `take`, in order; values are slices of the section where they can be.
pub(super) fn decode<E>(
    mut section: Bytes,
    bytes_max: u32,
    mut take: impl FnMut(Bytes, Bytes) -> Result<(), E>,
) -> Result<(), Stop<E>> {
    let broken = || Stop::Connection(Code::QpackDecompressionFailed);
    // A section that needs nothing of the dynamic table (section 4.5.1.1); the base then means nothing.
    if integer(&mut section, 8).ok_or_else(broken)? != 0 || integer(&mut section, 7).is_none() {
        return Err(broken());
    }
    let mut scratch = BytesMut::new();
    let mut left = u64::from(bytes_max);
    while section.has_remaining() {
        let (name, value) = line(&mut section, &mut scratch).ok_or_else(broken)?;
        let size = name.len() as u64 + value.len() as u64 + FIELD_OVERHEAD_BYTES;
        left = left.checked_sub(size).ok_or(Stop::TooLarge)?;
        take(name, value).map_err(Stop::Taker)?;
    }
    Ok(())
}

/// One field line (sections 4.5.2 to 4.5.6); none for what is malformed or refers to the dynamic table.
fn line(section: &mut Bytes, scratch: &mut BytesMut) -> Option<(Bytes, Bytes)> {
    let first = section[0];
    if first & 0x80 != 0 {
        let index = integer(section, 6)?;
        let (name, value) = known(index).filter(|_| first & 0x40 != 0)?;
        return Some((Bytes::from_static(name.as_bytes()), Bytes::from_static(value.as_bytes())));
    }
    let name = if first & 0x40 != 0 {
        let (name, _) = known(integer(section, 4)?).filter(|_| first & 0x10 != 0)?;
        Bytes::from_static(name.as_bytes())
    } else if first & 0x20 != 0 {
        string(section, 3, scratch)?
    } else {
        return None;
    };
    Some((name, string(section, 7, scratch)?))
}

fn known(index: u64) -> Option<(&'static str, &'static str)> {
    TABLE.get(usize::try_from(index).ok()?).copied()
}

/// A string literal whose length has a prefix of so many bits; the bit before it tells the Huffman code (section 4.1.2).
fn string(section: &mut Bytes, prefix_bits: u8, scratch: &mut BytesMut) -> Option<Bytes> {
    let coded = section.first()? & 1 << prefix_bits != 0;
    let length = usize::try_from(integer(section, prefix_bits)?).ok().filter(|length| *length <= section.len())?;
    let text = section.split_to(length);
    if !coded {
        return Some(text);
    }
    huffman::decode(&text, scratch).then(|| scratch.split().freeze())
}

/// An integer with a prefix of so many bits (RFC 7541 section 5.1); none when it is cut short, or beyond 62 bits.
pub(super) fn integer(input: &mut Bytes, prefix_bits: u8) -> Option<u64> {
    let all = u64::MAX >> (64 - prefix_bits);
    let mut value = u64::from(input.try_get_u8().ok()?) & all;
    if value < all {
        return Some(value);
    }
    for shift in (0..56).step_by(7) {
        let byte = input.try_get_u8().ok()?;
        value += u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn lines(section: &[u8], bytes_max: u32) -> Result<Vec<(String, String)>, Stop<()>> {
        let mut lines = Vec::new();
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        decode(Bytes::copy_from_slice(section), bytes_max, |name, value| {
            lines.push((text(&name), text(&value)));
            Ok(())
        })?;
        Ok(lines)
    }

    #[test]
    fn every_form_of_line_is_read() {
        // RFC 9204 appendix B.1, then an indexed line, a literal name, and a Huffman string.
        let mut section = vec![0, 0, 0x51, 0x0b];
        section.extend_from_slice(b"/index.html");
        section.extend_from_slice(&[0xd1, 0x23]);
        section.extend_from_slice(b"abc\x01x");
        section.extend_from_slice(&[0x5f, 0x1d, 0x85, 0xae, 0xc3, 0x77, 0x1a, 0x4b]);
        let wanted = [(":path", "/index.html"), (":method", "GET"), ("abc", "x"), ("content-type", "private")];
        let read = lines(&section, 1_000).unwrap();
        assert_eq!(read.iter().map(|(name, value)| (&**name, &**value)).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn references_to_what_is_not_there_break_the_connection() {
        let broken = Err(Stop::Connection(Code::QpackDecompressionFailed));
        for section in [
            &[][..],
            &[0],
            &[2, 0],
            &[0, 0, 0x80],
            &[0, 0, 0xff, 0x7f],
            &[0, 0, 0x10],
            &[0, 0, 0x40, 0],
            &[0, 0, 0x00, 0],
            &[0, 0, 0x51, 5, b'x'],
            &[0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(lines(section, 1_000), broken, "{section:?}");
        }
    }

    #[test]
    fn a_section_is_bounded_by_what_it_decodes_to() {
        let section = [&[0, 0][..], &[0xd1; 10]].concat();
        assert_eq!(lines(&section, 420).unwrap().len(), 10);
        assert_eq!(lines(&section, 419), Err(Stop::TooLarge));
    }

    proptest! {
        #[test]
        fn no_bytes_upset_it(section in prop::collection::vec(any::<u8>(), 0..100)) {
            drop(lines(&[&[0, 0], &section[..]].concat(), 10_000));
        }
    }
}
