//! `headland-replay TRACE CAPACITY_PERCENT...`: hit ratios of the node's store, LRU and Belady's choice on one trace.
//!
//! A capacity is a share of what all objects of the trace together weigh. The result is JSON on standard output; the
//! first request for a key is always a miss, so no policy reaches 1.

mod ours;
mod policies;
mod trace;

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::ours::Maker;
use crate::policies::Hits;
use crate::trace::Trace;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (path, shares) = (words.next(), words.map(|word| word.parse::<f64>()).collect::<Result<Vec<_>, _>>());
    let (Some(path), Ok(shares)) = (path, shares) else {
        eprintln!("headland-replay TRACE CAPACITY_PERCENT...");
        return ExitCode::from(2);
    };
    match Trace::read(Path::new(&path)) {
        Ok(trace) => {
            println!("{}", report(&trace, &shares));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{path}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn report(trace: &Trace, shares: &[f64]) -> Value {
    let mut maker = Maker::new(trace);
    let weights = maker.weights(trace);
    let working_set: u64 = weights.iter().sum();
    let asked: u64 = trace.requests.iter().map(|key| u64::from(trace.sizes[*key as usize])).sum();
    let ratio = |hits: Hits| {
        json!({
            "requests": hits.requests as f64 / trace.requests.len() as f64,
            "bytes": hits.bytes as f64 / asked as f64,
        })
    };
    let rows = shares.iter().map(|share| {
        #[allow(clippy::cast_sign_loss)] // a share below nothing is a cache of nothing
        let capacity = (working_set as f64 * share / 100.0) as u64;
        json!({
            "percent": share,
            "capacity_bytes": capacity,
            "ours": ratio(ours::replay(&mut maker, trace, capacity)),
            "lru": ratio(policies::lru(trace, &weights, capacity)),
            "belady": ratio(policies::belady(trace, &weights, capacity)),
        })
    });
    let rows: Vec<Value> = rows.collect();
    json!({"requests": trace.requests.len(), "keys": trace.sizes.len(), "working_set_bytes": working_set, "rows": rows})
}
