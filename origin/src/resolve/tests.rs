#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn told(holds: Option<Duration>) -> Holds {
    Box::pin(std::future::ready(holds))
}

/// A resolver whose lookups give these answers in turn, the last one for ever, with the count of lookups.
fn scripted(answers: Vec<Result<&'static str, io::ErrorKind>>) -> (Arc<Resolver>, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let asked = count.clone();
    let lookup: Lookup = Box::new(move |_, _| {
        let turn = asked.fetch_add(1, Ordering::SeqCst);
        let answer = answers[turn.min(answers.len() - 1)];
        Box::pin(async move {
            tokio::task::yield_now().await;
            answer.map(|text| (text.split(' ').map(address).collect(), told(None))).map_err(io::Error::from)
        })
    });
    (Resolver::with_lookup(FRESH, lookup), count)
}

#[tokio::test(start_paused = true)]
async fn an_address_needs_no_lookup() {
    let (resolver, count) = scripted(vec![Err(io::ErrorKind::Other)]);
    assert_eq!(*resolver.resolve("10.0.0.1", 80).await.unwrap(), [address("10.0.0.1:80")]);
    assert_eq!(*resolver.resolve("[::1]", 443).await.unwrap(), [address("[::1]:443")]);
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_first_cause_one_lookup() {
    let (resolver, count) = scripted(vec![Ok("10.0.0.1:80")]);
    let asking: Vec<_> = (0..10)
        .map(|_| {
            let resolver = resolver.clone();
            tokio::spawn(async move { resolver.resolve("Origin.Example", 80).await.unwrap().len() })
        })
        .collect();
    for one in asking {
        assert_eq!(one.await.unwrap(), 1);
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_past_its_time_is_given_while_one_refresh_runs() {
    let (resolver, count) = scripted(vec![Ok("10.0.0.1:80"), Ok("10.0.0.2:80")]);
    resolver.resolve("a", 80).await.unwrap();
    tokio::time::advance(FRESH).await;
    for _ in 0..3 {
        assert_eq!(*resolver.resolve("a", 80).await.unwrap(), [address("10.0.0.1:80")]);
    }
    // The refresh runs as a task of this thread: let it.
    while *resolver.resolve("a", 80).await.unwrap() != [address("10.0.0.2:80")] {
        tokio::task::yield_now().await;
    }
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn the_last_good_answer_outlives_failures() {
    let (resolver, count) = scripted(vec![Ok("10.0.0.1:80"), Err(io::ErrorKind::TimedOut)]);
    resolver.resolve("a", 80).await.unwrap();
    for round in 1..5 {
        tokio::time::advance(FRESH).await;
        assert_eq!(resolver.resolve("a", 80).await.unwrap().len(), 1);
        while count.load(Ordering::SeqCst) < 1 + round {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_failed_is_not_asked_again_at_once() {
    let (resolver, count) = scripted(vec![Err(io::ErrorKind::NotFound), Ok("10.0.0.1:80")]);
    for _ in 0..3 {
        let error = resolver.resolve("a", 80).await.unwrap_err();
        assert_eq!((error.word(), error.nothing_sent), ("dns_error", true));
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
    tokio::time::advance(RETRY).await;
    assert!(resolver.resolve("a", 80).await.is_ok());
}

#[test]
fn families_take_turns() {
    let found = ["[::1]:1", "[::2]:1", "10.0.0.1:1", "10.0.0.1:1", "[::3]:1"].map(address);
    let turns: Vec<_> = interleave(&found).iter().map(ToString::to_string).collect();
    assert_eq!(turns, ["[::1]:1", "10.0.0.1:1", "[::2]:1", "[::3]:1"]);
}

/// A name whose addresses and TTL change from lookup to lookup, as behind a load balancer, and that fails in between.
#[tokio::test(start_paused = true)]
async fn a_name_that_flaps_is_looked_up_again_when_its_ttl_is_over_and_not_before() {
    let answers = [Some(("10.0.0.1:80", 5)), None, Some(("10.0.0.2:80", 300)), Some(("10.0.0.3:80", 1))];
    let count = Arc::new(AtomicUsize::new(0));
    let asked = count.clone();
    let lookup: Lookup = Box::new(move |_, _| {
        let answer = answers[asked.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)];
        Box::pin(async move {
            let (text, ttl_s) = answer.ok_or(io::ErrorKind::TimedOut)?;
            Ok((vec![address(text)], told(Some(Duration::from_secs(ttl_s)))))
        })
    });
    let resolver = Resolver::with_lookup(FRESH, lookup);
    let after = async |seconds: u64| {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        resolver.resolve("a", 80).await.unwrap();
        // The refresh, where there is one, runs as a task of this thread: let it.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        (resolver.resolve("a", 80).await.unwrap()[0], count.load(Ordering::SeqCst))
    };
    assert_eq!(after(0).await, (address("10.0.0.1:80"), 1));
    assert_eq!(after(4).await, (address("10.0.0.1:80"), 1), "its five seconds are not over");
    assert_eq!(after(1).await, (address("10.0.0.1:80"), 2), "the last good answer stands when a lookup fails");
    assert_eq!(after(1).await, (address("10.0.0.2:80"), 3));
    assert_eq!(after(299).await, (address("10.0.0.2:80"), 3), "its five minutes are not over");
    assert_eq!(after(1).await, (address("10.0.0.3:80"), 4));
}
