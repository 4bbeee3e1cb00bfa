//! Datagrams find the worker that has their connection.
//!
//! The kernel spreads datagrams over the workers' sockets by address and port. When a client moves, or its router gives it
//! another port, they come to another worker. Connection ids tell whose they are: their first byte is the worker's number,
//! masked with what a keyed hash makes of the rest, so that nobody else can tell two ids of a connection from two of
//! different ones (RFC 9000 section 5.1). The worker that gets what is another's puts it into that one's lane.
//!
//! Before that, datagrams of handshakes have to be within the budget of their source.
//!
//! Only short headers are looked at for the way: during a handshake a client does not move (section 9), and its first ids are its own.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use parking_lot::Mutex;
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, ConnectionId, ConnectionIdGenerator, UdpPoller};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::sources::Sources;

/// Bytes of our connection ids.
const ID_BYTES: usize = 8;
/// Datagrams that wait for one worker; more are dropped, as a full socket drops them.
const LANE_DATAGRAMS_MAX: usize = 4_096;
/// Datagrams that a client sends for one handshake at most, lost ones and Retry among them.
const HANDSHAKE_DATAGRAMS: u32 = 16;
/// The header's first bit: a long header (RFC 8999 section 5.1).
const LONG_HEADER: u8 = 0x80;

/// What masks the worker's number.
#[derive(Clone, Copy)]
pub struct Mask(u64);

impl Mask {
    pub fn new(key: [u8; 8]) -> Self {
        Mask(u64::from_be_bytes(key))
    }

    fn of(self, rest: &[u8]) -> u8 {
        xxh3_64_with_seed(rest, self.0) as u8
    }

    /// The worker that a datagram is for, where its header tells.
    fn worker(self, datagram: &[u8]) -> Option<u8> {
        let (first, rest) = datagram.split_first()?;
        let (id, _) = rest.split_first_chunk::<ID_BYTES>()?;
        (first & LONG_HEADER == 0).then(|| id[0] ^ self.of(&id[1..]))
    }
}

/// Makes connection ids that lead to one worker.
pub struct Ids {
    pub mask: Mask,
    pub worker: u8,
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_BYTES];
        rand::fill(&mut id[1..]).expect("the system gives random bytes");
        id[0] = self.worker ^ self.mask.of(&id[1..]);
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// A datagram that came to another worker.
struct Datagram {
    from: SocketAddr,
    ecn: Option<EcnCodepoint>,
    to: Option<IpAddr>,
    bytes: Box<[u8]>,
}

#[derive(Default)]
struct Lane {
    queue: Mutex<VecDeque<Datagram>>,
    /// How many wait, so that nobody takes the lock for nothing.
    waiting: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

/// The lanes of one address, one for each worker.
pub struct Lanes {
    all: Box<[Lane]>,
    mask: Mask,
    /// Datagrams put into another's lane, and those that found it full.
    pub handed_over: AtomicU64,
    pub dropped: AtomicU64,
    /// Datagrams of handshakes that a worker looks at for one source in a second, and those it did not look at.
    per_source: AtomicU32,
    pub ignored: AtomicU64,
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").field("workers", &self.all.len()).finish_non_exhaustive()
    }
}

impl Lanes {
    pub fn new(workers: usize, mask: Mask) -> Self {
        let all = std::iter::repeat_with(Lane::default).take(workers).collect();
        Lanes {
            all,
            mask,
            handed_over: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            per_source: AtomicU32::new(u32::MAX),
            ignored: AtomicU64::new(0),
        }
    }

    pub fn mask(&self) -> Mask {
        self.mask
    }

    /// A source may begin so many handshakes a second.
    pub fn look_at(&self, handshakes: u32) {
        self.per_source.store(handshakes.saturating_mul(HANDSHAKE_DATAGRAMS), Relaxed);
    }

    /// The worker other than `own` that a datagram is for.
    fn other(&self, datagram: &[u8], own: usize) -> Option<&Lane> {
        let worker = usize::from(self.mask.worker(datagram)?);
        if worker == own { None } else { self.all.get(worker) }
    }

    fn hand_over(&self, lane: &Lane, datagram: Datagram) {
        let mut queue = lane.queue.lock();
        if queue.len() >= LANE_DATAGRAMS_MAX {
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        queue.push_back(datagram);
        lane.waiting.store(queue.len(), Release);
        drop(queue);
        self.handed_over.fetch_add(1, Relaxed);
        if let Some(waker) = lane.waker.lock().take() {
            waker.wake();
        }
    }
}

impl Lane {
    /// Fills buffers with what waits; how many.
    fn take(&self, buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> usize {
        if self.waiting.load(Acquire) == 0 {
            return 0;
        }
        let mut queue = self.queue.lock();
        let mut count = 0;
        for (buffer, meta) in buffers.iter_mut().zip(meta) {
            let Some(datagram) = queue.pop_front() else { break };
            let length = datagram.bytes.len().min(buffer.len());
            buffer[..length].copy_from_slice(&datagram.bytes[..length]);
            *meta =
                RecvMeta { addr: datagram.from, len: length, stride: length, ecn: datagram.ecn, dst_ip: datagram.to };
            count += 1;
        }
        self.waiting.store(queue.len(), Release);
        count
    }

    /// Wakes this task when something is put in.
    fn watch(&self, cx: &Context<'_>) {
        let mut waker = self.waker.lock();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }
}

/// One worker's socket of an address.
#[derive(Debug)]
pub struct Steered {
    socket: Arc<dyn AsyncUdpSocket>,
    lanes: Arc<Lanes>,
    worker: usize,
    /// Of handshakes; only this worker takes the lock.
    budgets: Mutex<Sources>,
    since: Instant,
}

impl Steered {
    pub fn new(socket: Arc<dyn AsyncUdpSocket>, lanes: Arc<Lanes>, worker: usize) -> Self {
        // Another key than that of the ids, made of it.
        let budgets = Mutex::new(Sources::new(!lanes.mask.0));
        Steered { socket, lanes, worker, budgets, since: Instant::now() }
    }

    /// Whether a datagram is looked at: one of a handshake costs much more than it cost its sender.
    fn is_looked_at(&self, datagram: &[u8], from: SocketAddr) -> bool {
        if datagram.first().is_none_or(|first| first & LONG_HEADER == 0) {
            return true;
        }
        let now_ns = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX / 2);
        let within = self.budgets.lock().take(from.ip(), now_ns, self.lanes.per_source.load(Relaxed));
        if !within {
            self.lanes.ignored.fetch_add(1, Relaxed);
        }
        within
    }

    /// Puts what is for others into their lanes, and leaves the rest in place; how many buffers are left.
    fn sort(&self, buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta], count: usize) -> usize {
        let mut kept = 0;
        for at in 0..count {
            let len = self.sort_one(&mut buffers[at], &meta[at]);
            if len == 0 {
                continue;
            }
            meta[at].len = len;
            if at != kept {
                // What the kernel filled stays where it is: buffers are swapped, not copied.
                let (head, tail) = buffers.split_at_mut(at);
                std::mem::swap(&mut head[kept], &mut tail[0]);
                meta.swap(kept, at);
            }
            kept += 1;
        }
        kept
    }

    /// The same for the datagrams of one buffer, which the kernel may have joined; how many bytes are left.
    fn sort_one(&self, buffer: &mut [u8], meta: &RecvMeta) -> usize {
        let (mut at, mut kept) = (0, 0);
        while at < meta.len {
            let end = (at + meta.stride.max(1)).min(meta.len);
            if let Some(lane) = self.lanes.other(&buffer[at..end], self.worker) {
                let bytes = buffer[at..end].into();
                self.lanes.hand_over(lane, Datagram { from: meta.addr, ecn: meta.ecn, to: meta.dst_ip, bytes });
            } else if self.is_looked_at(&buffer[at..end], meta.addr) {
                if kept != at {
                    buffer.copy_within(at..end, kept);
                }
                kept += end - at;
            }
            at = end;
        }
        kept
    }
}

impl AsyncUdpSocket for Steered {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.socket.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let lane = &self.lanes.all[self.worker];
        // First be heard of, then look: what is put in between wakes.
        lane.watch(cx);
        let taken = lane.take(buffers, meta);
        if taken > 0 {
            return Poll::Ready(Ok(taken));
        }
        loop {
            let count = std::task::ready!(self.socket.poll_recv(cx, buffers, meta))?;
            let kept = self.sort(buffers, meta, count);
            if kept > 0 {
                return Poll::Ready(Ok(kept));
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn short_header(id: &[u8]) -> Vec<u8> {
        [&[0x40][..], id, &[0; 20]].concat()
    }

    fn any_socket() -> Arc<dyn AsyncUdpSocket> {
        let socket = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap().block_on(async {
            quinn::Runtime::wrap_udp_socket(&quinn::TokioRuntime, std::net::UdpSocket::bind("127.0.0.1:0").unwrap())
        });
        socket.unwrap()
    }

    #[test]
    fn an_id_leads_to_its_worker_and_says_nothing_to_others() {
        let mask = Mask::new([9; 8]);
        for worker in 0..=255 {
            let id = Ids { mask, worker }.generate_cid();
            assert_eq!(mask.worker(&short_header(&id)), Some(worker));
        }
        let firsts: std::collections::HashSet<u8> =
            (0..200).map(|_| Ids { mask, worker: 3 }.generate_cid()[0]).collect();
        assert!(firsts.len() > 64, "the first byte varies");
        assert_eq!(mask.worker(&[0xc0; 30]), None, "a long header");
        assert_eq!(mask.worker(&[0x40; 8]), None, "too short");
    }

    #[test]
    fn joined_datagrams_are_sorted_one_by_one() {
        let mask = Mask::new([9; 8]);
        let lanes = Arc::new(Lanes::new(2, mask));
        let of = |worker| short_header(&Ids { mask, worker }.generate_cid());
        let (a, b, c) = (of(0), of(1), of(0));
        let mut buffer = [a.clone(), b.clone(), c.clone()].concat();
        let meta = RecvMeta { len: buffer.len(), stride: a.len(), ..RecvMeta::default() };
        let steered = Steered::new(any_socket(), lanes.clone(), 0);
        let kept = steered.sort_one(&mut buffer, &meta);
        assert_eq!(buffer[..kept], [a, c].concat());
        let mut other = vec![0; 100];
        let mut metas = [RecvMeta::default()];
        assert_eq!(lanes.all[1].take(&mut [IoSliceMut::new(&mut other)], &mut metas), 1);
        assert_eq!(other[..metas[0].len], b);
        assert_eq!(lanes.handed_over.load(Relaxed), 1);
    }

    #[test]
    fn datagrams_of_handshakes_are_looked_at_within_the_budget_of_their_source() {
        let lanes = Arc::new(Lanes::new(1, Mask::new([9; 8])));
        lanes.per_source.store(3, Relaxed);
        let steered = Steered::new(any_socket(), lanes.clone(), 0);
        let looked_at = |first: u8, from: [u8; 4]| steered.is_looked_at(&[first, 1], (from, 1).into());
        let count = |first, from| (0..50).filter(|_| looked_at(first, from)).count();
        assert!(count(0xc0, [192, 0, 2, 1]) < 10);
        assert!(looked_at(0xc0, [192, 0, 2, 2]));
        assert_eq!(count(0x40, [192, 0, 2, 1]), 50);
        assert!(lanes.ignored.load(Relaxed) > 40);
    }

    #[test]
    fn a_lane_is_bounded() {
        let lanes = Lanes::new(1, Mask::new([0; 8]));
        for _ in 0..=LANE_DATAGRAMS_MAX {
            let from = SocketAddr::from(([127, 0, 0, 1], 1));
            lanes.hand_over(&lanes.all[0], Datagram { from, ecn: None, to: None, bytes: Box::default() });
        }
        assert_eq!(lanes.dropped.load(Relaxed), 1);
        assert_eq!(lanes.all[0].queue.lock().len(), LANE_DATAGRAMS_MAX);
    }
}
