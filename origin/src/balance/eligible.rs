//! Who may be asked at all.
//!
//! The healthy servers of the lowest priority; when too many of those are out, the healthy ones of the next priority
//! join them, and so on. When too many are out over all, health is not believed (panic): those left would be crushed by
//! the load of all. Among who is left, the servers of the node's own zone come first, while half of them are well.

use super::{Candidate, Places};

pub(super) fn among(candidates: &[Candidate], ejected_percent_max: u32) -> Places {
    let mut places = Places::new();
    let (mut out, mut all, mut level) = (0, 0, lowest(candidates, None));
    while let Some(priority) = level {
        for (place, candidate) in at(candidates, priority) {
            all += 1;
            if candidate.ejected {
                out += 1;
            } else if !candidate.tried {
                places.push(place);
            }
        }
        if !places.is_empty() && !is_panic(out, all, ejected_percent_max) {
            return in_zone(candidates, places, priority);
        }
        level = lowest(candidates, Some(priority));
    }
    without_health(candidates)
}

/// The lowest priority there is above another.
fn lowest(candidates: &[Candidate], above: Option<u8>) -> Option<u8> {
    let priorities = candidates.iter().map(|candidate| candidate.priority);
    priorities.filter(|&priority| above.is_none_or(|above| priority > above)).min()
}

fn at(candidates: &[Candidate], priority: u8) -> impl Iterator<Item = (usize, &Candidate)> {
    candidates.iter().enumerate().filter(move |(_, candidate)| candidate.priority == priority)
}

fn is_panic(out: usize, all: usize, ejected_percent_max: u32) -> bool {
    out > 0 && out * 100 > all * ejected_percent_max as usize
}

/// The near ones of the priorities up to `priority`, unless more than half of those are out.
fn in_zone(candidates: &[Candidate], mut places: Places, priority: u8) -> Places {
    let near = |place: &usize| candidates[*place].near;
    let well = places.iter().filter(|place| near(place)).count();
    let known = |candidate: &&Candidate| candidate.near && candidate.priority <= priority && !candidate.tried;
    let all = candidates.iter().filter(known).count();
    if well > 0 && well * 2 >= all {
        places.retain(|place| near(place));
    }
    places
}

/// Who has not been tried; if all have, whoever is healthy; else anybody.
fn without_health(candidates: &[Candidate]) -> Places {
    let tiers: [fn(&Candidate) -> bool; 3] = [|c| !c.tried, |c| !c.ejected, |_| true];
    let admitted = |tier: &fn(&Candidate) -> bool| -> Places {
        candidates.iter().enumerate().filter(|(_, candidate)| tier(candidate)).map(|(place, _)| place).collect()
    };
    tiers.iter().map(admitted).find(|places| !places.is_empty()).unwrap_or_default()
}
