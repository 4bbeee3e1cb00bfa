//! Keeps connections to servers that were asked lately open ahead of need: the shell around [`crate::warmth`].
//!
//! One task looks after all servers, on the runtime of the worker that asked first; it sleeps between its looks and
//! ends when no server is warm any more. Nothing runs per connection but its opening.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::connect::{Endpoint, connect};
use crate::counters::{Count, Counters};
use crate::exchange::Connection;
use crate::group::{Group, Server};
use crate::lease::{Lease, SharedPool};
use crate::warmth::LOOK_EVERY;

/// Connections that all servers together are given per look.
const OPENED_PER_LOOK_MAX: u32 = 64;

/// Who is looked after.
#[derive(Default)]
pub(super) struct Keeper {
    warm: Mutex<Warm>,
}

#[derive(Default)]
struct Warm {
    /// A group and a place in it. A group that a reload has replaced is let go; its successor registers anew.
    servers: Vec<(Weak<Group>, usize)>,
    /// A task looks after them.
    running: bool,
    /// The node is going away.
    ended: bool,
}

impl Keeper {
    /// The server is asked at this moment. Cheap but for the first time.
    pub(super) fn asked(
        self: &Arc<Self>,
        group: &Arc<Group>,
        place: usize,
        now: Instant,
        pool: &Arc<SharedPool>,
        counters: &Arc<Counters>,
    ) {
        if group.warm().connections == 0 || !group.server(place).state.asked(now.into_std()) {
            return;
        }
        let mut warm = self.warm.lock();
        if warm.ended {
            return;
        }
        warm.servers.push((Arc::downgrade(group), place));
        if std::mem::replace(&mut warm.running, true) {
            return;
        }
        drop(warm);
        let (keeper, pool, counters) = (self.clone(), Arc::downgrade(pool), counters.clone());
        tokio::spawn(async move {
            let mut running = Running { keeper: keeper.clone(), ended: false };
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let Some(pool) = pool.upgrade() else { return };
                if !keeper.look(&pool, &counters) {
                    // Said under the lock already: another task may run by now.
                    running.ended = true;
                    return;
                }
            }
        });
    }

    /// No connection is opened ahead any more.
    pub(super) fn end(&self) {
        let mut warm = self.warm.lock();
        warm.ended = true;
        warm.servers.clear();
    }

    /// One look at every warm server; false when none is left.
    fn look(&self, pool: &Arc<SharedPool>, counters: &Arc<Counters>) -> bool {
        let now = Instant::now();
        let mut left = OPENED_PER_LOOK_MAX;
        let servers = std::mem::take(&mut self.warm.lock().servers);
        let kept: Vec<_> = servers
            .into_iter()
            .filter(|(group, place)| {
                let Some(group) = group.upgrade() else { return false };
                let warm = group.server(*place).state.is_warm(now.into_std(), group.warm().keep);
                if warm {
                    look_after(&group, *place, now, &mut left, pool, counters);
                }
                warm
            })
            .collect();
        let mut warm = self.warm.lock();
        if !warm.ended {
            warm.servers.extend(kept);
        }
        warm.running = !warm.servers.is_empty();
        warm.running
    }
}

/// The task's hold on the keeper. Should its runtime end, another one may start a new task.
struct Running {
    keeper: Arc<Keeper>,
    ended: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.keeper.warm.lock().running = false;
        }
    }
}

/// Opens what one server lacks.
fn look_after(
    group: &Arc<Group>,
    place: usize,
    now: Instant,
    left: &mut u32,
    pool: &Arc<SharedPool>,
    counters: &Arc<Counters>,
) {
    let server = group.server(place);
    let Some((endpoint, sharing)) = endpoint_of(server) else { return };
    let wanted = if sharing { 1 } else { server.state.wanted(group.warm().connections) };
    let seen = pool.inspect(&endpoint, wanted);
    let missing = server.state.warmth.lock().look(&seen, wanted, now.into_std());
    for _ in 0..missing {
        let lease = if *left > 0 { pool.open_ahead(&endpoint, group.limits(sharing)) } else { None };
        let Some(lease) = lease else {
            // No failure of the server: it is looked at again.
            server.state.warmth.lock().not_opened();
            continue;
        };
        *left -= 1;
        let (group, endpoint, counters) = (group.clone(), endpoint.clone(), counters.clone());
        tokio::spawn(async move {
            let well = open(lease, &endpoint, group.deadlines().connect, &counters).await;
            group.server(place).state.warmth.lock().opened(well, Instant::now().into_std());
        });
    }
}

/// Where requests go at this moment: the address of the settings, or the one that answered last.
fn endpoint_of(server: &Server) -> Option<(Endpoint, bool)> {
    let address = server.site.address.or(*server.state.answered.lock())?;
    Some(server.endpoint(address, false))
}

/// Opens a connection and lets it rest in the pool.
async fn open(mut lease: Lease, endpoint: &Endpoint, within: Duration, counters: &Counters) -> bool {
    let Ok(connection) = connect(endpoint, within).await else {
        counters.count(Count::ConnectFailed);
        return false;
    };
    counters.count(Count::OpenedAhead);
    lease.connected(connection);
    true
}

/// Whether an idle connection can still be used.
pub(crate) fn is_alive(connection: &mut Connection) -> bool {
    match connection {
        Connection::H1(connection) => connection.is_alive(),
        Connection::H2(handle) => handle.is_usable(),
    }
}
