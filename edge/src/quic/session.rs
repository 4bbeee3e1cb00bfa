//! TLS under QUIC, watched for one thing: whether a handshake resumed a session.
//!
//! quinn does not say it. The messages that the server writes do: only a full handshake sends a certificate (RFC 8446
//! section 2). Nothing else is touched.

use std::any::Any;
use std::sync::Arc;

use quinn::ConnectionId;
use quinn::crypto::UnsupportedVersion;
use quinn::crypto::rustls::{HandshakeData, QuicServerConfig};
use quinn::crypto::{ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{Side, TransportError};

/// A handshake message's type (RFC 8446 section 4).
const CERTIFICATE: u8 = 11;
const MESSAGE_HEAD_BYTES: usize = 4;

/// What is known of a handshake.
#[derive(Debug)]
pub struct Facts {
    /// In lower case.
    pub server_name: Option<Box<str>>,
    pub resumed: bool,
}

/// The server's side of TLS under QUIC.
pub struct Watched(Arc<QuicServerConfig>);

impl Watched {
    pub fn new(config: QuicServerConfig) -> Self {
        Watched(Arc::new(config))
    }
}

impl ServerConfig for Watched {
    fn initial_keys(&self, version: u32, dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.0.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.0.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, params: &TransportParameters) -> Box<dyn Session> {
        Box::new(WatchedSession { inner: self.0.clone().start_session(version, params), certificate: false })
    }
}

struct WatchedSession {
    inner: Box<dyn Session>,
    /// A certificate was sent.
    certificate: bool,
}

impl Session for WatchedSession {
    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let data = self.inner.handshake_data()?.downcast::<HandshakeData>().ok()?;
        let server_name = data.server_name.map(|name| name.to_ascii_lowercase().into_boxed_str());
        Some(Box::new(Facts { server_name, resumed: !self.certificate }))
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        let before = buf.len();
        let keys = self.inner.write_handshake(buf);
        self.certificate |= has_certificate(&buf[before..]);
        keys
    }

    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        self.inner.initial_keys(dst_cid, side)
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.inner.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.inner.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.inner.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.inner.read_handshake(buf)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.inner.transport_parameters()
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.inner.next_1rtt_keys()
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.inner.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.inner.export_keying_material(output, label, context)
    }
}

/// Whether there is a certificate among whole messages.
fn has_certificate(mut messages: &[u8]) -> bool {
    while let Some((&[kind, a, b, c], rest)) = messages.split_first_chunk::<MESSAGE_HEAD_BYTES>() {
        if kind == CERTIFICATE {
            return true;
        }
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        messages = rest.get(length..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_found_among_messages() {
        assert!(!has_certificate(&[]));
        assert!(!has_certificate(&[8, 0, 0, 2, 11, 11, 20, 0, 0, 1, 11]));
        assert!(has_certificate(&[8, 0, 0, 2, 0, 0, 11, 0, 0, 1, 0]));
        assert!(!has_certificate(&[8, 0, 0, 9, 11]));
    }
}
