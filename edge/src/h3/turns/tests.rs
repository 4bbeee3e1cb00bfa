//! Streams with so much to send, room that comes in any amounts, windows of streams that close.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn of(urgency: u8, incremental: bool) -> Priority {
    Priority { urgency, incremental }
}

/// What a connection's streams have left to send, and how much of it their own windows let through.
#[derive(Debug, Default)]
struct Model {
    left: BTreeMap<u64, u64>,
    windows: BTreeMap<u64, u64>,
    sent: BTreeMap<u64, u64>,
}

impl Model {
    fn could(&self, stream: u64) -> u64 {
        self.left[&stream].min(self.windows[&stream])
    }

    /// Offers so much room; in which order it was taken.
    fn offer(&mut self, turns: &mut Turns, mut room: u64) -> Vec<(u64, u64)> {
        let mut taken = Vec::new();
        loop {
            let (before, mut whole) = (room, false);
            turns.offer(|stream, most| {
                let bytes = self.could(stream).min(room).min(most.unwrap_or(u64::MAX));
                room -= bytes;
                *self.left.get_mut(&stream).unwrap() -= bytes;
                *self.windows.get_mut(&stream).unwrap() -= bytes;
                *self.sent.entry(stream).or_default() += bytes;
                taken.push((stream, bytes));
                whole = self.left[&stream] == 0;
                if whole { Taken::Whole } else { Taken::Part(bytes) }
            });
            if !whole || (before == room && turns.is_empty()) {
                return taken;
            }
        }
    }
}

fn waiting(streams: &[(u64, Priority, u64)]) -> (Turns, Model) {
    let (mut turns, mut model) = (Turns::default(), Model::default());
    for &(stream, priority, bytes) in streams {
        turns.enter(stream, priority);
        model.left.insert(stream, bytes);
        model.windows.insert(stream, u64::MAX);
    }
    (turns, model)
}

#[test]
fn room_goes_to_the_most_urgent_then_to_wholes_in_order() {
    let (mut turns, mut model) =
        waiting(&[(0, of(7, false), 100), (8, of(3, false), 100), (4, of(3, false), 100), (12, of(0, true), 50)]);
    assert!(turns.is_first(12) && !turns.is_free(16, of(0, true)) && turns.is_free(16, of(0, false)));
    assert_eq!(model.offer(&mut turns, 120), [(12, 50), (4, 70), (8, 0), (0, 0)]);
    assert!(turns.reorder(0, of(1, false)));
    assert_eq!(model.offer(&mut turns, 110), [(0, 100), (4, 10), (8, 0)]);
    assert!(!turns.reorder(0, of(1, false)), "it does not wait any more");
}

#[test]
fn who_is_held_up_by_its_own_window_holds_up_nobody() {
    let (mut turns, mut model) = waiting(&[(0, of(0, false), 100), (4, of(7, false), 100)]);
    model.windows.insert(0, 10);
    assert_eq!(model.offer(&mut turns, 50), [(0, 10), (4, 40)]);
}

#[test]
fn parts_are_sent_by_turns_however_small_the_room_is() {
    let (mut turns, mut model) = waiting(&[(0, of(3, true), 1 << 20), (4, of(3, true), 1 << 20)]);
    for _ in 0..64 {
        model.offer(&mut turns, 1000);
        assert!(model.sent.get(&0).unwrap_or(&0).abs_diff(*model.sent.get(&4).unwrap_or(&0)) <= TURN_BYTES);
    }
    assert_eq!(model.offer(&mut turns, 4 * TURN_BYTES).iter().filter(|(_, bytes)| *bytes > 0).count(), 5);
}

proptest! {
    #[test]
    fn nobody_takes_room_while_somebody_before_it_could(
        streams in proptest::collection::vec((0..8_u8, any::<bool>(), 1..100_000_u64, 0..100_000_u64), 1..12),
        rooms in proptest::collection::vec(0..60_000_u64, 1..60),
    ) {
        let (mut turns, mut model) = (Turns::default(), Model::default());
        let mut asked = BTreeMap::new();
        for (number, (urgency, incremental, bytes, window)) in streams.into_iter().enumerate() {
            let stream = number as u64 * 4;
            asked.insert(stream, (urgency, incremental));
            turns.enter(stream, of(urgency, incremental));
            model.left.insert(stream, bytes);
            model.windows.insert(stream, window);
        }
        for room in rooms {
            let taken: BTreeSet<u64> =
                model.offer(&mut turns, room).into_iter().filter(|(_, bytes)| *bytes > 0).map(|(stream, _)| stream).collect();
            for low in &taken {
                for (high, rank) in &asked {
                    let before = rank.0 < asked[low].0 || (rank.0 == asked[low].0 && !rank.1 && asked[low].1);
                    prop_assert!(!before || model.could(*high) == 0, "{} took room that {} could take", low, high);
                }
            }
        }
        // With room for all and no windows everything ends.
        model.windows.values_mut().for_each(|window| *window = u64::MAX);
        model.offer(&mut turns, u64::MAX);
        prop_assert!(turns.is_empty() && model.left.values().all(|left| *left == 0));
    }
}
