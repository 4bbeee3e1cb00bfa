//! Judging the bytes of a head, many at a time: every byte of every message is looked at here once.
//!
//! Each function is a fast way to a verdict that its bytewise twin gives too; the tests hold the two together.

const WORD_BYTES: usize = 8;
const ONES: u64 = u64::from_ne_bytes([1; WORD_BYTES]);
const HIGH: u64 = ONES << 7;

/// `tchar` of RFC 9110 5.6.2.
#[inline]
pub fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTE[usize::from(byte)]
}

static TOKEN_BYTE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_usize;
    while byte < 128 {
        table[byte] = matches!(
            byte as u8,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-'
                | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        );
        byte += 1;
    }
    table
};

/// Where the first byte is that no token has (RFC 9110 5.6.2); none, if all are token bytes.
#[inline]
pub fn token_end(line: &[u8]) -> Option<usize> {
    let (words, _) = line.as_chunks::<WORD_BYTES>();
    let mut at = 0;
    for word in words {
        let usual = usual_bytes(*word);
        at += usual;
        if usual < WORD_BYTES {
            break;
        }
    }
    // Mostly the colon; else a byte that is rare in names, or the rest of a short line.
    line[at..].iter().position(|&byte| !is_token_byte(byte)).map(|offset| at + offset)
}

/// How many bytes at the start of a word are letters or `-`, as nearly all bytes of names are.
#[inline]
fn usual_bytes(word: [u8; WORD_BYTES]) -> usize {
    let word = u64::from_le_bytes(word);
    // With its high bit set no byte borrows from its neighbour: the high bit stays where the byte is not below `from`.
    let (raw, folded) = (word | HIGH, word | HIGH | (ONES * 0x20));
    let within = |bytes: u64, from: u8, to: u8| {
        bytes.wrapping_sub(ONES * u64::from(from)) & !bytes.wrapping_sub(ONES * (u64::from(to) + 1))
    };
    let usual = within(folded, b'a', b'z') | within(raw, b'-', b'-');
    let others = !(usual & !word) & HIGH;
    (others.trailing_zeros() / 8) as usize
}

/// VCHAR, obs-text, space and tab (RFC 9110 5.5).
#[inline]
pub fn is_value_byte(byte: u8) -> bool {
    (byte >= b' ' && byte != 0x7f) || byte == b'\t'
}

/// Bytes that are judged at once where a value is long enough: one vector register of any x86-64 or arm64.
const VECTOR_BYTES: usize = 16;

/// Whether a value has only bytes that a value may have: so many at a time, the last ones overlapping those before.
#[inline]
pub fn is_field_value(value: &[u8]) -> bool {
    let suspect = match (value.last_chunk::<VECTOR_BYTES>(), value.last_chunk::<WORD_BYTES>()) {
        (Some(last), _) => {
            let mut seen = suspects(last);
            for chunk in value.as_chunks::<VECTOR_BYTES>().0 {
                let more = suspects(chunk);
                seen.iter_mut().zip(more).for_each(|(seen, more)| *seen |= more);
            }
            seen != [0; VECTOR_BYTES]
        }
        (None, Some(last)) => {
            (suspects(last), suspects(value.first_chunk().expect("as long as its last")))
                != ([0; WORD_BYTES], [0; WORD_BYTES])
        }
        (None, None) => true,
    };
    !suspect || value.iter().all(|&byte| is_value_byte(byte))
}

/// Not zero where a byte is below space or a DEL; a tab is below space too, so the caller looks again. Written without a
/// branch, so that the compiler makes it one comparison of a whole register.
#[inline]
fn suspects<const N: usize>(bytes: &[u8; N]) -> [u8; N] {
    bytes.map(|byte| u8::from(byte < b' ') | u8::from(byte == 0x7f))
}

/// A value without the optional white space around it (RFC 9110 5.6.3).
#[inline]
pub fn trim_ows(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_of_a_word_gets_the_verdict_of_its_twin() {
        for byte in 0..=u8::MAX {
            for at in 0..20 {
                let mut line = *b"abcdefghij-KLMNOP.89";
                line[at] = byte;
                assert_eq!(token_end(&line), line.iter().position(|&b| !is_token_byte(b)), "{byte} at {at}");
                assert_eq!(is_field_value(&line), line.iter().all(|&b| is_value_byte(b)), "{byte} at {at}");
            }
        }
    }

    #[test]
    fn short_lines_are_judged_byte_by_byte() {
        assert_eq!(token_end(b""), None);
        assert_eq!(token_end(b"a:"), Some(1));
        assert_eq!(token_end(b"TE_x: b"), Some(4));
    }
}
