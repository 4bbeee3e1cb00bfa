//! HTTP/1.1, one request at a time on a connection, as much of it as a cache's answers need: a status, a Content-Length.
//!
//! Deliberately small: the generator must be cheaper than the server. An answer without a length is an error here.

use std::io;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::link::Link;
use crate::plan::Plan;
use crate::tally::Answer;

const BUFFER_BYTES: usize = 64 * 1024;
const HEADERS_MAX: usize = 64;

pub(crate) struct Connection {
    link: Link,
    buffer: Box<[u8]>,
    request: Vec<u8>,
}

/// A parsed answer head: its own length in bytes, then what it says.
struct Head {
    bytes: usize,
    status: u16,
    length: u64,
    counted_value: Option<String>,
}

impl Connection {
    pub(crate) fn new(link: Link) -> Self {
        Self { link, buffer: vec![0; BUFFER_BYTES].into_boxed_slice(), request: Vec::new() }
    }

    pub(crate) async fn ask(&mut self, plan: &Plan, tail: &str, number: u64) -> io::Result<Answer> {
        self.request.clear();
        self.request.extend_from_slice(b"GET ");
        self.request.extend_from_slice(plan.path_of(number).as_bytes());
        self.request.extend_from_slice(b" HTTP/1.1\r\n");
        if let Some(agent) = plan.agent_of(number) {
            self.request.extend([b"User-Agent: ", agent.as_bytes(), b"\r\n"].concat());
        }
        self.request.extend_from_slice(tail.as_bytes());
        self.link.write_all(&self.request).await?;
        self.link.flush().await?;
        let mut filled = 0;
        let mut first_byte = None;
        let head = loop {
            let read = self.link.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                // Before any byte: the server had closed it, which is no fault of this request.
                let nothing = if filled == 0 { io::ErrorKind::NotConnected } else { io::ErrorKind::UnexpectedEof };
                return Err(nothing.into());
            }
            first_byte.get_or_insert_with(Instant::now);
            filled += read;
            if let Some(head) = parse(&self.buffer[..filled], plan)? {
                break head;
            }
        };
        let mut got = (filled - head.bytes) as u64;
        while got < head.length {
            let read = self.link.read(&mut self.buffer).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            got += read as u64;
        }
        Ok(Answer {
            status: head.status,
            bytes: got,
            first_byte: first_byte.expect("a head was read"),
            whole: Instant::now(),
            counted_value: head.counted_value,
        })
    }
}

/// The fields of every request.
pub(crate) fn tail(plan: &Plan) -> String {
    let host = [("Host".to_owned(), plan.host.clone())];
    let mut tail = String::new();
    for (name, value) in host.iter().chain(&plan.headers) {
        tail.extend([name, ": ", value, "\r\n"]);
    }
    tail + "\r\n"
}

fn parse(bytes: &[u8], plan: &Plan) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let status = response.parse(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let httparse::Status::Complete(consumed) = status else { return Ok(None) };
    let find = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let length = find("content-length").and_then(|text| text.trim().parse().ok());
    Ok(Some(Head {
        bytes: consumed,
        status: response.code.unwrap_or(0),
        length: length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no Content-Length"))?,
        counted_value: plan.count_header.as_deref().map(|name| find(name).unwrap_or("").to_owned()),
    }))
}
