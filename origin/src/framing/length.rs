//! Content-Length and Transfer-Encoding: the two fields that say where a body ends.

use super::FramingError;
use super::words::trim_ows;

/// Digits of 2^64 - 1: a longer length is refused, whatever its leading zeros.
const LENGTH_DIGITS_MAX: usize = 20;

/// Reads all Content-Length field lines of a message. Copies of one value collapse; different values are refused
/// (RFC 9112 6.3 item 5).
pub fn content_length<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Option<u64>, FramingError> {
    let mut found = None;
    for line in lines {
        for value in line.split(|&byte| byte == b',') {
            let length = parse_length(value.trim_ascii())?;
            if found.is_some_and(|earlier| earlier != length) {
                return Err(FramingError::Malformed("content-length fields that differ"));
            }
            found = Some(length);
        }
    }
    Ok(found)
}

/// `1*DIGIT` that fits 64 bits (RFC 9110 8.6): no sign, no space, nothing else.
pub fn parse_length(value: &[u8]) -> Result<u64, FramingError> {
    const BAD: FramingError = FramingError::Malformed("content-length is not a number");
    if value.is_empty() || value.len() > LENGTH_DIGITS_MAX {
        return Err(BAD);
    }
    value.iter().try_fold(0_u64, |length, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0')).ok_or(BAD)?;
        length.checked_mul(10).and_then(|length| length.checked_add(digit)).ok_or(BAD)
    })
}

/// What the Transfer-Encoding field lines of a message say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferEncoding {
    Absent,
    Chunked,
}

/// Takes `chunked`, once, and nothing else: we send no TE, so no other coding may be used with us, and a list that
/// two parsers could read differently is an attack (RFC 9112 6.1). A server answers 501 or 400 on an error.
pub fn transfer_encoding<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<TransferEncoding, FramingError> {
    let mut found = TransferEncoding::Absent;
    for line in lines {
        // Only SP and HTAB are optional white space: VT, FF or 0x85 beside the word is another word.
        let word = trim_ows(line);
        if found == TransferEncoding::Chunked || !word.eq_ignore_ascii_case(b"chunked") {
            return Err(FramingError::Malformed("transfer-encoding other than one chunked"));
        }
        found = TransferEncoding::Chunked;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(lines: &[&str]) -> Result<Option<u64>, FramingError> {
        content_length(lines.iter().map(|line| line.as_bytes()))
    }

    fn coding(lines: &[&[u8]]) -> Result<TransferEncoding, FramingError> {
        transfer_encoding(lines.iter().copied())
    }

    #[test]
    fn a_length_is_digits_and_copies_collapse() {
        assert_eq!(length(&[]), Ok(None));
        assert_eq!(length(&["0"]), Ok(Some(0)));
        assert_eq!(length(&["010"]), Ok(Some(10)));
        assert_eq!(length(&["5", "5"]), Ok(Some(5)));
        assert_eq!(length(&["5, 5"]), Ok(Some(5)));
        assert_eq!(length(&["18446744073709551615"]), Ok(Some(u64::MAX)));
    }

    #[test]
    fn any_other_length_is_refused() {
        for bad in [
            "",
            "+5",
            "-5",
            "0x5",
            "1_0",
            "5Z",
            "5 6",
            "5;",
            "5.0",
            "18446744073709551616",
            "18446744073709551621",
            "000000000000000000005",
            ",5",
            "5,",
            "5, 0",
            "\u{b}5",
        ] {
            assert!(length(&[bad]).is_err(), "{bad:?}");
        }
        assert!(length(&["5", "0"]).is_err());
        assert!(length(&["", "5"]).is_err());
    }

    #[test]
    fn only_one_chunked_is_a_transfer_encoding() {
        assert_eq!(coding(&[]), Ok(TransferEncoding::Absent));
        assert_eq!(coding(&[b"chunked"]), Ok(TransferEncoding::Chunked));
        assert_eq!(coding(&[b"\tChunked "]), Ok(TransferEncoding::Chunked));
        for bad in [
            &b"xchunked"[..],
            b"identity",
            b"chunked, chunked",
            b"chunked, gzip",
            b"gzip, chunked",
            b",chunked",
            b"chunked;q=1",
            b"\x0bchunked",
            b"chunked\x0c",
            b"chunked\x00",
            b"\xa0chunked",
            b"chunked\x85",
            b"",
        ] {
            assert!(coding(&[bad]).is_err(), "{bad:?}");
        }
        assert!(coding(&[b"chunked", b"x"]).is_err());
        assert!(coding(&[b"chunked", b"chunked"]).is_err());
    }
}
