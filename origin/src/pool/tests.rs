//! The pool by tables, in virtual time.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use super::*;
use crate::warmth::Seen;

mod day;
mod model;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Handle {
    serial: u32,
    shared: bool,
    streams: u32,
}

impl Share for Handle {
    fn share(&self) -> Option<Self> {
        self.shared.then_some(*self)
    }

    fn exchanges_max(&self) -> u32 {
        self.streams
    }
}

type TestPool = Pool<&'static str, Handle>;

const LIMITS: Limits = Limits {
    connections_max: 3,
    idle_max: 2,
    idle: Duration::from_secs(10),
    lifetime: Duration::from_secs(30),
    queue_max: 3,
    sharing: false,
};

const SHARING: Limits = Limits { sharing: true, ..LIMITS };
const ROOMY: Totals = Totals { connections_max: 100, idle_max: 100 };

fn exclusive(serial: u32) -> Handle {
    Handle { serial, shared: false, streams: 1 }
}

fn shared(serial: u32, streams: u32) -> Handle {
    Handle { serial, shared: true, streams }
}

fn opens(take: Take<Handle>) -> ConnectionId {
    match take {
        Take::Granted(Grant::Open(id)) => id,
        other => panic!("expected to open, got {other:?}"),
    }
}

fn reuses(take: Take<Handle>) -> (ConnectionId, u32) {
    match take {
        Take::Granted(Grant::Reuse(id, handle)) => (id, handle.serial),
        other => panic!("expected to reuse, got {other:?}"),
    }
}

fn waits(take: Take<Handle>) -> Ticket {
    match take {
        Take::Wait(ticket) => ticket,
        other => panic!("expected to wait, got {other:?}"),
    }
}

/// Opens `count` exclusive connections of one identity.
fn open(pool: &mut TestPool, identity: &'static str, count: u32, now: Instant) -> Vec<ConnectionId> {
    let ids: Vec<_> = (0..count).map(|_| opens(pool.take(&identity, LIMITS, 0, now))).collect();
    for &id in &ids {
        pool.connected(id, None, now);
    }
    ids
}

#[test]
fn a_connection_put_back_is_reused_newest_first() {
    let (mut pool, now) = (TestPool::new(ROOMY), Instant::now());
    let ids = open(&mut pool, "a", 2, now);
    pool.put_back(ids[0], exclusive(0), 0, now);
    pool.put_back(ids[1], exclusive(1), 0, now);
    assert_eq!(reuses(pool.take(&"a", LIMITS, 0, now)).1, 1);
    assert_eq!(reuses(pool.take(&"a", LIMITS, 0, now)).1, 0);
    opens(pool.take(&"a", LIMITS, 0, now));
    pool.audit();
}

#[test]
fn the_workers_own_idle_connection_goes_before_a_newer_one_of_another() {
    let (mut pool, now) = (TestPool::new(ROOMY), Instant::now());
    let ids = open(&mut pool, "a", 2, now);
    pool.put_back(ids[0], exclusive(0), 7, now);
    pool.put_back(ids[1], exclusive(1), 8, now);
    assert_eq!(reuses(pool.take(&"a", LIMITS, 7, now)).1, 0);
    assert_eq!(reuses(pool.take(&"a", LIMITS, 7, now)).1, 1);
}

#[test]
fn a_fresh_connection_is_a_new_one_though_others_are_idle() {
    let (mut pool, now) = (TestPool::new(ROOMY), Instant::now());
    let ids = open(&mut pool, "a", 3, now);
    pool.put_back(ids[0], exclusive(0), 0, now);
    opens(pool.take_fresh(&"a", LIMITS, 0, now));
    assert_eq!(pool.take_events(), vec![Event::Close(exclusive(0), Retirement::MadeRoom)]);
    pool.audit();
}

#[test]
fn nothing_is_lent_to_another_identity() {
    let (mut pool, now) = (TestPool::new(ROOMY), Instant::now());
    let ids = open(&mut pool, "a", 1, now);
    pool.put_back(ids[0], exclusive(0), 0, now);
    opens(pool.take(&"b", LIMITS, 0, now));
}

#[test]
fn what_has_expired_is_closed_and_not_lent() {
    let (mut pool, now) = (TestPool::new(ROOMY), Instant::now());
    let ids = open(&mut pool, "a", 1, now);
    pool.put_back(ids[0], exclusive(0), 0, now);
    assert_eq!(pool.next_tick(), Some(now + 10 * SECOND));
    opens(pool.take(&"a", LIMITS, 0, now + 10 * SECOND));
    assert_eq!(pool.take_events(), vec![Event::Close(exclusive(0), Retirement::Idle)]);
}

#[test]
fn a_connection_past_its_lifetime_is_closed_when_it_comes_back() {
    let (mut pool, now) = (TestPool::new(ROOMY), Instant::now());
    let ids = open(&mut pool, "a", 1, now);
    pool.put_back(ids[0], exclusive(0), 0, now + 30 * SECOND);
    assert_eq!(pool.take_events(), vec![Event::Close(exclusive(0), Retirement::Lifetime)]);
    assert_eq!(pool.open(), 0);
    pool.audit();
}

#[test]
fn idle_connections_above_the_bound_are_closed_oldest_first() {
    let (mut pool, now) = (TestPool::new(ROOMY), Instant::now());
    let ids = open(&mut pool, "a", 3, now);
    for (&id, serial) in ids.iter().zip(0..) {
        pool.put_back(id, exclusive(serial), 0, now);
    }
    assert_eq!(pool.take_events(), vec![Event::Close(exclusive(0), Retirement::Surplus)]);
    pool.audit();
}

#[test]
fn at_the_bound_requests_wait_in_order_and_then_are_refused() {
    let (mut pool, now) = (TestPool::new(ROOMY), Instant::now());
    let ids = open(&mut pool, "a", 3, now);
    let tickets: Vec<_> = (0..3).map(|_| waits(pool.take(&"a", LIMITS, 0, now))).collect();
    assert_eq!(pool.take(&"a", LIMITS, 0, now), Take::QueueFull);
    assert!(pool.give_up(tickets[1]));
    assert!(!pool.give_up(tickets[1]));
    pool.put_back(ids[0], exclusive(0), 0, now);
    pool.closed(ids[1], now);
    let events = pool.take_events();
    let [Event::Granted(first, Grant::Reuse(..)), Event::Granted(second, Grant::Open(_))] = events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((first, second), (tickets[0], tickets[2]));
    pool.audit();
}

#[test]
fn an_idle_connection_makes_room_under_the_total_bound() {
    let (mut pool, now) = (TestPool::new(Totals { connections_max: 1, idle_max: 1 }), Instant::now());
    let ids = open(&mut pool, "a", 1, now);
    pool.put_back(ids[0], exclusive(0), 0, now);
    opens(pool.take(&"b", LIMITS, 0, now));
    assert_eq!(pool.take_events(), vec![Event::Close(exclusive(0), Retirement::MadeRoom)]);
    pool.audit();
}

#[test]
fn a_place_that_becomes_free_goes_round_the_identities_that_wait() {
    let (mut pool, now) = (TestPool::new(Totals { connections_max: 2, idle_max: 2 }), Instant::now());
    let ids = open(&mut pool, "a", 2, now);
    let b = [waits(pool.take(&"b", LIMITS, 0, now)), waits(pool.take(&"b", LIMITS, 0, now))];
    let c = waits(pool.take(&"c", LIMITS, 0, now));
    pool.closed(ids[0], now);
    pool.put_back(ids[1], exclusive(1), 0, now);
    let granted: Vec<_> = pool
        .take_events()
        .into_iter()
        .filter_map(|event| if let Event::Granted(ticket, _) = event { Some(ticket) } else { None })
        .collect();
    assert_eq!(granted, vec![b[0], c]);
    pool.audit();
}

#[test]
fn an_identity_that_holds_much_gives_way_to_one_that_waits_with_none() {
    let (mut pool, now) = (TestPool::new(Totals { connections_max: 2, idle_max: 2 }), Instant::now());
    let ids = open(&mut pool, "a", 2, now);
    let own = waits(pool.take(&"a", LIMITS, 0, now));
    let poor = waits(pool.take(&"b", LIMITS, 0, now));
    pool.put_back(ids[0], exclusive(0), 0, now);
    let events = pool.take_events();
    assert!(matches!(events[0], Event::Close(_, Retirement::MadeRoom)), "{events:?}");
    assert!(matches!(events[1], Event::Granted(ticket, Grant::Open(_)) if ticket == poor), "{events:?}");
    // Now both hold one: moving places further would only cost handshakes.
    waits(pool.take(&"b", LIMITS, 0, now));
    pool.put_back(ids[1], exclusive(1), 0, now);
    let events = pool.take_events();
    assert!(matches!(events[0], Event::Granted(ticket, Grant::Reuse(..)) if ticket == own), "{events:?}");
    pool.audit();
}

#[test]
fn while_a_connection_that_may_be_shared_is_opened_others_wait_for_it() {
    let (mut pool, now) = (TestPool::new(ROOMY), Instant::now());
    let id = opens(pool.take(&"a", SHARING, 0, now));
    let tickets = [waits(pool.take(&"a", SHARING, 0, now)), waits(pool.take(&"a", SHARING, 0, now))];
    pool.connected(id, Some(shared(1, 2)), now);
    let events = pool.take_events();
    // It carries two exchanges; the third has another opened.
    let [Event::Granted(first, Grant::Reuse(reused, _)), Event::Granted(second, Grant::Open(_))] = events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((first, second, reused), (tickets[0], tickets[1], id));
    pool.audit();
}

#[test]
fn a_new_shared_connection_is_held_to_what_the_peer_admits_on_the_others() {
    let (mut pool, now) = (TestPool::new(ROOMY), Instant::now());
    let known = opens(pool.take(&"a", SHARING, 0, now));
    pool.connected(known, Some(shared(1, 1)), now);
    let new = opens(pool.take(&"a", SHARING, 0, now));
    waits(pool.take(&"a", SHARING, 0, now));
    pool.connected(new, Some(shared(2, 100)), now);
    assert!(matches!(pool.take_events()[..], [Event::Granted(_, Grant::Open(_))]));
    pool.audit();
}

#[test]
fn if_it_proves_exclusive_or_fails_the_others_open_their_own_at_once() {
    for fails in [false, true] {
        let (mut pool, now) = (TestPool::new(ROOMY), Instant::now());
        let id = opens(pool.take(&"a", SHARING, 0, now));
        waits(pool.take(&"a", SHARING, 0, now));
        waits(pool.take(&"a", SHARING, 0, now));
        if fails {
            pool.failed(id, now);
        } else {
            pool.connected(id, None, now);
        }
        let events = pool.take_events();
        assert!(matches!(events[..], [Event::Granted(_, Grant::Open(_)), Event::Granted(_, Grant::Open(_))]));
        pool.audit();
    }
}

#[test]
fn a_shared_connection_that_goes_away_is_lent_no_more_and_ends_with_its_last_stream() {
    let (mut pool, now) = (TestPool::new(ROOMY), Instant::now());
    let id = opens(pool.take(&"a", SHARING, 0, now));
    pool.connected(id, Some(shared(1, 100)), now);
    assert_eq!(reuses(pool.take(&"a", SHARING, 0, now)), (id, 1));
    pool.closed(id, now);
    assert_eq!(pool.take_events(), vec![Event::Close(shared(1, 100), Retirement::Broken)]);
    opens(pool.take(&"a", SHARING, 0, now));
    assert_eq!(pool.open(), 2);
    pool.stream_ended(id, now);
    assert_eq!(pool.open(), 1);
    pool.audit();
}

#[test]
fn a_shared_connection_without_streams_is_idle_and_expires() {
    let (mut pool, now) = (TestPool::new(ROOMY), Instant::now());
    let id = opens(pool.take(&"a", SHARING, 0, now));
    pool.connected(id, Some(shared(1, 100)), now);
    pool.stream_ended(id, now);
    assert_eq!(pool.idle(), 1);
    assert_eq!(reuses(pool.take(&"a", SHARING, 0, now + SECOND)), (id, 1));
    pool.stream_ended(id, now + SECOND);
    pool.tick(now + 11 * SECOND);
    assert_eq!(pool.take_events(), vec![Event::Close(shared(1, 100), Retirement::Idle)]);
    pool.audit();
}

#[test]
fn draining_closes_what_is_idle_and_nothing_else() {
    let (mut pool, now) = (TestPool::new(ROOMY), Instant::now());
    let ids = open(&mut pool, "a", 2, now);
    pool.put_back(ids[0], exclusive(0), 0, now);
    pool.drain();
    assert_eq!(pool.take_events(), vec![Event::Close(exclusive(0), Retirement::Drained)]);
    assert_eq!(pool.open(), 1);
}

#[test]
fn a_connection_opened_ahead_rests_until_it_is_taken() {
    let (mut pool, now) = (TestPool::new(ROOMY), Instant::now());
    let id = pool.open_ahead(&"a", LIMITS, 0, now).unwrap();
    pool.connected(id, None, now);
    pool.put_back(id, exclusive(0), 0, now);
    let seen = pool.inspect(&"a", 0, |_| true, now + 3 * SECOND);
    assert_eq!(seen.as_slice(), [Seen { idle: 3 * SECOND, alive: true }]);
    assert_eq!(reuses(pool.take(&"a", LIMITS, 0, now + 3 * SECOND)).1, 0);
    pool.audit();
}

#[test]
fn what_is_found_dead_is_closed_and_forgotten() {
    let (mut pool, now) = (TestPool::new(ROOMY), Instant::now());
    let ids = open(&mut pool, "a", 2, now);
    pool.put_back(ids[0], exclusive(0), 0, now);
    pool.put_back(ids[1], exclusive(1), 0, now + SECOND);
    let seen = pool.inspect(&"a", 0, |handle| handle.serial == 1, now + 2 * SECOND);
    assert_eq!(seen.as_slice(), [Seen { idle: SECOND, alive: true }, Seen { idle: 2 * SECOND, alive: false }]);
    assert_eq!(pool.take_events(), vec![Event::Close(exclusive(0), Retirement::Broken)]);
    pool.inspect(&"a", 0, |_| false, now + 2 * SECOND);
    assert_eq!(pool.open(), 0);
    assert!(pool.inspect(&"a", 0, |_| true, now).is_empty());
    pool.audit();
}

#[test]
fn nothing_is_opened_ahead_at_the_cost_of_others() {
    let tight = Totals { connections_max: 2, idle_max: 100 };
    let (mut pool, now) = (TestPool::new(tight), Instant::now());
    let ids = open(&mut pool, "a", 2, now);
    pool.put_back(ids[0], exclusive(0), 0, now);
    assert_eq!(pool.open_ahead(&"b", LIMITS, 0, now), None);
    pool.audit();
    let (mut pool, no_idle) = (TestPool::new(ROOMY), Limits { idle_max: 0, ..LIMITS });
    assert_eq!(pool.open_ahead(&"b", no_idle, 0, now), None, "it could not stay");
    pool.audit();
}

#[test]
fn what_is_kept_ahead_of_need_takes_turns_and_the_rest_is_left_to_age() {
    let (mut pool, now) = (TestPool::new(ROOMY), Instant::now());
    let ids = open(&mut pool, "a", 2, now);
    pool.put_back(ids[0], exclusive(0), 0, now);
    pool.put_back(ids[1], exclusive(1), 0, now);
    // One of two is kept: the other one has to go some day.
    pool.inspect(&"a", 1, |_| true, now);
    let take = |pool: &mut TestPool, at| {
        let (id, serial) = reuses(pool.take(&"a", LIMITS, 0, at));
        pool.put_back(id, exclusive(serial), 0, at);
        serial
    };
    assert_eq!([1, 2, 3].map(|second| take(&mut pool, now + second * SECOND)), [1, 1, 1]);
    pool.inspect(&"a", 2, |_| true, now + 3 * SECOND);
    assert_eq!([3, 3, 4, 5].map(|second| take(&mut pool, now + second * SECOND)), [0, 0, 1, 0]);
    pool.audit();
}
