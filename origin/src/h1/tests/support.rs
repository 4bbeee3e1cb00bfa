//! An origin that is a script: it reads a request, then writes bytes, piece by piece, on an in-memory pipe.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use crate::error::FetchError;
use crate::exchange::{Deadlines, Home};
use crate::h1::Connection;
use crate::message::{Request, RequestBody, Response};
use crate::transport::Transport;

/// Room in the pipe: more than any script writes at once.
const PIPE_BYTES: usize = 1024 * 1024;

pub(super) const DEADLINES: Deadlines = Deadlines {
    connect: Duration::from_secs(1),
    first_byte: Duration::from_secs(10),
    between_bytes: Duration::from_secs(5),
    total: Duration::from_secs(60),
    head_bytes_max: 64 * 1024,
};

pub(super) fn request(method: Method) -> Request {
    Request {
        method,
        authority: HeaderValue::from_static("origin.example"),
        target: Bytes::from_static(b"/a?b"),
        headers: HeaderMap::new().into(),
        body: RequestBody::Empty,
        upgrade: None,
        client: None,
    }
}

pub(super) fn pipe() -> (Connection, DuplexStream) {
    pipe_of(PIPE_BYTES)
}

pub(super) fn pipe_of(bytes: usize) -> (Connection, DuplexStream) {
    let (node, origin) = duplex(bytes);
    (Connection::new(Transport::Script(node)), origin)
}

/// A home that notes whether the connection came.
pub(super) fn home() -> (Home, Arc<AtomicBool>) {
    let came = Arc::new(AtomicBool::new(false));
    let note = came.clone();
    (Box::new(move |_| note.store(true, Ordering::SeqCst)), came)
}

/// Reads a request up to the end of its head.
pub(super) async fn read_head(origin: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(origin.read_u8().await.expect("a request"));
    }
    String::from_utf8(head).unwrap()
}

/// What an exchange gave, in full.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
    /// The connection may serve again.
    pub(super) reusable: bool,
}

pub(super) async fn collect(response: Response) -> Result<Answer, FetchError> {
    let collected = response.body.collect().await?;
    let trailers = collected.trailers().cloned();
    let body = collected.to_bytes().to_vec();
    Ok(Answer { status: response.status, headers: response.headers.into_map(), body, trailers, reusable: false })
}

/// The answer to a request when the origin writes these pieces, each seen on its own, and then closes.
pub(super) async fn fetch(method: Method, pieces: &[&[u8]]) -> Result<Answer, FetchError> {
    let (connection, mut origin) = pipe();
    let (home, came) = home();
    let mut request = request(method);
    let exchange = async {
        let response = connection.exchange(&mut request, &DEADLINES, None, home).await?;
        collect(response).await
    };
    let script = async {
        read_head(&mut origin).await;
        for piece in pieces {
            origin.write_all(piece).await.ok();
            // Two turns: the node reads what is there before more comes.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        }
        drop(origin);
    };
    let (answer, ()) = tokio::join!(exchange, script);
    answer.map(|answer| Answer { reusable: came.load(Ordering::SeqCst), ..answer })
}
