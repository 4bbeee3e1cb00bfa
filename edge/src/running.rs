//! A node at work: its sockets and its worker threads, from start to the end of the drain.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::listener::{self, Bound, Door};
use crate::node::Node;
use crate::quic;
use crate::settings::{ListenerKind, ListenerSettings, Settings};
use crate::tier;
use crate::worker;

/// How often a draining worker looks whether its connections have ended.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// Whether every connection of the node had ended when a worker stopped.
type Ended = bool;

/// Worker threads and what they listen on.
#[derive(Debug)]
pub struct Running {
    node: Arc<Node>,
    pub listeners: Vec<ListenerSettings>,
    pub addresses: Vec<(ListenerKind, std::net::SocketAddr)>,
    workers: Vec<JoinHandle<Ended>>,
}

impl Running {
    /// Binds every address, then starts every worker; the error is one sentence, and nothing is left bound.
    pub fn start(node: &Arc<Node>, settings: &Settings) -> Result<Self, String> {
        if let Some(disk) = &settings.cache.disk {
            tier::open(node, disk)?;
        }
        let workers = usize::from(settings.node.workers);
        let bound: Vec<Bound> =
            settings.listeners.iter().map(|each| bind(node, each, workers)).collect::<Result<_, _>>()?;
        let addresses = bound.iter().map(|each| (each.kind, each.address)).collect();
        let mut shares: Vec<Vec<Door>> = (0..workers).map(|_| Vec::new()).collect();
        // A door of each kind for each worker: as many as there are workers, one kind after the other.
        for (place, door) in bound.into_iter().flat_map(|each| each.sockets.into_iter().enumerate()) {
            shares[place % workers].push(door);
        }
        let threads =
            shares.into_iter().enumerate().map(|(index, share)| spawn_worker(node.clone(), index as u16, share));
        let workers = threads.collect::<Result<_, _>>().map_err(|error| format!("cannot start a worker: {error}"))?;
        Ok(Running { node: node.clone(), listeners: settings.listeners.clone(), addresses, workers })
    }

    /// Stops accepting and waits for the requests under way; true when all ended in time.
    pub fn drain(self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        self.node.drain.begin(deadline);
        // All are joined, whatever the first ones say.
        let ended: Vec<Ended> = self.workers.into_iter().map(|worker| worker.join().unwrap_or(false)).collect();
        tier::close(&self.node);
        !ended.contains(&false)
    }
}

/// The TCP side of an address, and the UDP side where HTTP/3 is served.
fn bind(node: &Node, settings: &ListenerSettings, workers: usize) -> Result<Bound, String> {
    let mut bound = listener::bind(settings, workers)?;
    if settings.http3 {
        bound.sockets.extend(quic::bind(node, bound.address, workers)?.into_iter().map(Door::Quic));
    }
    Ok(bound)
}

/// One worker: a thread with a runtime of its own.
fn spawn_worker(node: Arc<Node>, index: u16, share: Vec<Door>) -> std::io::Result<JoinHandle<Ended>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        worker::enter(index);
        let ended = runtime.block_on(work(node, share));
        // Connections that outlast the drain end here, with their sockets.
        runtime.shutdown_background();
        ended
    })
}

async fn work(node: Arc<Node>, share: Vec<Door>) -> Ended {
    let mut accepting = Vec::new();
    for door in share {
        match door {
            Door::Tcp(kind, socket) => match tokio::net::TcpListener::from_std(socket) {
                Ok(socket) => accepting.push(tokio::spawn(listener::accept(node.clone(), socket, kind))),
                Err(error) => panic!("a bound socket could not be registered: {error}"),
            },
            Door::Quic(door) => accepting.push(tokio::spawn(quic::accept(node.clone(), door))),
        }
    }
    for each in accepting {
        drop(each.await);
    }
    // Draining: the last connection anywhere ends the node, or the deadline does.
    while node.census.open() > 0 && Instant::now() < node.drain.deadline() {
        tokio::time::sleep(DRAIN_LOOK).await;
    }
    node.census.open() == 0
}
