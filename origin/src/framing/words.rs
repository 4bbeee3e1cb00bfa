//! Judging the bytes of a head, eight at a time: every byte of every message is looked at here once.
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

/// How many bytes at the start of a word are letters, digits, `-` or `.`, as nearly all bytes of names are.
#[inline]
fn usual_bytes(word: [u8; WORD_BYTES]) -> usize {
    let word = u64::from_le_bytes(word);
    // With its high bit set no byte borrows from its neighbour: the high bit stays where the byte is not below `from`.
    let (raw, folded) = (word | HIGH, word | HIGH | (ONES * 0x20));
    let within = |bytes: u64, from: u8, to: u8| {
        bytes.wrapping_sub(ONES * u64::from(from)) & !bytes.wrapping_sub(ONES * (u64::from(to) + 1))
    };
    let usual = within(folded, b'a', b'z') | within(raw, b'0', b'9') | within(raw, b'-', b'.');
    let others = !(usual & !word) & HIGH;
    (others.trailing_zeros() / 8) as usize
}

/// VCHAR, obs-text, space and tab (RFC 9110 5.5).
#[inline]
pub fn is_value_byte(byte: u8) -> bool {
    (byte >= b' ' && byte != 0x7f) || byte == b'\t'
}

/// Whether a value has only bytes that a value may have: eight at a time, the last eight overlapping what went before.
#[inline]
pub fn is_field_value(value: &[u8]) -> bool {
    let Some(last) = value.last_chunk::<WORD_BYTES>() else { return value.iter().all(|&byte| is_value_byte(byte)) };
    let (words, _) = value.as_chunks::<WORD_BYTES>();
    let suspects = words.iter().fold(suspects(*last), |seen, word| seen | suspects(*word));
    suspects == 0 || value.iter().all(|&byte| is_value_byte(byte))
}

/// Not zero if a word has a byte below space or a DEL; a tab is below space too, so the caller looks again.
#[inline]
fn suspects(word: [u8; WORD_BYTES]) -> u64 {
    let word = u64::from_ne_bytes(word);
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let del = word ^ (ONES * 0x7f);
    (below_space | (del.wrapping_sub(ONES) & !del)) & HIGH
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
