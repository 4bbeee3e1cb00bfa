//! Opening a connection: TCP, then TLS with ALPN, within one deadline.
//!
//! An [`Endpoint`] is the whole identity under which a connection may be shared; the pool keys by its equality.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::early_data::EarlyData;
use crate::error::{Deadline, Fault, FetchError, Phase, TlsFault};
use crate::exchange::Connection;
use crate::tls::{Protocols, TlsIdentity};
use crate::transport::{Socket, Transport};
use crate::{h1, h2};

/// Silence after which the kernel asks whether the origin is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// Time between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Questions without an answer that end a connection.
const KEEPALIVE_PROBES: u32 = 3;

/// Where to connect, and as whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub address: SocketAddr,
    pub tls: Option<Arc<TlsIdentity>>,
    /// The local address to connect from.
    pub source: Option<IpAddr>,
    /// Without TLS: speak HTTP/2 at once (RFC 9113 3.3).
    pub prior_knowledge: bool,
}

impl Endpoint {
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None, source: None, prior_knowledge: false }
    }
}

/// Connects within `deadline`, the TLS handshake (and the HTTP/2 preface) included.
pub async fn connect(endpoint: &Endpoint, deadline: Duration) -> Result<Connection, FetchError> {
    connect_with(endpoint, None, deadline).await
}

/// The same; a request may go out with the TLS handshake, to a server that speaks HTTP/1.1.
pub(crate) async fn connect_with(
    endpoint: &Endpoint,
    early: Option<&EarlyData>,
    deadline: Duration,
) -> Result<Connection, FetchError> {
    match timeout(deadline, open(endpoint, early)).await {
        Ok(result) => result,
        Err(_) => Err(FetchError::timeout(Deadline::Connect, Phase::Connect)),
    }
}

async fn open(endpoint: &Endpoint, early: Option<&EarlyData>) -> Result<Connection, FetchError> {
    let stream = dial(endpoint).await.map_err(|error| FetchError::io(error, Phase::Connect))?;
    match &endpoint.tls {
        Some(identity) => secure(stream, identity, early).await,
        None if endpoint.prior_knowledge => {
            h2::Handle::open(Transport::Plain(Socket::new(stream)), false).await.map(Connection::H2)
        }
        None => Ok(Connection::H1(h1::Connection::new(Transport::Plain(Socket::new(stream))))),
    }
}

async fn dial(endpoint: &Endpoint) -> std::io::Result<TcpStream> {
    let socket = if endpoint.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A request is written whole: waiting for more would only delay it.
    socket.set_nodelay(true)?;
    SockRef::from(&socket).set_tcp_keepalive(&keepalive())?;
    if let Some(source) = endpoint.source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(endpoint.address).await
}

/// An idle connection whose origin has vanished without a word is found out before a request needs it.
fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_PROBES)
}

async fn secure(
    stream: TcpStream,
    identity: &TlsIdentity,
    early: Option<&EarlyData>,
) -> Result<Connection, FetchError> {
    let config = early.map_or_else(|| identity.config(), |_| identity.config_for_early_data());
    let mut sent = None;
    let stream = TlsConnector::from(config)
        .connect_with(identity.name(), Socket::new(stream), |session| {
            sent = early.and_then(|early| early.send(session));
        })
        .await
        .map_err(|error| FetchError::io(error, Phase::Handshake).with_nothing_sent(sent.is_none()))?;
    let session = stream.get_ref().1;
    let speaks_h2 = session.alpn_protocol() == Some(b"h2");
    // What the server has refused is sent again by the exchange, as if nothing had been.
    let taken = sent.filter(|_| session.is_early_data_accepted());
    let transport = Transport::Tls(Box::new(stream));
    match (speaks_h2, identity.options().protocols) {
        (true, _) => h2::Handle::open(transport, true).await.map(Connection::H2),
        (false, Protocols::H2) => Err(FetchError::new(Fault::Tls(TlsFault::Protocol), Phase::Handshake)
            .because("the origin did not agree to speak HTTP/2")),
        (false, _) => Ok(Connection::H1(h1::Connection::new(transport).with_early(taken))),
    }
}

#[cfg(test)]
mod tests;
