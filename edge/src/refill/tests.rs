#![allow(clippy::unwrap_used)]
use headland_cache::{Collapse, CollapseLimits, Join, KeyBuffer, Lead, Scheme};

use super::*;

const AT_ONCE: usize = 2;

struct Bench {
    refills: Refills,
    collapse: Collapse,
    origin: Arc<str>,
}

impl Bench {
    fn new() -> Self {
        let collapse = Collapse::new(CollapseLimits { followers_max: 100, fill_bytes_max: 1 << 20 });
        Bench { refills: Refills::default(), collapse, origin: "app".into() }
    }

    fn lead(&self, target: &str) -> Lead {
        let mut key = KeyBuffer::new();
        key.begin(Scheme::Http, b"h.example", target.as_bytes());
        match self.collapse.join(key.key(), 0) {
            Join::Lead(lead) => lead,
            _ => panic!("the first leads"),
        }
    }

    fn enter(&self, lead: &Lead) -> Place {
        self.refills.enter(&self.origin, AT_ONCE, lead.audience())
    }

    fn turn(&self, lead: &Lead) -> Turn {
        match self.enter(lead) {
            Place::Turn(turn) => turn,
            other => panic!("{other:?}"),
        }
    }

    fn wait(&self, lead: &Lead) -> oneshot::Receiver<Turn> {
        match self.enter(lead) {
            Place::Wait(turn) => turn,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn so_many_at_once_and_one_more_for_each_that_ends() {
    let bench = Bench::new();
    let leads: Vec<_> = (0..4).map(|number| bench.lead(&format!("/{number}"))).collect();
    let (first, _second) = (bench.turn(&leads[0]), bench.turn(&leads[1]));
    assert!(!bench.refills.is_free(&bench.origin, AT_ONCE));
    let (mut third, mut fourth) = (bench.wait(&leads[2]), bench.wait(&leads[3]));
    drop(first);
    let third = third.try_recv().unwrap();
    assert!(fourth.try_recv().is_err());
    drop(third);
    drop(fourth.try_recv().unwrap());
    assert!(bench.refills.is_free(&bench.origin, AT_ONCE));
    assert_eq!(bench.refills.usage(), (0, 2, 0));
}

#[test]
fn the_hottest_is_next() {
    let bench = Bench::new();
    let (busy, cold, hot) = (bench.lead("/busy"), bench.lead("/cold"), bench.lead("/hot"));
    let (first, _second) = (bench.turn(&busy), bench.turn(&busy));
    let (mut cold_turn, mut hot_turn) = (bench.wait(&cold), bench.wait(&hot));
    let _followers = [hot.follow(), hot.follow()];
    drop(first);
    assert!(cold_turn.try_recv().is_err());
    drop(hot_turn.try_recv().unwrap());
    assert!(cold_turn.try_recv().is_ok());
}

#[test]
fn a_turn_passes_by_who_waits_no_more_and_none_is_lost() {
    let bench = Bench::new();
    let lead = bench.lead("/");
    let (first, second) = (bench.turn(&lead), bench.turn(&lead));
    let gone: Vec<_> = (0..10).map(|_| bench.wait(&lead)).collect();
    let mut stays = bench.wait(&lead);
    drop(gone);
    drop(first);
    drop(stays.try_recv().unwrap());
    drop(second);
    assert!(bench.refills.is_free(&bench.origin, 1), "all turns came back");
    let unread = {
        let _held = (bench.turn(&lead), bench.turn(&lead));
        bench.wait(&lead)
    };
    drop(unread);
    assert!(bench.refills.is_free(&bench.origin, 1), "also one that was given and never taken");
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_refused() {
    let bench = Bench::new();
    let lead = bench.lead("/");
    let _held = (bench.turn(&lead), bench.turn(&lead));
    let place = bench.wait(&lead);
    assert!(bench.refills.wait(place).await.is_none());
    assert_eq!(bench.refills.usage().2, 1);
}

#[test]
fn the_oldest_is_not_forgotten_for_the_hot() {
    let bench = Bench::new();
    let (busy, old, hot) = (bench.lead("/busy"), bench.lead("/old"), bench.lead("/hot"));
    let _held = bench.turn(&busy);
    let mut turn = bench.turn(&busy);
    let mut oldest = bench.wait(&old);
    let _followers = [hot.follow(), hot.follow()];
    for _ in 0..OLDEST_EVERY {
        let mut next = bench.wait(&hot);
        drop(turn);
        match next.try_recv() {
            Ok(next) => turn = next,
            Err(_) => return assert!(oldest.try_recv().is_ok()),
        }
    }
    panic!("the oldest was never next");
}
