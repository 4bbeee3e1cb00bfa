//! The access log: one line per request, as JSON or in the combined format, written by a thread of its own.
//!
//! A worker formats its line and appends it to a shared buffer under a short lock; the writer swaps the buffer and
//! writes it. When the disk is slower than the traffic, lines beyond [`BUFFER_BYTES`] are dropped and counted: a log
//! never blocks a request. Whatever a client sent is escaped, so a record is always one line.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use crate::settings::{LogFormat, LogSettings};

/// How many bytes of lines may wait for the writer.
const BUFFER_BYTES: usize = 8 << 20;

/// Where lines go.
#[derive(Debug)]
pub struct AccessLog {
    format: LogFormat,
    desk: Arc<Desk>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Desk {
    state: Mutex<Waiting>,
    filled: Condvar,
    dropped: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    closed: bool,
}

impl AccessLog {
    /// Opens the log and starts its writer.
    pub fn open(settings: &LogSettings) -> io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let writer = match settings.format {
            LogFormat::Off => None,
            _ => Some(spawn_writer(desk.clone(), sink(&settings.path)?)?),
        };
        Ok(AccessLog { format: settings.format, desk, writer: Mutex::new(writer) })
    }

    pub fn format(&self) -> LogFormat {
        self.format
    }

    /// Appends one line, made by `line` without its line feed.
    pub fn write(&self, line: impl FnOnce(&mut Vec<u8>)) {
        let mut waiting = self.desk.state.lock();
        if waiting.lines.len() >= BUFFER_BYTES {
            self.desk.dropped.fetch_add(1, Relaxed);
            return;
        }
        let was_empty = waiting.lines.is_empty();
        line(&mut waiting.lines);
        waiting.lines.push(b'\n');
        if was_empty {
            self.desk.filled.notify_one();
        }
    }

    /// Lines dropped because the buffer was full, or lost to a failing disk.
    pub fn dropped(&self) -> u64 {
        self.desk.dropped.load(Relaxed) + self.desk.failed.load(Relaxed)
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.desk.state.lock().closed = true;
        self.desk.filled.notify_one();
        if let Some(writer) = self.writer.lock().take() {
            // A writer that panicked has nothing left to say.
            drop(writer.join());
        }
    }
}

fn sink(path: &str) -> io::Result<Box<dyn Write + Send>> {
    Ok(match path {
        "-" => Box::new(io::stdout()),
        path => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
    })
}

fn spawn_writer(desk: Arc<Desk>, mut sink: Box<dyn Write + Send>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
        let mut batch = Vec::new();
        while desk.next_batch(&mut batch) {
            if sink.write_all(&batch).and_then(|()| sink.flush()).is_err() {
                desk.failed.fetch_add(memchr::memchr_iter(b'\n', &batch).count() as u64, Relaxed);
            }
        }
    })
}

impl Desk {
    /// Waits for lines and takes them; false when the log is closed and empty.
    fn next_batch(&self, batch: &mut Vec<u8>) -> bool {
        batch.clear();
        let mut waiting = self.state.lock();
        while waiting.lines.is_empty() {
            if waiting.closed {
                return false;
            }
            self.filled.wait(&mut waiting);
        }
        std::mem::swap(batch, &mut waiting.lines);
        true
    }
}

/// What one request leaves behind. Texts are raw bytes as they were received.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Milliseconds since the Unix epoch, when the request's head was complete.
    pub time_ms: u64,
    pub client: std::net::IpAddr,
    pub method: &'a str,
    pub host: &'a [u8],
    pub target: &'a [u8],
    pub version: &'a str,
    pub status: u16,
    /// Bytes of the body that were sent.
    pub bytes: u64,
    pub duration_us: u64,
    pub ttfb_us: u64,
    pub referer: &'a [u8],
    pub user_agent: &'a [u8],
    pub request_id: &'a [u8],
    pub outcome: &'a str,
    pub reason: Option<&'a str>,
    pub age_s: Option<u64>,
    pub key_hash: Option<u128>,
    pub collapsed: bool,
    pub origin: Option<&'a str>,
    pub origin_ttfb_us: Option<u64>,
    pub origin_reused: Option<bool>,
    /// The token of Proxy-Status when the node made the error.
    pub error: Option<&'a str>,
    /// Whether the client got everything.
    pub complete: bool,
}

impl Record<'_> {
    pub fn write(&self, format: LogFormat, out: &mut Vec<u8>) {
        match format {
            LogFormat::Off => {}
            LogFormat::Json => self.write_json(out),
            LogFormat::Combined => self.write_combined(out),
        }
    }

    fn write_json(&self, out: &mut Vec<u8>) {
        let mut json = JsonLine::begin(out);
        json.number("time_ms", self.time_ms);
        json.text("client", self.client.to_string().as_bytes());
        json.text("method", self.method.as_bytes());
        json.text("host", self.host);
        json.text("target", self.target);
        json.text("version", self.version.as_bytes());
        json.number("status", u64::from(self.status));
        json.number("bytes", self.bytes);
        json.number("duration_us", self.duration_us);
        json.number("ttfb_us", self.ttfb_us);
        json.text("cache", self.outcome.as_bytes());
        json.some_text("reason", self.reason);
        json.some_number("age_s", self.age_s);
        if let Some(hash) = self.key_hash {
            json.text("key", format!("{hash:032x}").as_bytes());
        }
        json.flag("collapsed", self.collapsed);
        json.some_text("origin", self.origin);
        json.some_number("origin_ttfb_us", self.origin_ttfb_us);
        if let Some(reused) = self.origin_reused {
            json.flag("origin_reused", reused);
        }
        json.some_text("error", self.error);
        json.flag("complete", self.complete);
        json.text("request_id", self.request_id);
        json.text("referer", self.referer);
        json.text("user_agent", self.user_agent);
        json.end();
    }

    /// `addr - - [time] "request" status bytes "referer" "agent"`, as `GoAccess` and fail2ban read it.
    fn write_combined(&self, out: &mut Vec<u8>) {
        let time = combined_time(self.time_ms / 1000);
        // Writing into a Vec cannot fail.
        let _ = write!(out, "{} - - [{time}] \"{} ", self.client, self.method);
        escape_combined(self.target, out);
        let _ = write!(out, " {}\" {} {} \"", self.version, self.status, self.bytes);
        escape_combined(if self.referer.is_empty() { b"-" } else { self.referer }, out);
        out.extend_from_slice(b"\" \"");
        escape_combined(if self.user_agent.is_empty() { b"-" } else { self.user_agent }, out);
        out.push(b'"');
    }
}

/// As NGINX escapes its log: quotes, backslashes and bytes outside printable ASCII become `\xHH`.
fn escape_combined(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => {
                let _ = write!(out, "\\x{byte:02X}");
            }
            _ => out.push(byte),
        }
    }
}

/// `10/Oct/2000:13:55:36 +0000`, from the parts of an IMF-fixdate.
fn combined_time(secs: u64) -> String {
    let date = crate::clock::http_date(headland_cache::Time::from_secs(secs));
    let part = |from: usize, to: usize| String::from_utf8_lossy(&date[from..to]).into_owned();
    format!("{}/{}/{}:{} +0000", part(5, 7), part(8, 11), part(12, 16), part(17, 25))
}

/// One flat JSON object, field by field.
struct JsonLine<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> JsonLine<'a> {
    fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        JsonLine { out, first: true }
    }

    fn name(&mut self, name: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn text(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        self.out.push(b'"');
        escape_json(value, self.out);
        self.out.push(b'"');
    }

    fn some_text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value.as_bytes());
        }
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn some_number(&mut self, name: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.number(name, value);
        }
    }

    fn flag(&mut self, name: &str, value: bool) {
        self.name(name);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn end(self) {
        self.out.push(b'}');
    }
}

/// Escapes to ASCII; bytes that are no UTF-8 are written as the code point of the same number.
fn escape_json(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            escape_char(c, out);
        }
        for &byte in chunk.invalid() {
            escape_char(char::from(byte), out);
        }
    }
}

fn escape_char(c: char, out: &mut Vec<u8>) {
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        ' '..='~' => out.push(c as u8),
        c => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
}

#[cfg(test)]
mod tests;
