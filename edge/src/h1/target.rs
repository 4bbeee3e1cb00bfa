//! The request target: which of the forms of RFC 9112 3.2 it is, and where its parts lie.
//!
//! Only bytes are judged here. Dot segments, percent signs and query rules belong to the key (`headland_cache`).
//! A path may begin with `//`: it is a path, never an authority.

use std::borrow::Cow;

use http::Method;

use super::authority::is_authority;
use super::fields::Span;
use super::refuse::Reason;

/// The target of a request, as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `/path?query`, what clients send to a server.
    Origin(&'a [u8]),
    /// `http://host/path?query`, what clients send to a proxy; servers must take it too.
    Absolute {
        /// Whether the scheme is https.
        https: bool,
        /// Host and port; wins over the Host field (RFC 9112 3.2.2).
        authority: &'a [u8],
        /// What follows the authority: empty, or beginning with `/` or `?`.
        rest: &'a [u8],
    },
    /// `*`, the server itself; with OPTIONS only.
    Asterisk,
}

impl<'a> Target<'a> {
    /// Path and query as an origin server is asked for them, beginning with `/` (or `*`).
    pub fn path_and_query(&self) -> Cow<'a, [u8]> {
        match *self {
            Self::Origin(path) => Cow::Borrowed(path),
            Self::Absolute { rest, .. } if rest.first() == Some(&b'/') => Cow::Borrowed(rest),
            Self::Absolute { rest, .. } => Cow::Owned([b"/", rest].concat()),
            Self::Asterisk => Cow::Borrowed(b"*"),
        }
    }
}

/// Where the parts of a target lie in the head.
#[derive(Clone, Copy, Debug)]
pub(super) enum TargetSpans {
    Origin(Span),
    Absolute { https: bool, authority: Span, rest: Span },
    Asterisk,
}

impl TargetSpans {
    /// Reads the target that lies at `span` of the head (RFC 9112 3.2).
    #[inline]
    pub(super) fn read(head: &[u8], span: Span, method: &Method) -> Result<Self, Reason> {
        let target = span.of(head);
        check_bytes(target)?;
        match target {
            [b'/', ..] => Ok(Self::Origin(span)),
            b"*" if *method == Method::OPTIONS => Ok(Self::Asterisk),
            _ => Self::read_absolute(target, span.start),
        }
    }

    fn read_absolute(target: &[u8], start: u16) -> Result<Self, Reason> {
        let (https, scheme_bytes) = match target {
            _ if has_prefix(target, b"http://") => (false, 7),
            _ if has_prefix(target, b"https://") => (true, 8),
            _ => return Err(Reason::BadTarget),
        };
        let after = &target[scheme_bytes..];
        let authority_bytes = after.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(after.len());
        if !is_authority(&after[..authority_bytes]) {
            return Err(Reason::HostBad);
        }
        let authority_start = start + scheme_bytes as u16;
        let rest_start = authority_start + authority_bytes as u16;
        Ok(Self::Absolute {
            https,
            authority: Span { start: authority_start, end: rest_start },
            rest: Span { start: rest_start, end: start + target.len() as u16 },
        })
    }

    pub(super) fn of(self, head: &[u8]) -> Target<'_> {
        match self {
            Self::Origin(span) => Target::Origin(span.of(head)),
            Self::Absolute { https, authority, rest } => {
                Target::Absolute { https, authority: authority.of(head), rest: rest.of(head) }
            }
            Self::Asterisk => Target::Asterisk,
        }
    }
}

fn has_prefix(target: &[u8], prefix: &[u8]) -> bool {
    target.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

/// Visible ASCII only, without `#` (a fragment never travels, RFC 9112 3.2) and `\` (some servers read it as `/`).
#[inline]
pub(crate) fn check_bytes(target: &[u8]) -> Result<(), Reason> {
    match target.iter().find(|&&byte| !TARGET_BYTE[usize::from(byte)]) {
        None => Ok(()),
        Some(0) => Err(Reason::Nul),
        Some(b'\r') => Err(Reason::BareCr),
        Some(_) => Err(Reason::BadTarget),
    }
}

static TARGET_BYTE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0x21_usize;
    while byte < 0x7f {
        table[byte] = byte as u8 != b'#' && byte as u8 != b'\\';
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn read(target: &str, method: &Method) -> Result<String, Reason> {
        let head = format!("{method} {target}");
        let start = method.as_str().len() as u16 + 1;
        let spans = TargetSpans::read(head.as_bytes(), Span { start, end: head.len() as u16 }, method)?;
        Ok(String::from_utf8_lossy(&spans.of(head.as_bytes()).path_and_query()).into_owned())
    }

    #[test]
    fn the_absolute_form_is_taken_apart() {
        let cases =
            [("http://h", "/"), ("HTTPS://h:8443/a?b", "/a?b"), ("http://h?b", "/?b"), ("http://[::1]/x", "/x")];
        for (target, path) in cases {
            assert_eq!(read(target, &Method::GET).as_deref(), Ok(path), "{target}");
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for bad in ["", "a", "@evil/", "h/x", "*", "**", "/#f", "/\\", "/\u{ff}", "/\t", "ftp://h/", "http:/h", "?q"] {
            assert_eq!(read(bad, &Method::GET), Err(Reason::BadTarget), "{bad}");
        }
        for bad in ["http://", "http:///x", "http://u@h/", "http://h:0/", "https://[::1/"] {
            assert_eq!(read(bad, &Method::GET), Err(Reason::HostBad), "{bad}");
        }
    }

    #[test]
    fn the_asterisk_goes_with_options_only() {
        assert_eq!(read("*", &Method::OPTIONS).as_deref(), Ok("*"));
        assert_eq!(read("*", &Method::HEAD), Err(Reason::BadTarget));
    }

    #[test]
    fn two_slashes_are_a_path() {
        assert_eq!(read("//evil/x", &Method::GET).as_deref(), Ok("//evil/x"));
    }
}
