//! No-Vary-Search (draft-ietf-httpbis-no-vary-search): which part of a query chooses the response.
//!
//! The field is a Dictionary of `key-order`, `params` and `except`. What does not parse, or says nothing else than the
//! default, gives no variance: the whole target counts. A query has a normal form under a variance, and two targets
//! with one path are equivalent exactly when their queries' normal forms are equal (section 5).

use crate::Fields;
use crate::structured::{Member, members};

/// The field's name, in lower case.
const FIELD: &str = "no-vary-search";

/// What of a query matters; never the default, under which all of it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchVariance {
    /// Parameters with different names may change places.
    any_order: bool,
    parameters: Parameters,
}

/// Names are decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Parameters {
    AllBut(Vec<Vec<u8>>),
    Only(Vec<Vec<u8>>),
}

impl SearchVariance {
    /// Section 4.2; none stands for the default.
    pub fn of(response: &impl Fields) -> Option<Self> {
        let mut lines = response.named(FIELD);
        let first = lines.next()?;
        let more: Vec<&[u8]> = lines.collect();
        if more.is_empty() {
            return Self::parse(first);
        }
        let all: Vec<&[u8]> = std::iter::once(first).chain(more).collect();
        Self::parse(&all.join(b", ".as_slice()))
    }

    /// Section 4.1. A key that is not known says nothing.
    fn parse(text: &[u8]) -> Option<Self> {
        let (mut any_order, mut params, mut except) = (false, None, None);
        for (key, value) in members(text)? {
            match (key, value) {
                (b"key-order", Member::Boolean(value)) => any_order = value,
                (b"key-order", _) => return None,
                (b"params", value) => params = Some(value),
                (b"except", value) => except = Some(value),
                _ => {}
            }
        }
        let parameters = match (params, except) {
            (None | Some(Member::Boolean(false)), None) => Parameters::AllBut(Vec::new()),
            (Some(Member::Boolean(true)), None) => Parameters::Only(Vec::new()),
            (Some(Member::Strings(names)), None) => Parameters::AllBut(decoded_names(&names)),
            // `except` stands beside `params` alone.
            (Some(Member::Boolean(true)), Some(Member::Strings(names))) => Parameters::Only(decoded_names(&names)),
            _ => return None,
        };
        let variance = SearchVariance { any_order, parameters };
        (!variance.is_default()).then_some(variance)
    }

    /// The normal form of a target's query: the parameters that matter, decoded, in the order that matters, each name
    /// and value with its length.
    pub fn significant(&self, target: &[u8]) -> Vec<u8> {
        let query = memchr::memchr(b'?', target).map_or(&[][..], |question| &target[question + 1..]);
        let parameters = query.split(|&byte| byte == b'&').filter(|parameter| !parameter.is_empty());
        let mut parameters: Vec<(Vec<u8>, Vec<u8>)> =
            parameters.map(name_and_value).filter(|(name, _)| self.matters(name)).collect();
        if self.any_order {
            // Those of one name keep their order: the sort is stable.
            parameters.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        let mut normal = Vec::new();
        for part in parameters.iter().flat_map(|(name, value)| [name, value]) {
            normal.extend_from_slice(&(part.len() as u64).to_le_bytes());
            normal.extend_from_slice(part);
        }
        normal
    }

    /// Bytes of the names that it lists.
    pub(crate) fn heap_bytes(&self) -> usize {
        let (Parameters::AllBut(names) | Parameters::Only(names)) = &self.parameters;
        names.iter().map(|name| name.len() + size_of::<Vec<u8>>()).sum()
    }

    fn matters(&self, name: &[u8]) -> bool {
        match &self.parameters {
            Parameters::AllBut(names) => !names.iter().any(|listed| listed == name),
            Parameters::Only(names) => names.iter().any(|listed| listed == name),
        }
    }

    fn is_default(&self) -> bool {
        !self.any_order && matches!(&self.parameters, Parameters::AllBut(names) if names.is_empty())
    }
}

fn decoded_names(names: &[Vec<u8>]) -> Vec<Vec<u8>> {
    names.iter().map(|name| decoded(name)).collect()
}

/// One parameter, as `application/x-www-form-urlencoded` is read.
fn name_and_value(parameter: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let equals = memchr::memchr(b'=', parameter).unwrap_or(parameter.len());
    (decoded(&parameter[..equals]), decoded(parameter.get(equals + 1..).unwrap_or_default()))
}

/// Plus signs are spaces, escapes are bytes, and what is not UTF-8 is replaced (section 4.3). A percent sign that begins
/// no escape stays.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, escape(tail)) {
            (b'+', _) => bytes.push(b' '),
            (b'%', Some(value)) => {
                bytes.push(value);
                rest = &tail[2..];
            }
            _ => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned().into_bytes()
}

fn escape(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| digits.get(at).and_then(|&digit| char::from(digit).to_digit(16));
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fixtures::Lines;
    use proptest::prelude::*;

    fn variance(value: &str) -> Option<SearchVariance> {
        SearchVariance::of(&Lines::of(&[("No-Vary-Search", value)]))
    }

    fn equivalent(value: &str, a: &str, b: &str) -> bool {
        let variance = variance(value).unwrap();
        variance.significant(a.as_bytes()) == variance.significant(b.as_bytes())
    }

    #[test]
    fn what_is_invalid_or_says_nothing_is_the_default() {
        for value in [
            "",
            "unknown-key",
            "key-order=\"x\"",
            "params=\"x\"",
            "params=(x)",
            "params=(\"a\"), except=(\"x\")",
            "params=(), except=()",
            "params=?0, except=(\"x\")",
            "params, except=(x)",
            "params, except=\"x\"",
            "params, except=?1",
            "except=(\"x\")",
            "except=()",
            "params=?0",
            "params=()",
            "key-order=?0",
            "params,",
            "params=(\"a\" 1)",
            "params=(\"a\"",
            "Params",
            "params=1",
        ] {
            assert_eq!(variance(value), None, "{value}");
        }
        assert_eq!(SearchVariance::of(&Lines::default()), None);
    }

    #[test]
    fn unusual_forms_mean_what_the_usual_ones_do() {
        for (unusual, usual) in [
            ("params=?1", "params"),
            ("key-order=?1", "key-order"),
            ("params, key-order, except=(\"x\")", "key-order, params, except=(\"x\")"),
            ("params, new=1", "params"),
            ("params=(\"a+b\";q=1)", "params=(\"a%20b\")"),
            ("params;a=1", "params"),
        ] {
            assert!(variance(usual).is_some());
            assert_eq!(variance(unusual), variance(usual), "{unusual}");
        }
        let lines = Lines::of(&[("no-vary-search", "key-order"), ("no-vary-search", "params=(\"a\")")]);
        assert_eq!(SearchVariance::of(&lines), variance("key-order, params=(\"a\")"));
    }

    #[test]
    fn targets_are_equivalent_as_the_field_allows() {
        for (value, a, b, same) in [
            ("params=(\"utm\")", "/?id=1&utm=a", "/?id=1", true),
            ("params=(\"utm\")", "/?id=1&utm=a", "/?id=2&utm=a", false),
            ("params=(\"utm\")", "/?a=1&b=2", "/?b=2&a=1", false),
            ("params=(\"utm\"), key-order", "/?a=1&b=2", "/?b=2&utm&a=1", true),
            ("params", "/?a=1", "/", true),
            ("params, except=(\"id\")", "/?x=1&id=7", "/?id=7&y", true),
            ("params, except=(\"id\")", "/?id=7", "/?id=8", false),
            ("params, except=(\"id\")", "/?id=7", "/?ID=7", false),
            ("key-order", "/?a=1&a=2", "/?a=2&a=1", false),
            ("key-order", "/", "/?", true),
            ("key-order", "/?a=x", "/?%61=%78", true),
            ("key-order", "/?a=%f6", "/?a=%ef%bf%bd", true),
            ("key-order", "/?a=x&&&&", "/?a=x", true),
            ("key-order", "/?a=", "/?a", true),
            ("key-order", "/?a=%20", "/?a=+", true),
            ("key-order", "/?a=%2", "/?a=%252", true),
            ("key-order", "/?a=b=c", "/?a=b%3Dc", true),
            ("key-order", "/?ab=", "/?a=b", false),
            ("params=(\"%C3%A9+%E6%B0%97\")", "/?%C3%A9%20%e6%b0%97=3", "/", true),
        ] {
            assert_eq!(equivalent(value, a, b), same, "{value}: {a} {b}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_equal_targets_stay_equivalent(value in ".{0,40}", target in "[?&=+%a-c0-9]{0,40}") {
            let lines = Lines(vec![("no-vary-search".to_owned(), value.into_bytes())]);
            if let Some(variance) = SearchVariance::of(&lines) {
                let escaped = target.replace('a', "%61");
                prop_assert_eq!(variance.significant(target.as_bytes()), variance.significant(escaped.as_bytes()));
            }
        }
    }
}
