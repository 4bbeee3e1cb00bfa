//! Another server is asked: after an answer that says that the first one failed, and while the first one takes long.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::*;
use crate::counters::Snapshot;

fn status(status: u16, body: &str) -> Answer {
    Answer::raw(&format!("HTTP/1.1 {status} Answer\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

/// The bodies of so many fetches, and what was counted.
fn bodies(urls: &[&str], request: impl Fn() -> Request, count: usize) -> (Vec<(u16, Bytes)>, Snapshot) {
    let (client, group) = (
        Client::new(LIMITS),
        group(urls, |settings| {
            settings.retries.budget_percent = 100;
            settings.ejection.failures = 0;
            settings.ejection.error_percent = 0;
        }),
    );
    let bodies = on_a_runtime(async {
        let mut bodies = Vec::new();
        for _ in 0..count {
            let (response, body) = fetch(&client, &group, request()).await.unwrap();
            bodies.push((response.status.as_u16(), body));
        }
        bodies
    });
    let counters = client.counters();
    assert_eq!(client.open_connections().open, client.open_connections().idle, "the pool is whole");
    (bodies, counters)
}

#[test]
fn another_server_is_asked_after_a_503_and_a_500_is_the_answer() {
    let well = Origin::start(|_| Answer::text("well"));
    let busy = Origin::start(|_| status(503, "busy"));
    let (answers, counters) = bodies(&[&busy.url(), &well.url()], || get("/"), 6);
    assert!(answers.iter().all(|(status, body)| *status == 200 && body == "well"), "{answers:?}");
    assert_eq!(counters.retries, 3);
    let broken = Origin::start(|_| status(500, "broken"));
    let (answers, counters) = bodies(&[&broken.url(), &well.url()], || get("/"), 6);
    assert_eq!((answers.iter().filter(|(status, _)| *status == 500).count(), counters.retries), (3, 0));
}

#[test]
fn a_post_is_not_asked_again_after_a_503() {
    let busy = Origin::start(|_| status(503, "busy"));
    let (answers, counters) = bodies(&[&busy.url(), &busy.url().replace("127.0.0.1", "localhost")], || post("pay"), 2);
    assert_eq!((answers[0].0, counters.retries, busy.seen().len()), (503, 0, 2));
}

#[test]
fn when_the_other_server_does_no_better_the_first_answer_stands() {
    let busy = Origin::start(|_| status(503, "busy"));
    let dead = Dead::start();
    let (answers, _) = bodies(&[&busy.url(), &dead.url()], || get("/"), 4);
    assert!(answers.iter().all(|(status, body)| *status == 503 && body == "busy"), "{answers:?}");
}

#[test]
fn a_server_that_hangs_costs_its_clients_little_and_is_ejected() {
    let well = Origin::start(|_| Answer::text("well"));
    // It answers thirty requests, and then nothing any more.
    let answers = AtomicU32::new(0);
    let hangs =
        Origin::start(move |_| if answers.fetch_add(1, Relaxed) < 30 { Answer::text("well") } else { Answer::never() });
    let (client, group) = (
        Client::new(LIMITS),
        group(&[&hangs.url(), &well.url()], |settings| {
            settings.hedge.percent = 10;
            settings.ejection.failures = 3;
            settings.ejection.base_ms = 60_000;
        }),
    );
    on_a_runtime(async {
        for _ in 0..100 {
            let (_, body) = fetch(&client, &group, get("/")).await.unwrap();
            assert_eq!(body, "well");
        }
        assert!(group.servers(std::time::Instant::now())[0].ejected);
    });
    let counters = client.counters();
    assert_eq!(counters.ejections, [0, 0, 1]);
    assert!(counters.hedges_won >= 3, "{}", counters.hedges_won);
    assert_eq!(client.open_connections().open, client.open_connections().idle, "what was given up is closed");
    assert!(group.servers(std::time::Instant::now()).iter().all(|server| server.in_flight == 0));
}

#[test]
fn nothing_is_hedged_that_is_not_safe_to_be_done_twice() {
    let origin = Origin::start(|_| Answer::text("hello"));
    let other = origin.url().replace("127.0.0.1", "localhost");
    let (client, group) =
        (Client::new(LIMITS), group(&[&origin.url(), &other], |settings| settings.hedge.percent = 100));
    on_a_runtime(async {
        for _ in 0..60 {
            fetch(&client, &group, post("pay")).await.unwrap();
        }
    });
    assert_eq!((client.counters().hedges, origin.seen().len()), (0, 60));
}
