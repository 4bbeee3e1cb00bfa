//! HTTP/2 by the h2 crate: many requests at once on one connection.

use std::io;
use std::time::Instant;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request};

use crate::link::Link;
use crate::plan::Plan;
use crate::tally::Answer;

/// As browsers announce: enough that a window never is the limit on loopback.
const WINDOW_BYTES: u32 = 6 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 15 * 1024 * 1024;

/// Shake hands over `link` and keep the connection going in a task of its own, which ends with the connection.
pub(crate) async fn connect(link: Link) -> io::Result<SendRequest<Bytes>> {
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .enable_push(false)
        .handshake(link)
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}

pub(crate) async fn ask(sender: SendRequest<Bytes>, plan: &Plan, number: u64) -> io::Result<Answer> {
    let mut sender = sender.ready().await.map_err(io::Error::other)?;
    let (response, _) = sender.send_request(request(plan, number)?, true).map_err(io::Error::other)?;
    let response = response.await.map_err(io::Error::other)?;
    let first_byte = Instant::now();
    let status = response.status().as_u16();
    let counted_value = plan.count_header.as_deref().map(|name| {
        let found = response.headers().get(name).and_then(|value| value.to_str().ok());
        found.unwrap_or("").to_owned()
    });
    let mut body = response.into_body();
    let mut bytes = 0;
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(io::Error::other)?;
        bytes += chunk.len() as u64;
        body.flow_control().release_capacity(chunk.len()).map_err(io::Error::other)?;
    }
    Ok(Answer { status, bytes, first_byte, whole: Instant::now(), counted_value })
}

pub(crate) fn request(plan: &Plan, number: u64) -> io::Result<Request<()>> {
    let uri = format!("https://{}{}", plan.host, plan.path_of(number));
    let mut builder = Request::builder().method(Method::GET).uri(uri);
    if let Some(agent) = plan.agent_of(number) {
        builder = builder.header("user-agent", agent);
    }
    for (name, value) in &plan.headers {
        builder = builder.header(name.to_ascii_lowercase(), value);
    }
    builder.body(()).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}
