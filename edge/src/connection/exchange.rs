//! One request and its answer, as the log and the counters see them. Step 7, Done, whatever the protocol.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use headland_cache::{Broken, Fields, Outcome};
use http::Method;

use crate::access_log::Record;
use crate::answer::Trace;
use crate::metrics::Protocol;
use crate::node::Node;
use crate::settings::LogFormat;

/// What was asked, for the log.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a, F> {
    pub method: &'a Method,
    pub host: &'a [u8],
    pub target: &'a [u8],
    pub fields: &'a F,
    pub protocol: Protocol,
    pub http10: bool,
    pub client: IpAddr,
    pub started: Instant,
}

/// How the answer went out.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    pub status: u16,
    /// Bytes of content.
    pub bytes: u64,
    /// When the first bytes had left.
    pub first: Instant,
    pub last: Instant,
    /// Whether the client got everything.
    pub complete: bool,
    /// Why the content broke off, where that was not the client's doing.
    pub broken: Option<Broken>,
}

/// What the log says of a request whose client left before there was an answer, as NGINX does; nobody is sent it.
const CLIENT_LEFT: u16 = 499;

impl Sent {
    /// The client left before there was an answer.
    pub fn nothing() -> Self {
        let now = Instant::now();
        Sent { status: CLIENT_LEFT, bytes: 0, first: now, last: now, complete: false, broken: None }
    }
}

/// Delivering -> Done: counts the request and writes its line.
pub fn done<F: Fields>(node: &Node, asked: &Asked<'_, F>, trace: &Trace, sent: &Sent) {
    let outcome = trace.outcome;
    let ttfb_us = micros(sent.first - asked.started);
    let duration_us = micros(sent.last - asked.started);
    trace.site.as_ref().unwrap_or(&node.metrics.unknown_site).count(outcome, sent.status, asked.protocol);
    let here = node.metrics.here();
    here.ttfb[outcome.index()].record(ttfb_us);
    here.duration[outcome.index()].record(duration_us);
    here.response_bytes[outcome.index()].add(sent.bytes);
    if trace.collapsed {
        here.collapsed.bump();
    }
    let log = node.log();
    if log.format() != LogFormat::Off {
        let record = record(node, asked, trace, sent, ttfb_us, duration_us);
        log.write(|out| record.write(log.format(), out));
    }
}

fn record<'a, F: Fields>(
    node: &Node,
    asked: &Asked<'a, F>,
    trace: &'a Trace,
    sent: &Sent,
    ttfb_us: u64,
    duration_us: u64,
) -> Record<'a> {
    let field = |name| asked.fields.first(name).unwrap_or_default();
    let origin = trace.origin.as_deref();
    Record {
        time_ms: node.clock.at(asked.started).as_millis(),
        client: asked.client,
        method: asked.method.as_str(),
        host: asked.host,
        target: asked.target,
        version: asked.protocol.version(asked.http10),
        status: sent.status,
        bytes: sent.bytes,
        duration_us,
        ttfb_us,
        referer: field("referer"),
        user_agent: field("user-agent"),
        request_id: trace.request_id.as_ref().map_or_else(|| field("x-request-id"), |id| id.as_bytes()),
        outcome: Outcome::word(trace.outcome),
        reason: trace.outcome.reason(),
        age_s: trace.age_s,
        key_hash: trace.key_hash,
        collapsed: trace.collapsed,
        origin: origin.map(|origin| &*origin.server),
        origin_ttfb_us: origin.map(|origin| origin.first_byte_us),
        origin_reused: origin.map(|origin| origin.reused),
        error: trace.error.as_ref().map(|error| error.error).or(sent.broken.map(|broken| broken.error)),
        complete: sent.complete,
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
