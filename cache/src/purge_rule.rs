//! One purge as a value: what it names, how hard it is, when it was given.
//!
//! Values are brought into canonical form when a rule is made, by the functions that make keys, so that a rule and an
//! object can only miss each other if they name different things.

use serde::{Deserialize, Serialize};

use crate::key::Scheme;
use crate::ledger::Epoch;
use crate::tags::TAG_BYTES_MAX;
use crate::target::{TargetError, canonical_host, canonical_url};
use crate::time::Time;

/// What a rule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PurgeKind {
    /// One host and target, over both schemes, in every variant.
    Url,
    /// Every target of one host that begins with these bytes.
    Prefix,
    /// Everything of one host.
    Host,
    /// Everything that carries one tag.
    Tag,
    /// Everything.
    All,
}

impl PurgeKind {
    pub const ALL: [PurgeKind; 5] =
        [PurgeKind::Url, PurgeKind::Prefix, PurgeKind::Host, PurgeKind::Tag, PurgeKind::All];

    pub const fn word(self) -> &'static str {
        match self {
            PurgeKind::Url => "url",
            PurgeKind::Prefix => "prefix",
            PurgeKind::Host => "host",
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

/// Why a purge cannot be a rule; the fault of whoever asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PurgeRuleError {
    #[error("{0}")]
    Target(#[from] TargetError),
    #[error("a tag is 1 to {TAG_BYTES_MAX} bytes without spaces, commas and controls")]
    Tag,
    #[error("a purge of everything names nothing")]
    Value,
}

/// One purge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeRule {
    kind: PurgeKind,
    value: Box<str>,
    pub mode: PurgeMode,
    /// The rule's number; none until a ledger gives it one.
    pub epoch: Option<Epoch>,
    /// When the purge was asked for.
    pub at: Time,
}

impl PurgeRule {
    /// A rule without epoch. `value` is a URL for [`PurgeKind::Url`] and [`PurgeKind::Prefix`] (the scheme may be left
    /// out), a host, a tag, or empty for [`PurgeKind::All`].
    pub fn new(kind: PurgeKind, value: &str, mode: PurgeMode, at: Time) -> Result<PurgeRule, PurgeRuleError> {
        let value = match kind {
            PurgeKind::Url | PurgeKind::Prefix => resource(value)?,
            PurgeKind::Host => host(value)?,
            PurgeKind::Tag if is_tag(value) => value.into(),
            PurgeKind::Tag => return Err(PurgeRuleError::Tag),
            PurgeKind::All if value.is_empty() => value.into(),
            PurgeKind::All => return Err(PurgeRuleError::Value),
        };
        Ok(PurgeRule { kind, value, mode, epoch: None, at })
    }

    /// The same rule with a number that was reserved or restored.
    #[must_use]
    pub fn with_epoch(self, epoch: Epoch) -> PurgeRule {
        PurgeRule { epoch: Some(epoch), ..self }
    }

    pub fn kind(&self) -> PurgeKind {
        self.kind
    }

    /// The canonical value: host and target in one piece, a host, a tag, or nothing. Making a rule of it again gives
    /// the same rule.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// For rules that name a URL or prefix: the host, and the target from its slash on. For others, the value alone.
    pub fn host_and_target(&self) -> (&str, &str) {
        self.value.split_at(self.value.find('/').unwrap_or(self.value.len()))
    }

    /// The same purge for another URL, in canonical form already.
    pub(crate) fn for_url(&self, host: &[u8], target: &[u8]) -> Option<PurgeRule> {
        let value = [std::str::from_utf8(host).ok()?, std::str::from_utf8(target).ok()?].concat();
        Some(PurgeRule { kind: PurgeKind::Url, value: value.into(), ..self.clone() })
    }

    /// The same purge for the whole host of a URL or prefix.
    #[must_use]
    pub(crate) fn widened_to_host(&self) -> PurgeRule {
        PurgeRule { kind: PurgeKind::Host, value: self.host_and_target().0.into(), ..self.clone() }
    }

    /// The same purge for everything.
    #[must_use]
    pub(crate) fn widened_to_all(&self) -> PurgeRule {
        PurgeRule { kind: PurgeKind::All, value: "".into(), ..self.clone() }
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
    }
}
