//! One purge as a value: what it names, how hard it is, when it was given.
//!
//! Values are brought into canonical form when a rule is made, by the functions that make keys, so that a rule and an
//! object can only miss each other if they name different things.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::key::Scheme;
use crate::ledger::Epoch;
use crate::purge_pattern::{ANY_HOST, ASTERISKS_MAX, PATTERN_BYTES_MAX, PurgePattern};
use crate::selection::{SELECTION_BYTES_MAX, SELECTION_FIELDS_MAX, Selection};
use crate::standing::Standing;
use crate::tags::TAG_BYTES_MAX;
use crate::target::{TargetError, canonical_host, canonical_url};
use crate::time::Time;

/// What a rule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PurgeKind {
    /// One host and target, over both schemes, in every variant or in one.
    Url,
    /// One host and path, with every query.
    Path,
    /// Every target of one host that begins with these bytes.
    Prefix,
    /// Every target that fits a pattern with asterisks.
    Wildcard,
    /// Every target in which a regular expression is found.
    Regex,
    /// Everything of one host.
    Host,
    /// Everything of one name, whatever its port, or of all names below one.
    Site,
    /// Everything that carries one tag.
    Tag,
    /// Everything.
    All,
}

impl PurgeKind {
    pub const ALL: [PurgeKind; 9] = [
        PurgeKind::Url,
        PurgeKind::Path,
        PurgeKind::Prefix,
        PurgeKind::Wildcard,
        PurgeKind::Regex,
        PurgeKind::Host,
        PurgeKind::Site,
        PurgeKind::Tag,
        PurgeKind::All,
    ];

    pub const fn word(self) -> &'static str {
        match self {
            PurgeKind::Url => "url",
            PurgeKind::Path => "path",
            PurgeKind::Prefix => "prefix",
            PurgeKind::Wildcard => "wildcard",
            PurgeKind::Regex => "regex",
            PurgeKind::Host => "host",
            PurgeKind::Site => "site",
            PurgeKind::Tag => "tag",
            PurgeKind::All => "all",
        }
    }

    pub fn parse(word: &str) -> Option<PurgeKind> {
        PurgeKind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// What becomes of the objects a rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PurgeMode {
    /// They count as stale, and may still be confirmed, or served where staleness is allowed.
    Soft,
    /// They are gone.
    Hard,
}

impl PurgeMode {
    /// The ledger's word on what a rule of this mode matches.
    pub(crate) const fn standing(self) -> Standing {
        match self {
            PurgeMode::Soft => Standing::Soft,
            PurgeMode::Hard => Standing::Hard,
        }
    }
}

/// Why a purge cannot be a rule; the fault of whoever asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PurgeRuleError {
    #[error("{0}")]
    Target(#[from] TargetError),
    #[error("a tag is 1 to {TAG_BYTES_MAX} bytes without spaces, commas and controls")]
    Tag,
    #[error("a purge of everything names nothing")]
    Value,
    #[error("a purge of a path has no query")]
    Query,
    #[error("a site is a name without port, or *. and a name")]
    Site,
    #[error("a wildcard is a host (or *) and a path in which * stands for anything, such as www.example.com/img/*.png")]
    Wildcard,
    #[error("a wildcard has at most {ASTERISKS_MAX} asterisks")]
    Asterisks,
    #[error(
        "expected a host (or *), a tilde and a regular expression of printable ASCII, such as www.example.com~^/[0-9]+/, without look-around and back-references"
    )]
    Regex,
    #[error("a pattern is at most {PATTERN_BYTES_MAX} bytes long")]
    PatternLength,
    #[error("the expression is too large when it is compiled")]
    PatternSize,
    #[error("a variant is selected by header fields: names that are tokens, values of printable ASCII")]
    Selection,
    #[error(
        "a variant is selected by at most {SELECTION_FIELDS_MAX} header fields of {SELECTION_BYTES_MAX} bytes together"
    )]
    SelectionLength,
    #[error("header fields select a variant of a URL, and nothing else")]
    SelectionKind,
}

/// One purge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeRule {
    kind: PurgeKind,
    /// Empty for a pattern, which has its own.
    value: Box<str>,
    pattern: Option<PurgePattern>,
    /// For a URL: the requests whose variant is meant; every variant without.
    selection: Option<Arc<Selection>>,
    pub mode: PurgeMode,
    /// The rule's number; none until a ledger gives it one.
    pub epoch: Option<Epoch>,
    /// When the purge was asked for.
    pub at: Time,
    /// It is on the disk as well, and will be applied again after a restart.
    durable: bool,
}

impl PurgeRule {
    /// A rule without epoch. `value` is a URL for [`PurgeKind::Url`], [`PurgeKind::Path`] and [`PurgeKind::Prefix`] (the
    /// scheme may be left out), a pattern ([`PurgePattern`]), a host, a name, a tag, or empty for [`PurgeKind::All`].
    pub fn new(kind: PurgeKind, value: &str, mode: PurgeMode, at: Time) -> Result<PurgeRule, PurgeRuleError> {
        let pattern = match kind {
            PurgeKind::Wildcard => Some(PurgePattern::wildcard(value)?),
            PurgeKind::Regex => Some(PurgePattern::regex(value)?),
            _ => None,
        };
        let value = match kind {
            PurgeKind::Wildcard | PurgeKind::Regex => "".into(),
            PurgeKind::Path if value.contains('?') => return Err(PurgeRuleError::Query),
            PurgeKind::Url | PurgeKind::Path | PurgeKind::Prefix => resource(value)?,
            PurgeKind::Host => host(value)?,
            PurgeKind::Site => site(value)?,
            PurgeKind::Tag if is_tag(value) => value.into(),
            PurgeKind::Tag => return Err(PurgeRuleError::Tag),
            PurgeKind::All if value.is_empty() => value.into(),
            PurgeKind::All => return Err(PurgeRuleError::Value),
        };
        Ok(PurgeRule { kind, value, pattern, selection: None, mode, epoch: None, at, durable: false })
    }

    /// The same rule for the one variant of a URL that a request with these fields would get.
    pub fn for_request(self, fields: &[(String, String)]) -> Result<PurgeRule, PurgeRuleError> {
        if self.kind != PurgeKind::Url {
            return Err(PurgeRuleError::SelectionKind);
        }
        Ok(PurgeRule { selection: Some(Arc::new(Selection::new(fields)?)), ..self })
    }

    /// The same rule with a number that was reserved or restored, which makes it one that is kept on the disk.
    #[must_use]
    pub fn with_epoch(self, epoch: Epoch) -> PurgeRule {
        PurgeRule { epoch: Some(epoch), durable: true, ..self }
    }

    /// Whether it is kept on the disk as well.
    pub(crate) fn is_durable(&self) -> bool {
        self.durable
    }

    pub fn kind(&self) -> PurgeKind {
        self.kind
    }

    /// The canonical value: host and target in one piece, a pattern, a host, a tag, or nothing. Making a rule of it
    /// again gives the same rule.
    pub fn value(&self) -> &str {
        self.pattern.as_ref().map_or(&self.value, PurgePattern::value)
    }

    /// What a rule by wildcard or regular expression matches.
    pub(crate) fn pattern(&self) -> Option<&PurgePattern> {
        self.pattern.as_ref()
    }

    /// The requests whose variant is meant; every variant without.
    pub fn selection(&self) -> Option<&Arc<Selection>> {
        self.selection.as_ref()
    }

    /// For rules that name a URL, path or prefix: the host, and the target from its slash on. For others, the value
    /// alone.
    pub fn host_and_target(&self) -> (&str, &str) {
        self.value.split_at(self.value.find('/').unwrap_or(self.value.len()))
    }

    /// The same purge for another URL, in canonical form already.
    pub(crate) fn for_url(&self, host: &[u8], target: &[u8]) -> Option<PurgeRule> {
        let value = [std::str::from_utf8(host).ok()?, std::str::from_utf8(target).ok()?].concat();
        Some(PurgeRule { kind: PurgeKind::Url, value: value.into(), durable: false, ..self.clone() })
    }

    /// The same purge for every variant of its URL.
    #[must_use]
    pub(crate) fn widened_to_url(&self) -> PurgeRule {
        PurgeRule { selection: None, durable: false, ..self.clone() }
    }

    /// The same purge for the whole host of a URL, path, prefix or pattern; for everything where that has no host.
    #[must_use]
    pub(crate) fn widened_to_host(&self) -> PurgeRule {
        let host = self.pattern.as_ref().map_or(self.host_and_target().0, PurgePattern::host);
        if host == ANY_HOST {
            return self.widened_to_all();
        }
        PurgeRule {
            kind: PurgeKind::Host,
            value: host.into(),
            pattern: None,
            selection: None,
            durable: false,
            ..self.clone()
        }
    }

    /// The same purge for everything.
    #[must_use]
    pub(crate) fn widened_to_all(&self) -> PurgeRule {
        PurgeRule {
            kind: PurgeKind::All,
            value: "".into(),
            pattern: None,
            selection: None,
            durable: false,
            ..self.clone()
        }
    }
}

/// Host and target of a URL. Without scheme the default port is that of https, as in most purges.
fn resource(value: &str) -> Result<Box<str>, TargetError> {
    let url = if value.contains("://") { canonical_url(value)? } else { canonical_url(&format!("https://{value}"))? };
    Ok((url.host + &url.target).into_boxed_str())
}

fn host(value: &str) -> Result<Box<str>, TargetError> {
    let host = canonical_host(value.as_bytes(), Scheme::Https)?;
    Ok(std::str::from_utf8(&host).expect("canonical hosts are ASCII").into())
}

/// A name without port, or `*.` and one.
fn site(value: &str) -> Result<Box<str>, PurgeRuleError> {
    let (below, name) = value.strip_prefix("*.").map_or(("", value), |name| ("*.", name));
    let name = host(name)?;
    if without_port(name.as_bytes()).len() < name.len() {
        return Err(PurgeRuleError::Site);
    }
    Ok(format!("{below}{name}").into())
}

/// `host` of `host:port`; the brackets of an IPv6 literal stay.
pub(crate) fn without_port(host: &[u8]) -> &[u8] {
    match memchr::memrchr(b':', host) {
        Some(colon) if !host.ends_with(b"]") => &host[..colon],
        _ => host,
    }
}

/// What the readers of tag fields can yield.
fn is_tag(value: &str) -> bool {
    let separates = |byte: u8| byte <= b' ' || byte == b',' || byte == 0x7f;
    (1..=TAG_BYTES_MAX).contains(&value.len()) && !value.bytes().any(separates)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn value(kind: PurgeKind, value: &str) -> Result<String, PurgeRuleError> {
        PurgeRule::new(kind, value, PurgeMode::Hard, Time::ZERO).map(|rule| rule.value().to_owned())
    }

    #[test]
    fn values_are_canonical_and_stay_so() {
        for (kind, given, canonical) in [
            (PurgeKind::Url, "HTTP://H.example:80/a/../b?x", "h.example/b?x"),
            (PurgeKind::Url, "h.example", "h.example/"),
            (PurgeKind::Prefix, "https://h:8443/img/", "h:8443/img/"),
            (PurgeKind::Host, "H.example.", "h.example"),
            (PurgeKind::Tag, "Article-7", "Article-7"),
            (PurgeKind::Path, "http://h.example/a/./b", "h.example/a/b"),
            (PurgeKind::Wildcard, "https://H.example/a/../*.png", "h.example/*.png"),
            (PurgeKind::Wildcard, "*/a*", "*/a*"),
            (PurgeKind::Regex, "H.example~^/A/", "h.example~^/A/"),
            (PurgeKind::Site, "*.H.example.", "*.h.example"),
            (PurgeKind::Site, "[::1]", "[::1]"),
            (PurgeKind::All, "", ""),
        ] {
            assert_eq!(value(kind, given).as_deref(), Ok(canonical), "{given}");
            assert_eq!(value(kind, canonical).as_deref(), Ok(canonical), "{canonical}");
        }
    }

    #[test]
    fn values_that_name_nothing_are_refused() {
        assert_eq!(value(PurgeKind::Url, "ftp://h/"), Err(PurgeRuleError::Target(TargetError::Scheme)));
        assert_eq!(value(PurgeKind::Host, "h/x"), Err(PurgeRuleError::Target(TargetError::HostSyntax)));
        for tag in ["", "a b", "a,b", "a\n"] {
            assert_eq!(value(PurgeKind::Tag, tag), Err(PurgeRuleError::Tag), "{tag:?}");
        }
        assert_eq!(value(PurgeKind::All, "x"), Err(PurgeRuleError::Value));
        assert_eq!(value(PurgeKind::Path, "h.example/a?b"), Err(PurgeRuleError::Query));
        assert_eq!(value(PurgeKind::Site, "h.example:8080"), Err(PurgeRuleError::Site));
        assert_eq!(value(PurgeKind::Site, "*.*"), Err(PurgeRuleError::Target(TargetError::HostSyntax)));
        assert_eq!(value(PurgeKind::Wildcard, "h.example"), Err(PurgeRuleError::Wildcard));
    }
}
