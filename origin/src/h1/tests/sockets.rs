//! Connections as the pool keeps them: on real sockets, across threads, until they die.

use std::io::{Read, Write};
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::support::{DEADLINES, request};
use crate::connect::{Endpoint, connect};
use crate::exchange::Connection;
use crate::h1;
use crate::tls::authority::{Authority, NAME};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Reads one request and answers it.
fn serve_one(stream: &mut (impl Read + Write)) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    stream.write_all(ANSWER).unwrap();
    stream.flush().unwrap();
}

/// One exchange on a runtime of its own, which is gone afterwards.
fn exchange_elsewhere(mut connection: h1::Connection) -> h1::Connection {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            assert!(connection.is_alive());
            connection.rehome().unwrap();
            exchange(connection).await
        })
    })
    .join()
    .unwrap()
}

async fn exchange(connection: h1::Connection) -> h1::Connection {
    let back = Arc::new(Mutex::new(None));
    let place = back.clone();
    let home = Box::new(move |connection| *place.lock() = Some(connection));
    let response = connection.exchange(&mut request(Method::GET), &DEADLINES, None, home).await.unwrap();
    assert_eq!(response.body.collect().await.unwrap().to_bytes(), "ok");
    let Some(Connection::H1(connection)) = back.lock().take() else { panic!("it came home") };
    connection
}

/// A connection over loopback, with TLS or without, and the origin's end of it.
struct Pair {
    connection: h1::Connection,
    origin: Origin,
}

enum Origin {
    Plain(std::net::TcpStream),
    Tls(Box<StreamOwned<ServerConnection, std::net::TcpStream>>),
}

impl Origin {
    fn serve_one(&mut self) {
        match self {
            Self::Plain(stream) => serve_one(stream),
            Self::Tls(stream) => serve_one(stream),
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).unwrap(),
            Self::Tls(stream) => {
                stream.write_all(bytes).unwrap();
                stream.flush().unwrap();
            }
        }
    }
}

fn open(config: Option<(Arc<ServerConfig>, Endpoint)>) -> impl Future<Output = Pair> {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (config, endpoint) = match config {
        Some((config, endpoint)) => (Some(config), Endpoint { address, ..endpoint }),
        None => (None, Endpoint::plain(address)),
    };
    let accepting = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let Some(config) = config else { return Origin::Plain(stream) };
        let mut session = ServerConnection::new(config).unwrap();
        while session.is_handshaking() || session.wants_write() {
            session.complete_io(&mut stream).unwrap();
        }
        Origin::Tls(Box::new(StreamOwned::new(session, stream)))
    });
    async move {
        let connected = connect(&endpoint, Duration::from_secs(10)).await.unwrap();
        let Connection::H1(connection) = connected else { panic!("HTTP/1.1") };
        let origin = tokio::task::spawn_blocking(move || accepting.join().unwrap()).await.unwrap();
        Pair { connection, origin }
    }
}

fn tls() -> (Arc<ServerConfig>, Endpoint) {
    let authority = Authority::new();
    let config = authority.server(&authority.certify(NAME, false), &["http/1.1"], false);
    let mut endpoint = Endpoint::plain("127.0.0.1:0".parse().unwrap());
    endpoint.tls = Some(authority.identity());
    (config, endpoint)
}

/// Serves one request on another thread while `exchange` runs here.
async fn with_served(origin: Origin, exchange: impl Future<Output = h1::Connection>) -> Pair {
    let serving = tokio::task::spawn_blocking(move || {
        let mut origin = origin;
        origin.serve_one();
        origin
    });
    let connection = exchange.await;
    Pair { connection, origin: serving.await.unwrap() }
}

#[tokio::test]
async fn a_connection_moves_between_runtimes_that_come_and_go() {
    for config in [None, Some(tls())] {
        let mut pair = open(config).await;
        for _ in 0..3 {
            let connection = pair.connection;
            let elsewhere = async { tokio::task::spawn_blocking(|| exchange_elsewhere(connection)).await.unwrap() };
            pair = with_served(pair.origin, elsewhere).await;
            assert!(pair.connection.is_alive());
            pair.connection.rehome().unwrap();
            pair = with_served(pair.origin, exchange(pair.connection)).await;
        }
    }
}

#[tokio::test]
async fn session_tickets_are_no_sign_of_death() {
    // The origin sends its tickets with the handshake; nothing has read them yet.
    let mut pair = open(Some(tls())).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
        assert!(pair.connection.is_alive());
    }
    let pair = with_served(pair.origin, exchange(pair.connection)).await;
    drop(pair);
}

#[tokio::test]
async fn a_connection_that_the_origin_closed_is_dead() {
    for config in [None, Some(tls())] {
        let pair = open(config).await;
        let mut pair = with_served(pair.origin, exchange(pair.connection)).await;
        assert!(pair.connection.is_alive());
        drop(pair.origin);
        while pair.connection.is_alive() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_connection_with_bytes_that_nobody_asked_for_is_dead() {
    for config in [None, Some(tls())] {
        let pair = open(config).await;
        let mut pair = with_served(pair.origin, exchange(pair.connection)).await;
        pair.origin.send(ANSWER);
        while pair.connection.is_alive() {
            tokio::task::yield_now().await;
        }
        // Seen from another thread the kernel itself is asked.
        let pair = open(None).await;
        let mut pair = with_served(pair.origin, exchange(pair.connection)).await;
        pair.origin.send(ANSWER);
        let mut connection = pair.connection;
        let alive = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { connection.is_alive() })
        });
        assert!(!alive.await.unwrap());
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_repeated_is_not_risked_on_a_connection_that_has_died() {
    let pair = open(None).await;
    let pair = with_served(pair.origin, exchange(pair.connection)).await;
    drop(pair.origin);
    let mut post = request(Method::POST);
    let error = pair.connection.exchange(&mut post, &DEADLINES, None, Box::new(drop)).await.err().unwrap();
    assert_eq!((error.word(), error.nothing_sent), ("reset", true));
}
