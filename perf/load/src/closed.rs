//! The closed loop: every kept connection has so many requests under way, and asks the next one when one is answered.
//!
//! It finds what a request costs the server when it is busy, and how many it can answer. What a client *waits* is not its
//! business: a request here is due at the moment at which it is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use tokio::task::JoinSet;

use crate::run::{Sender, Shared, ask_multiplexed};
use crate::tally::Job;

/// Begin `streams` askers on each connection; they end by the plan's clock, or when one of them is not answered.
pub(crate) fn ask(shared: &Arc<Shared>, senders: &[Sender], streams: usize, tasks: &mut JoinSet<()>) {
    let numbers = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    for sender in senders {
        for _ in 0..streams {
            tasks.spawn(keep_asking(shared.clone(), sender.clone(), start, numbers.clone()));
        }
    }
}

async fn keep_asking(shared: Arc<Shared>, sender: Sender, start: Instant, numbers: Arc<AtomicU64>) {
    let counted_from = start + shared.plan.warm;
    let end = counted_from + shared.plan.counted;
    loop {
        let due = Instant::now();
        if due >= end {
            return;
        }
        let job = Job { due, number: numbers.fetch_add(1, Relaxed), counted: due >= counted_from };
        shared.tally().started(job, due);
        if !ask_multiplexed(shared.clone(), sender.clone(), job).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
