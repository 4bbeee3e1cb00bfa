//! The head of a request that may go out with the TLS handshake (0-RTT, RFC 8446 section 2.3), a round trip early.
//!
//! Whoever can repeat packets on the way can make the server see such a request twice, so it is for safe methods
//! without a body, and only where the settings say so (RFC 8470). What the server did not take is sent again once the
//! handshake is done; what it answered 425, or broke off over, is asked again without early data. Over HTTP/1.1 only: to
//! HTTP/2 one connection serves all, and is there.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustls::ClientConnection;
use tokio::time::Instant;

use crate::h1;
use crate::message::Request;

pub(crate) struct EarlyData {
    head: Vec<u8>,
    sent: AtomicBool,
}

/// The head of a request that is on its way already.
#[derive(Clone, Copy)]
pub(crate) struct SentEarly {
    pub(crate) at: Instant,
    pub(crate) bytes: u64,
}

impl EarlyData {
    /// None for what may not go out early. What cannot be written as a head is told when it is sent in earnest.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        if !request.method.is_safe() || !request.body.is_empty() || request.upgrade.is_some() {
            return None;
        }
        Some(Self { head: h1::head_of(request).ok()?, sent: AtomicBool::new(false) })
    }

    /// Gives the head to a session that has yet to begin its handshake. All of it or nothing: what a server takes is
    /// bounded by the ticket of the session that is resumed, and without one nothing goes early.
    pub(crate) fn send(&self, session: &mut ClientConnection) -> Option<SentEarly> {
        let mut early = session.early_data().filter(|early| early.bytes_left() >= self.head.len())?;
        std::io::Write::write_all(&mut early, &self.head).ok()?;
        self.sent.store(true, Relaxed);
        Some(SentEarly { at: Instant::now(), bytes: self.head.len() as u64 })
    }

    /// It went out, whether or not the server took it.
    pub(crate) fn was_sent(&self) -> bool {
        self.sent.load(Relaxed)
    }
}
