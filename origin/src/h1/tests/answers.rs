//! What comes back: framing, interim answers, reuse.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Answer, DEADLINES, fetch, home, pipe, read_head, request};
use crate::error::{Excess, Fault, Phase};
use crate::h1::INTERIM_MAX;
use crate::message::{Interim, InterimSink};

const LENGTH: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\n\r\nhello";
const CHUNKED: &[u8] =
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nX-Sum: 1\r\nHost: x\r\n\r\n";
const CLOSE: &[u8] = b"HTTP/1.1 200 OK\r\n\r\nhello";
const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
    HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[tokio::test]
async fn an_answer_reads_the_same_at_every_cut() {
    for (wire, reusable, trailers) in
        [(LENGTH, true, false), (CHUNKED, true, true), (CLOSE, false, false), (INTERIM, true, false)]
    {
        let whole = fetch(Method::GET, &[wire]).await.unwrap();
        assert_eq!((whole.body.as_slice(), whole.reusable), (&b"hello"[..], reusable));
        assert_eq!(whole.trailers.is_some(), trailers);
        for cut in 0..wire.len() {
            let cut_answer = fetch(Method::GET, &[&wire[..cut], &wire[cut..]]).await.unwrap();
            assert_eq!(cut_answer, whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(fetch(Method::GET, &bytes).await.unwrap(), whole);
    }
}

#[tokio::test]
async fn an_answer_cut_off_is_an_error_at_every_byte() {
    for wire in [LENGTH, CHUNKED, INTERIM] {
        for end in 0..wire.len() {
            let error = fetch(Method::GET, &[&wire[..end]]).await.expect_err("a part is not the whole");
            let fault = if end == 0 { Fault::Reset } else { Fault::Truncated };
            assert_eq!(error.fault, fault, "ended at {end}: {error}");
            assert!(!error.nothing_sent);
        }
    }
}

#[tokio::test]
async fn only_a_framed_answer_with_nothing_behind_it_leaves_a_connection() {
    for (wire, reusable) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"[..], true),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n", false),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", false),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", true),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n\r\n", false),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n", false),
        (b"HTTP/1.1 204 No Content\r\n\r\n", true),
        (b"HTTP/1.1 204 No Content\r\n\r\nbody", false),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", true),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok", false),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
    ] {
        let answer = fetch(Method::GET, &[wire]).await.unwrap();
        assert_eq!(answer.reusable, reusable, "{}", wire.escape_ascii());
        assert!(answer.body == b"ok" || answer.body.is_empty());
    }
    let head = fetch(Method::HEAD, &[b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"]).await.unwrap();
    assert!(head.reusable && head.body.is_empty());
    let head = fetch(Method::HEAD, &[b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]).await.unwrap();
    assert!(!head.reusable && head.body.is_empty());
}

#[tokio::test]
async fn a_body_that_breaks_its_coding_is_an_error_after_what_came_before() {
    let wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0x2\r\nok\r\n";
    let error = fetch(Method::GET, &[wire]).await.unwrap_err();
    assert_eq!((error.word(), error.phase), ("malformed", Phase::Body));
    assert_eq!(error.proxy_status_error(), "http_response_transfer_coding");
}

#[tokio::test]
async fn a_connection_goes_home_with_the_last_data_before_the_reader_asks_for_the_end() {
    let (connection, mut origin) = pipe();
    let (home, came) = home();
    let mut asked = request(Method::GET);
    let answer = async {
        read_head(&mut origin).await;
        origin.write_all(CHUNKED).await.unwrap();
    };
    let (response, ()) = tokio::join!(connection.exchange(&mut asked, &DEADLINES, None, home), answer);
    let mut body = response.unwrap().body;
    assert!(!came.load(Ordering::SeqCst));
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hel");
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "lo");
    assert!(came.load(Ordering::SeqCst));
    assert!(body.frame().await.unwrap().unwrap().is_trailers());
    assert!(body.is_end_stream() && body.frame().await.is_none());
}

#[tokio::test]
async fn a_body_dropped_before_its_end_closes_the_connection() {
    let (connection, mut origin) = pipe();
    let (home, came) = home();
    let mut asked = request(Method::GET);
    let answer = async {
        read_head(&mut origin).await;
        origin.write_all(&LENGTH[..LENGTH.len() - 1]).await.unwrap();
    };
    let (response, ()) = tokio::join!(connection.exchange(&mut asked, &DEADLINES, None, home), answer);
    drop(response.unwrap());
    assert_eq!(origin.read(&mut [0; 1]).await.unwrap(), 0);
    assert!(!came.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_connection_serves_one_exchange_after_another() {
    let (connection, mut origin) = pipe();
    let script = tokio::spawn(async move {
        for _ in 0..100 {
            read_head(&mut origin).await;
            origin.write_all(LENGTH).await.unwrap();
        }
        origin
    });
    let mut connection = Some(crate::exchange::Connection::H1(connection));
    for _ in 0..100 {
        let back = Arc::new(Mutex::new(None));
        let place = back.clone();
        let home = Box::new(move |connection| *place.lock() = Some(connection));
        let mut asked = request(Method::GET);
        let response = connection.take().unwrap().exchange(&mut asked, &DEADLINES, None, home).await.unwrap();
        assert_eq!(response.length, Some(5));
        assert_eq!(response.body.collect().await.unwrap().to_bytes(), "hello");
        connection = back.lock().take();
        let Some(crate::exchange::Connection::H1(h1)) = &mut connection else { panic!("it came home") };
        assert!(h1.is_alive());
    }
    drop(script.await.unwrap());
    let Some(crate::exchange::Connection::H1(mut h1)) = connection else { panic!("it came home") };
    assert!(!h1.is_alive());
}

/// Statuses of interim answers.
#[derive(Default)]
struct Seen(Mutex<Vec<u16>>);

impl InterimSink for Seen {
    fn interim(&self, exchange: u64, status: StatusCode, headers: HeaderMap) {
        assert_eq!((exchange, headers.get("link").is_some()), (7, status == 103));
        self.0.lock().push(status.as_u16());
    }
}

/// The interim answers that a script causes to be passed on.
async fn interims(wire: &[u8]) -> (Vec<u16>, Result<u16, Fault>) {
    let (connection, mut origin) = pipe();
    let seen = Arc::<Seen>::default();
    let interim = Interim { sink: seen.clone(), exchange: 7 };
    let mut asked = request(Method::GET);
    let script = async {
        read_head(&mut origin).await;
        origin.write_all(wire).await.unwrap();
    };
    let (result, ()) = tokio::join!(connection.exchange(&mut asked, &DEADLINES, Some(interim), home().0), script);
    let seen = seen.0.lock().clone();
    (seen, result.map(|response| response.status.as_u16()).map_err(|error| error.fault))
}

#[tokio::test]
async fn interim_answers_are_passed_on_up_to_a_bound() {
    assert_eq!(interims(INTERIM).await, (vec![103], Ok(200)));
    let flood = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(1000);
    let (seen, result) = interims(&flood).await;
    assert_eq!((seen.len(), result), (INTERIM_MAX as usize, Err(Fault::TooLarge(Excess::Interim))));
}

#[tokio::test]
async fn a_101_that_nobody_asked_for_is_malformed() {
    let (seen, result) = interims(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n").await;
    assert!(seen.is_empty() && matches!(result, Err(Fault::Malformed(_))));
}

#[tokio::test]
async fn a_101_that_was_asked_for_hands_over_the_connection_and_what_came_behind_it() {
    let (connection, mut origin) = pipe();
    let mut asked = request(Method::GET);
    asked.upgrade = Some(HeaderValue::from_static("websocket"));
    let script = async {
        let head = read_head(&mut origin).await;
        assert!(head.contains("\r\nconnection: upgrade\r\nupgrade: websocket\r\n"));
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nfirst";
        origin.write_all(answer).await.unwrap();
    };
    let (response, ()) = tokio::join!(connection.exchange(&mut asked, &DEADLINES, None, home().0), script);
    let mut response = response.unwrap();
    assert_eq!((response.status.as_u16(), response.headers.get("upgrade")), (101, Some(&b"websocket"[..])));
    let mut upgraded = response.upgraded.take().unwrap();
    let mut buffer = [0; 5];
    upgraded.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"first");
    upgraded.write_all(b"reply").await.unwrap();
    origin.write_all(b"again").await.unwrap();
    origin.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"reply");
    upgraded.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"again");
}

#[tokio::test]
async fn an_answer_to_an_upgrade_may_be_an_ordinary_one() {
    let (connection, mut origin) = pipe();
    let (home, came) = home();
    let mut asked = request(Method::GET);
    asked.upgrade = Some(HeaderValue::from_static("websocket"));
    let script = async {
        read_head(&mut origin).await;
        origin.write_all(LENGTH).await.unwrap();
    };
    let (response, ()) = tokio::join!(connection.exchange(&mut asked, &DEADLINES, None, home), script);
    assert!(response.unwrap().upgraded.is_none() && came.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_408_that_crosses_a_request_on_a_kept_connection_is_its_close() {
    let late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(fetch(Method::GET, &[late]).await.unwrap().status.as_u16(), 408);
    for (method, fault) in [(Method::GET, Some(Fault::Reset)), (Method::POST, None)] {
        let (mut connection, mut origin) = pipe();
        connection.rest();
        let mut asked = request(method);
        let script = async {
            read_head(&mut origin).await;
            origin.write_all(late).await.unwrap();
        };
        let (result, ()) = tokio::join!(connection.exchange(&mut asked, &DEADLINES, None, home().0), script);
        assert_eq!(result.err().map(|error| error.fault), fault);
    }
}

proptest! {
    #[test]
    fn a_mangled_answer_never_panics_and_reads_the_same_at_any_cut(
        which in 0_usize..4,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut wire = [LENGTH, CHUNKED, CLOSE, INTERIM][which].to_vec();
        for (place, byte) in edits {
            let place = place.index(wire.len());
            wire[place] = byte;
        }
        let cut = cut.index(wire.len());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (whole, parts) = runtime.block_on(async {
            (fetch(Method::GET, &[&wire]).await, fetch(Method::GET, &[&wire[..cut], &wire[cut..]]).await)
        });
        match (whole, parts) {
            // Bytes behind the answer that come late are seen before the connection serves again, not now.
            (Ok(whole), Ok(parts)) => prop_assert_eq!(Answer { reusable: parts.reusable, ..whole }, parts),
            (Err(whole), Err(parts)) => prop_assert_eq!(whole.fault, parts.fault),
            (whole, parts) => prop_assert!(false, "{:?} but in parts {:?}", whole, parts),
        }
    }
}
