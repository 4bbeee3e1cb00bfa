//! Hedging: a request that takes longer than nearly all others of its server is asked of another server as well, and the
//! first answer wins (Dean and Barroso, "The Tail at Scale").
//!
//! Only what is idempotent and has no body, and within a budget of its own. The one that lost counts against its server: a
//! server that hangs is ejected after a few of these, long before any deadline passes.

use std::pin::pin;
use std::sync::Arc;

use tokio::time::{Instant, sleep};

use super::course::{Attempted, Course};
use super::{Client, Failed};
use crate::counters::Count;
use crate::group::{Group, InFlight, Showed};
use crate::message::{Request, RequestBody, Response};

/// Both attempts of a hedged request, as the later one begins.
struct Pair {
    first: usize,
    second: usize,
    began: Instant,
    second_began: Instant,
}

impl Client {
    /// One try at one server, and at another one if the first takes long.
    pub(super) async fn attempt_hedged(
        &self,
        group: &Arc<Group>,
        place: usize,
        in_flight: InFlight,
        request: &mut Request,
        course: &mut Course,
        began: Instant,
    ) -> Attempted {
        let Some(delay) = group.hedges_after(place).filter(|_| may_be_doubled(request)) else {
            let result = self.attempt(group, place, in_flight, request, course, began).await;
            return Attempted { place, began, result };
        };
        let mut twin = request.twin();
        let mut failed_too = None;
        let attempted = {
            let course = &*course;
            let mut first = pin!(self.attempt(group, place, in_flight, request, course, began));
            tokio::select! {
                biased;
                result = &mut first => return Attempted { place, began, result },
                () = sleep(delay) => {}
            }
            let second_began = Instant::now();
            let Some((second, in_flight)) = group.choose_second(place, &course.tried, second_began.into_std()) else {
                return Attempted { place, began, result: first.await };
            };
            self.counters.count(Count::Hedge);
            let pair = Pair { first: place, second, began, second_began };
            let mut other = pin!(self.attempt(group, second, in_flight, &mut twin, course, second_began));
            tokio::select! {
                biased;
                result = &mut first => match result {
                    Ok(response) => pair.first(Ok(response)),
                    Err(failed) => {
                        self.failed(group, pair.first, &failed, pair.began.elapsed(), Instant::now());
                        failed_too = Some(pair.first);
                        pair.second(other.await)
                    }
                },
                result = &mut other => match result {
                    Ok(response) => {
                        self.lost(group, &pair);
                        pair.second(Ok(response))
                    }
                    Err(failed) => {
                        self.failed(group, pair.second, &failed, pair.second_began.elapsed(), Instant::now());
                        failed_too = Some(pair.second);
                        pair.first(first.await)
                    }
                },
            }
        };
        course.tried.extend(failed_too);
        attempted
    }

    /// The first attempt was overtaken by the second.
    fn lost(&self, group: &Group, pair: &Pair) {
        self.counters.count(Count::HedgeWon);
        let after = pair.began.elapsed();
        group.took(pair.first, after);
        self.noted(group, pair.first, Showed::Lost, after, Instant::now());
    }
}

impl Pair {
    fn first(&self, result: Result<Response, Failed>) -> Attempted {
        Attempted { place: self.first, began: self.began, result }
    }

    fn second(&self, result: Result<Response, Failed>) -> Attempted {
        Attempted { place: self.second, began: self.second_began, result }
    }
}

fn may_be_doubled(request: &Request) -> bool {
    request.method.is_idempotent() && matches!(request.body, RequestBody::Empty) && request.upgrade.is_none()
}
