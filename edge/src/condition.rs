//! The conditions of rules, compiled: a tree of tests on one request and, where a rule asks for it, on the head of
//! the response. Pure; evaluation takes no lock, allocates nothing and is linear in the bytes it reads (the regular
//! expressions are automata without backtracking).

use std::net::IpAddr;

use headland_cache::Fields;
use http::{HeaderMap, Method};
use regex::bytes::{Regex, RegexBuilder};

use crate::network::Networks;
use crate::settings::{Condition, NamedTest, TextTest};

/// The largest compiled regular expression of one test, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// How deep conditions may nest.
const DEPTH_MAX: usize = 32;

/// What a condition may look at on the way in.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a, F> {
    pub method: &'a Method,
    /// Canonical host, with its port if it has one.
    pub host: &'a [u8],
    /// Canonical path and query.
    pub target: &'a [u8],
    pub fields: &'a F,
    pub client: IpAddr,
}

impl<'a, F> RequestView<'a, F> {
    pub fn path(&self) -> &'a [u8] {
        memchr::memchr(b'?', self.target).map_or(self.target, |mark| &self.target[..mark])
    }

    pub fn query(&self) -> &'a [u8] {
        memchr::memchr(b'?', self.target).map_or(&[], |mark| &self.target[mark + 1..])
    }
}

/// What a condition may look at on the way back.
#[derive(Debug, Clone, Copy)]
pub struct ResponseView<'a, R = HeaderMap> {
    pub status: u16,
    pub headers: &'a R,
}

/// A compiled condition.
#[derive(Debug)]
pub enum Test {
    Always,
    All(Box<[Test]>),
    Any(Box<[Test]>),
    Not(Box<Test>),
    Path(Text),
    Query(Text),
    Host(Text),
    Method(Box<[Method]>),
    RequestHeader(Box<str>, Text),
    Cookie(Box<str>, Text),
    Client(Networks),
    Status(Box<[(u16, u16)]>),
    ResponseHeader(Box<str>, Text),
}

impl Test {
    /// The statuses that a response must have for the condition to hold, where it names them.
    pub fn statuses(&self) -> Option<&[(u16, u16)]> {
        match self {
            Test::Status(statuses) => Some(statuses),
            Test::All(list) => list.iter().find_map(Test::statuses),
            _ => None,
        }
    }

    /// Compiles a condition; the error is one sentence on what cannot be.
    pub fn compile(condition: &Condition) -> Result<Self, String> {
        Self::compile_at(condition, 0)
    }

    fn compile_at(condition: &Condition, depth: usize) -> Result<Self, String> {
        if depth > DEPTH_MAX {
            return Err(format!("conditions nest deeper than {DEPTH_MAX}"));
        }
        let every = |list: &[Condition]| list.iter().map(|c| Self::compile_at(c, depth + 1)).collect::<Result<_, _>>();
        Ok(match condition {
            Condition::Always => Test::Always,
            Condition::All(list) => Test::All(every(list)?),
            Condition::Any(list) => Test::Any(every(list)?),
            Condition::Not(inner) => Test::Not(Box::new(Self::compile_at(inner, depth + 1)?)),
            Condition::Path(text) => Test::Path(Text::compile(text)?),
            Condition::Query(text) => Test::Query(Text::compile(text)?),
            Condition::Host(text) => Test::Host(Text::compile(text)?),
            Condition::Method(names) => Test::Method(methods(names)?),
            Condition::RequestHeader(named) => named_text(named).map(|(n, t)| Test::RequestHeader(n, t))?,
            Condition::Cookie(named) => Test::Cookie(named.name.as_str().into(), Text::compile(&named.test)?),
            Condition::Client(list) => {
                Test::Client(Networks::parse(list).map_err(|text| format!("\"{text}\" is no network"))?)
            }
            Condition::Status(ranges) => Test::Status(ranges.as_slice().into()),
            Condition::ResponseHeader(named) => named_text(named).map(|(n, t)| Test::ResponseHeader(n, t))?,
        })
    }

    /// Whether the condition can only be decided once the response's head is there.
    pub fn needs_response(&self) -> bool {
        match self {
            Test::All(list) | Test::Any(list) => list.iter().any(Test::needs_response),
            Test::Not(inner) => inner.needs_response(),
            Test::Status(_) | Test::ResponseHeader(..) => true,
            _ => false,
        }
    }

    /// Whether the condition holds. Without a response, tests on the response do not hold.
    pub fn holds<F: Fields, R: Fields>(
        &self,
        request: &RequestView<'_, F>,
        response: Option<&ResponseView<'_, R>>,
    ) -> bool {
        match self {
            Test::Always => true,
            Test::All(list) => list.iter().all(|test| test.holds(request, response)),
            Test::Any(list) => list.iter().any(|test| test.holds(request, response)),
            Test::Not(inner) => !inner.holds(request, response),
            Test::Path(text) => text.matches(request.path()),
            Test::Query(text) => text.matches(request.query()),
            Test::Host(text) => text.matches(request.host),
            Test::Method(methods) => methods.contains(request.method),
            Test::RequestHeader(name, text) => request.fields.named(name).any(|value| text.matches(value)),
            Test::Cookie(name, text) => cookie(request.fields, name).is_some_and(|value| text.matches(value)),
            Test::Client(networks) => networks.contains(request.client),
            Test::Status(ranges) => response.is_some_and(|r| ranges.iter().any(|(a, b)| (*a..=*b).contains(&r.status))),
            Test::ResponseHeader(name, text) => {
                response.is_some_and(|r| r.headers.named(name).any(|value| text.matches(value)))
            }
        }
    }
}

fn methods(names: &[String]) -> Result<Box<[Method]>, String> {
    names.iter().map(|n| Method::from_bytes(n.as_bytes()).map_err(|_| format!("\"{n}\" is no method"))).collect()
}

fn named_text(named: &NamedTest) -> Result<(Box<str>, Text), String> {
    let name = http::HeaderName::from_bytes(named.name.as_bytes())
        .map_err(|_| format!("\"{}\" is no header name", named.name))?;
    Ok((name.as_str().into(), Text::compile(&named.test)?))
}

/// The value of the first cookie called `name` (RFC 6265 section 4.2: pairs separated by "; ").
/// The value of a cookie, by its exact name (RFC 6265 section 4.2.1).
pub fn cookie<'a, F: Fields>(fields: &'a F, name: &str) -> Option<&'a [u8]> {
    fields.named("cookie").flat_map(|line| line.split(|b| *b == b';')).find_map(|pair| {
        let pair = pair.trim_ascii();
        pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
    })
}

/// A compiled test of one text.
#[derive(Debug)]
pub enum Text {
    Present,
    Equals(Box<[u8]>),
    OneOf(Box<[Box<[u8]>]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Contains(Box<memchr::memmem::Finder<'static>>),
    Pattern(Box<Regex>),
}

impl Text {
    pub fn compile(test: &TextTest) -> Result<Self, String> {
        Ok(match test {
            TextTest::Present => Text::Present,
            TextTest::Equals(text) => Text::Equals(text.as_bytes().into()),
            TextTest::OneOf(list) => Text::OneOf(list.iter().map(|text| text.as_bytes().into()).collect()),
            TextTest::Prefix(text) => Text::Prefix(text.as_bytes().into()),
            TextTest::Suffix(text) => Text::Suffix(text.as_bytes().into()),
            TextTest::Contains(text) => Text::Contains(Box::new(memchr::memmem::Finder::new(text).into_owned())),
            TextTest::Glob(glob) => Text::Pattern(Box::new(pattern(&glob_to_regex(glob))?)),
            TextTest::Regex(regex) => Text::Pattern(Box::new(pattern(regex)?)),
        })
    }

    pub fn matches(&self, text: &[u8]) -> bool {
        match self {
            Text::Present => true,
            Text::Equals(it) => **it == *text,
            Text::OneOf(list) => list.iter().any(|it| **it == *text),
            Text::Prefix(it) => text.starts_with(it),
            Text::Suffix(it) => text.ends_with(it),
            Text::Contains(it) => it.find(text).is_some(),
            Text::Pattern(it) => it.is_match(text),
        }
    }
}

fn pattern(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text)
        .unicode(false)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|error| format!("regular expression \"{text}\": {}", last_line(&error.to_string())))
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ").to_owned()
}

/// `*` is any run without a slash, `**` any run, `?` one character that is no slash.
fn glob_to_regex(glob: &str) -> String {
    let mut out = String::from("(?s)^");
    let mut rest = glob.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '*' if rest.next_if_eq(&'*').is_some() => out.push_str(".*"),
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            c => out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    out.push('$');
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn holds(condition: &str, method: &str, target: &str, fields: &[(&'static str, &str)]) -> bool {
        let test = Test::compile(&serde_json::from_str(condition).unwrap()).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let client = IpAddr::from([192, 0, 2, 7]);
        let view =
            RequestView { method: &method, host: b"example.com", target: target.as_bytes(), fields: &map, client };
        test.holds(&view, Some(&ResponseView { status: 404, headers: &map }))
    }

    #[test]
    fn each_test_holds_where_it_should_and_nowhere_else() {
        let cookie: &[(&str, &str)] = &[("cookie", "a=1; theme=dark")];
        for (condition, target, fields, expected) in [
            (r#""always""#, "/", &[][..], true),
            (r#"{"path":{"prefix":"/img/"}}"#, "/img/a.png?x", &[], true),
            (r#"{"path":{"suffix":".png"}}"#, "/img/a.png?x", &[], true),
            (r#"{"path":{"glob":"/img/*.png"}}"#, "/img/a/b.png", &[], false),
            (r#"{"path":{"glob":"/img/**.png"}}"#, "/img/a/b.png", &[], true),
            (r#"{"path":{"regex":"^/[a-z]+$"}}"#, "/abc?d=1", &[], true),
            (r#"{"query":{"contains":"debug"}}"#, "/a?x=1&debug", &[], true),
            (r#"{"query":{"equals":""}}"#, "/a", &[], true),
            (r#"{"host":{"one-of":["example.com","b"]}}"#, "/", &[], true),
            (r#"{"method":["POST"]}"#, "/", &[], false),
            (r#"{"cookie":{"name":"theme","test":{"equals":"dark"}}}"#, "/", cookie, true),
            (r#"{"cookie":{"name":"them","test":"present"}}"#, "/", cookie, false),
            (r#"{"request-header":{"name":"Cookie","test":"present"}}"#, "/", cookie, true),
            (r#"{"client":["192.0.2.0/24"]}"#, "/", &[], true),
            (r#"{"status":[[200,299],[404,404]]}"#, "/", &[], true),
            (r#"{"not":{"status":[[400,499]]}}"#, "/", &[], false),
            (r#"{"all":["always",{"path":{"equals":"/a"}}]}"#, "/a", &[], true),
            (r#"{"any":[{"path":{"equals":"/b"}},{"path":{"equals":"/a"}}]}"#, "/a", &[], true),
        ] {
            assert_eq!(holds(condition, "GET", target, fields), expected, "{condition} on {target}");
        }
    }

    #[test]
    fn what_cannot_be_compiled_says_why() {
        let deep = format!("{}\"always\"{}", "{\"not\":".repeat(40), "}".repeat(40));
        for (condition, word) in [
            (r#"{"path":{"regex":"("}}"#, "unclosed group"),
            (r#"{"client":["10.0.0.0/64"]}"#, "is no network"),
            (r#"{"method":["G T"]}"#, "is no method"),
            (r#"{"request-header":{"name":"a b","test":"present"}}"#, "is no header name"),
            (&deep, "nest deeper"),
        ] {
            let error = Test::compile(&serde_json::from_str(condition).unwrap()).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
