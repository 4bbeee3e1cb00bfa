//! Every bound that a stranger can run into at a door, with its unit in its name.
//!
//! The snapshot carries them as one table. There are no defaults here: Python's settings own those, and a missing or
//! unknown key refuses the snapshot. What never needs tuning is a constant at the head of this file.
//!
//! Invariant (checked by [`Limits::check`]): a request line and a field fit into a head, and every bound that would
//! stop all traffic when it is zero is not zero.

use serde::Deserialize;

/// Bytes of a method name. The longest registered one (`UPDATEREDIRECTREF`) has 17.
pub const METHOD_BYTES_MAX: usize = 32;

/// Empty lines (CRLF) passed over before a request line; RFC 9112 2.2 asks for at least one.
pub const LEADING_EMPTY_LINES_MAX: u8 = 4;

/// Bytes of a Host value or of the authority in a request target: 253 of name (RFC 1035), a dot, a colon, a port.
pub const AUTHORITY_BYTES_MAX: usize = 260;

/// The bounds of a node, as the snapshot gives them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a whole request head, request line and line ends counted.
    pub head_bytes_max: u16,
    /// Bytes of a request line; above it 414.
    pub request_line_bytes_max: u16,
    /// Bytes of one field line; above it 431.
    pub field_bytes_max: u16,
    /// Field lines in a request head; above it 431.
    pub fields_max: u16,
    /// Bytes of a request body; above it 413.
    pub body_bytes_max: u64,
    /// Bytes of chunk framing (sizes, extensions, line ends) in one request body beyond the bytes of its data.
    pub chunk_overhead_bytes_max: u64,
    /// Bytes of a trailer section.
    pub trailer_bytes_max: u16,
    /// Field lines in a trailer section.
    pub trailers_max: u16,

    /// Milliseconds for a whole request head, from its first byte (from accept, for the first); then 408.
    pub head_ms_max: u32,
    /// Milliseconds a kept connection may wait for its next request.
    pub idle_ms_max: u32,
    /// Milliseconds for a TLS handshake.
    pub handshake_ms_max: u32,
    /// Milliseconds a client may leave us waiting for the next bytes of a request body.
    pub body_idle_ms_max: u32,
    /// Milliseconds a client may take to accept the next bytes of a response.
    pub send_idle_ms_max: u32,
    /// Bytes per second, over the time a body takes either way, below which a client is dropped.
    pub body_bytes_per_second_min: u32,
    /// Milliseconds for connections to finish once the node drains.
    pub drain_ms_max: u32,

    /// Open client connections of the node.
    pub connections_max: u32,
    /// Open client connections from one address.
    pub connections_per_address_max: u32,
    /// Requests answered on one connection before it is closed.
    pub requests_per_connection_max: u32,
    /// Bytes buffered for one connection, each way.
    pub buffer_bytes_max: u32,
    /// Bytes of a small request body left unread that are drained to keep the connection.
    pub drain_bytes_max: u32,

    /// Concurrent streams of one HTTP/2 connection.
    pub streams_max: u32,
    /// Streams reset early that one HTTP/2 connection may cause before it is told to go away.
    pub resets_max: u32,
    /// Followers that may wait on one fill.
    pub followers_per_fill_max: u32,
}

/// Two bounds that cannot both hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// A part of the head is allowed to be longer than the head.
    #[error("{0} must not exceed head_bytes_max")]
    LongerThanHead(&'static str),
    /// No request could pass.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
}

impl Limits {
    /// Refuses bounds that contradict each other.
    pub fn check(&self) -> Result<(), LimitsError> {
        for (name, value) in
            [("request_line_bytes_max", self.request_line_bytes_max), ("field_bytes_max", self.field_bytes_max)]
        {
            if value > self.head_bytes_max {
                return Err(LimitsError::LongerThanHead(name));
            }
        }
        for (name, value) in [
            ("request_line_bytes_max", u32::from(self.request_line_bytes_max)),
            ("field_bytes_max", u32::from(self.field_bytes_max)),
            ("fields_max", u32::from(self.fields_max)),
            ("head_ms_max", self.head_ms_max),
            ("connections_max", self.connections_max),
            ("connections_per_address_max", self.connections_per_address_max),
            ("requests_per_connection_max", self.requests_per_connection_max),
            ("buffer_bytes_max", self.buffer_bytes_max),
            ("streams_max", self.streams_max),
        ] {
            if value == 0 {
                return Err(LimitsError::Zero(name));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Bounds small enough to be met in a test, large enough for any honest request in one.
    pub(crate) const SAMPLE: Limits = Limits {
        head_bytes_max: 16 * 1024,
        request_line_bytes_max: 8 * 1024,
        field_bytes_max: 8 * 1024,
        fields_max: 100,
        body_bytes_max: 1 << 30,
        chunk_overhead_bytes_max: 16 * 1024,
        trailer_bytes_max: 4 * 1024,
        trailers_max: 16,
        head_ms_max: 10_000,
        idle_ms_max: 60_000,
        handshake_ms_max: 10_000,
        body_idle_ms_max: 30_000,
        send_idle_ms_max: 30_000,
        body_bytes_per_second_min: 500,
        drain_ms_max: 30_000,
        connections_max: 10_000,
        connections_per_address_max: 1_000,
        requests_per_connection_max: 10_000,
        buffer_bytes_max: 256 * 1024,
        drain_bytes_max: 64 * 1024,
        streams_max: 128,
        resets_max: 100,
        followers_per_fill_max: 10_000,
    };

    #[test]
    fn sample_bounds_agree_with_each_other() {
        assert_eq!(SAMPLE.check(), Ok(()));
    }

    #[test]
    fn a_field_longer_than_the_head_is_refused() {
        let limits = Limits { field_bytes_max: 20_000, ..SAMPLE };
        assert_eq!(limits.check(), Err(LimitsError::LongerThanHead("field_bytes_max")));
    }

    #[test]
    fn a_bound_that_stops_all_traffic_is_refused() {
        let limits = Limits { streams_max: 0, ..SAMPLE };
        assert_eq!(limits.check(), Err(LimitsError::Zero("streams_max")));
    }

    #[test]
    fn a_missing_or_unknown_key_refuses_the_table() {
        assert!(serde_json::from_str::<Limits>("{}").is_err());
        assert!(serde_json::from_str::<Limits>(r#"{"nonsense": 1}"#).is_err());
    }
}
