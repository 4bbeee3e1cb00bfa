#![allow(clippy::unwrap_used)]
use super::*;
use crate::fill::WINDOW_BYTES;
use crate::fill_reader::FillReader;
use crate::fixtures::{key, parts};
use crate::ledger::Epoch;
use crate::outcome::{MissReason, Outcome};
use bytes::Bytes;
use http_body::Body as _;
use std::collections::HashMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

const LIMITS: CollapseLimits = CollapseLimits { followers_max: 100, fill_bytes_max: 1 << 30 };

/// Counts how often it was woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    fn rings(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Polls once, without anybody to wake.
fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn now<T>(future: impl Future<Output = T>) -> T {
    match poll_once(future) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it should be ready at once"),
    }
}

fn head(length: Option<u64>, object_bytes_max: u64) -> Arc<FillHead> {
    let parts = parts("h", "/", 0);
    Arc::new(FillHead {
        head: parts.head,
        freshness: parts.freshness,
        vary: parts.vary,
        tags: parts.tags,
        length,
        outcome: Outcome::Miss(MissReason::Absent),
        born: Epoch(0),
        object_bytes_max,
        generation: 0,
    })
}

fn lead(collapse: &Collapse, target: &str) -> Lead {
    match collapse.join(key("h", target).as_ref(), 0) {
        Join::Lead(lead) => lead,
        _ => panic!("nobody else should lead"),
    }
}

fn follow(collapse: &Collapse, target: &str) -> Follower {
    match collapse.join(key("h", target).as_ref(), 0) {
        Join::Follow(follower) => follower,
        _ => panic!("a fill should be running"),
    }
}

fn poll_frame(reader: &mut FillReader) -> Poll<Option<Result<Bytes, Broken>>> {
    poll_frame_with(reader, Waker::noop())
}

fn poll_frame_with(reader: &mut FillReader, waker: &Waker) -> Poll<Option<Result<Bytes, Broken>>> {
    let polled = Pin::new(reader).poll_frame(&mut Context::from_waker(waker));
    polled.map(|frame| frame.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default())))
}

/// Everything up to the end or the break.
async fn read_all(mut reader: FillReader) -> Result<Vec<u8>, Broken> {
    let mut all = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut reader).poll_frame(cx)).await {
        all.extend_from_slice(&frame?.into_data().unwrap_or_default());
    }
    Ok(all)
}

#[test]
fn followers_see_the_head_and_each_byte_as_soon_as_it_is_there() {
    let collapse = Collapse::new(LIMITS);
    let lead = lead(&collapse, "/");
    let mut follower = follow(&collapse, "/");
    assert!(poll_once(follower.head()).is_pending());
    lead.publish(head(None, 1000));
    assert_eq!(now(follower.head()).unwrap().head.status(), 200);
    let mut reader = follower.into_reader();
    assert!(poll_frame(&mut reader).is_pending());
    now(lead.append(b"abc")).unwrap();
    assert_eq!(poll_frame(&mut reader), Poll::Ready(Some(Ok(Bytes::from("abc")))));
    assert!(poll_frame(&mut reader).is_pending());
    lead.seal(b"", None).unwrap().retire();
    assert_eq!(poll_frame(&mut reader), Poll::Ready(None));
}

#[test]
fn who_has_read_all_of_a_response_can_rely_on_its_being_stored() {
    let collapse = Collapse::new(LIMITS);
    let lead = lead(&collapse, "/");
    let mut reader = lead.follow().into_reader();
    lead.publish(head(Some(6), 1000));
    now(lead.append(b"abc")).unwrap();
    let sealed = lead.seal(b"def", None).unwrap();
    assert_eq!(&sealed.body().unwrap().chunks()[0][..], b"abcdef");
    // The store has nothing yet, so the last bytes are not out.
    assert_eq!(poll_frame(&mut reader), Poll::Ready(Some(Ok(Bytes::from("abc")))));
    assert!(poll_frame(&mut reader).is_pending());
    sealed.retire();
    assert_eq!(now(read_all(reader)).unwrap(), b"def");
    assert_eq!(collapse.fills(), 0);
}

#[test]
fn every_waiter_is_woken_once_per_event() {
    let collapse = Collapse::new(LIMITS);
    let lead = lead(&collapse, "/");
    let bells: Vec<Arc<Bell>> = std::iter::repeat_with(Arc::default).take(3).collect();
    let wakers: Vec<Waker> = bells.iter().map(|bell| bell.clone().into()).collect();
    let mut followers: Vec<Follower> = (0..3).map(|_| follow(&collapse, "/")).collect();
    for (follower, waker) in followers.iter_mut().zip(&wakers) {
        assert!(pin!(follower.head()).poll(&mut Context::from_waker(waker)).is_pending());
    }
    lead.publish(head(None, 1000));
    let mut readers: Vec<FillReader> = followers.into_iter().map(Follower::into_reader).collect();
    for (reader, waker) in readers.iter_mut().zip(&wakers) {
        assert!(poll_frame_with(reader, waker).is_pending());
    }
    now(lead.append(b"a")).unwrap();
    now(lead.append(b"b")).unwrap();
    assert!(bells.iter().all(|bell| bell.rings() == 2));
    for (reader, waker) in readers.iter_mut().zip(&wakers) {
        while poll_frame_with(reader, waker).is_ready() {}
    }
    drop(lead);
    assert!(bells.iter().all(|bell| bell.rings() == 3));
}

#[test]
fn a_fill_that_breaks_never_looks_whole() {
    let collapse = Collapse::new(LIMITS);
    let timeout = Broken { error: "http_response_timeout", timeout: true };
    for broken in [Some(timeout), None] {
        let lead = lead(&collapse, "/");
        let (early, mut late) = (follow(&collapse, "/").into_reader(), follow(&collapse, "/").into_reader());
        lead.publish(head(None, 1000));
        now(lead.append(b"abc")).unwrap();
        assert!(poll_frame(&mut late).is_ready());
        match broken {
            Some(broken) => lead.fail(broken),
            None => drop(lead),
        }
        let expected = broken.unwrap_or(Broken::ABANDONED);
        assert_eq!(now(read_all(early)), Err(expected));
        assert_eq!(poll_frame(&mut late), Poll::Ready(Some(Err(expected))));
        assert_eq!(collapse.fills(), 0);
    }
}

#[test]
fn a_body_of_another_length_than_declared_breaks_the_fill() {
    for body in ["abc", "abcdef"] {
        let collapse = Collapse::new(LIMITS);
        let lead = lead(&collapse, "/");
        let reader = lead.follow().into_reader();
        lead.publish(head(Some(5), 1000));
        now(lead.append(b"ab")).unwrap();
        assert_eq!(lead.seal(&body.as_bytes()[2..], None).err(), Some(Broken::INCOMPLETE));
        assert_eq!(now(read_all(reader)), Err(Broken::INCOMPLETE));
        assert_eq!((collapse.fills(), collapse.fill_bytes()), (0, 0));
    }
}

#[test]
fn an_uncacheable_answer_sends_every_follower_away_at_once() {
    let collapse = Collapse::new(LIMITS);
    let lead = lead(&collapse, "/");
    let mut followers: Vec<Follower> = (0..10).map(|_| follow(&collapse, "/")).collect();
    lead.release();
    for follower in &mut followers {
        assert_eq!(now(follower.head()).err(), Some(NoHead::Uncacheable));
    }
    for follower in followers {
        assert_eq!(now(read_all(follower.into_reader())), Err(Broken::ABANDONED));
    }
}

#[test]
fn when_the_leader_is_lost_before_the_head_a_follower_can_lead() {
    let collapse = Collapse::new(LIMITS);
    let first = lead(&collapse, "/");
    let mut follower = follow(&collapse, "/");
    drop(first);
    assert_eq!(now(follower.head()).err(), Some(NoHead::Abandoned));
    let second = lead(&collapse, "/");
    let mut follower = follow(&collapse, "/");
    second.fail(Broken { error: "connection_refused", timeout: false });
    assert_eq!(
        now(follower.head()).err(),
        Some(NoHead::Failed(Broken { error: "connection_refused", timeout: false }))
    );
    let third = lead(&collapse, "/");
    let mut follower = follow(&collapse, "/");
    third.found();
    assert_eq!(now(follower.head()).err(), Some(NoHead::LookAgain));
}

#[test]
fn keys_and_variants_never_share_a_fill() {
    let collapse = Collapse::new(LIMITS);
    let _one = lead(&collapse, "/a");
    let _other = lead(&collapse, "/b");
    let variant = collapse.join(key("h", "/a").as_ref(), 7);
    assert!(matches!(variant, Join::Lead(_)));
    assert_eq!(collapse.fills(), 3);
}

#[test]
fn a_background_fill_runs_once_and_can_be_followed() {
    let collapse = Collapse::new(LIMITS);
    let key = key("h", "/");
    let lead = collapse.try_lead(key.as_ref(), 0).unwrap();
    assert!(collapse.try_lead(key.as_ref(), 0).is_none());
    let reader = follow(&collapse, "/").into_reader();
    lead.publish(head(None, 1000));
    lead.seal(b"abc", None).unwrap().retire();
    assert_eq!(now(read_all(reader)).unwrap(), b"abc");
    assert!(collapse.try_lead(key.as_ref(), 0).is_some());
}

#[test]
fn a_fill_takes_no_morefollowers_than_its_bound() {
    let collapse = Collapse::new(CollapseLimits { followers_max: 2, ..LIMITS });
    let _lead = lead(&collapse, "/");
    let followers = [follow(&collapse, "/"), follow(&collapse, "/")];
    assert!(matches!(collapse.join(key("h", "/").as_ref(), 0), Join::Crowded));
    drop(followers);
    let _again = follow(&collapse, "/");
}

#[test]
fn a_fill_to_be_stored_never_waits_for_its_readers() {
    let collapse = Collapse::new(LIMITS);
    let lead = lead(&collapse, "/");
    let slow = lead.follow().into_reader();
    assert_eq!(lead.publish(head(None, u64::MAX)), Retention::Whole);
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..100 {
        now(lead.append(&piece)).unwrap();
    }
    drop(slow);
    now(lead.append(&piece)).unwrap();
    assert_eq!(collapse.fill_bytes(), 101 * 64 * 1024);
    let sealed = lead.seal(&[], None).unwrap();
    assert_eq!(sealed.body().unwrap().len(), 101 * 64 * 1024);
    sealed.retire();
    assert_eq!(collapse.fill_bytes(), 0);
}

#[test]
fn a_body_that_outgrows_the_store_becomes_a_window() {
    let collapse = Collapse::new(LIMITS);
    let lead = lead(&collapse, "/");
    let (mut fast, mut slow) = (lead.follow().into_reader(), follow(&collapse, "/").into_reader());
    lead.publish(head(None, 100_000));
    let piece = vec![b'x'; 64 * 1024];
    (0..4).for_each(|_| now(lead.append(&piece)).unwrap());
    assert!(matches!(collapse.join(key("h", "/").as_ref(), 0), Join::Crowded));
    // More than the window is unread: the leader waits, for the slower of both.
    let (bell, mut waiting) = (Arc::new(Bell::default()), Box::pin(lead.append(&piece)));
    let waker = bell.clone().into();
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    while poll_frame(&mut fast).is_ready() {}
    assert_eq!((bell.rings(), collapse.fill_bytes()), (0, 5 * 64 * 1024));
    assert!(poll_frame(&mut slow).is_ready());
    assert_eq!((bell.rings(), collapse.fill_bytes()), (1, WINDOW_BYTES));
    assert_eq!(waiting.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(Ok(())));
    drop(waiting);
    let sealed = lead.seal(b"end", None).unwrap();
    assert!(sealed.body().is_none());
    sealed.retire();
    assert_eq!(now(read_all(slow)).unwrap().len(), 4 * 64 * 1024 + 3);
    assert_eq!(now(read_all(fast)).unwrap(), b"end");
    assert_eq!(collapse.fill_bytes(), 0);
}

#[test]
fn a_window_that_nobody_reads_stops_the_fetch() {
    let collapse = Collapse::new(LIMITS);
    let lead = lead(&collapse, "/");
    let reader = lead.follow().into_reader();
    assert_eq!(lead.publish(head(Some(1 << 40), 1000)), Retention::Window);
    let piece = vec![b'x'; WINDOW_BYTES as usize + 1];
    let (bell, mut waiting) = (Arc::new(Bell::default()), Box::pin(lead.append(&piece)));
    let waker = bell.clone().into();
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(reader);
    assert_eq!(bell.rings(), 1);
    assert_eq!(waiting.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(Err(NobodyReads)));
    drop(waiting);
    drop(lead);
    assert_eq!((collapse.fills(), collapse.fill_bytes()), (0, 0));
}

#[test]
fn running_fills_share_one_bound_of_memory() {
    let collapse = Collapse::new(CollapseLimits { fill_bytes_max: 1_000_000, ..LIMITS });
    let piece = vec![b'x'; 50_000];
    let mut running = Vec::new();
    for number in 0..10 {
        let lead = lead(&collapse, &format!("/{number}"));
        let reader = lead.follow().into_reader();
        lead.publish(head(None, u64::MAX));
        running.push((lead, reader));
    }
    for _ in 0..10 {
        for (lead, _) in &running {
            _ = poll_once(lead.append(&piece));
        }
        // Those that became windows may still hold what their readers have not taken.
        for (_, reader) in &mut running {
            while poll_frame(reader).is_ready() {}
        }
        assert!(collapse.fill_bytes() <= 1_000_000 + 10 * 50_000);
    }
    assert_eq!(lead(&collapse, "/late").publish(head(Some(900_000), u64::MAX)), Retention::Window);
    drop(running);
    assert_eq!(collapse.fill_bytes(), 0);
}

#[test]
fn a_part_is_read_from_a_running_fill() {
    let collapse = Collapse::new(LIMITS);
    let lead = lead(&collapse, "/");
    let mut reader = lead.follow().into_reader().narrowed(2, 5);
    assert_eq!(reader.size_hint().exact(), Some(3));
    lead.publish(head(Some(9), 1000));
    assert!(poll_frame(&mut reader).is_pending());
    now(lead.append(b"abcd")).unwrap();
    assert_eq!(poll_frame(&mut reader), Poll::Ready(Some(Ok(Bytes::from("cd")))));
    now(lead.append(b"efgh")).unwrap();
    assert_eq!(poll_frame(&mut reader), Poll::Ready(Some(Ok(Bytes::from("e")))));
    // The part is whole, whatever becomes of the rest.
    drop(lead);
    assert_eq!(poll_frame(&mut reader), Poll::Ready(None));
}

#[test]
fn trailers_come_after_the_whole_body_and_are_there_to_be_stored() {
    let collapse = Collapse::new(LIMITS);
    let lead = lead(&collapse, "/");
    let mut reader = lead.follow().into_reader();
    lead.publish(head(None, 1000));
    let mut trailers = HeaderMap::new();
    trailers.insert("checksum", "1".parse().unwrap());
    let sealed = lead.seal(b"abc", Some(trailers.clone())).unwrap();
    assert_eq!(sealed.trailers(), Some(trailers.clone()));
    sealed.retire();
    let mut frame = || now(std::future::poll_fn(|cx| Pin::new(&mut reader).poll_frame(cx)));
    assert_eq!(frame().unwrap().unwrap().into_data().unwrap(), "abc");
    assert_eq!(frame().unwrap().unwrap().into_trailers().unwrap(), trailers);
    assert!(frame().is_none());
}

/// Threads look into a store, join, lead and finish as fast as they can. However they meet, a response is fetched once
/// per round, everybody gets it whole, and nobody waits for ever.
#[test]
fn a_request_finds_the_object_or_the_fill_or_leads() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 1500;
    let collapse = Collapse::new(LIMITS);
    let store: Mutex<HashMap<usize, Body>> = Mutex::new(HashMap::new());
    let (fetches, barrier) = (AtomicUsize::new(0), Barrier::new(THREADS));
    let request = |round: usize| {
        block_on(async {
            let text = format!("response {round}").into_bytes();
            loop {
                if let Some(body) = store.lock().get(&round) {
                    break assert_eq!(body.chunks()[0], text);
                }
                match collapse.join(key("h", &format!("/{round}")).as_ref(), 0) {
                    Join::Crowded => panic!("there is room for all"),
                    Join::Lead(lead) => {
                        if store.lock().contains_key(&round) {
                            lead.found();
                            continue;
                        }
                        fetches.fetch_add(1, Ordering::SeqCst);
                        let own = lead.follow();
                        lead.publish(head(Some(text.len() as u64), 1000));
                        lead.append(&text[..5]).await.unwrap();
                        let sealed = lead.seal(&text[5..], None).unwrap();
                        store.lock().insert(round, sealed.body().unwrap().clone());
                        sealed.retire();
                        break assert_eq!(read_all(own.into_reader()).await.unwrap(), text);
                    }
                    Join::Follow(mut follower) => match follower.head().await {
                        Ok(_) => break assert_eq!(read_all(follower.into_reader()).await.unwrap(), text),
                        Err(reason) => assert_eq!(reason, NoHead::LookAgain),
                    },
                }
            }
        });
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for round in 0..ROUNDS {
                    barrier.wait();
                    request(round);
                }
            });
        }
    });
    assert_eq!(fetches.load(Ordering::SeqCst), ROUNDS);
    assert_eq!((collapse.fills(), collapse.fill_bytes()), (0, 0));
}

/// Leaders that vanish at every point, followers that come and go: whoever sees a clean end has every byte.
#[test]
fn followers_on_many_threads_read_every_byte_or_see_the_break() {
    const LENGTH: usize = 300_000;
    let text: Vec<u8> = (0..LENGTH).map(|at| (at * 31 % 251) as u8).collect();
    for (round, object_bytes_max) in (0..40).map(|round| (round, if round % 2 == 0 { u64::MAX } else { 100_000 })) {
        let collapse = Collapse::new(LIMITS);
        let lead = lead(&collapse, "/");
        let barrier = Barrier::new(4);
        let piece_bytes = 1 + round * 997;
        let breaks = round % 4 >= 2;
        let pieces_max = if breaks { LENGTH.div_ceil(piece_bytes) * round / 40 } else { usize::MAX };
        let readers: Vec<FillReader> = (0..3).map(|_| follow(&collapse, "/").into_reader()).collect();
        std::thread::scope(|scope| {
            let (text, barrier) = (&text, &barrier);
            for (number, reader) in readers.into_iter().enumerate() {
                scope.spawn(move || {
                    barrier.wait();
                    if number == 2 && round % 8 == 7 {
                        return;
                    }
                    match block_on(read_all(reader)) {
                        Ok(all) => assert!(all == *text && !breaks),
                        Err(broken) => assert!(broken == Broken::ABANDONED && breaks),
                    }
                });
            }
            scope.spawn(move || {
                barrier.wait();
                block_on(async {
                    lead.publish(head(None, object_bytes_max));
                    for (number, piece) in text.chunks(piece_bytes).enumerate() {
                        if number >= pieces_max || lead.append(piece).await.is_err() {
                            return;
                        }
                    }
                    lead.seal(b"", None).unwrap().retire();
                });
            });
        });
        assert_eq!((collapse.fills(), collapse.fill_bytes()), (0, 0), "round {round}");
    }
}

/// The thundering herd: thousands on one key are one fetch, and the body stands in memory once.
#[test]
fn five_thousandfollowers_share_one_fetch_and_one_copy() {
    let collapse = Collapse::new(CollapseLimits { followers_max: 10_000, ..LIMITS });
    let lead = lead(&collapse, "/");
    let mut readers: Vec<FillReader> = (0..5000).map(|_| follow(&collapse, "/").into_reader()).collect();
    lead.publish(head(None, u64::MAX));
    now(lead.append(&vec![b'x'; 100_000])).unwrap();
    let mut places = readers.iter_mut().map(|reader| match poll_frame(reader) {
        Poll::Ready(Some(Ok(data))) => data.as_ptr() as usize,
        _ => panic!("the bytes are there"),
    });
    let first = places.next().unwrap();
    assert!(places.all(|place| place == first));
    assert_eq!(collapse.fill_bytes(), 100_000);
}

#[test]
fn an_outdated_fill_serves_its_followers_is_not_to_be_stored_and_takes_no_new_ones() {
    let collapse = Collapse::new(LIMITS);
    let (old, untouched) = (lead(&collapse, "/"), lead(&collapse, "/other"));
    let Join::Lead(variant) = collapse.join(key("h", "/").as_ref(), 7) else { panic!("a variant of its own") };
    let mut reader = old.follow().into_reader();
    collapse.outdate(key("h", "/").as_ref());
    assert!(old.is_outdated() && variant.is_outdated() && !untouched.is_outdated());
    let next = lead(&collapse, "/");
    old.publish(head(None, 100));
    let sealed = old.seal(b"old", None).unwrap();
    assert!(sealed.is_outdated());
    sealed.retire();
    assert_eq!(poll_frame(&mut reader), Poll::Ready(Some(Ok(Bytes::from_static(b"old")))));
    // The end of the old one leaves its successor where it is.
    assert!(!next.is_outdated());
    drop(follow(&collapse, "/"));
}
