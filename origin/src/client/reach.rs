//! The way to a server: its addresses, then a lease on a connection to one of them.
//!
//! A name may have several addresses. The one that answered last is asked first; another gets its chance when that
//! fails or takes longer than a head start (RFC 8305 5), each under a lease of its own.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::micros;
use crate::connect::connect_with;
use crate::counters::{Count, Counters};
use crate::early_data::EarlyData;
use crate::error::{Deadline, Fault, FetchError, Phase};
use crate::exchange::Connection;
use crate::group::{Group, Protocol, Server};
use crate::lease::{Demand, Lease, SharedPool, within};
use crate::public::is_public;
use crate::resolve::{Addresses, Resolver};

/// How long an address is tried alone before the next one is (RFC 8305 8).
const HEAD_START: Duration = Duration::from_millis(250);

pub(super) struct Way<'a> {
    pub(super) pool: &'a Arc<SharedPool>,
    pub(super) counters: &'a Counters,
    pub(super) group: &'a Group,
    pub(super) server: &'a Server,
    /// The request asks for another protocol: it needs an HTTP/1.1 connection.
    pub(super) upgrade: bool,
    /// A new connection is wanted.
    pub(super) fresh: bool,
    /// What may go out with the handshake of a new connection.
    pub(super) early: Option<EarlyData>,
    pub(super) worker: u16,
    /// When the attempt began.
    pub(super) now: Instant,
    /// When the request's time is over.
    pub(super) ends: Instant,
}

impl Way<'_> {
    /// A lease on an open connection to the server.
    pub(super) async fn lease(&self, resolver: &Arc<Resolver>) -> Result<Lease, FetchError> {
        if let Some(address) = self.server.site.address {
            return self.reach(address, self.group.deadlines().connect).await;
        }
        // Resolving, connecting and the handshake share one deadline.
        let began = Instant::now();
        let addresses = self.addresses(resolver).await?;
        let left = self.group.deadlines().connect.saturating_sub(began.elapsed());
        match *addresses {
            [only] => self.reach(only, left).await,
            _ => self.race(&self.by_preference(&addresses), left).await,
        }
    }

    async fn addresses(&self, resolver: &Arc<Resolver>) -> Result<Addresses, FetchError> {
        let until = within(self.group.deadlines().connect, self.ends);
        let site = &self.server.site;
        let found = match timeout_at(until, resolver.resolve(&site.host, site.port)).await {
            Ok(result) => result?,
            Err(_) => return Err(FetchError::timeout(Deadline::Resolve, Phase::Resolve)),
        };
        self.allowed(found)
    }

    /// Those that the settings allow. Checked at each use, so that no answer of DNS can slip in later.
    fn allowed(&self, found: Addresses) -> Result<Addresses, FetchError> {
        if !self.group.public_only() || found.iter().all(|address| is_public(address.ip())) {
            return Ok(found);
        }
        let public: Addresses = found.iter().copied().filter(|address| is_public(address.ip())).collect();
        if public.is_empty() {
            let reason = format!("{} is not public", found[0].ip());
            return Err(FetchError::new(Fault::Prohibited, Phase::Resolve).because(reason));
        }
        Ok(public)
    }

    fn by_preference(&self, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut ordered = addresses.to_vec();
        let answered = *self.server.state.answered.lock();
        if let Some(place) = answered.and_then(|answered| ordered.iter().position(|&address| address == answered)) {
            ordered[..=place].rotate_right(1);
        }
        ordered
    }

    /// The first address to give a connection; the next one starts when the one before fails or is slow.
    fn race<'a>(
        &'a self,
        addresses: &'a [SocketAddr],
        left: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<Lease, FetchError>> + Send + 'a>> {
        Box::pin(async move {
            let (&first, rest) = addresses.split_first().expect("a name resolves to at least one address");
            let mut first = pin!(self.reach(first, left));
            if rest.is_empty() {
                return first.await;
            }
            tokio::select! {
                biased;
                result = &mut first => {
                    return match result {
                        Ok(lease) => Ok(lease),
                        Err(_) => self.race(rest, left).await,
                    };
                }
                () = sleep(HEAD_START) => {}
            }
            let left = left.saturating_sub(HEAD_START);
            let mut others = self.race(rest, left);
            tokio::select! {
                biased;
                result = &mut first => if result.is_ok() { result } else { others.await },
                result = &mut others => if result.is_ok() { result } else { first.await },
            }
        })
    }

    /// A lease on a connection to this address: a kept one, or one opened within what is `left` for connecting.
    async fn reach(&self, address: SocketAddr, left: Duration) -> Result<Lease, FetchError> {
        let (endpoint, sharing) = self.server.endpoint(address, self.upgrade);
        let demand = Demand {
            limits: self.group.limits(sharing),
            worker: self.worker,
            fresh: self.fresh,
            now: self.now,
            until: (self.now + self.group.queue()).min(self.ends),
        };
        let mut lease = self.pool.acquire(&endpoint, demand).await?;
        if !lease.is_connecting() {
            return Ok(lease);
        }
        let began = Instant::now();
        let left = left.min(self.ends.saturating_duration_since(began));
        // On the heap: what opens connections is large, and most requests find one.
        let connection = Box::pin(connect_with(&endpoint, self.early.as_ref(), left))
            .await
            .inspect_err(|_| self.counters.count(Count::ConnectFailed))?;
        if self.sent_early() {
            let taken = connection.early().is_some();
            self.counters.count(if taken { Count::EarlyTaken } else { Count::EarlyRefused });
        }
        self.counters.count(Count::Opened);
        self.counters.connect(micros(began.elapsed()));
        self.remember(address, &connection);
        lease.connected(connection);
        Ok(lease)
    }

    pub(super) fn sent_early(&self) -> bool {
        self.early.as_ref().is_some_and(EarlyData::was_sent)
    }

    fn remember(&self, address: SocketAddr, connection: &Connection) {
        *self.server.state.answered.lock() = Some(address);
        match connection {
            Connection::H2(_) => self.server.state.speaks(Protocol::H2),
            Connection::H1(_) if !self.upgrade => self.server.state.speaks(Protocol::H1),
            Connection::H1(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
