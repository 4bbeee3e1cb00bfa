//! A day of requests to a thousand origins, in virtual time: how many of them find a connection that is open.
//!
//! Popularity is Zipf's (the origin of rank n gets 1/n of the first one's), arrivals are Poisson's with a rate that swings
//! over the day between a fifth and nine fifths of its mean, and an answer takes a tenth of a second. Origins keep idle
//! connections for as long as the pool does. The shell's part, opening ahead of need, is left out: it can only add.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::f64::consts::TAU;
use std::time::{Duration, Instant};

use super::*;
use crate::balance::mix;

const ORIGINS: usize = 1_000;
const DAY_S: f64 = 86_400.0;
/// Requests to all origins together, each second.
const RATE: f64 = 50.0;
const ANSWER: Duration = Duration::from_millis(100);
const WORKERS: u64 = 8;
const IDLE_MAX: u32 = 10_000;
/// As the settings have it, but for the idle time.
const DAILY: Limits = Limits {
    connections_max: 1_024,
    idle_max: 128,
    idle: Duration::from_secs(3_600),
    lifetime: Duration::from_secs(3_600),
    queue_max: 1_024,
    sharing: false,
};

/// Numbers in (0, 1).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 += 1;
        ((mix(self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }
}

/// What all origins up to each rank get together.
fn shares() -> Vec<f64> {
    let mut sum = 0.0;
    (1..=ORIGINS)
        .map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        })
        .collect()
}

#[derive(Default, Clone, Copy)]
struct Count {
    requests: u64,
    opened: u64,
}

impl Count {
    fn reused_percent(self) -> f64 {
        100.0 * (1.0 - self.opened as f64 / self.requests as f64)
    }
}

#[test]
#[ignore = "millions of requests: cargo test --release -p headland-origin a_day -- --ignored --nocapture"]
fn a_day_of_a_thousand_origins_reuses_nearly_all_connections() {
    let start = Instant::now();
    let mut pool: Pool<usize, Handle> = Pool::new(Totals { connections_max: 16_384, idle_max: IDLE_MAX });
    let (shares, mut dice) = (shares(), Dice(1));
    let mut counts = vec![Count::default(); ORIGINS];
    let mut running: BinaryHeap<Reverse<(Instant, ConnectionId, u16)>> = BinaryHeap::new();
    let mut second = 0.0;
    let mut most_idle = 0;
    while second < DAY_S {
        let rate = RATE * (1.0 + 0.8 * (TAU * second / DAY_S).sin());
        second += -dice.roll().ln() / rate;
        let now = start + Duration::from_secs_f64(second);
        while running.peek().is_some_and(|Reverse((ends, ..))| *ends <= now) {
            let Some(Reverse((ends, id, worker))) = running.pop() else { break };
            pool.put_back(id, exclusive(0), worker, ends);
            drop(pool.take_events());
        }
        let point = dice.roll() * shares[ORIGINS - 1];
        let origin = shares.partition_point(|share| *share < point);
        let worker = (counts[origin].requests % WORKERS) as u16;
        let id = match pool.take(&origin, DAILY, worker, now) {
            Take::Granted(Grant::Reuse(id, _)) => id,
            Take::Granted(Grant::Open(id)) => {
                counts[origin].opened += 1;
                pool.connected(id, None, now);
                id
            }
            other => panic!("nobody waits at this rate: {other:?}"),
        };
        counts[origin].requests += 1;
        running.push(Reverse((now + ANSWER, id, worker)));
        most_idle = most_idle.max(pool.idle());
    }
    let all = counts.iter().fold(Count::default(), |sum, count| Count {
        requests: sum.requests + count.requests,
        opened: sum.opened + count.opened,
    });
    let (first, all_percent) = (counts[0].reused_percent(), all.reused_percent());
    println!(
        "{} requests; reused: first origin {first:.3} %, all {all_percent:.3} %; idle at most {most_idle}",
        all.requests
    );
    assert!(most_idle <= IDLE_MAX as usize);
    assert!(first >= 99.92, "{first}");
    assert!(all_percent >= 99.0, "{all_percent}");
}
