//! One client connection: what it speaks is found out, then it is served until it ends.

pub(crate) mod content;
mod deadline;
mod exchange;
mod frames;
mod gather;
pub mod h1;
pub mod h2;
pub mod h3;
mod head;
mod outgoing;
mod relay;
mod stream;
mod upload;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use headland_cache::Scheme;
use headland_origin::wire::Wire;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::h1::{Preface, looks_like_h2_preface};
use crate::metrics::Protocol;
use crate::node::Node;
use crate::settings::ListenerKind;

pub use stream::Stream;

/// Who is at the other end, and what the handshake said.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: SocketAddr,
    pub scheme: Scheme,
    /// The server name of the TLS handshake, in lower case.
    pub sni: Option<Box<str>>,
}

/// Serves one accepted socket to its end.
pub async fn serve(node: Arc<Node>, socket: TcpStream, address: SocketAddr, kind: ListenerKind) {
    match kind {
        ListenerKind::Http => {
            let peer = Peer { address, scheme: Scheme::Http, sni: None };
            serve_clear(node, Stream::plain(socket), peer).await;
        }
        ListenerKind::Https => serve_tls(node, socket, address).await,
    }
}

/// The TLS handshake, within its deadline; ALPN then says what is spoken.
async fn serve_tls(node: Arc<Node>, socket: TcpStream, address: SocketAddr) {
    let within = Duration::from_millis(node.snapshot().limits.tls_handshake_ms.into());
    let accepting = TlsAcceptor::from(node.tls.clone()).accept(Wire::new(socket));
    let Ok(Ok(stream)) = tokio::time::timeout(within, accepting).await else {
        node.metrics.here().tls_failed.bump();
        return;
    };
    let session = stream.get_ref().1;
    let resumed = session.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
    let metrics = node.metrics.here();
    if resumed {
        metrics.tls_resumed.bump();
    } else {
        metrics.tls_full.bump();
    }
    let is_h2 = session.alpn_protocol() == Some(b"h2");
    let sni = session.server_name().map(|name| name.to_ascii_lowercase().into_boxed_str());
    let peer = Peer { address, scheme: Scheme::Https, sni };
    let stream = Stream::tls(stream);
    if is_h2 {
        h2::serve(node, stream, peer).await;
    } else {
        h1::serve(node, stream, peer, BytesMut::new()).await;
    }
}

/// On a clear connection the first bytes tell HTTP/2 with prior knowledge from HTTP/1.
async fn serve_clear(node: Arc<Node>, mut stream: Stream, peer: Peer) {
    let within = Duration::from_millis(node.snapshot().limits.header_ms.into());
    let mut first = BytesMut::with_capacity(h1::HEAD_READ_BYTES);
    let told = tokio::time::timeout(within, async {
        loop {
            match looks_like_h2_preface(&first) {
                Preface::NeedMore if matches!(stream.read_buf(&mut first).await, Ok(1..)) => {}
                told => return told,
            }
        }
    });
    tokio::select! {
        told = told => match told {
            Ok(Preface::Yes) => {
                stream.unread(first.freeze());
                h2::serve(node, stream, peer).await;
            }
            Ok(Preface::No) => h1::serve(node, stream, peer, first).await,
            // Closed or silent before it said anything that could be answered.
            Ok(Preface::NeedMore) | Err(_) => {}
        },
        () = node.drain.begins() => {}
    }
}

/// Counts a connection while it is open.
pub fn count(node: &Node, protocol: Protocol) {
    node.metrics.here().connections[protocol as usize].bump();
}
