//! The client against real servers on loopback.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::{BodyExt, Full};

use super::*;
use crate::error::{Deadline, Fault};
use crate::group::tests::settings;
use crate::message::RequestBody;
use crate::settings::GroupSettings;

mod again;
mod early;
pub(crate) mod origin;
mod shared;
mod warm;

use origin::{Answer, Dead, Origin};

pub(crate) const LIMITS: PoolLimits = PoolLimits { connections_max_total: 100, idle_max_total: 100 };

pub(crate) fn group(urls: &[&str], edit: impl FnOnce(&mut GroupSettings)) -> Arc<Group> {
    let mut settings = settings(urls);
    edit(&mut settings);
    Group::compile(&settings, None).unwrap()
}

fn request(method: Method, target: &'static str) -> Request {
    Request {
        method,
        authority: HeaderValue::from_static("origin.test"),
        target: Bytes::from_static(target.as_bytes()),
        headers: HeaderMap::new().into(),
        body: RequestBody::Empty,
        upgrade: None,
        client: None,
    }
}

pub(crate) fn get(target: &'static str) -> Request {
    request(Method::GET, target)
}

fn post(body: &'static str) -> Request {
    let stream = Full::new(Bytes::from_static(body.as_bytes())).map_err(|never| match never {});
    let body = RequestBody::Stream { body: stream.boxed_unsync(), length: Some(body.len() as u64) };
    Request { body, ..request(Method::POST, "/post") }
}

/// The answer, its body read to the end.
pub(crate) async fn fetch(
    client: &Client,
    group: &Arc<Group>,
    request: Request,
) -> Result<(Response, Bytes), FetchError> {
    let mut response = client.fetch(group, request, None).await?;
    let body = std::mem::replace(&mut response.body, crate::message::ResponseBody::empty());
    let bytes = body.collect().await?.to_bytes();
    Ok((response, bytes))
}

pub(crate) fn on_a_runtime<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Threads that fetch when told, one after the other, each with a runtime of its own.
fn workers(count: u16, client: &Arc<Client>, group: &Arc<Group>) -> Vec<(mpsc::Sender<()>, mpsc::Receiver<bool>)> {
    let start = |index| {
        let (tell, told) = mpsc::channel();
        let (report, reported) = mpsc::channel();
        let (client, group) = (client.clone(), group.clone());
        std::thread::spawn(move || {
            enter_worker(index);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            while told.recv().is_ok() {
                let (response, body) = runtime.block_on(fetch(&client, &group, get("/"))).unwrap();
                assert_eq!(body, "hello");
                report.send(response.reused).unwrap();
            }
        });
        (tell, reported)
    };
    (0..count).map(start).collect()
}

/// Takes turns over eight workers with their own runtimes; all but the first request find a connection.
fn two_thousand_sequential_requests(origin: &Origin, client: &Arc<Client>, group: &Arc<Group>) {
    let workers = workers(8, client, group);
    for round in 0..2_000 {
        let (tell, reported) = &workers[round % workers.len()];
        tell.send(()).unwrap();
        assert_eq!(reported.recv_timeout(Duration::from_secs(10)).unwrap(), round > 0, "round {round}");
    }
    assert!((1..=2).contains(&origin.connections()), "{} connections", origin.connections());
    let counters = client.counters();
    assert_eq!((counters.requests, counters.opened + counters.reused), (2_000, 2_000));
    assert_eq!(counters.first_byte.buckets.iter().sum::<u64>(), 2_000);
    assert_eq!(client.open_connections(), Connections { open: 1, idle: 1, waiting: 0 });
}

#[test]
fn two_thousand_sequential_requests_of_eight_workers_take_one_connection_or_two() {
    let origin = Origin::start(|_| Answer::text("hello"));
    let (client, group) = (Client::new(LIMITS), group(&[&origin.url()], |_| {}));
    two_thousand_sequential_requests(&origin, &client, &group);
}

#[test]
fn so_they_do_over_tls_with_one_handshake() {
    let origin = Origin::start_tls(|_| Answer::text("hello"));
    let (client, group) = (Client::new(LIMITS), group(&[&origin.url()], |settings| trust(settings, &origin)));
    two_thousand_sequential_requests(&origin, &client, &group);
}

fn trust(settings: &mut GroupSettings, origin: &Origin) {
    settings.tls.verify = true;
    settings.tls.ca_pem = origin.certificate();
    settings.tls.server_name = Some("origin.test".into());
}

#[test]
fn a_server_that_chose_http_1_1_is_not_waited_for_as_if_it_could_share() {
    let origin = Origin::start_tls(|_| Answer::never());
    let (client, group) = (Client::new(LIMITS), group(&[&origin.url()], |settings| trust(settings, &origin)));
    on_a_runtime(async {
        let fetches = (0..6).map(|_| {
            let (client, group) = (client.clone(), group.clone());
            tokio::spawn(async move { fetch(&client, &group, get("/")).await.map(drop) })
        });
        let fetches: Vec<_> = fetches.collect();
        origin.wait_for_seen(6).await;
        fetches.iter().for_each(tokio::task::JoinHandle::abort);
    });
    assert_eq!((origin.connections(), client.counters().queued), (6, 5));
}

#[test]
fn a_certificate_that_is_not_trusted_is_refused_and_nothing_is_sent() {
    let origin = Origin::start_tls(|_| Answer::text("hello"));
    let (client, group) = (
        Client::new(LIMITS),
        group(&[&origin.url()], |settings| {
            trust(settings, &origin);
            settings.tls.server_name = Some("other.test".into());
        }),
    );
    on_a_runtime(async {
        let error = fetch(&client, &group, get("/")).await.err().unwrap();
        assert_eq!((error.word(), error.nothing_sent), ("tls_certificate_error", true));
    });
    assert!(origin.seen().is_empty());
    assert_eq!(client.open_connections(), Connections::default());
}

#[test]
fn a_body_left_unread_closes_its_connection_and_no_other() {
    let origin = Origin::start(|_| Answer::text(&"x".repeat(1 << 20)));
    let (client, group) = (Client::new(LIMITS), group(&[&origin.url()], |_| {}));
    on_a_runtime(async {
        let first = client.fetch(&group, get("/"), None).await.unwrap();
        fetch(&client, &group, get("/")).await.unwrap();
        assert_eq!(client.open_connections(), Connections { open: 2, idle: 1, waiting: 0 });
        drop(first);
        assert_eq!(client.open_connections(), Connections { open: 1, idle: 1, waiting: 0 });
        assert_eq!(group.servers(std::time::Instant::now())[0].in_flight, 0);
    });
}

#[test]
fn a_tunnel_counts_as_a_connection_and_as_load_until_it_ends() {
    let origin = Origin::start(|_| Answer::switch());
    let (client, group) = (Client::new(LIMITS), group(&[&origin.url()], |_| {}));
    on_a_runtime(async {
        let request = Request { upgrade: Some(HeaderValue::from_static("echo")), ..get("/") };
        let mut response = client.fetch(&group, request, None).await.unwrap();
        let tunnel = response.upgraded.take().unwrap();
        drop(response);
        let load = || group.servers(std::time::Instant::now())[0].in_flight;
        assert_eq!((client.open_connections().open, load()), (1, 1));
        drop(tunnel);
        assert_eq!((client.open_connections().open, load()), (0, 0));
    });
}

#[test]
fn a_post_that_the_server_drops_is_seen_exactly_once() {
    let origin = Origin::start(|seen| if seen.method == "POST" { Answer::close() } else { Answer::text("hello") });
    let (client, group) = (Client::new(LIMITS), group(&[&origin.url()], |_| {}));
    on_a_runtime(async {
        for warm in [false, true] {
            if warm {
                fetch(&client, &group, get("/")).await.unwrap();
            }
            let error = fetch(&client, &group, post("pay")).await.err().unwrap();
            assert_eq!(error.fault, Fault::Reset, "{error}");
        }
    });
    assert_eq!(origin.seen().iter().filter(|seen| seen.method == "POST").count(), 2);
    assert_eq!(client.counters().retries + client.counters().refreshes, 0);
}

#[test]
fn a_get_on_a_kept_connection_that_had_died_is_made_good_once_and_blames_nobody() {
    // Every connection answers one request and drops the next.
    let origin = Origin::start(|seen| if seen.turn == 0 { Answer::text("hello") } else { Answer::close() });
    let (client, group) = (Client::new(LIMITS), group(&[&origin.url()], |settings| settings.retries.attempts = 1));
    on_a_runtime(async {
        for _ in 0..10 {
            let (response, _) = fetch(&client, &group, get("/")).await.unwrap();
            assert!(!response.reused);
        }
    });
    let counters = client.counters();
    assert_eq!((counters.refreshes, counters.retries, counters.ejections.iter().sum::<u64>()), (9, 0, 0));
    assert_eq!(origin.connections(), 10);
}

#[test]
fn a_kept_connection_that_the_server_closed_is_not_used() {
    let origin = Origin::start(|_| Answer::text("hello").and_close());
    let (client, group) = (Client::new(LIMITS), group(&[&origin.url()], |_| {}));
    on_a_runtime(async {
        fetch(&client, &group, get("/")).await.unwrap();
        origin.wait_for_closed(1).await;
        let error = fetch(&client, &group, post("pay")).await;
        assert!(error.is_ok(), "the close had been seen, so nothing was sent on it");
    });
    let closed = client.counters().closed;
    assert_eq!(closed[5] + closed[6], 1, "seen when it came back, or when it was wanted again");
}

#[test]
fn in_a_full_queue_requests_wait_until_the_deadline_and_are_refused_beyond_it() {
    let origin = Origin::start(|_| Answer::never());
    let (client, group) = (
        Client::new(LIMITS),
        group(&[&origin.url()], |settings| {
            settings.pool.connections_max = 1;
            settings.pool.queue_max = 1;
            settings.pool.queue_ms = 700;
        }),
    );
    on_a_runtime(async {
        let busy = tokio::spawn({
            let (client, group) = (client.clone(), group.clone());
            async move { fetch(&client, &group, get("/")).await.map(drop) }
        });
        origin.wait_for_seen(1).await;
        tokio::time::pause();
        let began = Instant::now();
        let waiting = fetch(&client, &group, get("/"));
        let refused = async {
            tokio::task::yield_now().await;
            fetch(&client, &group, get("/")).await
        };
        let (waited, refused) = tokio::join!(waiting, refused);
        assert_eq!(refused.err().unwrap().fault, Fault::QueueFull);
        assert_eq!(waited.err().unwrap().fault, Fault::Timeout(Deadline::Queue));
        assert!((700..710).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
        tokio::time::resume();
        busy.abort();
        assert!(busy.await.unwrap_err().is_cancelled());
        assert_eq!(client.open_connections(), Connections::default());
    });
    let counters = client.counters();
    assert_eq!((counters.queued, counters.queue_refused, counters.retries), (1, 1, 0));
}

#[test]
fn a_waiter_gets_the_connection_that_comes_back() {
    let origin = Origin::start(|_| Answer::text("hello"));
    let (client, group) = (Client::new(LIMITS), group(&[&origin.url()], |settings| settings.pool.connections_max = 1));
    on_a_runtime(async {
        let fetches = (0..8).map(|_| {
            let (client, group) = (client.clone(), group.clone());
            tokio::spawn(async move { fetch(&client, &group, get("/")).await.map(|(response, _)| response.reused) })
        });
        for fetch in fetches.collect::<Vec<_>>() {
            fetch.await.unwrap().unwrap();
        }
    });
    assert_eq!(origin.connections(), 1);
    assert_eq!(client.counters().reused, 7);
}

#[test]
fn a_server_that_refuses_is_passed_over_ejected_and_tried_again() {
    let origin = Origin::start(|_| Answer::text("hello"));
    let dead = Dead::start();
    let (client, group) = (Client::new(LIMITS), group(&[&dead.url(), &origin.url()], |_| {}));
    on_a_runtime(async {
        for _ in 0..20 {
            let (response, _) = fetch(&client, &group, get("/")).await.unwrap();
            assert_eq!(*response.server, *origin.url());
        }
        let before = client.counters();
        assert_eq!((before.connects_failed, before.ejections.iter().sum::<u64>(), before.retries), (2, 1, 2));
        assert!(group.servers(Instant::now().into_std())[0].ejected);
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::time::resume();
        for _ in 0..4 {
            fetch(&client, &group, get("/")).await.unwrap();
        }
        assert_eq!(client.counters().connects_failed, 3, "one failure on probation ejects it again");
    });
}

#[test]
fn when_every_server_refuses_the_failure_is_the_answer() {
    let dead = [Dead::start(), Dead::start()];
    let (client, group) = (Client::new(LIMITS), group(&[&dead[0].url(), &dead[1].url()], |_| {}));
    on_a_runtime(async {
        let error = fetch(&client, &group, post("pay")).await.err().unwrap();
        assert_eq!((error.fault.clone(), error.is_timeout()), (Fault::Refused, false));
    });
    assert_eq!(client.counters().retries, 1, "nothing was sent, so even a POST may go to the other server");
    assert_eq!(client.open_connections(), Connections::default());
}

#[test]
fn retries_stay_within_their_budget() {
    let dead = [Dead::start(), Dead::start()];
    let (client, group) = (
        Client::new(LIMITS),
        group(&[&dead[0].url(), &dead[1].url()], |settings| {
            settings.retries.budget_percent = 0;
            settings.ejection.failures = 0;
        }),
    );
    on_a_runtime(async { assert!(fetch(&client, &group, get("/")).await.is_err()) });
    assert_eq!((client.counters().retries, client.counters().retries_refused), (0, 1));
}

#[test]
fn idle_connections_are_closed_when_their_time_is_over_though_nothing_happens() {
    let origin = Origin::start(|_| Answer::text("hello"));
    let (client, group) = (Client::new(LIMITS), group(&[&origin.url()], |_| {}));
    on_a_runtime(async {
        fetch(&client, &group, get("/")).await.unwrap();
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(29)).await;
        assert_eq!(client.open_connections().idle, 1);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(client.open_connections(), Connections::default());
    });
    assert_eq!(client.counters().closed[0], 1);
}

#[test]
fn an_answer_whose_head_is_larger_than_the_group_takes_is_refused() {
    let origin = Origin::start(|_| Answer::text("hello"));
    let (client, group) =
        (Client::new(LIMITS), group(&[&origin.url()], |settings| settings.response_header_bytes_max = 30));
    let error = on_a_runtime(fetch(&client, &group, get("/"))).err().unwrap();
    assert_eq!((error.word(), client.counters().retries), ("head_too_large", 0));
}

#[test]
fn an_answer_whose_body_is_longer_than_the_group_takes_is_refused_or_cut_off() {
    let declared = Origin::start(|_| Answer::text("hello"));
    let endless = Origin::start(|_| {
        let body = "4000\r\n".to_owned() + &"x".repeat(0x4000) + "\r\n";
        Answer::raw(&("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned() + &body.repeat(20)))
    });
    for (origin, phase) in [(&declared, Phase::Head), (&endless, Phase::Body)] {
        let (client, group) =
            (Client::new(LIMITS), group(&[&origin.url()], |settings| settings.response_body_bytes_max = 4));
        let error = on_a_runtime(fetch(&client, &group, get("/"))).err().unwrap();
        assert_eq!((error.word(), error.phase), ("body_too_large", phase));
        assert_eq!(client.counters().retries, 0);
        assert_eq!(client.counters().errors.iter().sum::<u64>(), 1);
    }
}

#[test]
fn a_silent_server_is_given_up_at_its_deadline() {
    let origin = Origin::start(|_| Answer::never());
    let (client, group) = (Client::new(LIMITS), group(&[&origin.url()], |_| {}));
    on_a_runtime(async {
        let fetching = tokio::spawn({
            let (client, group) = (client.clone(), group.clone());
            async move { fetch(&client, &group, get("/")).await.err().unwrap() }
        });
        origin.wait_for_seen(1).await;
        tokio::time::pause();
        let error = fetching.await.unwrap();
        assert_eq!((error.fault.clone(), error.is_timeout()), (Fault::Timeout(Deadline::FirstByte), true));
    });
    assert_eq!(client.open_connections(), Connections::default());
}

#[test]
fn fetching_can_be_moved_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let (client, group) = (Client::new(LIMITS), group(&["http://10.0.0.1"], |_| {}));
    is_send(&client.fetch(&group, get("/"), None));
}
