//! What goes out: the bytes of a request, and both directions at once.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::support::{DEADLINES, home, pipe, pipe_of, read_head, request};
use crate::error::{BodyFault, Fault, FetchError};
use crate::message::{Request, RequestBody, Response};

type Piece = Result<Frame<Bytes>, BodyFault>;

/// A body that ends when its feeder is dropped.
struct Fed(UnboundedReceiver<Piece>);

impl Body for Fed {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        self.0.poll_recv(cx)
    }
}

fn fed(length: Option<u64>) -> (UnboundedSender<Piece>, Request) {
    let (feed, pieces) = unbounded_channel();
    let mut post = request(Method::POST);
    post.body = RequestBody::Stream { body: Fed(pieces).boxed_unsync(), length };
    (feed, post)
}

#[allow(clippy::unnecessary_wraps)] // what a body yields
fn data(text: &'static str) -> Piece {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

/// Starts an exchange; the home's note comes with it.
fn start(
    connection: crate::h1::Connection,
    mut request: Request,
) -> (JoinHandle<Result<Response, FetchError>>, Arc<AtomicBool>) {
    let (home, came) = home();
    let exchange = async move { connection.exchange(&mut request, &DEADLINES, None, home).await };
    (tokio::spawn(exchange), came)
}

/// All that a request with this body puts on the wire, and how the exchange ends when the origin then closes.
async fn on_the_wire(length: Option<u64>, pieces: Vec<Piece>) -> (String, FetchError) {
    let (connection, mut origin) = pipe();
    let (feed, post) = fed(length);
    for piece in pieces {
        feed.send(piece).unwrap();
    }
    drop(feed);
    let (exchange, _) = start(connection, post);
    // A client that broke off has closed the pipe; else the origin closes when the request is whole.
    let mut wire = Vec::new();
    let mut byte = [0];
    while !(wire.ends_with(b"0\r\n\r\n") || wire.ends_with(b"hello")) && origin.read(&mut byte).await.unwrap() > 0 {
        wire.push(byte[0]);
    }
    drop(origin);
    let error = exchange.await.unwrap().err().expect("no answer");
    (String::from_utf8(wire).unwrap(), error)
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_request_is_written_to_the_letter() {
    let (connection, mut origin) = pipe();
    let mut get = request(Method::GET);
    let mut headers = http::HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    // What a careless caller leaves in is not sent twice.
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("5"));
    headers.insert(header::HOST, HeaderValue::from_static("other"));
    get.headers = headers.into();
    let (_exchange, _) = start(connection, get);
    let expected = "GET /a?b HTTP/1.1\r\nhost: origin.example\r\naccept: */*\r\n\r\n";
    assert_eq!(read_head(&mut origin).await, expected);

    let (connection, mut origin) = pipe();
    let (_exchange, _) = start(connection, request(Method::POST));
    let expected = "POST /a?b HTTP/1.1\r\nhost: origin.example\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(read_head(&mut origin).await, expected);
}

#[tokio::test]
async fn a_target_that_would_end_the_line_is_not_sent() {
    for bad in ["", "/a b", "/a\r\nX: y", "/\0", "/\u{e9}"] {
        let (connection, _origin) = pipe();
        let mut get = request(Method::GET);
        get.target = Bytes::copy_from_slice(bad.as_bytes());
        let error = connection.exchange(&mut get, &DEADLINES, None, home().0).await.err().unwrap();
        assert!(matches!(error.fault, Fault::Malformed(_)) && error.nothing_sent, "{bad:?}");
    }
}

#[tokio::test]
async fn a_body_goes_out_by_length_or_in_chunks() {
    let (wire, error) = on_the_wire(Some(5), vec![data("hel"), data(""), data("lo")]).await;
    assert!(wire.ends_with("\r\ncontent-length: 5\r\n\r\nhello"), "{wire}");
    assert_eq!(error.fault, Fault::Reset);
    let (wire, _) = on_the_wire(None, vec![data("hel"), data(""), data("lo")]).await;
    assert!(wire.ends_with("\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"), "{wire}");
}

#[tokio::test]
async fn trailers_follow_a_chunked_body_without_those_that_must_not() {
    let (connection, mut origin) = pipe();
    let (feed, post) = fed(None);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    trailers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("9"));
    feed.send(data("hello")).unwrap();
    feed.send(Ok(Frame::trailers(trailers))).unwrap();
    let (_exchange, _) = start(connection, post);
    read_head(&mut origin).await;
    assert_eq!(read_head(&mut origin).await, "5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n");
}

#[tokio::test]
async fn a_body_that_is_not_what_it_should_be_never_ends_well() {
    let broken = || Err(BodyFault::Malformed("chunk size"));
    for (length, pieces, fault) in [
        (Some(9), vec![data("hello")], BodyFault::TooShort),
        (Some(4), vec![data("hello")], BodyFault::TooLarge),
        (Some(9), vec![data("hello"), broken()], BodyFault::Malformed("chunk size")),
        (None, vec![data("hello"), broken()], BodyFault::Malformed("chunk size")),
        (None, vec![data("hello"), Err(BodyFault::Disconnected)], BodyFault::Disconnected),
    ] {
        let (wire, error) = on_the_wire(length, pieces).await;
        assert!(!wire.ends_with("0\r\n\r\n"), "a last chunk would make a part the whole: {wire}");
        assert_eq!(error.fault, Fault::ClientBody(fault));
    }
}

#[tokio::test]
async fn a_request_whose_body_was_taken_says_so_and_is_not_sent_again() {
    let (feed, mut post) = fed(Some(5));
    feed.send(data("hello")).unwrap();
    let (connection, origin) = pipe();
    drop(origin);
    let error = connection.exchange(&mut post, &DEADLINES, None, home().0).await.err().unwrap();
    assert_eq!(error.word(), "reset");
    assert!(!post.body.is_whole());
    let (connection, _origin) = pipe();
    let error = connection.exchange(&mut post, &DEADLINES, None, home().0).await.err().unwrap();
    assert_eq!(error.word(), "canceled");
}

async fn whole(mut response: Response) -> Result<Bytes, FetchError> {
    Ok((&mut response.body).collect().await?.to_bytes())
}

#[tokio::test]
async fn an_early_answer_arrives_while_the_upload_goes_on_and_the_connection_comes_home_after_both() {
    let (connection, mut origin) = pipe();
    let (feed, post) = fed(None);
    feed.send(data("one")).unwrap();
    let (exchange, came) = start(connection, post);
    read_head(&mut origin).await;
    origin.write_all(ANSWER).await.unwrap();
    assert_eq!(whole(exchange.await.unwrap().unwrap()).await.unwrap(), "ok");
    assert!(!came.load(Ordering::SeqCst), "the request is still going out");
    feed.send(data("two")).unwrap();
    drop(feed);
    assert_eq!(read_head(&mut origin).await, "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
    while !came.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_upload_does_not_wait_for_a_reader_who_waits_for_it() {
    // The pipe holds little, the origin echoes, and the client reads nothing before all is sent.
    let (connection, mut origin) = pipe_of(64);
    let (feed, post) = fed(Some(100 * 5));
    let (exchange, came) = start(connection, post);
    let sent = tokio::spawn(async move {
        read_head(&mut origin).await;
        origin.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n").await.unwrap();
        let mut buffer = [0; 500];
        origin.read_exact(&mut buffer).await.unwrap();
        origin.write_all(&buffer).await.unwrap();
        origin
    });
    feed.send(data("hello")).unwrap();
    let response = exchange.await.unwrap().unwrap();
    for _ in 1..100 {
        feed.send(data("hello")).unwrap();
    }
    drop(feed);
    assert_eq!(whole(response).await.unwrap(), "hello".repeat(100));
    sent.await.unwrap();
    while !came.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_client_that_breaks_off_takes_the_answer_with_it() {
    let (connection, mut origin) = pipe();
    let (feed, post) = fed(Some(10));
    feed.send(data("hello")).unwrap();
    let (exchange, came) = start(connection, post);
    read_head(&mut origin).await;
    origin.write_all(&ANSWER[..ANSWER.len() - 1]).await.unwrap();
    let response = exchange.await.unwrap().unwrap();
    feed.send(Err(BodyFault::Disconnected)).unwrap();
    let error = whole(response).await.unwrap_err();
    assert_eq!(error.fault, Fault::ClientBody(BodyFault::Disconnected));
    assert_eq!(drain(&mut origin).await, b"hello");
    assert!(!came.load(Ordering::SeqCst));
}

#[tokio::test]
async fn an_origin_that_answers_and_closes_without_reading_is_heard() {
    let (connection, mut origin) = pipe_of(256);
    let (feed, post) = fed(Some(1_000_000));
    feed.send(Ok(Frame::data(Bytes::from(vec![b'x'; 1_000_000])))).unwrap();
    let (exchange, came) = start(connection, post);
    read_head(&mut origin).await;
    let answer = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno";
    origin.write_all(answer).await.unwrap();
    drop(origin);
    let response = exchange.await.unwrap().unwrap();
    assert_eq!(response.status.as_u16(), 413);
    assert_eq!(whole(response).await.unwrap(), "no");
    assert!(!came.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_dropped_answer_stops_its_upload() {
    let (connection, mut origin) = pipe();
    let (feed, post) = fed(None);
    feed.send(data("hello")).unwrap();
    let (exchange, _) = start(connection, post);
    read_head(&mut origin).await;
    origin.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").await.unwrap();
    drop(exchange.await.unwrap().unwrap());
    assert_eq!(drain(&mut origin).await, b"5\r\nhello\r\n");
    assert!(feed.is_closed());
}

/// What the origin reads until the node closes.
async fn drain(origin: &mut DuplexStream) -> Vec<u8> {
    let mut rest = Vec::new();
    origin.read_to_end(&mut rest).await.unwrap();
    rest
}
