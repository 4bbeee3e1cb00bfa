//! One or a few requests to the origin for a range, poured into the parts that it covers.
//!
//! Each part is led, filled, stored and retired in turn. The next part is led before this one ends, so that a client
//! that has read this one finds the next on its way; a fetch that has run ahead of its client as far as it may waits
//! without one.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use headland_cache::conditional::{Validators, remove_conditions};
use headland_cache::partial::{ContentRange, PART_BYTES, Part};
use headland_cache::{Birth, Broken, Lead, Outcome};
use headland_origin::{RequestBody, Response, ResponseBody};
use http::{HeaderValue, StatusCode, header};
use http_body::Body as _;

use crate::connection::content::Piece;
use crate::fetching;
use crate::forward::{OwnedLines, Purpose};
use crate::node::Node;
use crate::origin_fields::OriginFields;
use crate::pipe::{self, Sender};
use crate::plan::Plan;
use crate::renewal::Asked;

use super::pace::{Leash, Step};
use super::version::{Held, Version};

/// How often an origin that breaks off within one part is asked for the rest.
const RESUMES_MAX: u32 = 3;
/// How often within one part it may give less than it was asked for.
const SHORT_ANSWERS_MAX: u32 = 64;

/// Why bytes did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// The origin has another representation now, or cannot say, or forbids to store it.
    Changed,
    Failed(Broken),
}

impl Missed {
    pub fn broken(self) -> Broken {
        match self {
            Missed::Changed => Broken::INCOMPLETE,
            Missed::Failed(broken) => broken,
        }
    }
}

/// A fetch of a part of a version.
pub struct Fetch<F> {
    pub node: Arc<Node>,
    pub plan: Box<Plan<F>>,
    pub version: Version,
    pub leash: Leash,
}

impl<F: OwnedLines> Fetch<F> {
    /// Completes the part at `at`, of which `held` is there, and goes on from its end up to `until`.
    pub async fn run(self, lead: Lead, at: u64, held: Option<Held>, until: u64) {
        let _birth = Birth::now(&self.node.ledger);
        let part = self.version.part(at);
        let gap = part.gap(held.as_ref().map(|held| held.run.clone()));
        let end = if gap.end == part.bytes().end { until.max(gap.end) } else { gap.end };
        match Stream::open(&self, gap.start, end).await {
            Ok(stream) => self.pour(lead, stream, held.filter(|held| touches(&held.run, &gap))).await,
            Err(missed) => self.fail(lead, missed),
        }
    }

    /// Some bytes for one client, of which none are kept. Where the origin does not give them, the client sees a broken
    /// transfer.
    pub fn alone(self, bytes: Range<u64>) -> pipe::Reader
    where
        F: Send + Sync + 'static,
    {
        let (sender, reader) = pipe::channel();
        tokio::spawn(async move {
            tokio::select! {
                sent = self.send(bytes, &sender) => {
                    let last = match sent {
                        Ok(()) => Piece::End,
                        Err(missed) => Piece::Broken(self.give_up(missed)),
                    };
                    sender.send(last).await;
                }
                () = sender.is_unwanted() => {}
            }
        });
        reader
    }

    async fn send(&self, bytes: Range<u64>, pipe: &Sender) -> Result<(), Missed> {
        let mut stream = Stream::open(self, bytes.start, bytes.end).await?;
        while stream.at < bytes.end {
            // Whoever leaves ends this, too.
            pipe.send(Piece::Data(stream.next(bytes.end).await?)).await;
        }
        Ok(())
    }

    fn fail(&self, lead: Lead, missed: Missed) {
        lead.fail(self.give_up(missed));
    }

    fn give_up(&self, missed: Missed) -> Broken {
        if missed == Missed::Changed {
            self.version.forget(&self.node);
        }
        missed.broken()
    }

    /// Pours a body that is on its way into the parts from `range` on; the first is led by `lead`.
    pub async fn receive(self, lead: Lead, body: ResponseBody, range: Range<u64>) {
        let stream = Stream::of(&self, body, range);
        self.pour(lead, stream, None).await;
    }

    async fn pour(&self, mut lead: Lead, mut stream: Stream<'_, F>, mut held: Option<Held>) {
        loop {
            let part = self.version.part(stream.at);
            let fetched = stream.at..part.bytes().end.min(stream.end);
            let run = held.as_ref().map_or(fetched.clone(), |held| union(&held.run, &fetched));
            let Some(head) = self.version.fill_head(part, &run, self.outcome()) else { return };
            let head = Arc::new(head);
            lead.publish(head.clone());
            let last = match fill(&lead, &mut stream, &fetched, held.take()).await {
                Ok(last) => last,
                Err(missed) => return self.fail(lead, missed),
            };
            let following = (fetched.end < stream.end).then(|| self.version.part(fetched.end));
            let early = following.and_then(|part| Some(self.lead(part, self.leash.try_step()?)));
            if let Ok(sealed) = lead.seal(&last, None) {
                if let Some(body) = sealed.body() {
                    self.version.keep(&self.node, part, &head, body).await;
                }
                sealed.retire();
            }
            let next = match (following, early) {
                (None, _) => None,
                (Some(_), Some(lead)) => lead,
                (Some(part), None) => self.leash.step().await.and_then(|step| self.lead(part, step)),
            };
            let Some(next) = next else { return };
            lead = next;
        }
    }

    /// The right to fetch a part, unless somebody has it or it is there.
    fn lead(&self, part: Part, step: Step) -> Option<Lead> {
        if self.version.is_there(&self.node, part) {
            return None;
        }
        let lead = self.node.collapse.try_lead(self.version.key(part).as_ref(), 0)?;
        step.take(part, &lead);
        Some(lead)
    }

    fn outcome(&self) -> Outcome {
        self.plan.outcome
    }

    /// Asks for a range of this version; the answer may bring less or all, and says which bytes.
    async fn ask(&self, bytes: Range<u64>) -> Result<(ResponseBody, Range<u64>), Missed> {
        // RFC 9111 section 3.4: without a strong validator nothing can be joined.
        let validator = self.version.validator().ok_or(Missed::Changed)?;
        let mut request = self.plan.request(Purpose::Fill, RequestBody::Empty);
        let mut fields = request.headers.to_map();
        remove_conditions(&mut fields);
        let last = if bytes.end == self.version.total() { String::new() } else { (bytes.end - 1).to_string() };
        let range = HeaderValue::try_from(format!("bytes={}-{last}", bytes.start)).map_err(|_| Missed::Changed)?;
        let condition = HeaderValue::from_bytes(validator.if_range()).map_err(|_| Missed::Changed)?;
        fields.insert(header::RANGE, range);
        fields.insert(header::IF_RANGE, condition);
        request.headers = fields.into();
        let request_time = self.node.clock.now();
        let fetched = self.node.client.fetch(self.plan.group(), request, None).await;
        let response = fetched.map_err(|error| Missed::Failed(fetching::broken(&error)))?;
        self.node.metrics.here().origin_ttfb.record(response.first_byte_micros);
        let brought = self.bytes_of(&response, &bytes)?;
        let asked = Asked { born: self.node.ledger.epoch(), request_time, response_time: self.node.clock.now() };
        let is_kept = self.version.update(&self.node, &self.plan, &response.headers, asked).await;
        is_kept.then_some((response.body, brought)).ok_or(Missed::Changed)
    }

    /// Which bytes of this version an answer brings: a 206 those from the first that was asked for on; a 200 all, where
    /// the origin does not give parts (RFC 9110 section 14.2 leaves it the choice).
    fn bytes_of(&self, response: &Response, asked: &Range<u64>) -> Result<Range<u64>, Missed> {
        if response.status.is_server_error() || response.status == StatusCode::TOO_MANY_REQUESTS {
            return Err(Missed::Failed(Broken { error: "destination_unavailable", timeout: false }));
        }
        let fields = OriginFields(&response.headers);
        let (answer, total) = (Validators::of(&fields), self.version.total());
        let validator = self.version.validator().ok_or(Missed::Changed)?;
        let bytes = match response.status {
            StatusCode::PARTIAL_CONTENT if validator.admits(&answer) => {
                let range = response.headers.get("content-range").and_then(ContentRange::parse);
                range.filter(|range| range.total == total).map(ContentRange::bytes)
            }
            StatusCode::OK if validator.is_of(&answer) && response.length == Some(total) => Some(0..total),
            _ => None,
        };
        let is_meant = |bytes: &Range<u64>| bytes.start == asked.start && bytes.end <= asked.end;
        bytes.filter(|bytes| is_meant(bytes) || bytes.end - bytes.start == total).ok_or(Missed::Changed)
    }
}

fn touches(run: &Range<u64>, gap: &Range<u64>) -> bool {
    run.end == gap.start || gap.end == run.start
}

fn union(one: &Range<u64>, other: &Range<u64>) -> Range<u64> {
    one.start.min(other.start)..one.end.max(other.end)
}

/// Fills one part with what is fetched and what is held beside it; its last bytes are given back, to be sealed.
async fn fill<F: OwnedLines>(
    lead: &Lead,
    stream: &mut Stream<'_, F>,
    fetched: &Range<u64>,
    held: Option<Held>,
) -> Result<Bytes, Missed> {
    let abandoned = |_| Missed::Failed(Broken::ABANDONED);
    let (before, after) = match held {
        Some(held) if held.run.start < fetched.start => (Some(held), None),
        held => (None, held),
    };
    let pieces = |held: Option<Held>| -> Vec<Bytes> {
        held.and_then(|held| Some(held.slice(&held.run)?.collect())).unwrap_or_default()
    };
    let mut last = Bytes::new();
    for piece in pieces(before) {
        lead.append(&piece).await.map_err(abandoned)?;
    }
    while stream.at < fetched.end {
        if !last.is_empty() {
            lead.append(&last).await.map_err(abandoned)?;
        }
        last = stream.next(fetched.end).await?;
    }
    for piece in pieces(after) {
        lead.append(&last).await.map_err(abandoned)?;
        last = piece;
    }
    Ok(last)
}

/// The bytes of a range as they come, whatever answers they come in.
struct Stream<'f, F> {
    fetch: &'f Fetch<F>,
    body: ResponseBody,
    /// Of the last frame.
    rest: Bytes,
    at: u64,
    /// Bytes of this answer that come before.
    surplus: u64,
    /// Where this answer ends.
    ends: u64,
    end: u64,
    asked_at: u64,
    resumes: u32,
    short: u32,
}

impl<'f, F: OwnedLines> Stream<'f, F> {
    fn of(fetch: &'f Fetch<F>, body: ResponseBody, range: Range<u64>) -> Self {
        let Range { start, end } = range;
        let (resumes, short) = (RESUMES_MAX, SHORT_ANSWERS_MAX);
        let rest = Bytes::new();
        Stream { fetch, body, rest, at: start, surplus: 0, ends: end, end, asked_at: start, resumes, short }
    }

    async fn open(fetch: &'f Fetch<F>, at: u64, end: u64) -> Result<Self, Missed> {
        let (body, brought) = fetch.ask(at..end).await?;
        Ok(Stream { surplus: at - brought.start, ends: brought.end, ..Stream::of(fetch, body, at..end) })
    }

    /// Some of the bytes before `limit`, where there are any.
    async fn next(&mut self, limit: u64) -> Result<Bytes, Missed> {
        while self.rest.is_empty() {
            self.rest = match self.frame().await {
                Ok(Some(mut data)) => {
                    let before = self.surplus.min(data.len() as u64);
                    self.surplus -= before;
                    data.split_off(before as usize)
                }
                // RFC 9110 section 15.3.7: a server may give less than was asked for, and says so.
                Ok(None) if self.at == self.ends && self.at > self.asked_at && self.short > 0 => {
                    self.short -= 1;
                    self.go_on().await?
                }
                Ok(None) => self.resume(Broken::INCOMPLETE).await?,
                Err(broken) => self.resume(broken).await?,
            };
            if self.at + self.rest.len() as u64 > self.ends {
                return Err(Missed::Failed(Broken::INCOMPLETE));
            }
        }
        let count = self.rest.len().min(usize::try_from(limit - self.at).unwrap_or(usize::MAX));
        self.at += count as u64;
        Ok(self.rest.split_to(count))
    }

    /// The next data of this answer; none at its end.
    async fn frame(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await;
            match frame.map(|frame| frame.map(http_body::Frame::into_data)) {
                None => return Ok(None),
                Some(Ok(Ok(data))) => {
                    self.fetch.node.metrics.here().origin_bytes.add(data.len() as u64);
                    return Ok(Some(data));
                }
                Some(Ok(Err(_trailers))) => {}
                Some(Err(error)) => {
                    return Err(fetching::broken(&error));
                }
            }
        }
    }

    /// Asks for what an answer that broke off did not bring.
    async fn resume(&mut self, broken: Broken) -> Result<Bytes, Missed> {
        self.resumes = self.resumes.checked_sub(1).ok_or(Missed::Failed(broken))?;
        self.fetch.node.metrics.here().resumed.bump();
        self.go_on().await
    }

    /// Asks for the rest. Nothing of it is there yet.
    async fn go_on(&mut self) -> Result<Bytes, Missed> {
        if self.at >= self.asked_at + PART_BYTES {
            (self.resumes, self.short) = (RESUMES_MAX, SHORT_ANSWERS_MAX);
        }
        self.asked_at = self.at;
        let (body, brought) = self.fetch.ask(self.at..self.end).await?;
        (self.body, self.surplus, self.ends) = (body, self.at - brought.start, brought.end);
        Ok(Bytes::new())
    }
}
