//! Sockets to listen on, and the loop that accepts from them.
//!
//! Each worker has a listening socket of its own for each address (`SO_REUSEPORT`), so no lock is shared at accept. All
//! sockets are bound before the first worker starts: an address that is taken is told in one sentence, and nothing is
//! left half-started.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::connection;
use crate::limits::Limits;
use crate::node::Node;
use crate::quic;
use crate::settings::{ListenerKind, ListenerSettings};

/// Connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 65_535;
/// The pause after a failed accept, so that a node without free descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One socket that a worker serves.
#[derive(Debug)]
pub enum Door {
    Tcp(ListenerKind, std::net::TcpListener),
    Quic(quic::Door),
}

/// One bound address: its kind, where it really is, and the sockets, each kind as many as there are workers.
#[derive(Debug)]
pub struct Bound {
    pub kind: ListenerKind,
    pub address: SocketAddr,
    pub sockets: Vec<Door>,
}

/// Binds an address for so many workers; the error is one sentence.
pub fn bind(settings: &ListenerSettings, workers: usize) -> Result<Bound, String> {
    let fault = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("cannot listen on {}: the address is in use by another program", settings.address)
        }
        io::ErrorKind::PermissionDenied => {
            format!("cannot listen on {}: no permission (ports below 1024 need a privilege)", settings.address)
        }
        _ => format!("cannot listen on {}: {error}", settings.address),
    };
    let mut address = resolve(&settings.address).map_err(fault)?;
    if address.port() != 0 {
        // Sockets that share a port would also share it with another node: ask alone first.
        drop(open(address, false).map_err(fault)?);
    }
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = open(address, true).map_err(fault)?;
        address = socket.local_addr().map_err(fault)?;
        sockets.push(socket);
    }
    let sockets = sockets.into_iter().map(|socket| Door::Tcp(settings.kind, socket)).collect();
    Ok(Bound { kind: settings.kind, address, sockets })
}

fn resolve(address: &str) -> io::Result<SocketAddr> {
    let unknown = || io::Error::new(io::ErrorKind::InvalidInput, "it is no address with a port");
    address.to_socket_addrs().map_err(|_| unknown())?.next().ok_or_else(unknown)
}

fn open(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Open connections, in all and by address.
#[derive(Debug, Default)]
pub struct Census {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: u32,
    by_address: HashMap<IpAddr, u32>,
}

/// One open connection; counted out when dropped.
#[derive(Debug)]
pub struct Present {
    node: Arc<Node>,
    address: IpAddr,
}

impl Census {
    /// Counts a connection in, unless there are too many.
    pub fn admit(&self, node: &Arc<Node>, address: IpAddr) -> Option<Present> {
        let snapshot = node.snapshot();
        let limits = &snapshot.limits;
        let mut counts = self.counts.lock();
        let here = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.all >= limits.connections_max || here >= limits.connections_per_address_max {
            return None;
        }
        counts.all += 1;
        counts.by_address.insert(address, here + 1);
        Some(Present { node: node.clone(), address })
    }

    /// Whether there are as many as there may be, from wherever.
    pub fn is_full(&self, limits: &Limits) -> bool {
        self.open() >= limits.connections_max
    }

    fn leave(&self, address: IpAddr) {
        let mut counts = self.counts.lock();
        counts.all -= 1;
        if let Some(here) = counts.by_address.get_mut(&address) {
            *here -= 1;
            if *here == 0 {
                counts.by_address.remove(&address);
            }
        }
    }

    /// Connections that are open now.
    pub fn open(&self) -> u32 {
        self.counts.lock().all
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.node.census.leave(self.address);
        self.node.metrics.here().connections_closed.bump();
    }
}

/// Accepts until the node drains.
pub async fn accept(node: Arc<Node>, socket: TcpListener, kind: ListenerKind) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = node.drain.begins() => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let here = node.metrics.here();
                here.connections_accepted.bump();
                let Some(present) = node.census.admit(&node, address.ip()) else {
                    here.connections_refused.bump();
                    here.connections_closed.bump();
                    continue;
                };
                // Small answers must not wait for more to send.
                drop(stream.set_nodelay(true));
                let node = node.clone();
                tokio::spawn(async move {
                    connection::serve(node, stream, address, kind).await;
                    drop(present);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::settings::Congestion;

    fn at(address: &str) -> ListenerSettings {
        ListenerSettings {
            address: address.to_owned(),
            kind: ListenerKind::Http,
            http3: false,
            early_data: false,
            alt_svc_ms: 0,
            congestion: Congestion::Bbr,
        }
    }

    #[test]
    fn every_worker_gets_a_socket_on_the_same_port() {
        let bound = bind(&at("127.0.0.1:0"), 3).unwrap();
        assert_ne!(bound.address.port(), 0);
        let at = |door: &Door| match door {
            Door::Tcp(_, socket) => socket.local_addr().unwrap(),
            Door::Quic(socket) => socket.local_addr().unwrap(),
        };
        assert!(bound.sockets.iter().all(|door| at(door) == bound.address));
        assert_eq!(bound.sockets.len(), 3);
    }

    #[test]
    fn an_address_in_use_is_told_in_one_sentence_even_by_another_node() {
        let bound = bind(&at("127.0.0.1:0"), 1).unwrap();
        let error = bind(&at(&bound.address.to_string()), 1).unwrap_err();
        assert_eq!(error, format!("cannot listen on {}: the address is in use by another program", bound.address));
    }

    #[test]
    fn what_is_no_address_is_told() {
        let error = bind(&at("nonsense"), 1).unwrap_err();
        assert_eq!(error, "cannot listen on nonsense: it is no address with a port");
    }
}
