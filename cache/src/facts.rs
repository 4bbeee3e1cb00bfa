//! What the cache needs to know of a request and of a response, gathered in one pass over the field lines.
//!
//! Gathering a request is on the path of every memory hit: names are told apart by length first, nothing is
//! allocated for a normal request, and values are kept as they came. Interpreting them is left to whoever needs them.

use http::Method;
use smallvec::SmallVec;

use crate::Fields;
use crate::directives::{DirectiveSource, RequestDirectives, ResponseDirectives};
use crate::{structured, surrogate};

/// The values of one field, line by line.
pub type Lines<'a> = SmallVec<[&'a [u8]; 1]>;

/// What the cache needs to know of one request.
#[derive(Debug, Clone)]
pub struct RequestFacts<'a> {
    pub method: &'a Method,
    pub directives: RequestDirectives,
    /// Whether there is an Authorization field (RFC 9111 section 3.5).
    pub authorization: bool,
    pub cookie: bool,
    /// X-HTTP-Method-Override or one of its spellings: an origin may take the request for another method's.
    pub method_override: bool,
    /// Two lines of a field that is no list leave an empty value here, which no grammar accepts; so below.
    pub range: Option<&'a [u8]>,
    pub if_range: Option<&'a [u8]>,
    pub if_match: Lines<'a>,
    pub if_none_match: Lines<'a>,
    pub if_modified_since: Option<&'a [u8]>,
    pub if_unmodified_since: Option<&'a [u8]>,
}

impl<'a> RequestFacts<'a> {
    /// Whether the answer may be other than the whole response: conditions (RFC 9110 section 13) or a range.
    pub fn is_conditional(&self) -> bool {
        self.range.is_some()
            || !self.if_none_match.is_empty()
            || self.if_modified_since.is_some()
            || !self.if_match.is_empty()
            || self.if_unmodified_since.is_some()
    }

    /// A request without any field that matters: what a background revalidation asks.
    pub fn plain(method: &'a Method) -> Self {
        RequestFacts {
            method,
            directives: RequestDirectives::default(),
            authorization: false,
            cookie: false,
            method_override: false,
            range: None,
            if_range: None,
            if_match: Lines::new(),
            if_none_match: Lines::new(),
            if_modified_since: None,
            if_unmodified_since: None,
        }
    }

    /// Reads all field lines of a request once.
    pub fn gather<F: Fields>(method: &'a Method, fields: &'a F) -> Self {
        let mut facts = RequestFacts::plain(method);
        let mut cache_control = false;
        let mut pragma = None;
        for (name, value) in fields.lines() {
            match name.len() {
                5 if is(name, b"range") => single(&mut facts.range, value),
                6 if is(name, b"cookie") => facts.cookie = true,
                6 if is(name, b"pragma") => pragma = Some(value),
                8 if is(name, b"if-match") => facts.if_match.push(value),
                8 if is(name, b"if-range") => single(&mut facts.if_range, value),
                13 if is(name, b"cache-control") => {
                    cache_control = true;
                    facts.directives.add_line(value);
                }
                13 if is(name, b"authorization") => facts.authorization = true,
                13 if is(name, b"if-none-match") => facts.if_none_match.push(value),
                13 | 17 | 19 | 22 => facts.gather_rare(name, value),
                _ => {}
            }
        }
        if let Some(line) = pragma
            && !cache_control
        {
            facts.directives.add_pragma(line);
        }
        facts
    }

    /// The fields that few requests carry, apart so that the loop above stays small.
    fn gather_rare(&mut self, name: &[u8], value: &'a [u8]) {
        match name.len() {
            17 if is(name, b"if-modified-since") => single(&mut self.if_modified_since, value),
            19 if is(name, b"if-unmodified-since") => single(&mut self.if_unmodified_since, value),
            13 if is(name, b"x-http-method") => self.method_override = true,
            17 if is(name, b"x-method-override") => self.method_override = true,
            22 if is(name, b"x-http-method-override") => self.method_override = true,
            _ => {}
        }
    }
}

/// Whether a field's name, in any case, is `lower`.
#[inline]
fn is(name: &[u8], lower: &[u8]) -> bool {
    name.eq_ignore_ascii_case(lower)
}

/// A field that is no list: a second line makes it invalid.
fn single<'a>(slot: &mut Option<&'a [u8]>, value: &'a [u8]) {
    *slot = Some(if slot.is_some() { b"" } else { value });
}

/// What the cache needs to know of one response head.
#[derive(Debug, Clone, Default)]
pub struct ResponseFacts<'a> {
    pub directives: ResponseDirectives,
    pub expires: Lines<'a>,
    pub age: Lines<'a>,
    pub vary: Lines<'a>,
    pub date: Option<&'a [u8]>,
    pub last_modified: Option<&'a [u8]>,
    pub etag: Option<&'a [u8]>,
    pub content_encoding: Lines<'a>,
    pub set_cookie: bool,
    /// Access-Control-Allow-Origin where it names one page.
    pub allowed_origin: Option<&'a [u8]>,
    /// `Access-Control-Allow-Credentials: true`.
    pub credentials_allowed: bool,
    /// `Pragma: no-cache` without a Cache-Control beside it.
    pub pragma_no_cache: bool,
}

impl<'a> ResponseFacts<'a> {
    /// Reads all field lines of a response once, and the directives of the field that is meant for this cache.
    pub fn gather<F: Fields>(fields: &'a F) -> Self {
        let mut facts = ResponseFacts::default();
        let (mut cache_control, mut own, mut cdn, mut surrogate) =
            (Lines::new(), Lines::new(), Lines::new(), Lines::new());
        for (name, value) in fields.lines() {
            match name.len() {
                3 if is(name, b"age") => facts.age.push(value),
                4 if is(name, b"vary") => facts.vary.push(value),
                4 if is(name, b"date") => _ = facts.date.get_or_insert(value),
                4 if is(name, b"etag") => _ = facts.etag.get_or_insert(value),
                6 if is(name, b"pragma") => facts.pragma_no_cache |= has_no_cache(value),
                7 if is(name, b"expires") => facts.expires.push(value),
                10 if is(name, b"set-cookie") => facts.set_cookie = true,
                13 if is(name, b"cache-control") => cache_control.push(value),
                13 if is(name, b"last-modified") => _ = facts.last_modified.get_or_insert(value),
                16 if is(name, b"content-encoding") => facts.content_encoding.push(value),
                17 if is(name, b"cdn-cache-control") => cdn.push(value),
                17 if is(name, b"surrogate-control") => surrogate.push(value),
                26 if is(name, b"headland-cdn-cache-control") => own.push(value),
                27 if is(name, b"access-control-allow-origin") && value != b"*" => facts.allowed_origin = Some(value),
                32 if is(name, b"access-control-allow-credentials") => facts.credentials_allowed = value == b"true",
                _ => {}
            }
        }
        facts.pragma_no_cache &= cache_control.is_empty();
        // RFC 9213 section 2.2: the first field of the target list that is present and valid is the one obeyed.
        facts.directives = structured::targeted_directives(&own)
            .or_else(|| structured::targeted_directives(&cdn))
            .or_else(|| surrogate::directives(&surrogate))
            .unwrap_or_else(|| from_cache_control(&cache_control));
        if facts.directives.source == DirectiveSource::Targeted {
            // RFC 9213 section 2.2: Cache-Control and Expires MUST be ignored then.
            facts.expires.clear();
            facts.pragma_no_cache = false;
        }
        facts
    }
}

fn has_no_cache(pragma: &[u8]) -> bool {
    crate::syntax::directives(pragma).any(|(name, _)| is(name, b"no-cache"))
}

fn from_cache_control(lines: &[&[u8]]) -> ResponseDirectives {
    let mut directives = ResponseDirectives::default();
    for line in lines {
        directives.add_line(line);
    }
    directives
}

/// Whether `name` is one of the fields that [`ResponseFacts`] prefers to Cache-Control.
pub fn is_targeted_field(name: &[u8]) -> bool {
    match name.len() {
        17 => is(name, b"cdn-cache-control") || is(name, b"surrogate-control"),
        26 => is(name, b"headland-cdn-cache-control"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::Lines as Message;

    #[test]
    fn every_field_is_found_in_any_case() {
        let lines = [
            ("RANGE", "bytes=0-1"),
            ("cookie", "a=b"),
            ("AUTHORIZATION", "x"),
            ("If-match", "\"1\""),
            ("If-Match", "\"2\""),
            ("if-RANGE", "\"3\""),
            ("If-None-Match", "\"4\""),
            ("if-none-match", "\"5\""),
            ("If-Modified-Since", "a"),
            ("If-Unmodified-Since", "b"),
            ("X-HTTP-METHOD", "PUT"),
            ("Cache-Control", "no-cache"),
        ];
        let message = Message::of(&lines);
        let facts = RequestFacts::gather(&Method::GET, &message);
        assert!(facts.cookie && facts.authorization && facts.method_override && facts.directives.no_cache);
        assert_eq!((facts.range, facts.if_range), (Some(&b"bytes=0-1"[..]), Some(&b"\"3\""[..])));
        assert_eq!(facts.if_match.as_slice(), [b"\"1\"", b"\"2\""]);
        assert_eq!(facts.if_none_match.as_slice(), [b"\"4\"", b"\"5\""]);
        assert_eq!((facts.if_modified_since, facts.if_unmodified_since), (Some(&b"a"[..]), Some(&b"b"[..])));
    }

    #[test]
    fn fields_of_a_browser_leave_no_trace_but_the_cookie() {
        let message = Message::of(&[
            ("Host", "example.com"),
            ("Sec-Fetch-Site", "none"),
            ("User-Agent", "Mozilla/5.0"),
            ("Accept", "*/*"),
            ("Accept-Encoding", "gzip, deflate, br, zstd"),
            ("Accept-Language", "en"),
            ("Upgrade-Insecure-Requests", "1"),
            ("Cookie", "a=b"),
        ]);
        let facts = RequestFacts::gather(&Method::GET, &message);
        assert_eq!(facts.directives, RequestDirectives::default());
        assert!(facts.cookie && !facts.authorization && !facts.method_override);
        assert!(facts.range.is_none() && facts.if_none_match.is_empty() && facts.if_modified_since.is_none());
    }

    #[test]
    fn a_field_that_is_no_list_is_invalid_when_it_comes_twice() {
        for name in ["Range", "If-Range", "If-Modified-Since", "If-Unmodified-Since"] {
            let message = Message::of(&[(name, "a"), (name, "a"), (name, "a")]);
            let facts = RequestFacts::gather(&Method::GET, &message);
            let values = [facts.range, facts.if_range, facts.if_modified_since, facts.if_unmodified_since];
            assert_eq!(values.into_iter().flatten().collect::<Vec<_>>(), [b""], "{name}");
        }
    }

    #[test]
    fn of_a_response_the_first_validator_and_all_lists_are_kept() {
        let message = Message::of(&[
            ("ETAG", "\"1\""),
            ("etag", "\"2\""),
            ("Date", "x"),
            ("Date", "y"),
            ("Last-Modified", "m"),
            ("Expires", "0"),
            ("expires", "1"),
            ("Vary", "a"),
            ("VARY", "b"),
            ("Age", "1"),
            ("Set-Cookie", "a=b"),
            ("Content-Encoding", "br"),
            ("Pragma", "No-Cache"),
        ]);
        let facts = ResponseFacts::gather(&message);
        assert_eq!((facts.etag, facts.date), (Some(&b"\"1\""[..]), Some(&b"x"[..])));
        assert_eq!(facts.last_modified, Some(&b"m"[..]));
        assert_eq!(
            (facts.expires.len(), facts.vary.len(), facts.age.len(), facts.content_encoding.len()),
            (2, 2, 1, 1)
        );
        assert!(facts.set_cookie && facts.pragma_no_cache);
    }
}
