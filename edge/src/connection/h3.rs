//! An HTTP/3 connection (RFC 9114): each request is a stream and a task. The steps, the cache and the log are those of the
//! other protocols; framing is `crate::h3`, flow control is QUIC's.
//!
//! A connection ends in two steps. The client is told that no request will be taken any more, and what is under way then
//! is still served; then it is told which requests were taken, and the connection closes when all of them have been
//! answered and the client has acknowledged every answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use headland_cache::Scheme;
use tokio::sync::Notify;
use tokio::time::Instant as TokioInstant;

use super::deadline::Deadline;
use super::{Peer, count};
use crate::h3::{Code, VARINT_MAX, go_away, settings};
use crate::metrics::Protocol;
use crate::node::Node;
use crate::quic::{Proven, Quic, Receiving, Sending};

mod exchange;
mod inlet;
mod order;
pub(crate) mod outlet;
mod priorities;
mod streams;
mod uploaded;

/// The last request stream there could be: a GOAWAY that rejects nothing yet (RFC 9114 section 5.2).
const LAST_STREAM: u64 = VARINT_MAX - 3;
/// How long requests that were on their way to us are still taken after that.
const NOTICE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// What one connection's streams share.
struct Door<Q: Quic> {
    node: Arc<Node>,
    quic: Q,
    peer: Peer,
    proven: Proven,
    /// Requests that are not answered, or whose answer is not acknowledged.
    open: AtomicU32,
    emptied: Notify,
    /// Requests that the client gave up, less those that it let come to an end.
    given_up: AtomicU32,
    /// The largest field section that the client takes.
    section_bytes_max: AtomicU64,
    priorities: priorities::Priorities,
    order: Arc<order::Order<Q::Sending>>,
}

/// A request that is under way.
struct Open<Q: Quic>(Arc<Door<Q>>);

impl<Q: Quic> Drop for Open<Q> {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Relaxed) == 1 {
            self.0.emptied.notify_waiters();
        }
    }
}

/// Serves a connection to its end.
pub async fn serve<Q: Quic>(node: Arc<Node>, quic: Q, address: SocketAddr, proven: Proven) {
    count(&node, Protocol::H3);
    let sni = quic.facts().and_then(|facts| facts.server_name);
    let door = Arc::new(Door {
        node,
        quic,
        peer: Peer { address, scheme: Scheme::Https, sni },
        proven,
        open: AtomicU32::new(0),
        emptied: Notify::new(),
        given_up: AtomicU32::new(0),
        section_bytes_max: AtomicU64::new(u64::MAX),
        priorities: priorities::Priorities::default(),
        order: Arc::default(),
    });
    if let Some(control) = door.open_control().await {
        tokio::spawn(streams::watch(door.clone()));
        door.run(control).await;
    }
    door.fail(Code::NoError);
    door.count();
}

/// There are too many connections from this address.
pub fn refuse(quic: &impl Quic) {
    quic.close(Code::ExcessiveLoad as u32);
}

impl<Q: Quic> Door<Q> {
    /// Our control stream, SETTINGS first (section 6.2.1). QPACK needs no streams of ours: there is no dynamic table.
    async fn open_control(&self) -> Option<Q::Sending> {
        let snapshot = self.node.snapshot();
        let within = Duration::from_millis(snapshot.limits.header_ms.into());
        tokio::time::timeout(within, async {
            let mut control = self.quic.open_uni().await?;
            // Answers must not keep it waiting.
            control.set_priority(i32::MAX);
            say(&mut control, settings(snapshot.limits.h2_header_list_bytes)).await?;
            Some(control)
        })
        .await
        .ok()?
    }

    /// Takes requests until the connection ends, or has to.
    async fn run(self: &Arc<Self>, mut control: Q::Sending) {
        let mut draining = std::pin::pin!(self.node.drain.begins());
        let mut deadline = Deadline::default();
        let (mut next, mut served) = (0, 0_u32);
        let until = loop {
            if !deadline.is_set() {
                deadline.set(Instant::now(), self.idle());
            }
            tokio::select! {
                biased;
                () = &mut draining => break self.node.drain.deadline(),
                accepted = self.quic.accept_request() => {
                    let Some(stream) = accepted else { return };
                    deadline.clear();
                    next = self.begin(stream);
                    served += 1;
                    if served >= self.node.snapshot().limits.requests_per_connection_max {
                        break Instant::now() + self.idle();
                    }
                }
                () = std::future::poll_fn(|cx| deadline.poll(cx)) => {
                    deadline.clear();
                    if self.open.load(Relaxed) == 0 {
                        break Instant::now() + self.idle();
                    }
                }
            }
        };
        let leaving = tokio::time::timeout_at(TokioInstant::from_std(until), self.leave(&mut control, next));
        // An answer that takes longer than the drain is cut off by it.
        drop(leaving.await);
    }

    /// Serves one stream in a task of its own; the id of the next one.
    fn begin(self: &Arc<Self>, (send, receive): (Q::Sending, Q::Receiving)) -> u64 {
        self.open.fetch_add(1, Relaxed);
        let next = send.id() + 4;
        tokio::spawn(exchange::serve(Open(self.clone()), send, receive));
        next
    }

    /// Lets every request that was taken come to its end, and takes no more.
    async fn leave(self: &Arc<Self>, control: &mut Q::Sending, mut next: u64) {
        if say(control, go_away(LAST_STREAM)).await.is_none() {
            return;
        }
        let notice = (self.quic.round_trip() * 2).clamp(NOTICE.0, NOTICE.1);
        let on_their_way = async {
            while let Some(stream) = self.quic.accept_request().await {
                next = self.begin(stream);
            }
        };
        drop(tokio::time::timeout(notice, on_their_way).await);
        // Section 5.2: requests from here on were not processed and may be sent again elsewhere.
        if say(control, go_away(next)).await.is_none() {
            return;
        }
        // What is said last has to leave before the connection is closed.
        let mut said = std::pin::pin!(tokio::time::sleep(notice));
        loop {
            tokio::select! {
                () = async { (&mut said).await; self.empties().await } => return,
                accepted = self.quic.accept_request() => {
                    let Some((mut send, mut receive)) = accepted else { return };
                    send.reset(Code::RequestRejected as u32);
                    receive.stop(Code::RequestRejected as u32);
                }
            }
        }
    }

    /// Ends when no request is under way.
    async fn empties(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.open.load(Relaxed) == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Ends the connection; the first reason stands.
    fn fail(&self, reason: Code) {
        self.quic.close(reason as u32);
    }

    /// The client gave a request up before it was answered. It may, but not all the time (RFC 9114 section 10.5).
    fn gave_up(&self) {
        let given_up = self.given_up.fetch_add(1, Relaxed) + 1;
        if given_up > self.node.snapshot().limits.h2_resets_max && !self.quic.is_closed() {
            self.node.metrics.here().connections_flooded.bump();
            self.fail(Code::ExcessiveLoad);
        }
    }

    /// The client let a request come to its end.
    fn let_end(&self) {
        // All streams of a connection are served by one thread: nothing comes between these two.
        self.given_up.store(self.given_up.load(Relaxed).saturating_sub(1), Relaxed);
    }

    /// Adds what the transport counted over the life of the connection.
    fn count(&self) {
        let counted = self.quic.counted();
        let quic = &self.node.metrics.here().quic;
        quic.datagrams_sent.add(counted.datagrams_sent);
        quic.sends.add(counted.sends);
        quic.datagrams_received.add(counted.datagrams_received);
        quic.packets_sent.add(counted.packets_sent);
        quic.packets_lost.add(counted.packets_lost);
        quic.migrations.add(counted.migrations);
        quic.rtt.record(u64::try_from(self.quic.round_trip().as_micros()).unwrap_or(u64::MAX));
    }

    fn idle(&self) -> Duration {
        Duration::from_millis(self.node.snapshot().limits.idle_ms.into())
    }
}

/// Writes a frame whole.
async fn say(stream: &mut impl Sending, frame: Bytes) -> Option<()> {
    let mut parts = [frame];
    while std::future::poll_fn(|cx| stream.poll_write(&mut parts, cx)).await.ok()? == 0 {}
    Some(())
}
