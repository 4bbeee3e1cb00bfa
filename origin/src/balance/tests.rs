#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const IDLE: Candidate = Candidate {
    weight: 1,
    priority: 0,
    near: false,
    in_flight: 0,
    latency_micros: 0,
    identity: 0,
    ejected: false,
    tried: false,
};
const OUT: Candidate = Candidate { ejected: true, ..IDLE };
const TRIED: Candidate = Candidate { tried: true, ..IDLE };
const BACKUP: Candidate = Candidate { priority: 1, ..IDLE };

fn balancer(balance: Balance, candidates: &[Candidate]) -> Balancer {
    let weights: Vec<_> = candidates.iter().map(|c| c.weight).collect();
    Balancer::new(Rules { balance, ejected_percent_max: 50, hash_load_percent: 125 }, &weights, 0)
}

fn round_robin(candidates: &[Candidate]) -> Balancer {
    balancer(Balance::RoundRobin, candidates)
}

fn picks(balancer: &mut Balancer, candidates: &[Candidate], count: usize) -> Vec<usize> {
    (0..count).map(|_| balancer.pick(candidates, None).unwrap()).collect()
}

/// Who is picked at all.
fn reached(candidates: &[Candidate]) -> Vec<usize> {
    let mut turns = picks(&mut round_robin(candidates), candidates, 10 * candidates.len());
    turns.sort_unstable();
    turns.dedup();
    turns
}

/// Servers told apart on the ring.
fn ring(count: usize) -> Vec<Candidate> {
    (0..count).map(|place| Candidate { identity: mix(place as u64 + 1), ..IDLE }).collect()
}

#[test]
fn weights_are_shares_and_the_turns_are_smooth() {
    let candidates = [Candidate { weight: 3, ..IDLE }, IDLE, IDLE];
    let mut turns = picks(&mut round_robin(&candidates), &candidates, 500);
    assert!(!turns.windows(3).any(|three| three == [0, 0, 0]), "{turns:?}");
    turns.sort_unstable();
    assert_eq!(turns.iter().filter(|&&turn| turn == 0).count(), 300);
}

#[test]
fn the_seed_decides_who_is_asked_first() {
    let candidates = [IDLE; 3];
    let rules = Rules { balance: Balance::RoundRobin, ejected_percent_max: 50, hash_load_percent: 125 };
    let first = |seed| Balancer::new(rules, &[1; 3], seed).pick(&candidates, None).unwrap();
    assert_eq!([first(0), first(1), first(2), first(3)], [0, 1, 2, 0]);
}

#[test]
fn the_least_busy_relative_to_its_weight_is_asked() {
    let candidates = [Candidate { in_flight: 2, weight: 4, ..IDLE }, Candidate { in_flight: 1, ..IDLE }];
    assert_eq!(balancer(Balance::LeastConnections, &candidates).pick(&candidates, None), Some(0));
    let even = [IDLE, IDLE];
    let mut turns = picks(&mut balancer(Balance::LeastConnections, &even), &even, 4);
    turns.sort_unstable();
    assert_eq!(turns, [0, 0, 1, 1], "ties take turns");
}

#[test]
fn a_backup_is_asked_only_when_no_primary_is_left() {
    assert_eq!(reached(&[IDLE, BACKUP]), [0]);
    assert_eq!(reached(&[OUT, BACKUP]), [1]);
    assert_eq!(reached(&[TRIED, BACKUP]), [1]);
}

#[test]
fn priorities_join_one_after_the_other_as_servers_go_out() {
    let last = Candidate { priority: 2, ..IDLE };
    assert_eq!(reached(&[IDLE, OUT, BACKUP, last]), [0], "half of them carry on alone");
    assert_eq!(reached(&[IDLE, OUT, OUT, BACKUP, BACKUP, last]), [0, 3, 4], "with too many out, the next ones help");
    let backup_out = Candidate { ejected: true, ..BACKUP };
    assert_eq!(reached(&[OUT, backup_out, last, last]), [2, 3]);
}

#[test]
fn an_ejected_server_is_passed_over_until_too_many_are() {
    assert_eq!(reached(&[OUT, IDLE, OUT, IDLE]), [1, 3]);
    assert_eq!(reached(&[OUT, OUT, OUT, IDLE]), [0, 1, 2, 3], "panic: ejection is ignored");
}

#[test]
fn a_retry_goes_to_another_server_while_there_is_one() {
    let mut balancer = round_robin(&[IDLE; 2]);
    assert_eq!(picks(&mut balancer, &[TRIED, IDLE], 3), [1, 1, 1]);
    assert_eq!(balancer.pick(&[TRIED, OUT], None), Some(1));
    assert!(balancer.pick(&[TRIED, TRIED], None).is_some());
}

#[test]
fn the_zone_of_the_node_comes_first_while_half_of_it_is_well() {
    let near = Candidate { near: true, ..IDLE };
    let near_out = Candidate { near: true, ..OUT };
    assert_eq!(reached(&[near, IDLE, near, IDLE]), [0, 2]);
    assert_eq!(reached(&[near, near_out, IDLE, IDLE]), [0]);
    assert_eq!(
        reached(&[near, near_out, near_out, IDLE, IDLE, IDLE]),
        [0, 3, 4, 5],
        "one cannot carry the load of three"
    );
    assert_eq!(reached(&[near_out, IDLE]), [1]);
    assert_eq!(reached(&[Candidate { tried: true, ..near }, IDLE]), [1]);
}

#[test]
fn of_two_choices_the_faster_and_less_busy_one_is_taken() {
    let fast = Candidate { latency_micros: 1_000, ..IDLE };
    let slow = Candidate { latency_micros: 9_000, ..IDLE };
    let chosen = |pair: &[Candidate]| picks(&mut balancer(Balance::TwoChoices, pair), pair, 20);
    assert_eq!(chosen(&[slow, fast]), [1; 20]);
    let busy = Candidate { in_flight: 9, ..fast };
    assert_eq!(chosen(&[busy, slow]), [1; 20], "ten times a millisecond");
    assert_eq!(
        chosen(&[Candidate { in_flight: 1, ..IDLE }, slow]),
        [1; 20],
        "the unknown one counts as fast as the other"
    );
    assert_eq!(chosen(&[IDLE, Candidate { in_flight: 1, ..slow }]), [0; 20]);
}

#[test]
fn two_choices_follow_the_weights_among_equals_and_avoid_the_slowest_of_many() {
    let mut servers = [Candidate { latency_micros: 1_000, ..IDLE }; 5];
    servers[4].latency_micros = 50_000;
    let turns = picks(&mut balancer(Balance::TwoChoices, &servers), &servers, 1_000);
    assert!(!turns.contains(&4));
    assert!((0..4).all(|place| turns.iter().filter(|&&turn| turn == place).count() > 150));
    let weighted = [Candidate { weight: 9, ..IDLE }, IDLE, IDLE];
    let turns = picks(&mut balancer(Balance::TwoChoices, &weighted), &weighted, 1_000);
    assert!(turns.iter().filter(|&&turn| turn == 0).count() > 700);
}

#[test]
fn the_ring_gives_keys_their_share_by_weight() {
    let mut servers = ring(4);
    servers[2].weight = 3;
    let mut balancer = balancer(Balance::Hash, &servers);
    let turns: Vec<_> = (0..6_000).map(|key| balancer.pick(&servers, Some(mix(key))).unwrap()).collect();
    let share = |place| turns.iter().filter(|&&turn| turn == place).count();
    assert!((2_800..3_200).contains(&share(2)), "{}", share(2));
    assert!([0, 1, 3].iter().all(|&place| (850..1_150).contains(&share(place))));
}

#[test]
fn a_hot_key_spills_over_to_the_next_of_its_servers_and_no_further_than_needed() {
    let mut servers = ring(4);
    let mut balancer = balancer(Balance::Hash, &servers);
    let home = balancer.pick(&servers, Some(7)).unwrap();
    // The key's server may have its fair share and a quarter.
    for server in &mut servers {
        server.in_flight = 8;
    }
    assert_eq!(balancer.pick(&servers, Some(7)), Some(home));
    servers[home].in_flight = 12;
    let next = balancer.pick(&servers, Some(7)).unwrap();
    assert_ne!(next, home);
    servers[home].in_flight = 8;
    servers[home].ejected = true;
    assert_eq!(balancer.pick(&servers, Some(7)), Some(next), "the same that takes over when it is out");
}

#[test]
fn a_request_without_a_key_goes_anywhere() {
    let servers = ring(4);
    let mut turns = picks(&mut balancer(Balance::Hash, &servers), &servers, 100);
    turns.sort_unstable();
    turns.dedup();
    assert_eq!(turns, [0, 1, 2, 3]);
}

fn candidate() -> impl Strategy<Value = Candidate> {
    let numbers = (1u32..5, 0u8..3, 0u32..6, 0u64..3, any::<u64>());
    (numbers, any::<[bool; 3]>()).prop_map(
        |((weight, priority, in_flight, latency_micros, identity), [near, ejected, tried])| Candidate {
            weight,
            priority,
            near,
            in_flight,
            latency_micros,
            identity,
            ejected,
            tried,
        },
    )
}

proptest! {
    #[test]
    fn whatever_the_way_somebody_is_asked_and_nobody_while_a_better_one_is_there(
        candidates in proptest::collection::vec(candidate(), 2..8),
        key in any::<u64>(),
    ) {
        for balance in [Balance::RoundRobin, Balance::LeastConnections, Balance::TwoChoices, Balance::Hash] {
            let place = balancer(balance, &candidates).pick(&candidates, Some(key)).unwrap();
            let chosen = &candidates[place];
            prop_assert!(!chosen.tried || candidates.iter().all(|c| c.tried), "an untried one is left");
            let out = candidates.iter().filter(|c| c.ejected).count();
            let useful = candidates.iter().any(|c| !c.ejected && !c.tried);
            prop_assert!(!chosen.ejected || out * 2 > candidates.len() || !useful, "health counts");
        }
    }

    #[test]
    fn a_server_that_comes_or_goes_moves_its_own_keys_only(count in 2usize..9, gone in 0usize..9, keys in any::<u64>()) {
        let servers = ring(count);
        let gone = gone % count;
        let mut fewer = servers.clone();
        fewer.remove(gone);
        let (mut all, mut rest) = (balancer(Balance::Hash, &servers), balancer(Balance::Hash, &fewer));
        for key in 0..50 {
            let key = Some(mix(keys ^ key));
            let before = servers[all.pick(&servers, key).unwrap()].identity;
            let after = fewer[rest.pick(&fewer, key).unwrap()].identity;
            prop_assert!(before == servers[gone].identity || before == after);
        }
    }
}
