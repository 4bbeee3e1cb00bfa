//! One request and its answer over one connection, whatever the protocol.
//!
//! The caller lends the request and gives the connection away; the connection comes home through [`Home`] once
//! both bodies are through and it may serve again, or is closed when `Home` is dropped uncalled.

use std::time::Duration;

use tokio::time::Instant;

use crate::early_data::SentEarly;
use crate::error::FetchError;
use crate::message::{Interim, Request, Response};
use crate::{h1, h2};

/// How long each step of an exchange may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// TCP and TLS together.
    pub connect: Duration,
    /// From the request being out (or its body last moving) to the head of the final answer.
    pub first_byte: Duration,
    /// Between two reads of the body, and between two writes of the request while the origin takes nothing.
    pub between_bytes: Duration,
    /// The whole exchange, counted from the call of `exchange`: a caller that has spent some of it passes the rest.
    pub total: Duration,
    /// No deadline, but the other bound on an answer: bytes of its head. Over HTTP/2 the bound told to all origins
    /// (`h2::HEADER_BYTES_MAX`) stands as well.
    pub head_bytes_max: usize,
}

/// No exchange takes longer, whatever is asked: instants stay within their range.
const TOTAL_MAX: Duration = Duration::from_secs(30 * 86_400);

impl Deadlines {
    /// When an exchange that began at `started` has taken too long as a whole.
    pub(crate) fn end(&self, started: Instant) -> Instant {
        started + self.total.min(TOTAL_MAX)
    }

    /// What is left for the body of an exchange that began at `started`.
    pub(crate) fn limits(&self, started: Instant) -> Limits {
        Limits { between_bytes: self.between_bytes, end: self.end(started) }
    }
}

/// Time limits of a body.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) between_bytes: Duration,
    pub(crate) end: Instant,
}

/// Whom an upload that is pending waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    Origin,
    Client,
}

/// Called with the connection when it may serve again: for HTTP/1.1 the connection itself, for HTTP/2 the handle
/// whose stream has ended. Dropped uncalled when the connection (or, for HTTP/2, this stream) did not end well.
pub type Home = Box<dyn FnOnce(Connection) + Send>;

/// A connection to an origin that speaks what was agreed by ALPN.
pub enum Connection {
    H1(h1::Connection),
    H2(h2::Handle),
}

impl Connection {
    /// The request that it was opened for is on its way.
    pub(crate) fn early(&self) -> Option<SentEarly> {
        match self {
            Self::H1(connection) => connection.early(),
            Self::H2(_) => None,
        }
    }

    pub async fn exchange(
        self,
        request: &mut Request,
        deadlines: &Deadlines,
        interim: Option<Interim>,
        home: Home,
    ) -> Result<Response, FetchError> {
        match self {
            Self::H1(connection) => connection.exchange(request, deadlines, interim, home).await,
            Self::H2(handle) => handle.exchange(request, deadlines, interim, home).await,
        }
    }
}
