//! The head of an answer as a map of fields, for the protocols that send one.

use http::{HeaderMap, StatusCode, header};

use crate::answer::{Answer, FieldSink, adorn};
use crate::node::Node;
use crate::snapshot::Snapshot;

/// An answer's status and fields; its field lines are taken.
pub fn response(node: &Node, snapshot: &Snapshot, secure: bool, answer: &mut Answer) -> http::Response<()> {
    let mut headers: HeaderMap = std::mem::take(&mut answer.head).into_map();
    headers.remove(header::CONTENT_LENGTH);
    if !headers.contains_key(header::DATE) {
        headers.put(&header::DATE, &crate::clock::http_date(node.clock.now()));
    }
    adorn(answer, snapshot, secure, &mut String::new(), &mut headers);
    if let Some(length) = answer.length.filter(|_| answer.status != StatusCode::NO_CONTENT) {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    let mut response = http::Response::new(());
    *response.status_mut() = answer.status;
    *response.headers_mut() = headers;
    response
}
