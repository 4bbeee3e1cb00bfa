//! Endpoints that speak HTTP/2: many exchanges on one connection.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use http::{Response as Answer, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{Client, LIMITS, fetch, get, group, on_a_runtime};
use crate::client::Connections;
use crate::group::Group;
use crate::settings::Http2;

#[derive(Clone, Copy, Default)]
struct Tally {
    connections: usize,
    seen: usize,
}

/// A real HTTP/2 server on clear text that answers once it has seen as many requests as it waits for, and some paths
/// at once.
struct Server {
    address: SocketAddr,
    tally: Arc<watch::Sender<Tally>>,
}

impl Server {
    fn start(streams_max: u32, answers_after: usize) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let tally = Arc::new(watch::Sender::new(Tally::default()));
        let kept = tally.clone();
        std::thread::spawn(move || {
            on_a_runtime(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    kept.send_modify(|tally| tally.connections += 1);
                    tokio::spawn(serve(stream, streams_max, answers_after, kept.clone()));
                }
            });
        });
        Server { address, tally }
    }

    fn group(&self) -> Arc<Group> {
        group(&[&format!("http://{}", self.address)], |settings| settings.http2 = Http2::PriorKnowledge)
    }

    fn connections(&self) -> usize {
        self.tally.borrow().connections
    }
}

async fn serve(stream: TcpStream, streams_max: u32, answers_after: usize, tally: Arc<watch::Sender<Tally>>) {
    let mut connection =
        Builder::new().max_concurrent_streams(streams_max).handshake::<_, Bytes>(stream).await.unwrap();
    while let Some(Ok((head, respond))) = connection.accept().await {
        tally.send_modify(|tally| tally.seen += 1);
        let padding = if head.uri().path() == "/large-head" { 2_000 } else { 0 };
        let gate = match head.uri().path() {
            "/last" => {
                connection.graceful_shutdown();
                0
            }
            "/at-once" => 0,
            _ => answers_after,
        };
        tokio::spawn(answer(respond, padding, gate, tally.subscribe()));
    }
}

async fn answer(
    mut respond: SendResponse<Bytes>,
    padding: usize,
    answers_after: usize,
    mut tally: watch::Receiver<Tally>,
) {
    tally.wait_for(|tally| tally.seen >= answers_after).await.unwrap();
    let head = Answer::builder().status(StatusCode::OK).header("x-padding", "x".repeat(padding)).body(()).unwrap();
    if let Ok(mut stream) = respond.send_response(head, false) {
        let _ = stream.send_data(Bytes::from_static(b"hello"), true);
    }
}

/// As many requests at once; how many of them found a connection that had served before.
async fn at_once(client: &Arc<Client>, group: &Arc<Group>, count: usize) -> usize {
    let fetches = (0..count).map(|_| {
        let (client, group) = (client.clone(), group.clone());
        tokio::spawn(async move {
            let (response, body) = fetch(&client, &group, get("/")).await.unwrap();
            assert_eq!(body, "hello");
            response.reused
        })
    });
    let mut reused = 0;
    for fetch in fetches.collect::<Vec<_>>() {
        reused += usize::from(fetch.await.unwrap());
    }
    reused
}

#[test]
fn fifty_requests_at_once_share_the_one_connection_that_is_opened_for_them() {
    let server = Server::start(100, 50);
    let (client, group) = (Client::new(LIMITS), server.group());
    on_a_runtime(async {
        assert_eq!(at_once(&client, &group, 50).await, 49);
        assert_eq!(client.open_connections(), Connections { open: 1, idle: 1, waiting: 0 });
    });
    assert_eq!(server.connections(), 1);
}

#[test]
fn an_answer_whose_head_is_larger_than_the_group_takes_is_refused_alone() {
    let server = Server::start(100, 1);
    let (client, group) = (Client::new(LIMITS), server.group());
    on_a_runtime(async {
        assert!(fetch(&client, &group, get("/large-head")).await.is_ok());
        let mut settings = crate::group::tests::settings(&[&format!("http://{}", server.address)]);
        settings.http2 = Http2::PriorKnowledge;
        settings.response_header_bytes_max = 1024;
        let strict = Group::compile(&settings, Some(&group)).unwrap();
        let error = fetch(&client, &strict, get("/large-head")).await.err().unwrap();
        assert_eq!(error.word(), "head_too_large");
        fetch(&client, &strict, get("/")).await.unwrap();
    });
    assert_eq!(server.connections(), 1);
}

#[test]
fn threads_share_it_too() {
    let server = Server::start(100, 1);
    let (client, group) = (Client::new(LIMITS), server.group());
    on_a_runtime(async {
        assert_eq!(at_once(&client, &group, 1).await, 0);
        let (client, group) = (client.clone(), group.clone());
        let elsewhere = tokio::task::spawn_blocking(move || on_a_runtime(async { at_once(&client, &group, 5).await }));
        assert_eq!(elsewhere.await.unwrap(), 5);
    });
    assert_eq!(server.connections(), 1);
}

#[test]
fn the_peers_limit_on_streams_is_kept_by_opening_more_connections() {
    let server = Server::start(2, 7);
    let (client, group) = (Client::new(LIMITS), server.group());
    on_a_runtime(async {
        // The limit comes before the first answer.
        fetch(&client, &group, get("/at-once")).await.unwrap();
        at_once(&client, &group, 6).await;
    });
    assert_eq!(server.connections(), 3);
}

#[test]
fn a_connection_that_goes_away_is_followed_by_another_and_no_request_is_lost() {
    let server = Server::start(100, 1);
    let (client, group) = (Client::new(LIMITS), server.group());
    on_a_runtime(async {
        for _ in 0..5 {
            fetch(&client, &group, get("/last")).await.unwrap();
            fetch(&client, &group, get("/")).await.unwrap();
        }
    });
    assert!((2..=6).contains(&server.connections()), "{}", server.connections());
    assert_eq!(group.servers(std::time::Instant::now())[0].in_flight, 0);
}
