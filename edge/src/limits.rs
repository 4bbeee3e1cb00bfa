//! Every bound that a stranger can run into at a door, with its unit in its name.
//!
//! The snapshot carries them as one table. There are no defaults here: Python's settings own those, and a missing or
//! unknown key refuses the snapshot. What never needs tuning is a constant at the head of this file; the bounds of
//! chunked framing and trailers are those of `headland_origin::framing`, the same on both sides of the node.
//!
//! Invariant (checked by [`Limits::check`]): a request line and a field fit into a head, a head fits into the offsets
//! that its parser keeps, and nothing that would stop all traffic is zero.

use serde::Deserialize;

/// HTTP/2 frames without a purpose that a client may send in a minute.
pub const H2_LIGHT_FRAMES_MAX: u32 = 10_000;
/// DATA frames with fewer bytes have no purpose, unless they end their stream.
pub const H2_LIGHT_DATA_BYTES: u32 = 8;
/// Bytes of a method name. The longest registered one (`UPDATEREDIRECTREF`) has 17.
pub const METHOD_BYTES_MAX: usize = 32;

/// Empty lines (CRLF) passed over before a request line; RFC 9112 2.2 asks for at least one.
pub const LEADING_EMPTY_LINES_MAX: u8 = 4;

/// Bytes of a Host value or of the authority in a request target: 253 of name (RFC 1035), a dot, a colon, a port.
pub const AUTHORITY_BYTES_MAX: usize = 260;

/// Bytes of a head that its parser can take: it keeps 16-bit offsets, and the last ones of a head are its line ends.
pub const HEAD_BYTES_CEILING: u32 = 64 * 1024;

/// Bytes of an HTTP/2 window for request bodies: a connection has two of them, and no window is larger than 2^31-1
/// (RFC 9113 6.9.1).
pub const H2_WINDOW_BYTES_CEILING: u32 = (1 << 30) - 1;

/// The bounds of a node, as the snapshot gives them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a request line; above it 414.
    pub request_line_bytes: u32,
    /// Bytes of a whole request head, request line and line ends counted; above it 431.
    pub header_bytes: u32,
    /// Field lines of a request head; above it 431.
    pub header_count: u32,
    /// Bytes of one field line; above it 431.
    pub field_bytes: u32,
    /// Milliseconds for a whole request head, from its first byte (from accept, for the first); then 408.
    pub header_ms: u32,
    /// Milliseconds a kept connection may wait for its next request, or a tunnel for a byte.
    pub idle_ms: u32,
    /// Bytes of a request body; above it 413.
    pub body_bytes_max: u64,
    /// Milliseconds without a byte of a request body.
    pub body_idle_ms: u32,
    /// Milliseconds without a byte of a response that the client takes.
    pub write_stall_ms: u32,
    /// Milliseconds for a TLS handshake.
    pub tls_handshake_ms: u32,
    /// Concurrent streams of one HTTP/2 connection.
    pub h2_streams_max: u32,
    /// Bytes of the HTTP/2 window for request bodies.
    pub h2_window_bytes: u32,
    /// Bytes of a decoded HTTP/2 request head.
    pub h2_header_list_bytes: u32,
    /// Streams of one HTTP/2 connection that were reset and still occupy it.
    pub h2_resets_max: u32,
    /// Open connections from one address.
    pub connections_per_address_max: u32,
    /// QUIC handshakes a second from one address: above it the address has to be proven, and proven ones are refused.
    pub handshakes_per_address_max: u32,
    /// Open connections of all clients.
    pub connections_max: u32,
    /// Requests answered on one connection before it is closed.
    pub requests_per_connection_max: u32,
}

/// Two bounds that cannot both hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// A part of the head is allowed to be longer than the head.
    #[error("{0} must not exceed header_bytes")]
    LongerThanHead(&'static str),
    /// The parser could not take such a head.
    #[error("header_bytes must not exceed {HEAD_BYTES_CEILING}")]
    HeadAboveCeiling,
    /// HTTP/2 knows no such window.
    #[error("h2_window_bytes must not exceed {H2_WINDOW_BYTES_CEILING}")]
    WindowAboveCeiling,
    /// No request could pass.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
}

impl Limits {
    /// Refuses bounds that contradict each other.
    pub fn check(&self) -> Result<(), LimitsError> {
        if self.header_bytes > HEAD_BYTES_CEILING {
            return Err(LimitsError::HeadAboveCeiling);
        }
        if self.h2_window_bytes > H2_WINDOW_BYTES_CEILING {
            return Err(LimitsError::WindowAboveCeiling);
        }
        for (name, value) in [("request_line_bytes", self.request_line_bytes), ("field_bytes", self.field_bytes)] {
            if value > self.header_bytes {
                return Err(LimitsError::LongerThanHead(name));
            }
        }
        for (name, value) in [
            ("request_line_bytes", self.request_line_bytes),
            ("field_bytes", self.field_bytes),
            ("header_count", self.header_count),
            ("header_ms", self.header_ms),
            ("tls_handshake_ms", self.tls_handshake_ms),
            ("h2_streams_max", self.h2_streams_max),
            ("h2_header_list_bytes", self.h2_header_list_bytes),
            ("connections_per_address_max", self.connections_per_address_max),
            ("handshakes_per_address_max", self.handshakes_per_address_max),
            ("connections_max", self.connections_max),
            ("requests_per_connection_max", self.requests_per_connection_max),
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
        request_line_bytes: 8 * 1024,
        header_bytes: 16 * 1024,
        header_count: 100,
        field_bytes: 8 * 1024,
        header_ms: 10_000,
        idle_ms: 60_000,
        body_bytes_max: 1 << 30,
        body_idle_ms: 30_000,
        write_stall_ms: 30_000,
        tls_handshake_ms: 10_000,
        h2_streams_max: 128,
        h2_window_bytes: 1 << 20,
        h2_header_list_bytes: 64 * 1024,
        h2_resets_max: 100,
        connections_per_address_max: 1_000,
        handshakes_per_address_max: 1_000,
        connections_max: 10_000,
        requests_per_connection_max: 10_000,
    };

    #[test]
    fn sample_bounds_agree_with_each_other() {
        assert_eq!(SAMPLE.check(), Ok(()));
    }

    #[test]
    fn bounds_that_contradict_each_other_are_refused() {
        let longer = LimitsError::LongerThanHead("field_bytes");
        assert_eq!(Limits { field_bytes: 20_000, ..SAMPLE }.check(), Err(longer));
        assert_eq!(Limits { header_bytes: 65_537, ..SAMPLE }.check(), Err(LimitsError::HeadAboveCeiling));
        assert_eq!(Limits { h2_window_bytes: 1 << 30, ..SAMPLE }.check(), Err(LimitsError::WindowAboveCeiling));
        assert_eq!(Limits { h2_streams_max: 0, ..SAMPLE }.check(), Err(LimitsError::Zero("h2_streams_max")));
    }

    #[test]
    fn a_missing_or_unknown_key_refuses_the_table() {
        assert!(serde_json::from_str::<Limits>("{}").is_err());
        assert!(serde_json::from_str::<Limits>(r#"{"nonsense": 1}"#).is_err());
    }
}
