//! Entity tags (RFC 9110 section 8.8.3): comparing them, and walking the lists of If-Match and If-None-Match.
//!
//! Tags stay the bytes they came as. One that is not well formed, as some origins send them without quotes, still
//! equals itself in a weak comparison, but nothing in a strong one.

use crate::syntax::is_ows;

/// RFC 9110 section 8.8.3.2: equal, whether or not either is weak.
pub fn weak_match(a: &[u8], b: &[u8]) -> bool {
    !a.is_empty() && opaque(a) == opaque(b)
}

/// RFC 9110 section 8.8.3.2: equal, and neither is weak.
pub fn strong_match(a: &[u8], b: &[u8]) -> bool {
    is_strong(a) && a == b
}

/// A well-formed tag without `W/`.
pub fn is_strong(tag: &[u8]) -> bool {
    matches!(tag, [b'"', inside @ .., b'"'] if inside.iter().all(|&b| is_etagc(b)))
}

const fn is_etagc(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x7e | 0x80..)
}

/// The tag without its weakness; `W/` is case-sensitive.
fn opaque(tag: &[u8]) -> &[u8] {
    match tag {
        [b'W', b'/', opaque @ ..] if opaque.starts_with(b"\"") => opaque,
        tag => tag,
    }
}

/// Whether the field is `*`, which stands alone (RFC 9110 sections 13.1.1 and 13.1.2).
pub(crate) fn is_any(lines: &[&[u8]]) -> bool {
    let mut members = lines.iter().flat_map(|line| members(line));
    members.next() == Some(b"*") && members.next().is_none()
}

/// The members of one line; a comma inside quotes separates nothing.
pub(crate) fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let start = rest.iter().position(|&b| !is_ows(b) && b != b',')?;
        let member = &rest[start..];
        let quote = if member.starts_with(b"W/") { 2 } else { 0 };
        let quoted = member.get(quote) == Some(&b'"');
        let close = quoted.then(|| memchr::memchr(b'"', &member[quote + 1..])).flatten();
        let len = match close {
            Some(close) => quote + close + 2,
            None => memchr::memchr(b',', member).unwrap_or(member.len()),
        };
        let (member, behind) = member.split_at(len);
        rest = behind;
        Some(member.trim_ascii_end())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_rfc_9110_section_8_8_3_2_holds() {
        for (a, b, strong, weak) in [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
            ("1", "1", false, true),
            ("w/\"1\"", "\"1\"", false, false),
            ("", "", false, false),
            ("\"a b\"", "\"a b\"", false, true),
            ("\"\"", "\"\"", true, true),
            ("\"", "\"", false, true),
        ] {
            assert_eq!(strong_match(a.as_bytes(), b.as_bytes()), strong, "strong {a} {b}");
            assert_eq!(weak_match(a.as_bytes(), b.as_bytes()), weak, "weak {a} {b}");
        }
    }

    #[test]
    fn a_comma_inside_a_tag_separates_nothing() {
        let list = b" \"a,b\" ,, W/\"c\",d e ,\"open, \"";
        let found: Vec<&[u8]> = members(list).collect();
        assert_eq!(found, [&b"\"a,b\""[..], b"W/\"c\"", b"d e", b"\"open, \""]);
    }

    #[test]
    fn the_star_stands_alone() {
        assert!(is_any(&[b" * "]));
        assert!(!is_any(&[b"*", b"\"a\""]));
        assert!(!is_any(&[b"\"*\""]));
        assert!(!is_any(&[]));
    }
}
