//! HTTP/3 by quinn and the h3 crate: many requests at once on one connection. The node has a codec of its own, so the two
//! ends have nothing of HTTP/3 in common; the transport below is the same crate.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use bytes::{Buf, Bytes};
use h3::client::SendRequest;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, TransportConfig, VarInt};
use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;

use crate::h2::request;
use crate::plan::Plan;
use crate::tally::Answer;

/// As in HTTP/2: a window never is the limit on loopback.
const WINDOW_BYTES: u32 = 6 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 15 * 1024 * 1024;
const SESSIONS: usize = 64;

/// A connection that is kept.
#[derive(Clone)]
pub(crate) struct Sender {
    requests: SendRequest<h3_quinn::OpenStreams, Bytes>,
    quic: quinn::Connection,
}

impl Sender {
    /// Ends the connection; nothing is asked on it any more.
    pub(crate) fn close(&self) {
        // H3_NO_ERROR (RFC 9114 section 8.1).
        self.quic.close(VarInt::from_u32(0x100), b"");
    }
}

/// Opens connections over one socket.
pub(crate) struct Opener {
    endpoint: Endpoint,
    address: SocketAddr,
    host: String,
    sessions: Arc<Sessions>,
    early: bool,
}

impl Opener {
    pub(crate) fn new(plan: &Plan, mut tls: rustls::ClientConfig) -> io::Result<Self> {
        let sessions =
            Arc::new(Sessions { store: ClientSessionMemoryCache::new(SESSIONS), offered: AtomicU64::new(0) });
        tls.resumption = if plan.resume { Resumption::store(sessions.clone()) } else { Resumption::disabled() };
        tls.alpn_protocols = vec![b"h3".to_vec()];
        tls.enable_early_data = plan.early;
        let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).map_err(io::Error::other)?));
        let mut transport = TransportConfig::default();
        transport
            .stream_receive_window(VarInt::from_u32(WINDOW_BYTES))
            .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES));
        config.transport_config(Arc::new(transport));
        let mut endpoint = Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into())?;
        endpoint.set_default_client_config(config);
        Ok(Opener { endpoint, address: plan.address, host: plan.host.clone(), sessions, early: plan.early })
    }

    /// A new connection, and whether a session was offered for it, which this node takes.
    pub(crate) async fn open(&self) -> io::Result<(Sender, bool)> {
        let before = self.sessions.offered.load(Relaxed);
        let connecting = self.endpoint.connect(self.address, &self.host).map_err(io::Error::other)?;
        let resumed = self.sessions.offered.load(Relaxed) > before;
        let quic = self.begin(connecting).await?;
        let connection = h3_quinn::Connection::new(quic.clone());
        let (mut driver, requests) = h3::client::new(connection).await.map_err(io::Error::other)?;
        tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
        Ok((Sender { requests, quic }, resumed))
    }

    /// The connection: at once where early data may be sent, else when the handshake has ended.
    async fn begin(&self, connecting: quinn::Connecting) -> io::Result<quinn::Connection> {
        if !self.early {
            return Ok(connecting.await?);
        }
        match connecting.into_0rtt() {
            Ok((quic, _)) => Ok(quic),
            Err(connecting) => Ok(connecting.await?),
        }
    }
}

pub(crate) async fn ask(mut sender: Sender, plan: &Plan, number: u64) -> io::Result<Answer> {
    let mut stream = sender.requests.send_request(request(plan, number)?).await.map_err(io::Error::other)?;
    stream.finish().await.map_err(io::Error::other)?;
    let response = stream.recv_response().await.map_err(io::Error::other)?;
    let first_byte = Instant::now();
    let status = response.status().as_u16();
    let counted_value = plan.count_header.as_deref().map(|name| {
        let found = response.headers().get(name).and_then(|value| value.to_str().ok());
        found.unwrap_or("").to_owned()
    });
    let mut bytes = 0;
    while let Some(chunk) = stream.recv_data().await.map_err(io::Error::other)? {
        bytes += chunk.remaining() as u64;
    }
    Ok(Answer { status, bytes, first_byte, whole: Instant::now(), counted_value })
}

/// Sessions to resume, and how often one was offered; quinn does not say what became of it.
#[derive(Debug)]
struct Sessions {
    store: ClientSessionMemoryCache,
    offered: AtomicU64,
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.store.set_kx_hint(name, group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.store.kx_hint(name)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.store.insert_tls13_ticket(name, ticket);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let ticket = self.store.take_tls13_ticket(name)?;
        self.offered.fetch_add(1, Relaxed);
        Some(ticket)
    }
}
