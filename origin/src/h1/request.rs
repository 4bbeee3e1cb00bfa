//! Writing the head of a request.

use http::{Method, header};

use super::upload::Framing;
use crate::error::{FetchError, Phase};
use crate::message::{Request, RequestBody, RequestFields};

/// Appends the head of `request` to `out` and says how its body is framed.
pub(super) fn encode(request: &Request, out: &mut Vec<u8>) -> Result<Framing, FetchError> {
    // The caller has made the target canonical; a byte that ends a request line must not slip through all the same.
    if request.target.is_empty() || request.target.iter().any(|byte| !byte.is_ascii_graphic()) {
        return Err(FetchError::malformed("request target", Phase::Send).with_nothing_sent(true));
    }
    let framing = framing(request);
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(&request.target);
    // RFC 9112 3.2: Host comes first.
    out.extend_from_slice(b" HTTP/1.1\r\n");
    line(out, b"host", request.authority.as_bytes());
    match &request.headers {
        RequestFields::Text(text) => out.extend_from_slice(text),
        RequestFields::Map(map) => {
            for (name, value) in map.iter().filter(|(name, _)| !is_ours(name)) {
                line(out, name.as_str().as_bytes(), value.as_bytes());
            }
        }
    }
    match framing {
        Framing::None if expects_content(&request.method) => line(out, b"content-length", b"0"),
        Framing::None => {}
        Framing::Length(length) => {
            line(out, b"content-length", itoa::Buffer::new().format(length).as_bytes());
        }
        Framing::Chunked => line(out, b"transfer-encoding", b"chunked"),
    }
    if let Some(protocol) = &request.upgrade {
        line(out, b"connection", b"upgrade");
        line(out, b"upgrade", protocol.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    Ok(framing)
}

fn framing(request: &Request) -> Framing {
    match &request.body {
        RequestBody::Stream { length: Some(length), .. } => Framing::Length(*length),
        RequestBody::Stream { length: None, .. } => Framing::Chunked,
        RequestBody::Empty | RequestBody::Spent => Framing::None,
    }
}

/// RFC 9110 8.6: a method that anticipates content says when there is none.
fn expects_content(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// Fields that only this codec writes, whatever the caller left in.
fn is_ours(name: &header::HeaderName) -> bool {
    *name == header::HOST
        || *name == header::CONNECTION
        || *name == header::CONTENT_LENGTH
        || *name == header::TRANSFER_ENCODING
        || *name == header::UPGRADE
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
