//! The small grammars that the caching fields share: tokens, white space, delta-seconds and directive lists.
//!
//! Everything here works on borrowed bytes, allocates nothing and never fails: what cannot be parsed is handed on as
//! [`Argument::Malformed`], so that the reader of each directive can take its most restrictive meaning.

use crate::DeltaSeconds;

/// RFC 9110 section 5.6.2: one or more tchar.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_tchar(b))
}

/// RFC 9110 section 5.6.2.
pub(crate) const fn is_tchar(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
    ) || byte.is_ascii_alphanumeric()
}

/// RFC 9110 section 5.6.3: optional white space is SP and HTAB only.
pub(crate) const fn is_ows(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The bytes without optional white space at either end.
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_ows(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_ows(*last)
    {
        bytes = rest;
    }
    bytes
}

/// RFC 9111 section 1.2.2: digits only; what is too large counts as the largest value. `None` when not digits.
pub(crate) fn delta_seconds(bytes: &[u8]) -> Option<DeltaSeconds> {
    decimal(bytes).map(DeltaSeconds::saturating)
}

/// A non-empty run of digits, saturating at `u64::MAX`: no input overflows it. `None` when not digits.
pub(crate) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0_u64, |value, &byte| {
        byte.is_ascii_digit().then(|| value.saturating_mul(10).saturating_add(u64::from(byte - b'0')))
    })
}

/// A list member's weight in thousandths (RFC 9110 section 12.4.2); what is no weight is none.
pub(crate) fn weight(member: &[u8]) -> u16 {
    let mut parameters = member.split(|&byte| byte == b';').skip(1).map(trim);
    let weight = parameters.find_map(|parameter| match parameter {
        [b'q' | b'Q', b'=', weight @ ..] => Some(weight),
        _ => None,
    });
    let Some(weight) = weight else { return 1000 };
    match weight {
        [b'0', b'.', digits @ ..] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => {
            digits.iter().chain(b"000").take(3).fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'))
        }
        [b'0', ..] => 0,
        _ => 1000,
    }
}

/// What stands behind the `=` of a directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Argument<'a> {
    /// There is no `=`.
    None,
    /// A token.
    Token(&'a [u8]),
    /// The inside of a quoted string, its escapes left as they are.
    Quoted(&'a [u8]),
    /// A String of Structured Fields: like a quoted string, but never a number (RFC 9213 section 2.1).
    Text(&'a [u8]),
    /// Anything else: an empty value, white space around `=`, an open quote, garbage behind the name.
    Malformed,
}

impl Argument<'_> {
    /// The argument as delta-seconds. RFC 9111 section 5.2: recipients ought to accept both token and quoted string.
    pub(crate) fn delta_seconds(self) -> Option<DeltaSeconds> {
        match self {
            Argument::Token(bytes) | Argument::Quoted(bytes) => delta_seconds(bytes),
            Argument::None | Argument::Text(_) | Argument::Malformed => None,
        }
    }
}

/// The members of one Cache-Control line, `name [ "=" argument ]`, in order.
///
/// A quote is honoured only where the quoted string is well formed and ends its member. Otherwise it is an ordinary
/// byte, so that an open quote can never swallow the restrictive directive that follows it.
pub(crate) struct Directives<'a> {
    rest: &'a [u8],
}

/// Reads one Cache-Control line, or one that borrows its grammar.
pub(crate) const fn directives(line: &[u8]) -> Directives<'_> {
    Directives { rest: line }
}

impl<'a> Iterator for Directives<'a> {
    type Item = (&'a [u8], Argument<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        // RFC 9110 section 5.6.1.2: empty list members are skipped.
        let start = self.rest.iter().position(|&b| !is_ows(b) && b != b',')?;
        let member = &self.rest[start..];
        let name_len = member.iter().position(|&b| !is_tchar(b)).unwrap_or(member.len());
        let (name, behind) = member.split_at(name_len);
        let (argument, rest) = argument(behind);
        self.rest = rest;
        Some((name, argument))
    }
}

/// The argument at the start of `behind`, which follows a directive's name, and what follows the member.
fn argument(behind: &[u8]) -> (Argument<'_>, &[u8]) {
    if let [b'=', b'"', quoted @ ..] = behind
        && let Some(len) = quoted_len(quoted)
    {
        let after = &quoted[len + 1..];
        let gap = after.iter().position(|&b| !is_ows(b)).unwrap_or(after.len());
        if after.get(gap).is_none_or(|&b| b == b',') {
            return (Argument::Quoted(&quoted[..len]), &after[gap..]);
        }
    }
    let end = memchr::memchr(b',', behind).unwrap_or(behind.len());
    let (member, rest) = behind.split_at(end);
    let argument = match member {
        [b'=', value @ ..] => {
            let value = value.trim_ascii_end();
            if is_token(value) { Argument::Token(value) } else { Argument::Malformed }
        }
        _ if trim(member).is_empty() => Argument::None,
        _ => Argument::Malformed,
    };
    (argument, rest)
}

/// Bytes before the closing quote; the opening one is already off. `None` when the string never ends.
fn quoted_len(bytes: &[u8]) -> Option<usize> {
    let mut escaped = false;
    bytes.iter().position(|&byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}
