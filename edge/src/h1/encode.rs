//! Writing responses: status line, field lines, the end of a body. Every helper appends to the caller's buffer; chunks
//! are framed by the shared [`ChunkSize`] and [`CHUNK_END`] around data that is not copied.
//!
//! Names are written as the map has them, in lower case. Values cannot hold CR, LF or NUL: `HeaderValue` refuses them
//! (O3), and values given as bytes are our own. Framing fields come from here only, never out of a header map, so a
//! response has exactly one statement of its length.

use bytes::BufMut;
pub use headland_origin::framing::{CHUNK_END, ChunkSize};
use http::{HeaderMap, HeaderName, StatusCode, header};

use super::framing::ResponseFraming;
use super::head::Version;
use crate::hop_by_hop::is_hop_by_hop;

/// Bytes of a date in the one form that is sent (RFC 9110 5.6.7).
pub const DATE_BYTES: usize = 29;

/// Status line, without reason phrase where none is registered (RFC 9112 4: it may be empty).
pub fn status_line(out: &mut impl BufMut, status: StatusCode) {
    if let Some(line) = common_status_line(status.as_u16()) {
        out.put_slice(line);
        return;
    }
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(status.as_str().as_bytes());
    out.put_slice(b" ");
    out.put_slice(status.canonical_reason().unwrap_or("").as_bytes());
    out.put_slice(b"\r\n");
}

/// The lines that nearly all answers have.
fn common_status_line(status: u16) -> Option<&'static [u8]> {
    Some(match status {
        200 => b"HTTP/1.1 200 OK\r\n",
        204 => b"HTTP/1.1 204 No Content\r\n",
        206 => b"HTTP/1.1 206 Partial Content\r\n",
        301 => b"HTTP/1.1 301 Moved Permanently\r\n",
        302 => b"HTTP/1.1 302 Found\r\n",
        304 => b"HTTP/1.1 304 Not Modified\r\n",
        404 => b"HTTP/1.1 404 Not Found\r\n",
        _ => return None,
    })
}

/// One field line.
#[inline]
pub fn field(out: &mut impl BufMut, name: &[u8], value: &[u8]) {
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// The end of a head, or of a trailer section.
#[inline]
pub fn end(out: &mut impl BufMut) {
    out.put_slice(b"\r\n");
}

/// The lines of a map but those that belong to a connection or frame a body.
pub fn fields(out: &mut impl BufMut, headers: &HeaderMap) {
    for (name, value) in headers {
        if !is_hop_by_hop(name) && *name != header::CONTENT_LENGTH {
            field(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
}

/// `content-length`.
#[inline]
pub fn content_length(out: &mut impl BufMut, length: u64) {
    field(out, b"content-length", itoa::Buffer::new().format(length).as_bytes());
}

/// `date`, already in its form.
#[inline]
pub fn date(out: &mut impl BufMut, date: &[u8; DATE_BYTES]) {
    field(out, b"date", date);
}

/// The field that goes with a framing, if any.
#[inline]
pub fn framing(out: &mut impl BufMut, framing: ResponseFraming) {
    match framing {
        ResponseFraming::Length(length) => content_length(out, length),
        ResponseFraming::Chunked => field(out, b"transfer-encoding", b"chunked"),
        ResponseFraming::None | ResponseFraming::UntilClose => {}
    }
}

/// `connection`, where the version's own rule does not say it already (RFC 9112 9.3).
#[inline]
pub fn connection(out: &mut impl BufMut, version: Version, keep: bool) {
    match (version, keep) {
        (Version::Http11, true) => {}
        (Version::Http10, true) => field(out, b"connection", b"keep-alive"),
        (_, false) => field(out, b"connection", b"close"),
    }
}

/// A whole interim answer: 100 (Continue), 103 (Early Hints). HTTP/1.0 clients must not be sent one (RFC 9110 15.2).
pub fn interim(out: &mut impl BufMut, status: StatusCode, headers: &HeaderMap) {
    debug_assert!(status.is_informational(), "a final answer has a framing");
    status_line(out, status);
    fields(out, headers);
    end(out);
}

/// The answer that switches the connection to another protocol (RFC 9110 15.2.2).
pub fn switching(out: &mut impl BufMut, headers: &HeaderMap, upgrade: &[u8]) {
    status_line(out, StatusCode::SWITCHING_PROTOCOLS);
    fields(out, headers);
    field(out, b"connection", b"upgrade");
    field(out, b"upgrade", upgrade);
    end(out);
}

/// The last chunk, the trailer fields that may be sent, and the end of the body (RFC 9112 7.1).
pub fn last_chunk(out: &mut impl BufMut, trailers: Option<&HeaderMap>) {
    out.put_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        if is_trailer(name) {
            field(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    end(out);
}

/// Whether a field may come after the body, either way (F15). RFC 9110 6.5.1 forbids what frames, routes, authenticates
/// or governs the message; beyond that, only names that are known to be harmless or are an extension's own pass.
pub fn is_trailer(name: &HeaderName) -> bool {
    const HARMLESS: [&str; 9] = [
        "checksum",
        "content-digest",
        "content-md5",
        "digest",
        "etag",
        "repr-digest",
        "server-timing",
        "signature",
        "signature-input",
    ];
    let name = name.as_str();
    HARMLESS.contains(&name) || name.starts_with("grpc-") || (name.starts_with("x-") && !is_acted_on(name))
}

/// Extension names that proxies and origins act on.
fn is_acted_on(name: &str) -> bool {
    const PREFIXES: [&str; 8] =
        ["x-accel-", "x-forwarded-", "x-host", "x-http-", "x-method-", "x-original-", "x-real-", "x-rewrite-"];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::HeaderValue;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn common_and_rare_status_lines_have_the_same_shape() {
        for code in 100..=599 {
            let status = StatusCode::from_u16(code).unwrap();
            let reason = status.canonical_reason().unwrap_or("");
            assert_eq!(text(|out| status_line(out, status)), format!("HTTP/1.1 {code} {reason}\r\n"));
        }
    }

    #[test]
    fn a_map_cannot_frame_a_response() {
        let mut headers = HeaderMap::new();
        for name in ["content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "x-a"] {
            headers.insert(name, HeaderValue::from_static("1"));
        }
        assert_eq!(text(|out| fields(out, &headers)), "x-a: 1\r\n");
    }

    #[test]
    fn trailers_that_act_on_the_message_are_dropped() {
        let mut trailers = HeaderMap::new();
        for name in ["content-length", "transfer-encoding", "host", "authorization", "x-forwarded-for", "set-cookie"] {
            trailers.insert(name, HeaderValue::from_static("1"));
        }
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        assert_eq!(text(|out| last_chunk(out, Some(&trailers))), "0\r\ngrpc-status: 0\r\n\r\n");
        assert_eq!(text(|out| last_chunk(out, None)), "0\r\n\r\n");
    }

    #[test]
    fn connection_is_said_only_where_the_version_does_not_imply_it() {
        assert_eq!(text(|out| connection(out, Version::Http11, true)), "");
        assert_eq!(text(|out| connection(out, Version::Http10, true)), "connection: keep-alive\r\n");
        assert_eq!(text(|out| connection(out, Version::Http10, false)), "connection: close\r\n");
        assert_eq!(text(|out| connection(out, Version::Http11, false)), "connection: close\r\n");
    }
}
