//! The pool under random schedules, in virtual time: after each step everything is recounted, and in the end nothing
//! is left.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Handle, LIMITS, TestPool};
use crate::arena::Key;
use crate::pool::{ConnectionId, Event, Grant, Limits, Node, Phase, Pool, Share, Take, Ticket, Totals};

impl<I: Clone + Eq + Hash, C: Share> Pool<I, C> {
    /// Recounts everything and holds it against the invariants.
    pub(super) fn audit(&self) {
        let mut nodes = 0;
        for (key, node) in self.nodes.iter() {
            nodes += 1;
            assert_eq!(self.index.get(&node.identity), Some(&key));
            self.audit_node(key, node);
        }
        assert_eq!(self.index.len(), nodes);
        assert!(self.connections.len() <= self.totals.connections_max as usize);
        assert!(self.idle.len() <= self.totals.idle_max as usize);
        let resting = self.connections.iter().filter(|(_, connection)| connection.exchanges == 0).count();
        assert_eq!(resting, self.idle.len(), "the idle set is the connections without an exchange");
        assert_eq!(self.waiting, self.nodes.iter().map(|(_, node)| node.waiters.len()).sum::<usize>());
    }

    fn audit_node(&self, key: Key, node: &Node<I>) {
        let mine: Vec<_> = self.connections.iter().filter(|(_, connection)| connection.node == key).collect();
        let connecting = mine.iter().filter(|(_, connection)| connection.phase == Phase::Connecting).count();
        assert_eq!((node.open as usize, node.connecting as usize), (mine.len(), connecting));
        assert!(node.open <= node.limits.connections_max, "connections per identity");
        assert!(node.idle.len() <= node.limits.idle_max as usize, "idle per identity");
        assert!(node.waiters.len() <= node.limits.queue_max as usize, "queue length");
        for &idle in &node.idle {
            let connection = &self.connections[idle];
            assert!(connection.exchanges == 0 && connection.handle.is_some());
            assert!(self.idle.contains(&(connection.idle_until.unwrap(), idle)));
        }
        assert_eq!(node.blocked, self.blocked.iter().filter(|&&other| other == key).count() == 1);
        assert!(node.open > 0 || !node.waiters.is_empty(), "an unused identity is forgotten");
        if !node.waiters.is_empty() {
            self.audit_waiting(key, node);
        }
    }

    fn audit_waiting(&self, key: Key, node: &Node<I>) {
        let full = |shared: &Key| self.connections[*shared].exchanges >= self.exchanges_max(key);
        assert!(node.idle.is_empty() && node.shared.iter().all(full), "nobody waits while one could be lent");
        let expects_shared = node.limits.sharing && node.connecting > 0;
        if node.open < node.limits.connections_max && !expects_shared {
            assert!(node.blocked, "who lacks only a place is enrolled for one");
            assert!(self.connections.len() >= self.totals.connections_max as usize && self.idle.is_empty());
        }
    }
}

/// One input, its operands as picks among what is there.
#[derive(Debug, Clone)]
enum Step {
    Take { identity: usize, worker: u16, sharing: bool, idle_max: u32, fresh: bool },
    Connect { pick: usize, shared: Option<u32> },
    Fail { pick: usize },
    Finish { pick: usize, worker: u16 },
    Break { pick: usize },
    GiveUp { pick: usize },
    Advance { millis: u64 },
    Inspect { identity: usize, dead: bool },
    Ahead { identity: usize },
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    let pick = || 0usize..64;
    prop_oneof![
        8 => (0usize..4, 0u16..3, any::<bool>(), prop_oneof![9 => Just(2u32), 1 => 0u32..2], any::<bool>()).prop_map(
            |(identity, worker, sharing, idle_max, fresh)| Step::Take { identity, worker, sharing, idle_max, fresh }
        ),
        5 => (pick(), proptest::option::of(0u32..4)).prop_map(|(pick, shared)| Step::Connect { pick, shared }),
        1 => pick().prop_map(|pick| Step::Fail { pick }),
        6 => (pick(), 0u16..3).prop_map(|(pick, worker)| Step::Finish { pick, worker }),
        2 => pick().prop_map(|pick| Step::Break { pick }),
        2 => pick().prop_map(|pick| Step::GiveUp { pick }),
        3 => (0u64..15_000).prop_map(|millis| Step::Advance { millis }),
        2 => (0usize..4, any::<bool>()).prop_map(|(identity, dead)| Step::Inspect { identity, dead }),
        3 => (0usize..4).prop_map(|identity| Step::Ahead { identity }),
        1 => Just(Step::Drain),
    ]
}

const IDENTITIES: [&str; 4] = ["a", "b", "c", "d"];

/// What the pool's users hold, kept apart from the pool's own books.
struct World {
    pool: TestPool,
    now: Instant,
    serial: u32,
    connecting: Vec<ConnectionId>,
    busy: Vec<(ConnectionId, Handle)>,
    /// Waiting tickets, in order, and who waits.
    waiting: BTreeMap<Ticket, usize>,
}

impl World {
    fn new(totals: Totals) -> Self {
        World {
            pool: TestPool::new(totals),
            now: Instant::now(),
            serial: 0,
            connecting: Vec::new(),
            busy: Vec::new(),
            waiting: BTreeMap::new(),
        }
    }

    fn apply(&mut self, step: &Step) {
        self.act(step);
        self.drain_events();
        self.pool.audit();
        assert_eq!(self.pool.waiting(), self.waiting.len());
    }

    fn act(&mut self, step: &Step) {
        match *step {
            Step::Take { identity, worker, sharing, idle_max, fresh } => {
                self.take(identity, worker, Limits { idle_max, sharing, ..LIMITS }, fresh);
            }
            Step::Connect { pick, shared } => self.connect(pick, shared),
            Step::Fail { pick } if !self.connecting.is_empty() => {
                let id = self.connecting.swap_remove(pick % self.connecting.len());
                self.pool.failed(id, self.now);
            }
            Step::Finish { pick, worker } if !self.busy.is_empty() => {
                let (id, handle) = self.busy.swap_remove(pick % self.busy.len());
                if handle.shared {
                    self.pool.stream_ended(id, self.now);
                } else {
                    self.pool.put_back(id, handle, worker, self.now);
                }
            }
            Step::Break { pick } if !self.busy.is_empty() => {
                let (id, _) = self.busy.swap_remove(pick % self.busy.len());
                self.pool.closed(id, self.now);
            }
            Step::GiveUp { pick } if !self.waiting.is_empty() => {
                let ticket = *self.waiting.keys().nth(pick % self.waiting.len()).unwrap();
                assert!(self.pool.give_up(ticket));
                self.waiting.remove(&ticket);
            }
            Step::Advance { millis } => {
                self.now += Duration::from_millis(millis);
                self.pool.tick(self.now);
            }
            Step::Inspect { identity, dead } => {
                let seen = self.pool.inspect(&IDENTITIES[identity], 2, |_| !dead, self.now);
                assert!(seen.iter().all(|seen| seen.alive != dead && seen.idle < LIMITS.idle));
            }
            Step::Ahead { identity } => {
                if let Some(id) = self.pool.open_ahead(&IDENTITIES[identity], LIMITS, 0, self.now) {
                    self.connecting.push(id);
                }
            }
            Step::Drain => self.pool.drain(),
            _ => {}
        }
    }

    fn take(&mut self, identity: usize, worker: u16, limits: Limits, fresh: bool) {
        let name = IDENTITIES[identity];
        let take = if fresh {
            self.pool.take_fresh(&name, limits, worker, self.now)
        } else {
            self.pool.take(&name, limits, worker, self.now)
        };
        match take {
            Take::Granted(grant) => self.hold(&grant),
            Take::Wait(ticket) => assert!(self.waiting.insert(ticket, identity).is_none()),
            Take::QueueFull => {
                let queued = self.waiting.values().filter(|&&other| other == identity).count();
                assert_eq!(queued, LIMITS.queue_max as usize);
            }
        }
    }

    fn connect(&mut self, pick: usize, streams: Option<u32>) {
        if self.connecting.is_empty() {
            return;
        }
        let id = self.connecting.swap_remove(pick % self.connecting.len());
        self.serial += 1;
        let handle = Handle { serial: self.serial, shared: streams.is_some(), streams: streams.unwrap_or(1) };
        self.pool.connected(id, handle.share(), self.now);
        self.busy.push((id, handle));
    }

    fn hold(&mut self, grant: &Grant<Handle>) {
        match *grant {
            Grant::Open(id) => self.connecting.push(id),
            Grant::Reuse(id, handle) => {
                let taken = self.busy.iter().any(|&(other, _)| other == id);
                assert!(handle.shared || !taken, "an exclusive connection has one borrower");
                self.busy.push((id, handle));
            }
        }
    }

    fn drain_events(&mut self) {
        for event in self.pool.take_events() {
            match event {
                Event::Granted(ticket, grant) => {
                    let identity = self.waiting.remove(&ticket).expect("a grant is for one who waits");
                    let earlier = self.waiting.iter().any(|(&other, &who)| who == identity && other < ticket);
                    assert!(!earlier, "waiters of one identity are served in order");
                    self.hold(&grant);
                }
                Event::Close(handle, _) => {
                    let lent = self.busy.iter().any(|&(_, other)| other == handle);
                    assert!(handle.shared || !lent, "what is lent out alone is not closed");
                }
            }
        }
    }

    /// Everybody finishes; then nothing may be left.
    fn wind_down(&mut self) {
        let mut rounds = 0;
        while !self.connecting.is_empty() || !self.busy.is_empty() || !self.waiting.is_empty() {
            self.apply(&Step::Connect { pick: 0, shared: None });
            self.apply(&Step::Finish { pick: 0, worker: 0 });
            rounds += 1;
            assert!(rounds < 10_000, "every waiter ends");
        }
        self.apply(&Step::Advance { millis: 60_000 });
        assert_eq!((self.pool.open(), self.pool.idle(), self.pool.waiting()), (0, 0, 0));
        assert_eq!((self.pool.nodes.len(), self.pool.index.len(), self.pool.blocked.len()), (0, 0, 0));
    }
}

/// A fixed sequence of numbers that looks random (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[test]
fn nothing_leaks_over_a_million_requests_with_random_faults() {
    let mut world = World::new(Totals { connections_max: 9, idle_max: 5 });
    let mut dice = Dice(7);
    for turn in 0..1_000_000u32 {
        let identity = dice.below(4) as usize;
        world.take(identity, dice.below(3) as u16, Limits { sharing: identity == 0, ..LIMITS }, dice.below(20) == 0);
        let pick = dice.below(64) as usize;
        let streams = (identity == 0).then(|| dice.below(4) as u32);
        world.connect(pick, streams);
        for _ in 0..2 {
            let pick = dice.below(64) as usize;
            world.act(&match dice.below(16) {
                0 => Step::Fail { pick },
                1 => Step::Break { pick },
                2 => Step::GiveUp { pick },
                3 => Step::Advance { millis: dice.below(2_000) },
                _ => Step::Finish { pick, worker: 1 },
            });
            world.drain_events();
        }
        if turn % 1_000 == 0 {
            world.pool.audit();
        }
    }
    world.wind_down();
    assert!(world.pool.connections.capacity() < 64, "tables stay as small as what they held");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_schedule_breaks_a_bound_or_leaks_or_strands_a_waiter(
        totals in (1u32..8, 0u32..6),
        steps in proptest::collection::vec(step(), 1..300),
    ) {
        let mut world = World::new(Totals { connections_max: totals.0, idle_max: totals.1 });
        for step in &steps {
            world.apply(step);
        }
        world.wind_down();
    }
}
