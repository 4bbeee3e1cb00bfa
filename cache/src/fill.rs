//! One response on its way from the origin: written by one leader, read by any number of readers while it arrives.
//!
//! A fill waits for its head, streams, and ends: whole, broken, released, or abandoned. Readers see the head as soon as
//! it is there, each byte as soon as it is appended, and the end only when the fill has ended. A reader never sees a
//! clean end of a response that broke. Readers leave a waker and are woken; nobody polls.
//!
//! A fill keeps its whole body to be stored, and then never waits for a reader. When the body grows beyond what may be
//! stored, or running fills hold too much memory together, it becomes a window instead: what all readers have taken is
//! dropped, the leader waits while more than [`WINDOW_BYTES`] are unread, new readers are refused, nothing is stored.
//! The slowest reader then sets the pace of all, as long as the edge's deadlines for slow clients let it stay.
//!
//! All state stands behind one lock that is held for a few instructions; wakers are called after it is released.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;

use crate::body::Body;
use crate::freshness::Freshness;
use crate::head::StoredHead;
use crate::key::CacheKey;
use crate::ledger::Epoch;
use crate::outcome::Outcome;
use crate::pieces::Pieces;
use crate::tags::Tags;
use crate::vary::VaryFacts;

/// Bytes that may be unread before the leader of a window waits.
pub const WINDOW_BYTES: u64 = 256 * 1024;

/// What everybody who shares a fill may know once the origin's head is there.
#[derive(Debug, Clone)]
pub struct FillHead {
    /// Status and fields as they will be stored.
    pub head: StoredHead,
    pub freshness: Freshness,
    /// A follower whose request does not match must not use this fill.
    pub vary: VaryFacts,
    pub tags: Tags,
    /// Length of the body, where the origin declared it.
    pub length: Option<u64>,
    /// Why the leader asked the origin.
    pub outcome: Outcome,
    /// The ledger's epoch before the origin was asked.
    pub born: Epoch,
    /// A longer body is not stored, in bytes.
    pub object_bytes_max: u64,
    /// Number of the body's version, which the object will have.
    pub generation: u64,
}

/// How an origin failed a fill; the words are those of RFC 9209 section 2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the origin's response broke: {error}")]
pub struct Broken {
    /// The `error` parameter of Proxy-Status.
    pub error: &'static str,
    /// The origin was too slow: 504 rather than 502, while no head was sent.
    pub timeout: bool,
}

impl Broken {
    /// The body ended before its declared length.
    pub const INCOMPLETE: Broken = Broken { error: "http_response_incomplete", timeout: false };
    /// The leader went away without a word.
    pub const ABANDONED: Broken = Broken { error: "proxy_internal_error", timeout: false };
}

/// Why a fill has no response for its followers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoHead {
    /// The response is the leader's alone: every follower asks the origin by itself, without joining again.
    Uncacheable,
    /// The store has what was asked for: look again.
    LookAgain,
    /// The leader went away before the head: try again; one of the followers will lead.
    Abandoned,
    /// The origin failed before the head.
    Failed(Broken),
}

/// Whether a fill keeps the whole body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// The body is kept, to be stored.
    Whole,
    /// Only what somebody has still to read is kept.
    Window,
}

/// In a window, nobody reads any more: the fetch has no purpose left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody reads the response any more")]
pub struct NobodyReads;

/// Memory of all running fills together.
#[derive(Debug)]
pub(crate) struct FillAccount {
    bytes: AtomicU64,
    bytes_max: u64,
}

impl FillAccount {
    pub(crate) fn new(bytes_max: u64) -> Self {
        FillAccount { bytes: AtomicU64::new(0), bytes_max }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: u64) {
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        assert!(before >= bytes, "fills give back what they took");
    }

    /// Whether so many more bytes would be too many.
    fn is_full_with(&self, more: u64) -> bool {
        self.bytes().saturating_add(more) > self.bytes_max
    }
}

/// How a fill ended.
#[derive(Debug, Clone)]
pub(crate) enum End {
    Whole,
    Broken(Broken),
    NoHead(NoHead),
}

/// A running fill; shared by leader, readers and the collapse table.
pub(crate) struct Fill {
    pub(crate) key: CacheKey,
    pub(crate) variant: u64,
    /// Made invalid by an unsafe request while it runs.
    outdated: AtomicBool,
    account: Arc<FillAccount>,
    state: Mutex<State>,
}

struct State {
    head: Option<Arc<FillHead>>,
    end: Option<End>,
    pieces: Pieces,
    trailers: Option<HeaderMap>,
    retention: Retention,
    /// Bytes taken from the account.
    counted: u64,
    readers: Readers,
    leader: Option<Waker>,
}

type Wakers = smallvec::SmallVec<[Waker; 4]>;

impl Fill {
    pub(crate) fn new(key: CacheKey, variant: u64, account: Arc<FillAccount>) -> Self {
        let state = State {
            head: None,
            end: None,
            pieces: Pieces::default(),
            trailers: None,
            retention: Retention::Whole,
            counted: 0,
            readers: Readers::default(),
            leader: None,
        };
        Fill { key, variant, outdated: AtomicBool::new(false), account, state: Mutex::new(state) }
    }

    pub(crate) fn outdate(&self) {
        self.outdated.store(true, Ordering::Release);
    }

    pub(crate) fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Acquire)
    }

    /// Registers a reader at the start of the body; refused in a window and beyond `readers_max`.
    pub(crate) fn join(&self, readers_max: usize) -> Option<usize> {
        let mut state = self.state.lock();
        let open = state.retention == Retention::Whole && state.readers.live < readers_max;
        open.then(|| state.readers.add())
    }

    /// Registers the leader's own reader, also in a window, as long as nothing was appended.
    pub(crate) fn join_as_leader(&self) -> usize {
        let mut state = self.state.lock();
        assert_eq!(state.pieces.end(), 0, "the leader takes its reader before the first byte");
        state.readers.add()
    }

    /// How many have joined and not left.
    pub(crate) fn readers(&self) -> usize {
        self.state.lock().readers.live
    }

    pub(crate) fn publish(&self, head: Arc<FillHead>) -> Retention {
        let mut state = self.state.lock();
        assert!(state.head.is_none() && state.end.is_none(), "a fill has one head");
        let length = head.length.unwrap_or(0);
        if length > head.object_bytes_max || self.account.is_full_with(length) {
            state.retention = Retention::Window;
        }
        state.head = Some(head);
        let (retention, wakers) = (state.retention, state.readers.wakers());
        drop(state);
        wake(wakers);
        retention
    }

    /// Adds bytes that every reader sees at once.
    pub(crate) fn append(&self, data: &[u8]) {
        let mut state = self.state.lock();
        let head = state.head.as_ref().expect("the head comes before the body");
        let object_bytes_max = head.object_bytes_max;
        state.pieces.push(data);
        state.counted += data.len() as u64;
        self.account.add(data.len() as u64);
        let too_large = state.pieces.end() > object_bytes_max || self.account.is_full_with(0);
        if state.retention == Retention::Whole && too_large {
            state.retention = Retention::Window;
        }
        self.account.give_back(state.drop_read());
        let wakers = state.readers.wakers();
        drop(state);
        wake(wakers);
    }

    /// Ready when the leader may go on: always while the body is kept whole; in a window, when little enough is unread.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), NobodyReads>> {
        let mut state = self.state.lock();
        if state.retention == Retention::Whole {
            return Poll::Ready(Ok(()));
        }
        if state.readers.live == 0 {
            return Poll::Ready(Err(NobodyReads));
        }
        if state.counted <= WINDOW_BYTES {
            return Poll::Ready(Ok(()));
        }
        state.leader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Bytes that were appended so far.
    pub(crate) fn received(&self) -> u64 {
        self.state.lock().pieces.end()
    }

    /// Takes in the last bytes, which readers do not see before the fill has ended. Gives the body when it is whole.
    pub(crate) fn seal(&self, last: &[u8], trailers: Option<HeaderMap>) -> Result<Option<Body>, Broken> {
        let mut state = self.state.lock();
        let head = state.head.as_ref().expect("the head comes before the end");
        let length = state.pieces.end() + last.len() as u64;
        if head.length.is_some_and(|declared| declared != length) {
            return Err(Broken::INCOMPLETE);
        }
        if length > head.object_bytes_max {
            state.retention = Retention::Window;
        }
        state.trailers = trailers;
        state.readers.hold_at = Some(state.pieces.end());
        state.pieces.push(last);
        state.counted += last.len() as u64;
        self.account.add(last.len() as u64);
        Ok((state.retention == Retention::Whole).then(|| state.pieces.seal()))
    }

    /// Ends the fill; does nothing when it has ended.
    pub(crate) fn end(&self, end: End) {
        let mut state = self.state.lock();
        if state.end.is_some() {
            return;
        }
        state.end = Some(end);
        state.readers.hold_at = None;
        // From here on the store counts the body, or nobody keeps it but the readers it is being sent to.
        self.account.give_back(std::mem::take(&mut state.counted));
        let wakers = state.readers.wakers();
        drop(state);
        wake(wakers);
    }

    /// The declared length of the body.
    pub(crate) fn length(&self) -> Option<u64> {
        self.state.lock().head.as_ref()?.length
    }

    pub(crate) fn has_head(&self) -> bool {
        self.state.lock().head.is_some()
    }

    pub(crate) fn trailers(&self) -> Option<HeaderMap> {
        self.state.lock().trailers.clone()
    }

    pub(crate) fn poll_head(&self, reader: usize, cx: &mut Context<'_>) -> Poll<Result<Arc<FillHead>, NoHead>> {
        let mut state = self.state.lock();
        if let Some(head) = &state.head {
            return Poll::Ready(Ok(head.clone()));
        }
        match state.end {
            Some(End::NoHead(reason)) => Poll::Ready(Err(reason)),
            Some(End::Broken(broken)) => Poll::Ready(Err(NoHead::Failed(broken))),
            Some(End::Whole) => unreachable!("a whole response has a head"),
            None => {
                state.readers.wait(reader, cx.waker());
                Poll::Pending
            }
        }
    }

    /// The next bytes of a reader, at most up to offset `limit`; `None` at the clean end.
    pub(crate) fn poll_data(
        &self,
        reader: usize,
        limit: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Broken>>> {
        let mut state = self.state.lock();
        let position = state.readers.position(reader);
        if position >= limit {
            return Poll::Ready(None);
        }
        let limit = limit.min(state.readers.hold_at.unwrap_or(u64::MAX));
        if position < limit
            && let Some(mut data) = state.pieces.at(position)
        {
            data.truncate(usize::try_from(limit - position).unwrap_or(usize::MAX));
            state.readers.advance(reader, position + data.len() as u64);
            self.make_room(state);
            return Poll::Ready(Some(Ok(data)));
        }
        match &state.end {
            Some(End::Whole) => Poll::Ready(None),
            Some(End::Broken(broken)) => Poll::Ready(Some(Err(*broken))),
            Some(End::NoHead(_)) => Poll::Ready(Some(Err(Broken::ABANDONED))),
            None => {
                state.readers.wait(reader, cx.waker());
                Poll::Pending
            }
        }
    }

    /// Lets a reader skip to an offset; never back.
    pub(crate) fn skip_to(&self, reader: usize, offset: u64) {
        let mut state = self.state.lock();
        if offset > state.readers.position(reader) {
            state.readers.advance(reader, offset);
            self.make_room(state);
        }
    }

    pub(crate) fn position(&self, reader: usize) -> u64 {
        self.state.lock().readers.position(reader)
    }

    pub(crate) fn leave(&self, reader: usize) {
        let mut state = self.state.lock();
        state.readers.remove(reader);
        self.make_room(state);
    }

    /// After a reader moved: drops what all have read and wakes a leader that waits for it.
    fn make_room(&self, mut state: parking_lot::MutexGuard<'_, State>) {
        let freed = state.drop_read();
        let idle = state.readers.live == 0;
        let leader = if idle || state.counted <= WINDOW_BYTES { state.leader.take() } else { None };
        drop(state);
        self.account.give_back(freed);
        if let Some(leader) = leader {
            leader.wake();
        }
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        self.account.give_back(self.state.get_mut().counted);
    }
}

impl State {
    /// In a window, drops what all readers have read; returns the bytes to give back to the account.
    fn drop_read(&mut self) -> u64 {
        if self.retention == Retention::Whole {
            return 0;
        }
        let lowest = self.readers.lowest().unwrap_or(u64::MAX);
        let freed = self.pieces.drop_before(lowest).min(self.counted);
        self.counted -= freed;
        freed
    }
}

fn wake(wakers: Wakers) {
    wakers.into_iter().for_each(Waker::wake);
}

/// Where the readers of one fill are, and how to wake them.
#[derive(Default)]
struct Readers {
    slots: Vec<Option<Reader>>,
    free: Vec<usize>,
    live: usize,
    /// The lowest position and the number of readers there; counted anew when the last of them moves.
    lowest: u64,
    at_lowest: usize,
    /// Nobody reads beyond this offset yet.
    hold_at: Option<u64>,
}

struct Reader {
    position: u64,
    waker: Option<Waker>,
}

impl Readers {
    fn add(&mut self) -> usize {
        let reader = Some(Reader { position: 0, waker: None });
        self.live += 1;
        self.at_lowest = 0;
        if let Some(index) = self.free.pop() {
            self.slots[index] = reader;
            return index;
        }
        self.slots.push(reader);
        self.slots.len() - 1
    }

    fn remove(&mut self, index: usize) {
        let reader = self.slots[index].take().expect("a reader leaves once");
        self.free.push(index);
        self.live -= 1;
        self.left(reader.position);
    }

    fn position(&self, index: usize) -> u64 {
        self.slots[index].as_ref().expect("a reader is there until it leaves").position
    }

    fn advance(&mut self, index: usize, position: u64) {
        let reader = self.slots[index].as_mut().expect("a reader is there until it leaves");
        let before = std::mem::replace(&mut reader.position, position);
        self.left(before);
    }

    fn left(&mut self, position: u64) {
        if position == self.lowest {
            self.at_lowest = self.at_lowest.saturating_sub(1);
        }
    }

    /// The lowest position of all readers. Looks at each of them only when all that were lowest have moved.
    fn lowest(&mut self) -> Option<u64> {
        if self.at_lowest == 0 {
            let positions = || self.slots.iter().flatten().map(|reader| reader.position);
            self.lowest = positions().min()?;
            self.at_lowest = positions().filter(|&position| position == self.lowest).count();
        }
        (self.live > 0).then_some(self.lowest)
    }

    fn wait(&mut self, index: usize, waker: &Waker) {
        let reader = self.slots[index].as_mut().expect("a reader is there until it leaves");
        match &mut reader.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    fn wakers(&mut self) -> Wakers {
        self.slots.iter_mut().flatten().filter_map(|reader| reader.waker.take()).collect()
    }
}
