//! QUIC at the door: one endpoint per worker on the UDP side of each `https` address.
//!
//! The kernel spreads clients over the workers' sockets by address and port, as it does for TCP, so a connection stays with
//! the worker that took it. TLS uses the same certificates as TCP, and a reload changes them for both.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, IdleTimeout, Incoming, ServerConfig, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};

use crate::connection::h3;
use crate::limits::Limits;
use crate::node::Node;

/// Streams in one direction that a client may open: HTTP/3 needs three (RFC 9114 section 6.2).
const UNI_STREAMS_MAX: u32 = 8;
/// Connections above which a client has to show that it receives at its address before anything is kept for it (RFC 9000
/// section 8.1.2).
const UNPROVEN_MAX: u32 = 1_000;
/// Receive and send buffers of a UDP socket, in bytes: a burst of datagrams must find room.
const SOCKET_BUFFER_BYTES: usize = 2 << 20;

/// A socket for each worker at an address that TCP is bound to already; the error is one sentence.
pub fn bind(address: SocketAddr, workers: usize) -> Result<Vec<std::net::UdpSocket>, String> {
    let fault = |error: std::io::Error| format!("cannot listen on {address} for HTTP/3: {error}");
    (0..workers).map(|_| open(address).map_err(fault)).collect()
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

/// Serves HTTP/3 on a socket until the node drains and its connections have ended.
pub async fn accept(node: Arc<Node>, socket: std::net::UdpSocket) {
    let runtime = Arc::new(quinn::TokioRuntime);
    let Ok(config) = server_config(&node) else { return };
    let Ok(endpoint) = Endpoint::new(EndpointConfig::default(), Some(config), socket, runtime) else { return };
    loop {
        let incoming = tokio::select! {
            biased;
            () = node.drain.begins() => break,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        take(&node, incoming);
    }
    // Connections say goodbye themselves; the endpoint carries their last datagrams.
    endpoint.wait_idle().await;
}

/// Lets one connection in, asks it to prove its address first, or refuses it.
fn take(node: &Arc<Node>, incoming: Incoming) {
    let here = node.metrics.here();
    if node.census.open() >= UNPROVEN_MAX && !incoming.remote_address_validated() {
        // One that cannot be asked to is refused.
        if let Err(error) = incoming.retry() {
            error.into_incoming().refuse();
        }
        return;
    }
    here.connections_accepted.bump();
    let address = incoming.remote_address();
    let Some(present) = node.census.admit(node, address.ip()) else {
        here.connections_refused.bump();
        here.connections_closed.bump();
        return incoming.refuse();
    };
    let node = node.clone();
    tokio::spawn(async move {
        let within = Duration::from_millis(node.snapshot().limits.tls_handshake_ms.into());
        let connected = match incoming.accept() {
            Ok(connecting) => tokio::time::timeout(within, connecting).await,
            Err(_) => return node.metrics.here().tls_failed.bump(),
        };
        match connected {
            Ok(Ok(connection)) => h3::serve(node, connection, address).await,
            Ok(Err(_)) | Err(_) => node.metrics.here().tls_failed.bump(),
        }
        drop(present);
    });
}

fn server_config(node: &Node) -> Result<ServerConfig, String> {
    let tls = crate::tls::quic_config(node.certificates.clone())?;
    let crypto = QuicServerConfig::try_from(tls).map_err(|error| format!("QUIC: {error}"))?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport(&node.snapshot().limits)));
    Ok(config)
}

fn transport(limits: &Limits) -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(Duration::from_millis(limits.idle_ms.into()));
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(limits.h2_streams_max))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(limits.h2_window_bytes))
        .send_window(h3::outlet::UNACKNOWLEDGED_BYTES_MAX)
        .receive_window(VarInt::from_u32(limits.h2_window_bytes.saturating_mul(2)))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(idle.ok());
    transport
}
