//! What came back: two histograms, how late the generator itself was, and everything that went wrong, by its name.
//!
//! `first_byte` and `whole` count from the moment a request was *due*, not from when it was sent: a server (or a queue for
//! one of its connections) that stalls is charged for every request that fell due meanwhile. `late` is how far behind its
//! own schedule the generator woke up: where it is not small against the latencies, the run says nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::histogram::Histogram;

/// Distinct values that are counted of one response header; further ones are counted together.
const VALUES_MAX: usize = 16;
const CURVE: [f64; 21] = [
    0.0, 0.1, 0.25, 0.5, 0.75, 0.8, 0.9, 0.925, 0.95, 0.96, 0.975, 0.98, 0.99, 0.9925, 0.995, 0.9975, 0.999, 0.9995,
    0.9999, 0.99995, 1.0,
];

/// One request: when it is due, which one it is, and whether it counts or only warms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) due: Instant,
    pub(crate) number: u64,
    pub(crate) counted: bool,
}

/// One answer as a client saw it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) first_byte: Instant,
    pub(crate) whole: Instant,
    pub(crate) counted_value: Option<String>,
}

#[derive(Default)]
pub(crate) struct Tally {
    first_byte: Histogram,
    whole: Histogram,
    late: Histogram,
    statuses: BTreeMap<u16, u64>,
    values: BTreeMap<String, u64>,
    value_bytes: BTreeMap<String, u64>,
    errors: BTreeMap<String, u64>,
    wrong_length: u64,
    pub(crate) connections: u64,
    pub(crate) resumed: u64,
    pub(crate) retried: u64,
    pub(crate) due: u64,
}

impl Tally {
    pub(crate) fn answered(&mut self, job: Job, answer: Answer, expected: Option<u64>) {
        if !job.counted {
            return;
        }
        self.first_byte.record(nanos(answer.first_byte, job.due));
        self.whole.record(nanos(answer.whole, job.due));
        *self.statuses.entry(answer.status).or_default() += 1;
        self.wrong_length += u64::from(expected.is_some_and(|bytes| bytes != answer.bytes));
        if let Some(value) = answer.counted_value {
            let room = self.values.len() < VALUES_MAX || self.values.contains_key(&value);
            let value = if room { value } else { "others".to_owned() };
            *self.value_bytes.entry(value.clone()).or_default() += answer.bytes;
            *self.values.entry(value).or_default() += 1;
        }
    }

    pub(crate) fn failed(&mut self, job: Job, what: &str) {
        if job.counted {
            *self.errors.entry(what.to_owned()).or_default() += 1;
        }
    }

    pub(crate) fn started(&mut self, job: Job, now: Instant) {
        if job.counted {
            self.due += 1;
            self.late.record(nanos(now, job.due));
        }
    }

    /// The whole as JSON; durations in microseconds.
    pub(crate) fn report(&self, counted: Duration) -> Value {
        let answered = self.first_byte.total();
        let failed: u64 = self.errors.values().sum();
        json!({
            "due": self.due,
            "answered": answered,
            "unanswered": self.due - answered - failed,
            "answered_per_s": answered as f64 / counted.as_secs_f64(),
            "errors": self.errors,
            "wrong_length": self.wrong_length,
            "statuses": self.statuses,
            "values": self.values,
            "value_bytes": self.value_bytes,
            "connections": self.connections,
            "resumed": self.resumed,
            "retried": self.retried,
            "first_byte": quantiles(&self.first_byte),
            "whole": quantiles(&self.whole),
            "late": quantiles(&self.late),
            "curve": CURVE.iter().map(|share| json!([1.0 - share, micros(self.first_byte.quantile(*share))])).collect::<Vec<_>>(),
        })
    }
}

fn quantiles(histogram: &Histogram) -> Value {
    let at = |share| micros(histogram.quantile(share));
    json!({"p50": at(0.5), "p90": at(0.9), "p95": at(0.95), "p99": at(0.99), "p999": at(0.999), "max": at(1.0)})
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

fn nanos(later: Instant, earlier: Instant) -> u64 {
    u64::try_from(later.saturating_duration_since(earlier).as_nanos()).unwrap_or(u64::MAX)
}
