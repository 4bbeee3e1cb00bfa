//! QUIC at the door: one endpoint per worker on the UDP side of each `https` address.
//!
//! A connection stays with the worker that took it, wherever its client moves ([`steering`]). Certificates, tickets, tokens
//! and the key of stateless resets are the node's, the same for all workers; limits are those of the snapshot at the time
//! a connection is let in.
//!
//! A datagram's source proves nothing until the client answers to it, so a handshake takes a place among the unproven only,
//! never one of its address; when those are many, clients have to prove their address first (Retry, RFC 9000 section
//! 8.1.2), and so have those of a source that begins too many.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use parking_lot::Mutex;
use quinn::{Connection, Endpoint, Incoming, Runtime, ServerConfig, TokioRuntime};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;

use crate::connection::h3;
use crate::listener::Present;
use crate::node::Node;
use crate::worker;

mod by_quinn;
mod config;
mod session;
mod sources;
mod stack;
pub mod steering;
mod tokens;

pub use session::Facts;
pub use stack::{Counted, Cut, Quic, Receiving, Sending};
pub use tokens::UsedTokens;

use sources::Sources;
use steering::{Lanes, Steered};

/// Handshakes of unproven clients under way, above which new ones have to prove their address.
const UNPROVEN_MAX: u32 = 500;
/// Receive and send buffers of a UDP socket, in bytes: a burst of datagrams must find room.
const SOCKET_BUFFER_BYTES: usize = 2 << 20;
/// One worker's share of an address.
#[derive(Debug)]
pub struct Door {
    socket: std::net::UdpSocket,
    lanes: Arc<Lanes>,
}

impl Door {
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// Handshakes whose client has not proven its address.
#[derive(Debug, Default)]
pub struct Unproven(AtomicU32);

/// Handshakes that a source may begin, of all workers: before its address is proven, and after.
#[derive(Debug)]
pub struct Budgets {
    unproven: Mutex<Sources>,
    proven: Mutex<Sources>,
    since: Instant,
}

impl Default for Budgets {
    fn default() -> Self {
        let mut seed = [0; 8];
        rand::fill(&mut seed).expect("the system gives random bytes");
        let seed = u64::from_be_bytes(seed);
        Budgets {
            unproven: Mutex::new(Sources::new(seed)),
            proven: Mutex::new(Sources::new(!seed)),
            since: Instant::now(),
        }
    }
}

impl Budgets {
    fn take(&self, address: IpAddr, proven: bool, per_second: u32) -> bool {
        let now_ns = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX / 2);
        if proven { &self.proven } else { &self.unproven }.lock().take(address, now_ns, per_second)
    }
}

struct Handshake(Arc<Node>);

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.unproven.0.fetch_sub(1, Relaxed);
    }
}

/// A socket for each worker at an address that TCP is bound to already; the error is one sentence.
pub fn bind(node: &Node, address: SocketAddr, workers: usize) -> Result<Vec<Door>, String> {
    // Whatever cannot be configured is told before anything says that HTTP/3 is served.
    config::server(node)?;
    let fault = |error: std::io::Error| format!("cannot listen on {address} for HTTP/3: {error}");
    let lanes = Arc::new(Lanes::new(workers, config::mask(node)));
    node.lanes.lock().push(lanes.clone());
    let door = |_| open(address).map(|socket| Door { socket, lanes: lanes.clone() }).map_err(fault);
    (0..workers).map(door).collect()
}

fn open(address: SocketAddr) -> std::io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    // The kernel gives what it has; a smaller buffer loses more, and no more than that.
    drop(socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES));
    drop(socket.set_send_buffer_size(SOCKET_BUFFER_BYTES));
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Takes connections on a door until the node drains. A door that cannot be served ends the
/// process, as a TCP one does: clients were told of it.
pub async fn accept(node: Arc<Node>, door: Door) {
    let lanes = door.lanes.clone();
    lanes.look_at(node.snapshot().limits.handshakes_per_address_max);
    let endpoint = endpoint(&node, door).expect("a bound socket can be registered");
    let mut known = node.version();
    let mut config = config::server(&node).expect("it was configured before");
    loop {
        let incoming = tokio::select! {
            biased;
            () = node.drain.begins() => break,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        if node.version() != known {
            known = node.version();
            // A reload changes limits, nothing that could fail.
            config = config::server(&node).expect("it was configured before");
            endpoint.set_server_config(Some((*config).clone()));
            lanes.look_at(node.snapshot().limits.handshakes_per_address_max);
        }
        take(&node, incoming, config.clone());
    }
    // Nobody new any more. The connections that are there say goodbye themselves, and the endpoint lasts as long as they.
    endpoint.set_server_config(None);
}

fn endpoint(node: &Node, door: Door) -> std::io::Result<Endpoint> {
    let worker = worker::index();
    let runtime = Arc::new(TokioRuntime);
    let config = config::endpoint(node, door.lanes.mask(), worker as u8);
    let socket = Arc::new(Steered::new(runtime.wrap_udp_socket(door.socket)?, door.lanes, worker));
    let server = config::server(node).map_err(std::io::Error::other)?;
    Endpoint::new_with_abstract_socket(config, Some((*server).clone()), socket, runtime)
}

/// Lets one connection in, asks it to prove its address first, or refuses it.
fn take(node: &Arc<Node>, incoming: Incoming, config: Arc<ServerConfig>) {
    let here = node.metrics.here();
    let proven = incoming.remote_address_validated();
    let per_second = node.snapshot().limits.handshakes_per_address_max;
    let within = node.handshakes.take(incoming.remote_address().ip(), proven, per_second);
    if proven && !within {
        here.quic.handshakes_refused.bump();
        return incoming.refuse();
    }
    if !proven && (!within || node.unproven.0.load(Relaxed) >= UNPROVEN_MAX) {
        here.quic.retries.bump();
        // One that cannot be asked to is refused.
        if let Err(error) = incoming.retry() {
            error.into_incoming().refuse();
        }
        return;
    }
    here.connections_accepted.bump();
    if node.census.is_full(&node.snapshot().limits) {
        here.connections_refused.bump();
        here.connections_closed.bump();
        return incoming.refuse();
    }
    node.unproven.0.fetch_add(1, Relaxed);
    tokio::spawn(serve(Handshake(node.clone()), incoming, config));
}

/// The handshake, then the connection. Where early data is taken, the connection is served during the handshake already.
async fn serve(handshake: Handshake, incoming: Incoming, config: Arc<ServerConfig>) {
    let node = handshake.0.clone();
    let address = incoming.remote_address();
    let within = Duration::from_millis(node.snapshot().limits.tls_handshake_ms.into());
    let begun = async {
        let mut connecting = incoming.accept_with(config).ok()?;
        if !node.takes_early_data() {
            return Some((connecting.await.ok()?, None));
        }
        // The name that the client asks for is known then.
        connecting.handshake_data().await.ok()?;
        connecting.into_0rtt().ok().map(|(connection, proven)| (connection, Some(proven)))
    };
    let Some((connection, proven)) = tokio::time::timeout(within, begun).await.ok().flatten() else {
        return failed(&node);
    };
    let Some(proven) = proven else {
        let Some(present) = admit(handshake, &connection, address) else { return };
        h3::serve(node, connection, address, Proven::already()).await;
        return drop(present);
    };
    let (prove, state) = Proven::later();
    let mut serving = std::pin::pin!(h3::serve(node.clone(), connection.clone(), address, state));
    tokio::select! {
        () = &mut serving => return failed(&node),
        proven = tokio::time::timeout(within, proven) => if proven.is_err() {
            connection.close(0_u32.into(), b"");
            return failed(&node);
        },
    }
    let Some(present) = admit(handshake, &connection, address) else { return };
    prove.send_replace(true);
    serving.await;
    drop(present);
}

fn failed(node: &Node) {
    node.metrics.here().tls_failed.bump();
    node.metrics.here().connections_closed.bump();
}

/// The address is proven: it takes one of its places, if there is one.
fn admit(handshake: Handshake, connection: &Connection, address: SocketAddr) -> Option<Present> {
    let node = handshake.0.clone();
    drop(handshake);
    let here = node.metrics.here();
    let Some(present) = node.census.admit(&node, address.ip()) else {
        here.connections_refused.bump();
        here.connections_closed.bump();
        h3::refuse(connection);
        return None;
    };
    match connection.facts() {
        Some(Facts { resumed: true, .. }) => here.tls_resumed.bump(),
        _ => here.tls_full.bump(),
    }
    Some(present)
}

/// Whether a client has shown that it is who it was and where it says: until the handshake ends, what it sends may be
/// somebody's copy of what it sent before (RFC 8470 section 1).
#[derive(Debug, Clone)]
pub struct Proven(Option<watch::Receiver<bool>>);

impl Proven {
    fn already() -> Self {
        Proven(None)
    }

    fn later() -> (watch::Sender<bool>, Self) {
        let (prove, state) = watch::channel(false);
        (prove, Proven(Some(state)))
    }

    /// Ends when it has; false when it never will.
    pub async fn wait(&self) -> bool {
        match self.0.clone() {
            Some(mut state) => state.wait_for(|proven| *proven).await.is_ok(),
            None => true,
        }
    }
}
