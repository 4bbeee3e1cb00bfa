//! Fields that are Structured Fields (RFC 9651): Dictionaries of cache directives (RFC 9213), Dictionaries of lists of
//! names, Lists of Strings.
//!
//! The parser is strict, as RFC 9651 section 4.2 demands: one error anywhere and the field counts as absent, so that
//! the next field in line decides. Several lines of a field are parsed as if joined by a comma.

use smallvec::SmallVec;

use crate::directives::{DirectiveSource, ResponseDirectives};
use crate::syntax::{Argument, is_ows, is_tchar};

/// A Dictionary with more members than this counts as unparsable. RFC 9651 section 3.2 asks for 1,024 at least.
const MEMBERS_MAX: usize = 1024;

type Members<'a, T> = SmallVec<[(&'a [u8], T); 8]>;

/// A member of a Dictionary whose values are booleans and lists of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Member {
    Boolean(bool),
    /// An Inner List of Strings, without their escapes.
    Strings(Vec<Vec<u8>>),
    /// Any other value.
    Other,
}

/// The directives of a targeted field. RFC 9213 section 2.2: `None` when it is absent, empty or does not parse.
pub(crate) fn targeted_directives(lines: &[&[u8]]) -> Option<ResponseDirectives> {
    let joined;
    let text = match lines {
        [] => return None,
        [line] => line,
        lines => {
            joined = lines.join(b", ".as_slice());
            joined.as_slice()
        }
    };
    let members = dictionary(text, Argument::None, Cursor::member)?;
    if members.is_empty() {
        return None;
    }
    let mut directives = ResponseDirectives { source: DirectiveSource::Targeted, ..ResponseDirectives::default() };
    for (name, argument) in members {
        directives.add(name, argument);
    }
    Some(directives)
}

/// A List (RFC 9651 section 4.2.1) of Strings, without their escapes; `None` when it does not parse or has anything else.
pub(crate) fn strings(lines: &[&[u8]]) -> Option<Vec<Vec<u8>>> {
    let joined = lines.join(b", ".as_slice());
    let mut cursor = Cursor { rest: &joined };
    let mut found = Vec::new();
    cursor.skip_spaces();
    while !cursor.rest.is_empty() {
        let Argument::Text(escaped) = cursor.member()? else { return None };
        cursor.parameters()?;
        if found.len() == MEMBERS_MAX {
            return None;
        }
        found.push(unescaped(escaped));
        cursor.skip_ows();
        if cursor.rest.is_empty() {
            break;
        }
        cursor.eat(b',').then_some(())?;
        cursor.skip_ows();
        // RFC 9651 section 4.2.1: a trailing comma is an error.
        (!cursor.rest.is_empty()).then_some(())?;
    }
    Some(found)
}

/// A Dictionary of booleans and lists of Strings; `None` when it does not parse.
pub(crate) fn members(text: &[u8]) -> Option<impl Iterator<Item = (&[u8], Member)>> {
    Some(dictionary(text, Member::Boolean(true), Cursor::boolean_or_strings)?.into_iter())
}

/// The inside of a String; a backslash stands before each quote and backslash.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = text.iter();
    std::iter::from_fn(|| bytes.next().and_then(|&byte| if byte == b'\\' { bytes.next().copied() } else { Some(byte) }))
        .collect()
}

/// RFC 9651 section 4.2.2. Of equal keys the last one stays; a key alone has the value `bare`.
fn dictionary<'a, T: Clone>(
    text: &'a [u8],
    bare: T,
    member: impl Fn(&mut Cursor<'a>) -> Option<T>,
) -> Option<Members<'a, T>> {
    let mut members = Members::new();
    let mut cursor = Cursor { rest: text.trim_ascii_start() };
    cursor.skip_spaces();
    while !cursor.rest.is_empty() {
        let key = cursor.key()?;
        let argument = if cursor.eat(b'=') { member(&mut cursor)? } else { bare.clone() };
        cursor.parameters()?;
        match members.iter().position(|(known, _)| *known == key) {
            Some(place) => members[place].1 = argument,
            None if members.len() == MEMBERS_MAX => return None,
            None => members.push((key, argument)),
        }
        cursor.skip_ows();
        if cursor.rest.is_empty() {
            break;
        }
        cursor.eat(b',').then_some(())?;
        cursor.skip_ows();
        // RFC 9651 section 4.2.2: a trailing comma is an error.
        (!cursor.rest.is_empty()).then_some(())?;
    }
    Some(members)
}

/// What is left of the field.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        if is {
            self.rest = &self.rest[1..];
        }
        is
    }

    /// The longest prefix whose bytes all satisfy `accept`.
    fn take(&mut self, accept: impl Fn(u8) -> bool) -> &'a [u8] {
        let len = self.rest.iter().position(|&b| !accept(b)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }

    fn skip_spaces(&mut self) {
        self.take(|b| b == b' ');
    }

    fn skip_ows(&mut self) {
        self.take(is_ows);
    }

    /// RFC 9651 section 4.2.3.3.
    fn key(&mut self) -> Option<&'a [u8]> {
        self.peek().filter(|&b| b.is_ascii_lowercase() || b == b'*')?;
        Some(self.take(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.' | b'*')))
    }

    /// RFC 9651 section 4.2.3.2: parameters mean nothing to a cache directive, but have to parse.
    fn parameters(&mut self) -> Option<()> {
        while self.eat(b';') {
            self.skip_spaces();
            self.key()?;
            if self.eat(b'=') {
                self.bare_item()?;
            }
        }
        Some(())
    }

    /// An item or an inner list (RFC 9651 section 4.2.1.1), without the parameters that follow it.
    fn member(&mut self) -> Option<Argument<'a>> {
        if !self.eat(b'(') {
            return self.bare_item();
        }
        loop {
            self.skip_spaces();
            if self.eat(b')') {
                return Some(Argument::Malformed);
            }
            self.bare_item()?;
            self.parameters()?;
            matches!(self.peek(), Some(b' ' | b')')).then_some(())?;
        }
    }

    /// The same, told apart by what a list of names needs to know.
    fn boolean_or_strings(&mut self) -> Option<Member> {
        if self.rest.starts_with(b"(") {
            return self.inner_strings();
        }
        let start = self.rest;
        self.bare_item()?;
        Some(match start {
            [b'?', b'1', ..] => Member::Boolean(true),
            [b'?', ..] => Member::Boolean(false),
            _ => Member::Other,
        })
    }

    fn inner_strings(&mut self) -> Option<Member> {
        self.eat(b'(');
        let mut found = Some(Vec::new());
        loop {
            self.skip_spaces();
            if self.eat(b')') {
                return Some(found.map_or(Member::Other, Member::Strings));
            }
            match (self.bare_item()?, &mut found) {
                (Argument::Text(escaped), Some(strings)) if strings.len() < MEMBERS_MAX => {
                    strings.push(unescaped(escaped));
                }
                _ => found = None,
            }
            self.parameters()?;
            matches!(self.peek(), Some(b' ' | b')')).then_some(())?;
        }
    }

    /// RFC 9651 section 4.2.3.1. A type that no directive takes is handed on as a malformed argument.
    fn bare_item(&mut self) -> Option<Argument<'a>> {
        match self.peek()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'*' | b'A'..=b'Z' | b'a'..=b'z' => {
                Some(Argument::Token(self.take(|b| is_tchar(b) || matches!(b, b':' | b'/'))))
            }
            b':' => self.byte_sequence(),
            b'?' => self.boolean(),
            b'@' => {
                self.eat(b'@');
                let (digits, decimal) = self.digits()?;
                (!decimal && !digits.is_empty()).then_some(Argument::Malformed)
            }
            b'%' => self.display_string(),
            _ => None,
        }
    }

    /// RFC 9651 section 4.2.4: up to 15 digits, or up to 12 and a fraction of up to 3.
    fn number(&mut self) -> Option<Argument<'a>> {
        let negative = self.peek() == Some(b'-');
        let (digits, decimal) = self.digits()?;
        // A lifetime is a non-negative Integer; of any other number RFC 9111 section 4.2.1 says to assume stale.
        Some(if negative || decimal { Argument::Malformed } else { Argument::Token(digits) })
    }

    /// The digits of a number and whether it has a fraction.
    fn digits(&mut self) -> Option<(&'a [u8], bool)> {
        self.eat(b'-');
        let whole = self.take(|b| b.is_ascii_digit());
        if !self.eat(b'.') {
            return (1..=15).contains(&whole.len()).then_some((whole, false));
        }
        let fraction = self.take(|b| b.is_ascii_digit());
        ((1..=12).contains(&whole.len()) && (1..=3).contains(&fraction.len())).then_some((whole, true))
    }

    /// RFC 9651 section 4.2.5. Its inside counts as a quoted string, from which only field names are read.
    fn string(&mut self) -> Option<Argument<'a>> {
        self.eat(b'"');
        let start = self.rest;
        loop {
            let len = start.len() - self.rest.len();
            match self.peek()? {
                b'"' => {
                    self.rest = &self.rest[1..];
                    return Some(Argument::Text(&start[..len]));
                }
                b'\\' => {
                    matches!(self.rest.get(1), Some(b'"' | b'\\')).then_some(())?;
                    self.rest = &self.rest[2..];
                }
                0x20..=0x7e => self.rest = &self.rest[1..],
                _ => return None,
            }
        }
    }

    /// RFC 9651 section 4.2.7.
    fn byte_sequence(&mut self) -> Option<Argument<'a>> {
        self.eat(b':');
        self.take(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
        self.eat(b':').then_some(Argument::Malformed)
    }

    /// RFC 9651 section 4.2.8. `?1` is what a bare key means; `?0` withdraws nothing that restricts.
    fn boolean(&mut self) -> Option<Argument<'a>> {
        self.eat(b'?');
        if self.eat(b'1') {
            return Some(Argument::None);
        }
        self.eat(b'0').then_some(Argument::Malformed)
    }

    /// RFC 9651 section 4.2.10: `%"..."` with lower-case percent escapes.
    fn display_string(&mut self) -> Option<Argument<'a>> {
        (self.eat(b'%') && self.eat(b'"')).then_some(())?;
        loop {
            self.take(|b| (0x20..=0x7e).contains(&b) && b != b'"' && b != b'%');
            if self.eat(b'"') {
                return Some(Argument::Malformed);
            }
            self.eat(b'%').then_some(())?;
            let hex = self.rest.get(..2)?;
            hex.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')).then_some(())?;
            self.rest = &self.rest[2..];
        }
    }
}

#[cfg(test)]
mod tests;
