#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use tokio::io::duplex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::error::{BodyFault, Deadline, Fault};
use crate::exchange::{Connection, Deadlines, Home};
use crate::message::{Interim, InterimSink, Request, RequestBody, Response};

const DEADLINES: Deadlines = Deadlines {
    connect: Duration::from_secs(1),
    first_byte: Duration::from_secs(10),
    between_bytes: Duration::from_secs(5),
    total: Duration::from_secs(60),
    head_bytes_max: 64 * 1024,
};

type Asked = (http::Request<RecvStream>, SendResponse<Bytes>);

/// A server that hands its requests to the test.
async fn origin() -> (Handle, UnboundedReceiver<Asked>) {
    let (node, origin) = duplex(1024 * 1024);
    let (hand, asked) = unbounded_channel();
    tokio::spawn(async move {
        let mut connection = h2::server::handshake(origin).await.unwrap();
        while let Some(Ok(one)) = connection.accept().await {
            if hand.send(one).is_err() {
                // The test lets go of the origin: it says goodbye.
                connection.graceful_shutdown();
            }
        }
    });
    (Handle::open(Transport::Script(node), true).await.unwrap(), asked)
}

fn request(method: Method) -> Request {
    Request {
        method,
        authority: HeaderValue::from_static("origin.example"),
        target: Bytes::from_static(b"/a?b"),
        headers: HeaderMap::new().into(),
        body: RequestBody::Empty,
        upgrade: None,
        client: None,
    }
}

fn home() -> (Home, Arc<AtomicUsize>) {
    let came = Arc::new(AtomicUsize::new(0));
    let note = came.clone();
    let home = move |connection: Connection| {
        assert!(matches!(connection, Connection::H2(_)));
        note.fetch_add(1, Ordering::SeqCst);
    };
    (Box::new(home), came)
}

fn start(handle: &Handle, mut request: Request) -> tokio::task::JoinHandle<Result<Response, FetchError>> {
    let handle = handle.clone();
    tokio::spawn(async move { handle.exchange(&mut request, &DEADLINES, None, home().0).await })
}

fn answer(status: u16) -> http::Response<()> {
    http::Response::builder().status(status).body(()).unwrap()
}

/// A body that ends when its feeder is dropped.
struct Fed(UnboundedReceiver<Result<Frame<Bytes>, BodyFault>>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        self.0.poll_recv(cx)
    }
}

fn fed(length: Option<u64>) -> (UnboundedSender<Result<Frame<Bytes>, BodyFault>>, Request) {
    let (feed, pieces) = unbounded_channel();
    let mut post = request(Method::POST);
    post.body = RequestBody::Stream { body: Fed(pieces).boxed_unsync(), length };
    (feed, post)
}

fn data(size: usize) -> Frame<Bytes> {
    Frame::data(Bytes::from(vec![b'x'; size]))
}

/// Passes on the statuses of interim answers.
struct Seen(UnboundedSender<StatusCode>);

impl InterimSink for Seen {
    fn interim(&self, exchange: u64, status: StatusCode, _headers: HeaderMap) {
        assert_eq!(exchange, 7);
        self.0.send(status).unwrap();
    }
}

#[tokio::test]
async fn a_request_and_its_answer_with_trailers_and_interim_answers() {
    let (handle, mut asked) = origin().await;
    let mut get = request(Method::GET);
    let mut headers = HeaderMap::new();
    headers.insert("accept", HeaderValue::from_static("*/*"));
    headers.insert("connection", HeaderValue::from_static("careless"));
    get.headers = headers.into();
    let (home, came) = home();
    let (seen, mut interims) = unbounded_channel();
    let interim = Interim { sink: Arc::new(Seen(seen)), exchange: 7 };
    let script = async {
        let (request, mut respond) = asked.recv().await.unwrap();
        assert_eq!(request.uri(), "https://origin.example/a?b");
        assert_eq!(request.headers().len(), 1);
        let mut early = answer(103);
        early.headers_mut().insert("link", HeaderValue::from_static("</a>"));
        respond.send_informational(early).unwrap();
        let mut head = answer(200);
        head.headers_mut().insert("content-length", HeaderValue::from_static("5"));
        head.headers_mut().insert("etag", HeaderValue::from_static("\"1\""));
        let mut send = respond.send_response(head, false).unwrap();
        send.send_data(Bytes::from_static(b"hello"), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("1"));
        trailers.insert("set-cookie", HeaderValue::from_static("a=b"));
        send.send_trailers(trailers).unwrap();
    };
    let exchange = handle.clone().exchange(&mut get, &DEADLINES, Some(interim), home);
    let (response, ()) = tokio::join!(exchange, script);
    let response = response.unwrap();
    assert_eq!(interims.recv().await.unwrap(), StatusCode::EARLY_HINTS);
    assert_eq!((response.status, response.length), (StatusCode::OK, Some(5)));
    assert_eq!(response.headers.iter().map(|(name, _)| name).collect::<Vec<_>>(), [b"etag"]);
    assert_eq!(handle.streams(), 1);
    let body = response.body.collect().await.unwrap();
    assert_eq!(body.trailers().unwrap().len(), 1);
    assert_eq!(body.to_bytes(), "hello");
    assert_eq!((came.load(Ordering::SeqCst), handle.streams()), (1, 0));
    assert!(handle.is_usable());
}

#[tokio::test]
async fn many_exchanges_share_one_connection_and_end_in_any_order() {
    let (handle, mut asked) = origin().await;
    let exchanges: Vec<_> = (0..20).map(|_| start(&handle, request(Method::GET))).collect();
    let mut open = Vec::new();
    while open.len() < 20 {
        open.push(asked.recv().await.unwrap());
    }
    assert_eq!(handle.streams(), 20);
    for (i, (_, mut respond)) in open.into_iter().rev().enumerate() {
        let mut send = respond.send_response(answer(200), false).unwrap();
        send.send_data(Bytes::from(i.to_string()), true).unwrap();
    }
    for exchange in exchanges {
        let response = exchange.await.unwrap().unwrap();
        assert!(!response.body.collect().await.unwrap().to_bytes().is_empty());
    }
    assert_eq!(handle.streams(), 0);
}

#[tokio::test]
async fn a_body_larger_than_every_window_comes_through_as_it_is_read() {
    let (handle, mut asked) = origin().await;
    let exchange = start(&handle, request(Method::GET));
    let (_, mut respond) = asked.recv().await.unwrap();
    let size = 3 * CONNECTION_WINDOW_BYTES as usize;
    let mut send = respond.send_response(answer(200), false).unwrap();
    send.send_data(Bytes::from(vec![b'y'; size]), true).unwrap();
    let mut body = exchange.await.unwrap().unwrap().body;
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        received += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(received, size);
    assert!(body.is_end_stream());
}

#[tokio::test]
async fn an_upload_goes_as_the_origin_takes_it() {
    let (handle, mut asked) = origin().await;
    let (feed, post) = fed(Some(300_000));
    let exchange = start(&handle, post);
    let (request, mut respond) = asked.recv().await.unwrap();
    assert_eq!(request.headers()["content-length"], "300000");
    let mut recv = request.into_body();
    for _ in 0..3 {
        feed.send(Ok(data(100_000))).unwrap();
    }
    drop(feed);
    let mut received = 0;
    while let Some(piece) = recv.data().await {
        let piece = piece.unwrap();
        received += piece.len();
        recv.flow_control().release_capacity(piece.len()).unwrap();
    }
    assert_eq!(received, 300_000);
    respond.send_response(answer(204), true).unwrap();
    assert_eq!(exchange.await.unwrap().unwrap().status, StatusCode::NO_CONTENT);
    assert_eq!(handle.streams(), 0);
}

#[tokio::test]
async fn an_early_answer_is_read_while_the_upload_goes_on() {
    let (handle, mut asked) = origin().await;
    let (feed, mut post) = fed(None);
    let (home, came) = home();
    let one = handle.clone();
    let exchange = tokio::spawn(async move { one.exchange(&mut post, &DEADLINES, None, home).await });
    let (request, mut respond) = asked.recv().await.unwrap();
    respond.send_response(answer(200), false).unwrap().send_data(Bytes::from_static(b"ok"), true).unwrap();
    let response = exchange.await.unwrap().unwrap();
    assert_eq!(response.body.collect().await.unwrap().to_bytes(), "ok");
    assert_eq!(came.load(Ordering::SeqCst), 0, "the request is still going out");
    feed.send(Ok(data(10))).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    feed.send(Ok(Frame::trailers(trailers))).unwrap();
    let mut recv = request.into_body();
    assert_eq!(recv.data().await.unwrap().unwrap().len(), 10);
    assert!(recv.data().await.is_none());
    assert_eq!(recv.trailers().await.unwrap().unwrap()["x-sum"], "1");
    while came.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_client_that_breaks_off_resets_the_stream_and_takes_the_answer_with_it() {
    let (handle, mut asked) = origin().await;
    for early in [false, true] {
        let (feed, post) = fed(Some(100));
        let exchange = start(&handle, post);
        feed.send(Ok(data(10))).unwrap();
        let (request, mut respond) = asked.recv().await.unwrap();
        let error = if early {
            let _send = respond.send_response(answer(200), false).unwrap();
            let response = exchange.await.unwrap().unwrap();
            feed.send(Err(BodyFault::Disconnected)).unwrap();
            response.body.collect().await.unwrap_err()
        } else {
            feed.send(Err(BodyFault::Disconnected)).unwrap();
            exchange.await.unwrap().err().unwrap()
        };
        assert_eq!(error.fault, Fault::ClientBody(BodyFault::Disconnected));
        let mut recv = request.into_body();
        recv.data().await.unwrap().unwrap();
        assert_eq!(recv.data().await.unwrap().unwrap_err().reason(), Some(Reason::CANCEL));
    }
    assert!(handle.is_usable());
}

#[tokio::test]
async fn an_upload_that_is_not_as_long_as_declared_is_reset() {
    let (handle, mut asked) = origin().await;
    for (sizes, fault) in [(&[5][..], BodyFault::TooShort), (&[5, 20], BodyFault::TooLarge)] {
        let (feed, post) = fed(Some(10));
        for &size in sizes {
            feed.send(Ok(data(size))).unwrap();
        }
        drop(feed);
        let error = start(&handle, post).await.unwrap().err().unwrap();
        assert_eq!(error.fault, Fault::ClientBody(fault));
        let mut recv = asked.recv().await.unwrap().0.into_body();
        while let Some(Ok(_)) = recv.data().await {}
        assert!(!recv.is_end_stream());
    }
}

#[tokio::test]
async fn a_refused_stream_may_be_sent_again_and_another_reset_not() {
    let (handle, mut asked) = origin().await;
    let resets = [(Reason::REFUSED_STREAM, Fault::Reset, true), (Reason::INTERNAL_ERROR, Fault::StreamReset, false)];
    for (reason, fault, untouched) in resets {
        let exchange = start(&handle, request(Method::POST));
        asked.recv().await.unwrap().1.send_reset(reason);
        let error = exchange.await.unwrap().err().unwrap();
        assert_eq!((error.fault, error.nothing_sent), (fault, untouched));
    }
    assert!(handle.is_usable());
}

#[tokio::test]
async fn a_connection_that_goes_away_takes_no_new_stream() {
    let (node, origin) = duplex(1024 * 1024);
    let server = tokio::spawn(async move {
        let mut connection = h2::server::handshake(origin).await.unwrap();
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        connection.graceful_shutdown();
        respond.send_response(answer(200), true).unwrap();
        while let Some(Ok(_)) = connection.accept().await {}
    });
    let handle = Handle::open(Transport::Script(node), false).await.unwrap();
    assert!(start(&handle, request(Method::GET)).await.unwrap().is_ok());
    server.await.unwrap();
    while handle.is_usable() {
        tokio::task::yield_now().await;
    }
    let error = start(&handle, request(Method::POST)).await.unwrap().err().unwrap();
    assert!(error.nothing_sent, "{error}");
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_an_error() {
    let (handle, mut asked) = origin().await;
    let exchange = start(&handle, request(Method::GET));
    let (_, mut respond) = asked.recv().await.unwrap();
    let mut send = respond.send_response(answer(200), false).unwrap();
    send.send_data(Bytes::from_static(b"part"), false).unwrap();
    let response = exchange.await.unwrap().unwrap();
    send.send_reset(Reason::INTERNAL_ERROR);
    assert_eq!(response.body.collect().await.unwrap_err().fault, Fault::Truncated);
}

#[tokio::test]
async fn a_body_dropped_before_its_end_resets_its_stream_only() {
    let (handle, mut asked) = origin().await;
    let exchange = start(&handle, request(Method::GET));
    let (_, mut respond) = asked.recv().await.unwrap();
    let mut send = respond.send_response(answer(200), false).unwrap();
    drop(exchange.await.unwrap().unwrap());
    let reason = std::future::poll_fn(|cx| send.poll_reset(cx)).await.unwrap();
    assert_eq!((reason, handle.streams(), handle.is_usable()), (Reason::CANCEL, 0, true));
}

#[tokio::test(start_paused = true)]
async fn deadlines_hold_for_the_head_and_between_bytes() {
    let (handle, mut asked) = origin().await;
    let exchange = start(&handle, request(Method::GET));
    let _held = asked.recv().await.unwrap();
    let error = exchange.await.unwrap().err().unwrap();
    assert_eq!(error.fault, Fault::Timeout(Deadline::FirstByte));

    let exchange = start(&handle, request(Method::GET));
    let (_, mut respond) = asked.recv().await.unwrap();
    let _send = respond.send_response(answer(200), false).unwrap();
    let error = exchange.await.unwrap().unwrap().body.collect().await.unwrap_err();
    assert_eq!((error.fault, error.phase), (Fault::Timeout(Deadline::BetweenBytes), Phase::Body));
    assert_eq!(handle.streams(), 0);
}

#[tokio::test]
async fn a_lost_connection_is_seen() {
    let (node, origin) = duplex(1024);
    let handle = Handle::open(Transport::Script(node), false).await.unwrap();
    drop(origin);
    let error = start(&handle, request(Method::GET)).await.unwrap().err().unwrap();
    assert!(matches!(error.fault, Fault::Reset | Fault::Io(_)), "{error}");
    while handle.is_usable() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_answer_that_is_whole_counts_when_the_origin_asks_for_no_more_of_the_request() {
    let (handle, mut asked) = origin().await;
    let (feed, post) = fed(Some(1_000_000));
    let exchange = start(&handle, post);
    let (_request, mut respond) = asked.recv().await.unwrap();
    respond.send_response(answer(200), false).unwrap().send_data(Bytes::from_static(b"ok"), true).unwrap();
    let response = exchange.await.unwrap().unwrap();
    respond.send_reset(Reason::NO_ERROR);
    while !feed.is_closed() {
        tokio::task::yield_now().await;
    }
    assert_eq!(response.body.collect().await.unwrap().to_bytes(), "ok");
    assert!(handle.streams() == 0 && handle.is_usable());
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_vanished_is_found_out_before_the_deadlines() {
    let begin = tokio::time::Instant::now();
    let (node, origin) = duplex(1024 * 1024);
    let handle = Handle::open(Transport::Script(node), false).await.unwrap();
    let exchange = tokio::spawn({
        let handle = handle.clone();
        let patient =
            Deadlines { first_byte: Duration::from_secs(1000), total: Duration::from_secs(1000), ..DEADLINES };
        async move { handle.exchange(&mut request(Method::GET), &patient, None, home().0).await }
    });
    let mut connection = h2::server::handshake(origin).await.unwrap();
    let _asked = connection.accept().await.unwrap().unwrap();
    // From here on nobody drives the origin's side.
    let error = exchange.await.unwrap().err().unwrap();
    assert!(matches!(error.fault, Fault::Reset | Fault::Io(_)), "{error}");
    assert!(begin.elapsed() <= PING_EVERY + PING_WAIT && !handle.is_usable());
}
