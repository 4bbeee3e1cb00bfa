//! The cache's part of the extension module: the purge ledger, and the functions that make keys.
//!
//! Everything is registered flat in the one module; `cache/__init__.py` is the face. Arguments are taken over at the
//! border and the interpreter is let go before any lock is waited for.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::key::{KeyBuffer, Scheme};
use crate::ledger::{Epoch, Ledger, LedgerLimits};
use crate::outcome::Outcome;
use crate::purge_rule::{PurgeKind, PurgeMode, PurgeRule};
use crate::target;
use crate::time::Time;

/// The purge rules of a node; shared with the workers that check them.
#[pyclass(name = "Ledger", frozen, module = "_headland")]
pub struct PyLedger {
    ledger: Arc<Ledger>,
}

impl PyLedger {
    /// The ledger of a running node.
    #[must_use]
    pub fn from_node(ledger: Arc<Ledger>) -> Self {
        PyLedger { ledger }
    }

    /// The ledger itself, to build a node around it.
    pub fn ledger(&self) -> Arc<Ledger> {
        self.ledger.clone()
    }
}

/// A rule as Python sees it: kind, value, soft, milliseconds since 1970, epoch, header fields of one variant.
type Row = (&'static str, String, bool, u64, u64, Option<Vec<(String, String)>>);

/// The header fields that a purge of one variant names; none for every variant.
pub type Headers = Option<Vec<(String, String)>>;

#[pymethods]
impl PyLedger {
    #[new]
    #[pyo3(signature = (*, rules_max = None, prefix_rules_max = None, pattern_rules_max = None))]
    fn new(rules_max: Option<usize>, prefix_rules_max: Option<usize>, pattern_rules_max: Option<usize>) -> Self {
        let own = LedgerLimits::default();
        let limits = LedgerLimits {
            rules_max: rules_max.unwrap_or(own.rules_max),
            prefix_rules_max: prefix_rules_max.unwrap_or(own.prefix_rules_max),
            pattern_rules_max: pattern_rules_max.unwrap_or(own.pattern_rules_max),
            ..own
        };
        PyLedger::from_node(Arc::new(Ledger::new(limits)))
    }

    #[pyo3(signature = (kind, value, soft, at_ms, epoch = None, *, headers = None))]
    #[allow(clippy::needless_pass_by_value, clippy::too_many_arguments)] // the border takes over what it is given
    fn apply(
        &self,
        py: Python<'_>,
        kind: &str,
        value: &str,
        soft: bool,
        at_ms: u64,
        epoch: Option<u64>,
        headers: Headers,
    ) -> PyResult<u64> {
        let rule = make_rule(kind, value, soft, at_ms, headers.as_deref())?;
        let rule = epoch.into_iter().fold(rule, |rule, epoch| rule.with_epoch(Epoch(epoch)));
        Ok(py.detach(|| self.ledger.apply(rule)).0)
    }

    /// The rules of one purge: epochs count up from the first. All are checked before any is applied.
    #[pyo3(signature = (kind, values, soft, at_ms, first_epoch, *, headers = None))]
    #[allow(clippy::needless_pass_by_value, clippy::too_many_arguments)] // the border takes over what it is given
    fn apply_all(
        &self,
        py: Python<'_>,
        kind: &str,
        values: Vec<String>,
        soft: bool,
        at_ms: u64,
        first_epoch: u64,
        headers: Headers,
    ) -> PyResult<()> {
        py.detach(|| {
            let numbered = values.iter().zip(first_epoch..);
            let rule = |(value, epoch): (&String, u64)| {
                Ok(parse_rule(kind, value, soft, at_ms, headers.as_deref())?.with_epoch(Epoch(epoch)))
            };
            let rules: Vec<PurgeRule> = numbered.map(rule).collect::<Result<_, String>>()?;
            for rule in rules {
                self.ledger.apply(rule);
            }
            Ok(())
        })
        .map_err(PyValueError::new_err::<String>)
    }

    #[pyo3(signature = (count = 1))]
    fn reserve(&self, count: u64) -> u64 {
        self.ledger.reserve(count).0
    }

    fn epoch(&self) -> u64 {
        self.ledger.epoch().0
    }

    fn rules(&self, py: Python<'_>) -> Vec<Row> {
        py.detach(|| self.ledger.rules().iter().map(row).collect())
    }

    /// The epochs of a range whose rules are kept, and up to which epoch rules were folded into rules for everything.
    fn held(&self, py: Python<'_>, first: u64, last: u64) -> (Vec<u64>, u64) {
        let (held, folded) = py.detach(|| self.ledger.held(Epoch(first), Epoch(last)));
        (held.into_iter().map(|epoch| epoch.0).collect(), folded.0)
    }

    fn forget_until(&self, py: Python<'_>, epoch: u64) {
        py.detach(|| self.ledger.forget_until(Epoch(epoch)));
    }

    /// Rules kept, applied and folded.
    fn stats(&self, py: Python<'_>) -> (u64, u64, u64) {
        let stats = py.detach(|| self.ledger.stats());
        (stats.rules, stats.applied, stats.folded)
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        py.detach(|| self.ledger.stats().rules) as usize
    }
}

fn row(rule: &PurgeRule) -> Row {
    let epoch = rule.epoch.expect("rules of a ledger have an epoch");
    let soft = rule.mode == PurgeMode::Soft;
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let headers = rule.selection().map(|selection| selection.fields().map(owned).collect());
    (rule.kind().word(), rule.value().to_owned(), soft, rule.at.as_millis(), epoch.0, headers)
}

/// A rule of words; raises `ValueError` with one sentence.
pub fn make_rule(
    kind: &str,
    value: &str,
    soft: bool,
    at_ms: u64,
    headers: Option<&[(String, String)]>,
) -> PyResult<PurgeRule> {
    parse_rule(kind, value, soft, at_ms, headers).map_err(PyValueError::new_err)
}

/// A rule of words; the error is one sentence.
fn parse_rule(
    kind: &str,
    value: &str,
    soft: bool,
    at_ms: u64,
    headers: Option<&[(String, String)]>,
) -> Result<PurgeRule, String> {
    let kind = PurgeKind::parse(kind).ok_or_else(|| {
        let words: Vec<_> = PurgeKind::ALL.iter().map(|kind| kind.word()).collect();
        format!("the kind is none of {}", words.join(", "))
    })?;
    let mode = if soft { PurgeMode::Soft } else { PurgeMode::Hard };
    let rule = PurgeRule::new(kind, value, mode, Time::from_millis(at_ms));
    let rule = match headers {
        Some(fields) => rule.and_then(|rule| rule.for_request(fields)),
        None => rule,
    };
    rule.map_err(|error| error.to_string())
}

fn refused(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

fn parse_scheme(scheme: &str) -> PyResult<Scheme> {
    Scheme::parse(scheme.as_bytes()).ok_or_else(|| refused(target::TargetError::Scheme))
}

#[pyfunction]
fn canonical_url(url: &str) -> PyResult<(&'static str, String, String)> {
    let url = target::canonical_url(url).map_err(refused)?;
    Ok((url.scheme.word(), url.host, url.target))
}

#[pyfunction]
fn canonical_host(host: &str, scheme: &str) -> PyResult<String> {
    let host = target::canonical_host(host.as_bytes(), parse_scheme(scheme)?).map_err(refused)?;
    Ok(String::from_utf8(host.into_owned()).expect("canonical hosts are ASCII"))
}

#[pyfunction]
#[pyo3(signature = (kind, value, headers = None))]
#[allow(clippy::needless_pass_by_value)] // the border takes over what it is given
fn canonical_purge(kind: &str, value: &str, headers: Headers) -> PyResult<String> {
    Ok(make_rule(kind, value, false, 0, headers.as_deref())?.value().to_owned())
}

#[pyfunction]
#[pyo3(signature = (scheme, host, target, parts = Vec::new()))]
#[allow(clippy::needless_pass_by_value)] // the border takes over what it is given
fn key_hash(scheme: &str, host: &str, target: &str, parts: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> PyResult<u128> {
    let mut buffer = KeyBuffer::new();
    buffer.begin(parse_scheme(scheme)?, host.as_bytes(), target.as_bytes());
    for (name, value) in &parts {
        buffer.part(name, value.as_deref());
    }
    Ok(buffer.key().hash())
}

/// Adds the names of this crate to the extension module.
pub fn register(parent: &Bound<'_, PyModule>) -> PyResult<()> {
    parent.add_class::<PyLedger>()?;
    parent.add_function(wrap_pyfunction!(canonical_url, parent)?)?;
    parent.add_function(wrap_pyfunction!(canonical_host, parent)?)?;
    parent.add_function(wrap_pyfunction!(canonical_purge, parent)?)?;
    parent.add_function(wrap_pyfunction!(key_hash, parent)?)?;
    parent.add("OUTCOME_WORDS", Outcome::WORDS)
}
