//! The course of a request: attempt after attempt, until there is an answer or no other attempt is allowed.
//!
//! What is decided is decided elsewhere: whom to ask by [`crate::group`], whether again by [`crate::retry`]. An answer
//! that says that its server failed is kept in hand while another server is asked, and given if that does no better.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::{Client, Failed};
use crate::affinity::Affinity;
use crate::counters::Count;
use crate::error::{Fault, FetchError};
use crate::group::{Group, InFlight, Showed, Tried};
use crate::message::{Interim, Request, Response};
use crate::retry::{Verdict, blames_server, judge};

/// Where a request stands between its attempts.
pub(super) struct Course {
    pub(super) ends: Instant,
    pub(super) interim: Option<Interim>,
    pub(super) affinity: Affinity,
    pub(super) tried: Tried,
    /// Attempts still allowed.
    left: u32,
    /// A dead kept connection has been made good once already.
    refreshed: bool,
    /// The next attempt goes to the same server.
    stays: bool,
    /// The next attempt takes a new connection.
    pub(super) fresh: bool,
    /// It may go out with a handshake.
    pub(super) early: bool,
}

/// What became of an attempt.
pub(super) struct Attempted {
    /// Whose answer or failure it is.
    pub(super) place: usize,
    pub(super) began: Instant,
    pub(super) result: Result<Response, Failed>,
}

impl Client {
    pub(super) async fn attempts(
        &self,
        group: &Arc<Group>,
        only: Option<usize>,
        mut request: Request,
        interim: Option<Interim>,
    ) -> Result<Response, FetchError> {
        group.pay_in();
        let mut now = Instant::now();
        let mut course = Course {
            ends: now + group.deadlines().total,
            interim,
            affinity: group.affinity(&request),
            tried: Tried::new(),
            left: if only.is_some() { 0 } else { group.attempts() - 1 },
            refreshed: false,
            stays: false,
            fresh: false,
            early: true,
        };
        let mut in_hand = None;
        let (mut place, mut in_flight) = match only {
            Some(place) => (place, group.begin(place)),
            None => group.choose(&course.tried, course.affinity, now.into_std())?,
        };
        loop {
            let attempted = self.attempt_hedged(group, place, in_flight, &mut request, &mut course, now).await;
            place = attempted.place;
            let again = match attempted.result {
                Ok(response) => {
                    let response = self.answered(group, place, attempted.began, &course, response);
                    if !self.asks_another(group, &mut course, &request, &response) {
                        return Ok(response);
                    }
                    now = Instant::now();
                    // A 425 is an answer to the handshake, and none to the client.
                    in_hand = Some(response).filter(|_| !course.stays);
                    Ok(())
                }
                Err(failed) => {
                    now = Instant::now();
                    self.failed(group, place, &failed, now.duration_since(attempted.began), now);
                    if self.goes_on(group, &mut course, &request, &failed) { Ok(()) } else { Err(failed.error) }
                }
            };
            let next = again.and_then(|()| next_server(group, place, &mut course, now));
            (place, in_flight) = match (next, in_hand.take()) {
                (Ok(next), kept) => {
                    in_hand = kept;
                    next
                }
                (Err(_), Some(response)) => return Ok(response),
                (Err(error), None) => return Err(error),
            };
        }
    }

    /// What an answer tells of its server, and the server of the answer.
    fn answered(
        &self,
        group: &Arc<Group>,
        place: usize,
        began: Instant,
        course: &Course,
        mut response: Response,
    ) -> Response {
        self.keeper.asked(group, place, began, &self.pool, &self.counters);
        let after = Duration::from_micros(response.first_byte_micros);
        group.took(place, Duration::from_micros(response.connect_micros) + after);
        self.noted(group, place, showed_by(response.status), after, began + after);
        response.binding = group.binding(place, course.affinity);
        response
    }

    /// What a failure tells of its server.
    pub(super) fn failed(&self, group: &Group, place: usize, failed: &Failed, after: Duration, now: Instant) {
        if blames_server(failed.reused, &failed.error) && !is_of_early_data(failed) {
            self.noted(group, place, Showed::Failure, after, now);
        }
    }

    pub(super) fn noted(&self, group: &Group, place: usize, showed: Showed, after: Duration, now: Instant) {
        if let Some(cause) = group.note(place, showed, after, now.into_std()) {
            self.counters.ejected(cause);
        }
    }

    /// Whether another server is asked after an answer that says that this one failed.
    fn asks_another(&self, group: &Group, course: &mut Course, request: &Request, response: &Response) -> bool {
        let is_safe = request.method.is_idempotent() && request.body.is_whole() && response.upgraded.is_none();
        let wanted = is_safe && group.is_retried(response.status);
        let elsewhere = course.tried.len() + 1 < group.len();
        (course.stays, course.fresh) = (false, false);
        if response.early && response.status == StatusCode::TOO_EARLY {
            self.after_the_handshake(course);
            return true;
        }
        wanted && elsewhere && self.pays(group, course)
    }

    /// Whether another attempt is made after a failure, and of which kind.
    fn goes_on(&self, group: &Group, course: &mut Course, request: &Request, failed: &Failed) -> bool {
        if is_of_early_data(failed) && course.early {
            // RFC 8446 appendix D.3: there are servers, and boxes before them, that break off over early data.
            self.after_the_handshake(course);
            course.fresh = true;
            return true;
        }
        let verdict = judge(&request.method, request.body.is_whole(), failed.reused, &failed.error);
        course.fresh = verdict == Verdict::Refresh && !course.refreshed;
        course.stays = course.fresh;
        if course.fresh {
            course.refreshed = true;
            self.counters.count(Count::Refresh);
            return true;
        }
        let elsewhere = course.tried.len() + 1 < group.len();
        let hopeless = verdict == Verdict::GiveUp || verdict == Verdict::Elsewhere && !elsewhere;
        !hopeless && self.pays(group, course)
    }

    /// RFC 8470 section 5.2: the same request once more, without early data. Free of charge: it happens once.
    fn after_the_handshake(&self, course: &mut Course) {
        self.counters.count(Count::EarlyFailed);
        course.early = false;
        course.stays = true;
    }

    /// One more attempt is left, and paid for.
    fn pays(&self, group: &Group, course: &mut Course) -> bool {
        if course.left == 0 || Instant::now() >= course.ends {
            return false;
        }
        course.left -= 1;
        if !group.pay_out() {
            self.counters.count(Count::RetryRefused);
            return false;
        }
        self.counters.count(Count::Retry);
        true
    }
}

/// The request went out with the handshake, and may have been broken off over that.
fn is_of_early_data(failed: &Failed) -> bool {
    failed.early && matches!(failed.error.fault, Fault::Tls(_) | Fault::Reset)
}

/// Whom the next attempt goes to.
fn next_server(
    group: &Arc<Group>,
    place: usize,
    course: &mut Course,
    now: Instant,
) -> Result<(usize, InFlight), FetchError> {
    if course.stays {
        return Ok((place, group.begin(place)));
    }
    course.tried.push(place);
    group.choose(&course.tried, course.affinity, now.into_std())
}

/// RFC 9110 section 15.6 has more, but these are what a server in trouble says.
fn showed_by(status: StatusCode) -> Showed {
    if matches!(status.as_u16(), 500 | 502 | 503 | 504) { Showed::Error } else { Showed::Answer }
}
