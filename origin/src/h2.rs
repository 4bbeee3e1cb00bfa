//! The HTTP/2 client, on the `h2` crate.

use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;

use crate::error::{Fault, FetchError, Phase};
use crate::exchange::{Deadlines, Home};
use crate::message::{Interim, Request, Response};
use crate::transport::Transport;

/// A shared HTTP/2 connection; clones speak over the same one.
#[derive(Clone)]
pub struct Handle {}

impl Handle {
    #[allow(clippy::unused_async)]
    pub(crate) async fn open(_transport: Transport, _secure: bool) -> Result<Self, FetchError> {
        Err(FetchError::new(Fault::Canceled, Phase::Connect))
    }

    /// False once the connection is closed or going away: it takes no new stream.
    #[allow(clippy::unused_self)]
    pub fn is_usable(&self) -> bool {
        false
    }

    /// How many streams the origin lets us have open at a time.
    #[allow(clippy::unused_self)]
    pub fn capacity(&self) -> usize {
        0
    }

    /// How many of ours are open now.
    #[allow(clippy::unused_self)]
    pub fn streams(&self) -> usize {
        0
    }

    #[allow(clippy::unused_async)]
    pub async fn exchange(
        self,
        _request: &mut Request,
        _deadlines: &Deadlines,
        _interim: Option<Interim>,
        _home: Home,
    ) -> Result<Response, FetchError> {
        Err(FetchError::new(Fault::Canceled, Phase::Send))
    }
}

/// The body of an answer that is still arriving.
pub(crate) struct Body {}

impl Body {
    #[allow(clippy::unused_self)]
    pub(crate) fn poll_frame(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, FetchError>>> {
        Poll::Ready(None)
    }

    #[allow(clippy::unused_self)]
    pub(crate) fn is_end_stream(&self) -> bool {
        true
    }

    #[allow(clippy::unused_self)]
    pub(crate) fn remaining(&self) -> Option<u64> {
        None
    }
}
