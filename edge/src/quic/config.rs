//! How QUIC is spoken: keys that all workers share, and bounds that follow the snapshot.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use quinn::congestion::{BbrConfig, ControllerFactory, CubicConfig};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, ValidationTokenConfig, VarInt};

use super::by_quinn::AHEAD_BYTES;
use super::session::Watched;
use super::steering::{Ids, Mask};
use crate::node::Node;
use crate::settings::Congestion;
use crate::snapshot::Snapshot;

/// Streams in one direction that a client may open: HTTP/3 needs three (RFC 9114 section 6.2).
const UNI_STREAMS_MAX: u32 = 8;
/// Tokens that a client is given for its next connections.
const TOKENS: u32 = 2;

/// The connection ids' mask.
pub fn mask(node: &Node) -> Mask {
    let key = node.secret.derive(&[b"quic connection ids"]);
    Mask::new(*key.first_chunk().expect("the key is longer"))
}

/// Of one worker's endpoint. A stateless reset is the same from any worker, and after a restart (RFC 9000 section 10.3).
pub fn endpoint(node: &Node, mask: Mask, worker: u8) -> EndpointConfig {
    let reset_key = hmac::Key::new(hmac::HMAC_SHA256, &node.secret.derive(&[b"quic stateless reset"]));
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    config.cid_generator(move || Box::new(Ids { mask, worker }));
    config
}

/// Of the connections that are let in from now on.
pub fn server(node: &Node) -> Result<Arc<ServerConfig>, String> {
    let crypto = QuicServerConfig::try_from(node.quic_tls.clone()).map_err(|error| format!("QUIC: {error}"))?;
    let mut config = ServerConfig::with_crypto(Arc::new(Watched::new(crypto)));
    let mut tokens = ValidationTokenConfig::default();
    tokens.sent(TOKENS).log(node.used_tokens.clone());
    config
        .transport_config(Arc::new(transport(&node.snapshot())))
        .token_key(Arc::new(node.secret.prk_for(&[b"quic tokens"])))
        .validation_token_config(tokens);
    Ok(Arc::new(config))
}

fn transport(snapshot: &Snapshot) -> TransportConfig {
    let limits = &snapshot.limits;
    let controller: Arc<dyn ControllerFactory + Send + Sync> = match snapshot.congestion {
        Congestion::Bbr => Arc::new(BbrConfig::default()),
        Congestion::Cubic => Arc::new(CubicConfig::default()),
    };
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(Duration::from_millis(limits.idle_ms.into()));
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(limits.h2_streams_max))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(limits.h2_window_bytes))
        .receive_window(VarInt::from_u32(limits.h2_window_bytes.saturating_mul(2)))
        .send_window(AHEAD_BYTES)
        .congestion_controller_factory(controller)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(idle.ok());
    transport
}
