//! What a purge by wildcard or regular expression matches: the targets of one host, or of all.
//!
//! A pattern is `HOST/PATH` with asterisks, or `HOST~REGEX`; the host may be `*`. Wildcards match the whole path, and
//! any query unless they have one themselves; expressions are searched for in path and query. Both are compiled once,
//! when the rule is made, by an engine that does not backtrack: matching is linear in the target, and program and
//! automaton are bounded, so what a stranger with a token can spend here is bounded, too.

use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};

use crate::key::{KeyRef, Scheme};
use crate::purge_rule::PurgeRuleError;
use crate::target::{canonical_host, canonical_target};

/// Bytes of one pattern, host included.
pub const PATTERN_BYTES_MAX: usize = 512;
/// Asterisks of one wildcard.
pub const ASTERISKS_MAX: usize = 16;
/// Bytes of one compiled pattern.
const PROGRAM_BYTES_MAX: usize = 64 << 10;
/// Bytes of states that one thread may keep of one pattern.
const STATES_BYTES_MAX: usize = 16 << 10;
/// Groups within groups.
const NESTING_MAX: u32 = 32;
/// Stands for every host.
pub(crate) const ANY_HOST: &str = "*";

/// A compiled pattern with its canonical text; cloning shares the program.
#[derive(Debug, Clone)]
pub struct PurgePattern(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    value: Box<str>,
    /// Length of the host in `value`.
    host: usize,
    target: Regex,
}

impl PartialEq for PurgePattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.value == other.0.value
    }
}

impl Eq for PurgePattern {}

impl PurgePattern {
    /// `HOST/PATH` in which `*` stands for any bytes.
    pub fn wildcard(value: &str) -> Result<Self, PurgeRuleError> {
        let value = value.split_once("://").map_or(value, |(_, rest)| rest);
        let (host, path) = value.split_at(value.find('/').ok_or(PurgeRuleError::Wildcard)?);
        let mut target = Vec::new();
        canonical_target(path.as_bytes(), &mut target)?;
        let path = String::from_utf8(target).expect("canonical forms are ASCII");
        let pieces: Vec<String> = path.split('*').map(regex::escape).collect();
        if pieces.len() > ASTERISKS_MAX + 1 {
            return Err(PurgeRuleError::Asterisks);
        }
        let end = if path.contains('?') { r"\z" } else { r"(?:\?.*)?\z" };
        PurgePattern::compiled(host, &path, &format!(r"\A{}{end}", pieces.join(".*")))
    }

    /// `HOST~REGEX`.
    pub fn regex(value: &str) -> Result<Self, PurgeRuleError> {
        let (host, expression) = value.split_once('~').ok_or(PurgeRuleError::Regex)?;
        if expression.is_empty() || !expression.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(PurgeRuleError::Regex);
        }
        PurgePattern::compiled(host, &format!("~{expression}"), expression)
    }

    fn compiled(host: &str, rest: &str, expression: &str) -> Result<Self, PurgeRuleError> {
        let host = if host == ANY_HOST { host.to_owned() } else { canonical(host)? };
        let value = format!("{host}{rest}");
        if value.len() > PATTERN_BYTES_MAX {
            return Err(PurgeRuleError::PatternLength);
        }
        let target = RegexBuilder::new(expression)
            .unicode(false)
            .dot_matches_new_line(true)
            .size_limit(PROGRAM_BYTES_MAX)
            .dfa_size_limit(STATES_BYTES_MAX)
            .nest_limit(NESTING_MAX)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => PurgeRuleError::PatternSize,
                _ => PurgeRuleError::Regex,
            })?;
        Ok(PurgePattern(Arc::new(Compiled { host: host.len(), value: value.into(), target })))
    }

    /// The canonical text.
    pub fn value(&self) -> &str {
        &self.0.value
    }

    pub fn host(&self) -> &str {
        &self.0.value[..self.0.host]
    }

    pub fn matches(&self, key: KeyRef<'_>) -> bool {
        (self.host() == ANY_HOST || self.host().as_bytes() == key.host()) && self.0.target.is_match(key.target())
    }
}

fn canonical(host: &str) -> Result<String, PurgeRuleError> {
    let host = canonical_host(host.as_bytes(), Scheme::Https)?;
    Ok(String::from_utf8(host.into_owned()).expect("canonical hosts are ASCII"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fixtures::key;

    #[test]
    fn wildcards_match_whole_paths_and_any_query() {
        for (pattern, target, matches) in [
            ("h.example/img/*.png", "/img/a/b.png", true),
            ("h.example/img/*.png", "/img/a.png?v=1", true),
            ("h.example/img/*.png", "/img/a.pngx", false),
            ("h.example/img/*.png", "/x/img/a.png", false),
            ("h.example/a.b", "/axb", false),
            ("h.example/a", "/a?x", true),
            ("h.example/a?*v=1", "/a?u=2&v=1", true),
            ("h.example/a?*v=1", "/a", false),
            ("*/a*", "/abc", true),
            ("i.example/*", "/abc", false),
            ("https://H.example/x/../*", "/abc", true),
        ] {
            let pattern = PurgePattern::wildcard(pattern).unwrap();
            assert_eq!(pattern.matches(key("h.example", target).as_ref()), matches, "{} {target}", pattern.value());
        }
    }

    #[test]
    fn expressions_are_searched_for_in_path_and_query() {
        for (pattern, target, matches) in [
            (r"h.example~\.(png|jpg)$", "/a.jpg", true),
            (r"h.example~\.(png|jpg)$", "/a.jpg?x", false),
            ("*~^/[0-9]+/", "/17/x", true),
            ("*~^/[0-9]+/", "/x/17/", false),
        ] {
            let pattern = PurgePattern::regex(pattern).unwrap();
            assert_eq!(pattern.matches(key("h.example", target).as_ref()), matches, "{} {target}", pattern.value());
        }
    }

    #[test]
    fn what_costs_too_much_is_refused_when_the_rule_is_made() {
        for (value, error) in [
            ("h.example~(a{100}){100}{100}", PurgeRuleError::PatternSize),
            ("h.example~(", PurgeRuleError::Regex),
            (r"h.example~(a)\1", PurgeRuleError::Regex),
            ("h.example~", PurgeRuleError::Regex),
            ("h.example/x", PurgeRuleError::Regex),
        ] {
            assert_eq!(PurgePattern::regex(value).unwrap_err(), error, "{value}");
        }
        let long = format!("h.example~{}", "a".repeat(PATTERN_BYTES_MAX));
        assert_eq!(PurgePattern::regex(&long).unwrap_err(), PurgeRuleError::PatternLength);
        let starry = format!("h.example/{}", "*".repeat(ASTERISKS_MAX + 1));
        assert_eq!(PurgePattern::wildcard(&starry).unwrap_err(), PurgeRuleError::Asterisks);
    }

    #[test]
    fn matching_an_evil_expression_stays_linear() {
        let pattern = PurgePattern::regex("*~^(a|a)*(a|a)*(a|a)*b$").unwrap();
        let target = format!("/{}", "a".repeat(16_000));
        assert!(!pattern.matches(key("h.example", &target).as_ref()));
    }
}
