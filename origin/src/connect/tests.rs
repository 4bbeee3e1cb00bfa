//! Real sockets on loopback, real certificates.

#![allow(clippy::unwrap_used)]

use std::future::Future;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::BodyExt;
use rustls::{HandshakeKind, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_rustls::{TlsAcceptor, server};

use super::*;
use crate::exchange::Deadlines;
use crate::message::{Request, RequestBody};
use crate::tls::TlsOptions;
use crate::tls::authority::{Authority, NAME};

const WAIT: Duration = Duration::from_secs(10);
const DEADLINES: Deadlines =
    Deadlines { connect: WAIT, first_byte: WAIT, between_bytes: WAIT, total: WAIT, head_bytes_max: 65_536 };
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

async fn listen() -> (TcpListener, Endpoint) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::plain(listener.local_addr().unwrap());
    (listener, endpoint)
}

/// A TLS server that serves each connection with `serve` and tells of each handshake.
async fn tls_origin<F, R>(config: Arc<ServerConfig>, serve: F) -> (Endpoint, UnboundedReceiver<HandshakeKind>)
where
    F: Fn(server::TlsStream<TcpStream>) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let (listener, endpoint) = listen().await;
    let (tell, told) = unbounded_channel();
    let acceptor = TlsAcceptor::from(config);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                let _ = tell.send(stream.get_ref().1.handshake_kind().unwrap());
                tokio::spawn(serve(stream));
            }
        }
    });
    (endpoint, told)
}

/// Answers every request with `ok`.
async fn answer_all(mut stream: server::TlsStream<TcpStream>) {
    let mut head = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        head.push(byte);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            stream.write_all(ANSWER).await.unwrap();
        }
    }
}

fn get() -> Request {
    Request {
        method: Method::GET,
        authority: HeaderValue::from_static(NAME),
        target: Bytes::from_static(b"/"),
        headers: HeaderMap::new().into(),
        body: RequestBody::Empty,
        upgrade: None,
        client: None,
    }
}

async fn fetch(connection: Connection) -> Result<Bytes, FetchError> {
    let response = connection.exchange(&mut get(), &DEADLINES, None, Box::new(drop)).await?;
    Ok(response.body.collect().await?.to_bytes())
}

async fn refusal(endpoint: &Endpoint) -> FetchError {
    connect(endpoint, WAIT).await.err().expect("no connection")
}

#[tokio::test]
async fn nobody_who_listens_is_a_refusal() {
    let (listener, endpoint) = listen().await;
    drop(listener);
    let error = refusal(&endpoint).await;
    assert_eq!((error.fault.clone(), error.phase, error.nothing_sent), (Fault::Refused, Phase::Connect, true));
    assert_eq!(error.proxy_status_error(), "connection_refused");
}

#[tokio::test]
async fn a_handshake_that_stalls_is_given_up_in_time() {
    let (listener, mut endpoint) = listen().await;
    endpoint.tls = Some(Authority::new().identity());
    let error = connect(&endpoint, Duration::from_millis(1)).await.err().unwrap();
    assert_eq!(error.fault, Fault::Timeout(Deadline::Connect));
    drop(listener);
}

#[tokio::test]
async fn a_certificate_is_taken_only_for_its_name_from_its_authority_and_in_its_time() {
    let authority = Authority::new();
    let good = authority.certify(NAME, false);
    for (certificate, trusted, verify, ok) in [
        (good.clone(), &authority, true, true),
        (authority.certify("other.example", false), &authority, true, false),
        (authority.certify(NAME, true), &authority, true, false),
        (good.clone(), &Authority::new(), true, false),
        (authority.certify("other.example", true), &Authority::new(), false, true),
    ] {
        let config = authority.server(&certificate, &["http/1.1"], false);
        let (mut endpoint, _told) = tls_origin(config, answer_all).await;
        endpoint.tls = Some(TlsIdentity::build(TlsOptions { verify, ..trusted.options() }).unwrap());
        match connect(&endpoint, WAIT).await {
            Ok(connection) => assert_eq!((fetch(connection).await.unwrap(), ok), (Bytes::from_static(b"ok"), true)),
            Err(error) => {
                assert_eq!((error.word(), error.phase, ok), ("tls_certificate_error", Phase::Handshake, false));
            }
        }
    }
}

#[tokio::test]
async fn plain_text_before_tls_is_never_an_answer() {
    let (listener, mut endpoint) = listen().await;
    endpoint.tls = Some(Authority::new().identity());
    let script = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(ANSWER).await.unwrap();
        stream
    };
    let (error, _stream) = tokio::join!(refusal(&endpoint), script);
    assert_eq!(error.word(), "tls_protocol_error");
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let authority = Authority::new();
    let config = authority.server(&authority.certify(NAME, false), &[], true);
    let (mut endpoint, _told) = tls_origin(config, answer_all).await;
    let client = Some(authority.client());
    endpoint.tls = Some(TlsIdentity::build(TlsOptions { client, ..authority.options() }).unwrap());
    assert_eq!(fetch(connect(&endpoint, WAIT).await.unwrap()).await.unwrap(), "ok");

    // TLS 1.3 refuses a client only after the handshake: its first exchange learns it.
    endpoint.tls = Some(authority.identity());
    let error = match connect(&endpoint, WAIT).await {
        Ok(connection) => fetch(connection).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.word(), "tls_alert_received");
}

#[tokio::test]
async fn the_protocol_is_what_both_sides_speak() {
    let authority = Authority::new();
    let certificate = authority.certify(NAME, false);
    for (ours, theirs, speaks) in [
        (Protocols::Both, &["h2", "http/1.1"][..], Some("h2")),
        (Protocols::Both, &["http/1.1"], Some("h1")),
        (Protocols::Both, &[], Some("h1")),
        (Protocols::H1, &["h2", "http/1.1"], Some("h1")),
        (Protocols::H2, &["h2"], Some("h2")),
        (Protocols::H2, &[], None),
    ] {
        let (mut endpoint, _told) = tls_origin(authority.server(&certificate, theirs, false), answer_all).await;
        let options = TlsOptions { protocols: ours, ..authority.options() };
        endpoint.tls = Some(TlsIdentity::build(options).unwrap());
        let spoken = match connect(&endpoint, WAIT).await {
            Ok(Connection::H1(_)) => Some("h1"),
            Ok(Connection::H2(_)) => Some("h2"),
            Err(_) => None,
        };
        assert_eq!(spoken, speaks, "{ours:?} {theirs:?}");
    }
}

#[tokio::test]
async fn sessions_are_resumed_by_all_who_share_an_identity() {
    let authority = Authority::new();
    let config = authority.server(&authority.certify(NAME, false), &["http/1.1"], false);
    let (mut endpoint, mut told) = tls_origin(config, answer_all).await;
    endpoint.tls = Some(authority.identity());
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
        let endpoint = endpoint.clone();
        // From another thread with another runtime each time.
        let exchange = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { fetch(connect(&endpoint, WAIT).await.unwrap()).await.unwrap() })
        });
        let handshake = told.recv().await.unwrap();
        let body = tokio::task::spawn_blocking(move || exchange.join().unwrap()).await.unwrap();
        assert_eq!((body, kind_of(handshake)), (Bytes::from_static(b"ok"), kind_of(kind)));
    }
}

/// A full handshake may ask the client for another key share; that is no resumption.
fn kind_of(kind: HandshakeKind) -> &'static str {
    if kind == HandshakeKind::Resumed { "resumed" } else { "full" }
}

#[tokio::test]
async fn a_tls_stream_that_ends_without_saying_so_is_cut_off() {
    let authority = Authority::new();
    let config = authority.server(&authority.certify(NAME, false), &["http/1.1"], false);
    // The body ends with the connection, and the connection ends without close_notify.
    let (mut endpoint, _told) = tls_origin(config, |mut stream| async move {
        let mut head = [0; 16];
        stream.read_exact(&mut head).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\npart").await.unwrap();
        stream.flush().await.unwrap();
        let (mut socket, _) = stream.into_inner();
        socket.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest).await;
    })
    .await;
    endpoint.tls = Some(authority.identity());
    let error = fetch(connect(&endpoint, WAIT).await.unwrap()).await.unwrap_err();
    assert_eq!((error.fault, error.phase), (Fault::Truncated, Phase::Body));
}

#[tokio::test]
async fn http_2_is_spoken_without_tls_where_it_is_known() {
    let (listener, mut endpoint) = listen().await;
    endpoint.prior_knowledge = true;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = ::h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            assert_eq!(request.uri().scheme_str(), Some("http"));
            let mut send = respond.send_response(http::Response::new(()), false).unwrap();
            send.send_data(Bytes::from_static(b"ok"), true).unwrap();
        }
    });
    assert_eq!(fetch(connect(&endpoint, WAIT).await.unwrap()).await.unwrap(), "ok");
}

#[tokio::test]
async fn a_connection_comes_from_the_address_that_is_asked_for() {
    let (listener, mut endpoint) = listen().await;
    endpoint.source = Some("127.0.0.2".parse().unwrap());
    let (_connection, accepted) = tokio::join!(connect(&endpoint, WAIT), listener.accept());
    assert_eq!(Some(accepted.unwrap().1.ip()), endpoint.source);
}
