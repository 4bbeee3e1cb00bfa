//! Time: which deadline passes, and when. The clock is paused; nothing here waits.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::support::{DEADLINES, home, pipe, pipe_of, read_head, request};
use crate::error::{BodyFault, Deadline, Fault, Phase};
use crate::message::RequestBody;

#[tokio::test(start_paused = true)]
async fn an_origin_that_says_nothing_is_given_up_after_the_first_byte_deadline() {
    let start = Instant::now();
    let (connection, _origin) = pipe();
    let error = connection.exchange(&mut request(Method::GET), &DEADLINES, None, home().0).await.err().unwrap();
    assert_eq!((error.fault, error.phase), (Fault::Timeout(Deadline::FirstByte), Phase::Head));
    assert_eq!(start.elapsed(), DEADLINES.first_byte);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_does_not_move_the_deadline() {
    let start = Instant::now();
    let (connection, mut origin) = pipe();
    tokio::spawn(async move {
        read_head(&mut origin).await;
        for byte in b"HTTP/1.1 200 OK\r\nA: aaaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
            origin.write_all(&[*byte]).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let error = connection.exchange(&mut request(Method::GET), &DEADLINES, None, home().0).await.err().unwrap();
    assert_eq!(error.fault, Fault::Timeout(Deadline::FirstByte));
    assert_eq!(start.elapsed(), DEADLINES.first_byte);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_is_given_up_and_one_that_drips_only_at_the_total() {
    for (pause, deadline, after) in [(6, Deadline::BetweenBytes, 5), (4, Deadline::Total, 60)] {
        let start = Instant::now();
        let (connection, mut origin) = pipe();
        tokio::spawn(async move {
            read_head(&mut origin).await;
            origin.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").await.unwrap();
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_secs(pause)).await;
                if origin.write_all(b"x").await.is_err() {
                    return;
                }
            }
        });
        let mut get = request(Method::GET);
        let response = connection.exchange(&mut get, &DEADLINES, None, home().0).await.unwrap();
        let error = response.body.collect().await.unwrap_err();
        assert_eq!((error.fault, error.phase), (Fault::Timeout(deadline), Phase::Body));
        assert_eq!(start.elapsed().as_secs(), after);
    }
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_takes_no_request_is_given_up_after_the_pause_between_bytes() {
    let start = Instant::now();
    let (connection, _origin) = pipe_of(16);
    let error = connection.exchange(&mut request(Method::GET), &DEADLINES, None, home().0).await.err().unwrap();
    assert_eq!((error.fault, error.phase), (Fault::Timeout(Deadline::BetweenBytes), Phase::Send));
    assert_eq!(start.elapsed(), DEADLINES.between_bytes);
}

#[tokio::test(start_paused = true)]
async fn an_origin_is_not_blamed_for_a_slow_client_until_the_total() {
    let start = Instant::now();
    let (connection, _origin) = pipe();
    let mut post = request(Method::POST);
    post.body = RequestBody::Stream { body: Never.boxed_unsync(), length: None };
    let error = connection.exchange(&mut post, &DEADLINES, None, home().0).await.err().unwrap();
    assert_eq!((error.fault, error.phase), (Fault::Timeout(Deadline::Total), Phase::Send));
    assert_eq!(start.elapsed(), DEADLINES.total);
}

/// A body whose client sends nothing.
struct Never;

impl Body for Never {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        Poll::Pending
    }
}
