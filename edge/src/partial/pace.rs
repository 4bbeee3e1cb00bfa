//! How a fetch hands its parts to the client that it was begun for, and how far it may run ahead of it.
//!
//! The client gets a seat at every part before the part's first byte is there, so that it need not find the part in the
//! store: what is not kept, or was dropped before the client came to it, is read all the same, and what comes without a
//! strong validator, which could not be asked for again, is never missed.

use std::cmp::Ordering;

use headland_cache::partial::Part;
use headland_cache::{Follower, Lead};
use tokio::sync::mpsc;

/// Parts that a fetch may be ahead of its client.
const PARTS_AHEAD: usize = 4;

/// The client's end. Dropping it stops the fetch at the end of the part it is in.
#[derive(Debug)]
pub struct Pace {
    seats: mpsc::Receiver<Seat>,
    /// Taken already, at a part that the client has not come to.
    next: Option<Seat>,
}

/// The fetch's end.
#[derive(Debug)]
pub struct Leash(mpsc::Sender<Seat>);

/// The right to begin one more part.
#[derive(Debug)]
pub struct Step(mpsc::OwnedPermit<Seat>);

struct Seat {
    part: Part,
    follower: Follower,
}

/// Both ends.
pub fn pace() -> (Pace, Leash) {
    let (sender, receiver) = mpsc::channel(PARTS_AHEAD);
    (Pace { seats: receiver, next: None }, Leash(sender))
}

impl Pace {
    /// The seat at a part, if the fetch has begun it. Those at parts before it are given up.
    pub fn seat(&mut self, part: Part) -> Option<Follower> {
        loop {
            let seat = self.next.take().or_else(|| self.seats.try_recv().ok())?;
            match seat.part.bytes().start.cmp(&part.bytes().start) {
                Ordering::Less => {}
                Ordering::Equal => return Some(seat.follower),
                Ordering::Greater => {
                    self.next = Some(seat);
                    return None;
                }
            }
        }
    }
}

impl Leash {
    /// Whether one more part may be begun at once.
    pub fn try_step(&self) -> Option<Step> {
        self.0.clone().try_reserve_owned().ok().map(Step)
    }

    /// Waits until one more part may be begun; none when the client has left.
    pub async fn step(&self) -> Option<Step> {
        self.0.clone().reserve_owned().await.ok().map(Step)
    }
}

impl Step {
    /// Gives the client its seat. The first byte is not there yet.
    pub fn take(self, part: Part, lead: &Lead) {
        self.0.send(Seat { part, follower: lead.follow() });
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Seat").field(&self.part).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headland_cache::{Collapse, CollapseLimits, KeyBuffer, Scheme};

    const TOTAL: u64 = 10 << 20;

    fn collapse() -> Collapse {
        Collapse::new(CollapseLimits { followers_max: 1, fill_bytes_max: 1 << 30 })
    }

    fn begin(collapse: &Collapse, step: Step, part: Part) -> Lead {
        let mut whole = KeyBuffer::new();
        whole.begin(Scheme::Http, b"h", b"/");
        let key = part.key(&whole.key().into(), 1);
        let Some(lead) = collapse.try_lead(key.as_ref(), 0) else { panic!("nobody else leads it") };
        step.take(part, &lead);
        lead
    }

    fn part(number: u64) -> Part {
        Part::at(number << 20, TOTAL)
    }

    #[tokio::test]
    async fn a_fetch_stays_a_few_parts_ahead_and_stops_with_its_client() {
        let (mut pace, leash) = pace();
        let collapse = collapse();
        let leads: Vec<_> = (0..PARTS_AHEAD as u64)
            .map(|number| begin(&collapse, leash.try_step().expect("it may still go on"), part(number)))
            .collect();
        assert!(leash.try_step().is_none());
        assert!(pace.seat(part(1)).is_some(), "the seat before it is given up");
        assert!(leash.step().await.is_some());
        assert!(pace.seat(part(1)).is_none());
        let kept = (leash.try_step(), leash.try_step(), leash.try_step(), leash.try_step());
        assert!(kept.2.is_some() && kept.3.is_none(), "a seat at a later part is kept");
        drop(kept);
        assert_eq!(leads.iter().map(|lead| lead.audience().readers()).collect::<Vec<_>>(), [0, 0, 1, 1]);
        assert!(pace.seat(part(2)).is_some());
        drop(pace);
        assert!(leash.step().await.is_none());
        assert!(leads.iter().all(|lead| lead.audience().readers() == 0));
    }
}
