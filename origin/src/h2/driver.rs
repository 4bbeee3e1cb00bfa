//! The task that drives a connection, and asks now and then whether anybody is at the other end.
//!
//! An origin that vanishes without a word would let every exchange on the connection run into its deadline, and the
//! next ones too. So while streams are open, PINGs are sent; an answer that does not come ends the connection.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use h2::client::Connection;
use h2::{Ping, PingPong};
use tokio::time::{sleep, timeout};

use super::Shared;
use crate::transport::Transport;

/// Time between two PINGs while streams are open.
pub const PING_EVERY: Duration = Duration::from_secs(10);
/// A PING that is not answered for so long ends the connection.
pub const PING_WAIT: Duration = Duration::from_secs(10);

/// Notes the end of the connection, also when the runtime drops its driver.
struct Closing(Arc<Shared>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Release);
    }
}

pub(super) async fn drive(mut connection: Connection<Transport, Bytes>, shared: Arc<Shared>) {
    let pings = connection.ping_pong();
    let closing = Closing(shared.clone());
    tokio::select! {
        // How it ended is told to each stream; the connection itself has nobody to tell.
        _ = connection => {}
        () = until_silent(pings, &shared) => {}
    }
    drop(closing);
}

/// Ends when a PING is not answered.
async fn until_silent(pings: Option<PingPong>, shared: &Shared) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        sleep(PING_EVERY).await;
        if shared.streams.load(Ordering::Relaxed) == 0 {
            continue;
        }
        match timeout(PING_WAIT, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            // The connection is failing and will say so itself.
            Ok(Err(_)) => return std::future::pending().await,
            Err(_) => return,
        }
    }
}
