//! One client's way through a range, part after part.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use headland_cache::partial::{Part, covers, run_of};
use headland_cache::{Broken, CacheKey, FillReader, Follower, Join, Lead, NoHead};
use http_body::Body as _;

use crate::connection::content::Piece;
use crate::forward::OwnedLines;
use crate::node::Node;
use crate::pipe::{self, Sender};
use crate::plan::Plan;
use crate::tier::{self, stream::DiskReader};

use super::fetch::{Fetch, Missed};
use super::pace::{Pace, pace};
use super::version::{Held, Version};

/// How often a part is looked for before it is given up.
const TRIES_MAX: usize = 8;
/// Parts that one request to the origin asks for.
const SPAN_PARTS_MAX: usize = 256;

/// Where the bytes of one part come from.
pub enum Segment {
    Held(Held, Range<u64>),
    Disk(Box<DiskReader>, Range<u64>),
    Fill(FillReader, Range<u64>),
    /// Fetched for this client alone, to the end of what it wants.
    Alone(Bytes, pipe::Reader),
}

/// What the disk has of a part.
enum OnDisk {
    Wanted(Segment),
    /// Not what is wanted, but part of it.
    Held(Held),
}

/// What is left to read.
pub struct Reading<F> {
    node: Arc<Node>,
    plan: Box<Plan<F>>,
    version: Version,
    left: Range<u64>,
    /// Of the fetch that was begun for this client.
    pace: Option<Pace>,
    /// What was made sure of ahead, and where it begins.
    sure: Option<(u64, Segment)>,
}

impl<F: OwnedLines + Clone + Send + Sync + 'static> Reading<F> {
    pub fn new(node: Arc<Node>, plan: Box<Plan<F>>, version: Version, wanted: Range<u64>, pace: Option<Pace>) -> Self {
        Reading { node, plan, version, left: wanted, pace, sure: None }
    }

    /// Whether the origin was asked for this client.
    pub fn is_fetching(&self) -> bool {
        self.pace.is_some()
    }

    /// Waits until the part with the byte at `at` has begun to come.
    pub async fn make_sure(&mut self, at: u64) -> Result<(), Missed> {
        self.sure = Some((at, self.find(at).await?));
        Ok(())
    }

    /// Sends everything, beginning with a segment that is open.
    pub async fn run(mut self, first: Segment, pipe: &Sender) {
        let mut segment = first;
        loop {
            let Some(end) = send(segment, self.left.end, pipe).await else { return };
            self.left.start = end;
            if self.left.is_empty() {
                pipe.send(Piece::End).await;
                return;
            }
            segment = match self.open().await {
                Ok(next) => next,
                Err(missed) => {
                    // What was sent cannot be taken back: the client sees a broken transfer.
                    pipe.send(Piece::Broken(missed.broken())).await;
                    return;
                }
            };
        }
    }

    /// The next part.
    pub async fn open(&mut self) -> Result<Segment, Missed> {
        let at = self.left.start;
        match self.sure.take_if(|(sure, _)| *sure == at) {
            Some((_, segment)) => Ok(segment),
            None => self.find(at).await,
        }
    }

    /// The part with the byte at `at`, from there on: from the fetch that was begun for this client, from memory, from disk,
    /// from another fill under way, or fetched now.
    async fn find(&mut self, at: u64) -> Result<Segment, Missed> {
        let part = self.version.part(at);
        let wanted = part.cut(&(at..self.left.end));
        let key = self.version.key(part);
        if let Some(follower) = self.pace.as_mut().and_then(|pace| pace.seat(part))
            && let Some(segment) = self.follow(follower, &wanted).await?
        {
            return Ok(segment);
        }
        for _ in 0..TRIES_MAX {
            if let Some(held) = self.version.held(&self.node, part).filter(|held| covers(&held.run, &wanted)) {
                return Ok(Segment::Held(held, wanted));
            }
            let found = match self.node.collapse.join(key.as_ref(), 0) {
                Join::Crowded => return self.alone(at..self.left.end).await,
                Join::Follow(follower) => self.follow(follower, &wanted).await?,
                Join::Lead(lead) => self.lead(lead, &key, &wanted).await?,
            };
            if let Some(segment) = found {
                return Ok(segment);
            }
        }
        Err(Missed::Failed(Broken::ABANDONED))
    }

    /// Nobody fetches the part: it has come into memory just now, or the disk has it, or it is fetched for this client.
    async fn lead(&mut self, lead: Lead, key: &CacheKey, wanted: &Range<u64>) -> Result<Option<Segment>, Missed> {
        let part = self.version.part(wanted.start);
        let held = match self.version.held(&self.node, part) {
            Some(held) if covers(&held.run, wanted) => {
                lead.found();
                return Ok(None);
            }
            Some(held) => Some(held),
            None => match self.on_disk(key, wanted).await {
                Some(OnDisk::Wanted(segment)) => {
                    lead.found();
                    return Ok(Some(segment));
                }
                Some(OnDisk::Held(held)) => Some(held),
                None => None,
            },
        };
        let follower = lead.follow();
        let (pace, leash) = pace();
        self.pace = Some(pace);
        let (node, plan, version) = (self.node.clone(), self.plan.clone(), self.version.clone());
        let fetch = Fetch { node, plan, version, leash };
        tokio::spawn(fetch.run(lead, wanted.start, held, self.until(part)));
        self.follow(follower, wanted).await
    }

    /// All that follows, past the fetches that can take no more readers.
    async fn alone(&mut self, wanted: Range<u64>) -> Result<Segment, Missed> {
        let (_, leash) = pace();
        let (node, plan, version) = (self.node.clone(), self.plan.clone(), self.version.clone());
        let mut reader = Fetch { node, plan, version, leash }.alone(wanted);
        match reader.next().await {
            Piece::Data(first) => Ok(Segment::Alone(first, reader)),
            _ if !self.version.is_current(&self.node) => Err(Missed::Changed),
            Piece::Broken(broken) => Err(Missed::Failed(broken)),
            Piece::End | Piece::Trailers(_) => Err(Missed::Failed(Broken::INCOMPLETE)),
        }
    }

    async fn on_disk(&mut self, key: &CacheKey, wanted: &Range<u64>) -> Option<OnDisk> {
        let mut found = tier::part::part(&self.node, key).await?;
        let run = run_of(found.head())?;
        let is_wanted = covers(&run, wanted);
        if is_wanted {
            let (first, end) = (wanted.start - run.start, wanted.end - run.start);
            match found.stream(&self.node, first, end).await {
                Ok(reader) => return Some(OnDisk::Wanted(Segment::Disk(Box::new(reader), wanted.clone()))),
                Err(record) => found = record,
            }
        }
        let held = Held::new(found.load(&self.node).await?, run);
        Some(if is_wanted { OnDisk::Wanted(Segment::Held(held, wanted.clone())) } else { OnDisk::Held(held) })
    }

    /// A fill under way, if it brings what is wanted; else it is waited for.
    async fn follow(&mut self, mut follower: Follower, wanted: &Range<u64>) -> Result<Option<Segment>, Missed> {
        let head = match follower.head().await {
            Ok(head) => head,
            Err(NoHead::Failed(_)) if !self.version.is_current(&self.node) => return Err(Missed::Changed),
            Err(NoHead::Failed(broken)) => return Err(Missed::Failed(broken)),
            Err(NoHead::LookAgain | NoHead::Abandoned | NoHead::Uncacheable) => return Ok(None),
        };
        let mut reader = follower.into_reader();
        match run_of(&head.head) {
            Some(run) if covers(&run, wanted) => {
                let reader = reader.narrowed(wanted.start - run.start, wanted.end - run.start);
                Ok(Some(Segment::Fill(reader, wanted.clone())))
            }
            _ => {
                while let Some(Ok(_)) = std::future::poll_fn(|cx| Pin::new(&mut reader).poll_frame(cx)).await {}
                Ok(None)
            }
        }
    }

    /// Where a fetch that begins in `part` ends: at the end of what is wanted, or where the next part begins that is
    /// there or on its way.
    fn until(&self, part: Part) -> u64 {
        let bytes = part.bytes();
        let following = self.version.parts(bytes.end..self.left.end.max(bytes.end)).take(SPAN_PARTS_MAX - 1);
        let is_missing = |part: &Part| {
            !self.version.is_there(&self.node, *part) && !self.node.collapse.is_led(self.version.key(*part).as_ref())
        };
        following.take_while(is_missing).last().map_or(bytes.end, |last| last.bytes().end)
    }
}

/// Sends one segment; the position behind what was sent, unless the client has left or the fill broke.
async fn send(segment: Segment, until: u64, pipe: &Sender) -> Option<u64> {
    match segment {
        Segment::Held(held, wanted) => {
            let pieces: Vec<_> = held.slice(&wanted)?.collect();
            for piece in pieces {
                pipe.send(Piece::Data(piece)).await.then_some(())?;
            }
            Some(wanted.end)
        }
        Segment::Disk(mut reader, wanted) => {
            let mut at = wanted.start;
            // What the disk has lost is looked for elsewhere.
            while let Piece::Data(data) = std::future::poll_fn(|cx| reader.poll(cx)).await {
                at += data.len() as u64;
                pipe.send(Piece::Data(data)).await.then_some(())?;
            }
            Some(at)
        }
        Segment::Alone(first, mut reader) => {
            let mut piece = Piece::Data(first);
            while !matches!(piece, Piece::End) {
                let is_broken = matches!(piece, Piece::Broken(_));
                (pipe.send(piece).await && !is_broken).then_some(())?;
                piece = reader.next().await;
            }
            Some(until)
        }
        Segment::Fill(mut reader, wanted) => {
            while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut reader).poll_frame(cx)).await {
                let piece =
                    frame.map_or_else(Piece::Broken, |frame| Piece::Data(frame.into_data().unwrap_or_default()));
                let is_broken = matches!(piece, Piece::Broken(_));
                (pipe.send(piece).await && !is_broken).then_some(())?;
            }
            Some(wanted.end)
        }
    }
}
