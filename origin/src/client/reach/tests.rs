#![allow(clippy::unwrap_used)]

use super::*;
use crate::client::Client;
use crate::client::tests::origin::{Answer, Dead, Origin};
use crate::client::tests::{LIMITS, fetch, get, group, on_a_runtime};
use crate::error::Fault;

/// What a way over these addresses leads to, and the addresses in the order in which it would ask them next.
async fn race(
    client: &Client,
    group: &Group,
    addresses: &[SocketAddr],
) -> (Result<Lease, FetchError>, Vec<SocketAddr>) {
    let way = Way {
        now: Instant::now(),
        pool: &client.pool,
        counters: &client.counters,
        group,
        server: group.server(0),
        upgrade: false,
        early: None,
        fresh: false,
        worker: 0,
        ends: Instant::now() + Duration::from_secs(60),
    };
    let result = way.race(&way.by_preference(addresses), Duration::from_secs(2)).await;
    let next = way.by_preference(addresses);
    (result, next)
}

#[test]
fn the_next_address_is_asked_when_one_refuses_and_the_one_that_answered_is_asked_first_then() {
    let (dead, origin) = (Dead::start(), Origin::start(|_| Answer::text("hello")));
    let addresses = [dead.address(), origin.address()];
    let (client, group) = (Client::new(LIMITS), group(&["http://app.test"], |_| {}));
    on_a_runtime(async {
        let (lease, next) = race(&client, &group, &addresses).await;
        assert!(!lease.unwrap().is_reused());
        assert_eq!(next, [origin.address(), dead.address()]);
        let (lease, _) = race(&client, &group, &addresses).await;
        assert!(lease.unwrap().is_reused());
    });
    assert_eq!(client.counters().connects_failed, 1);
}

#[test]
fn the_next_address_gets_its_chance_when_one_is_slow() {
    let origin = Origin::start(|_| Answer::text("hello"));
    // A host of the documentation network: whether it is silent or refused, it must not decide.
    let silent = "192.0.2.1:9".parse().unwrap();
    let (client, group) = (Client::new(LIMITS), group(&["http://app.test"], |_| {}));
    on_a_runtime(async {
        let (lease, next) = race(&client, &group, &[silent, origin.address()]).await;
        assert!(lease.is_ok());
        assert_eq!(next[0], origin.address());
        drop(lease);
        assert_eq!(client.open_connections().open, 1, "the slow one is given up");
    });
}

#[test]
fn when_no_address_answers_the_failure_is_the_last_ones() {
    let (one, two) = (Dead::start(), Dead::start());
    let (client, group) = (Client::new(LIMITS), group(&["http://app.test"], |_| {}));
    on_a_runtime(async {
        let (lease, _) = race(&client, &group, &[one.address(), two.address()]).await;
        assert_eq!(lease.err().unwrap().fault, Fault::Refused);
    });
    assert_eq!(client.open_connections().open, 0);
}

#[test]
fn a_name_that_leads_to_the_inside_is_refused_where_addresses_must_be_public() {
    let origin = Origin::start(|_| Answer::text("hello"));
    let url = origin.url().replace("127.0.0.1", "localhost");
    for (public_only, expected) in [(false, None), (true, Some(Fault::Prohibited))] {
        let (client, group) = (Client::new(LIMITS), group(&[&url], |settings| settings.public_only = public_only));
        let fetched = on_a_runtime(fetch(&client, &group, get("/")));
        assert_eq!(fetched.err().map(|error| error.fault), expected);
    }
    assert_eq!(origin.seen().len(), 1, "nothing was sent");
    // An address that the settings name is the operator's own word.
    let (client, group) = (Client::new(LIMITS), group(&[&origin.url()], |settings| settings.public_only = true));
    assert!(on_a_runtime(fetch(&client, &group, get("/"))).is_ok());
}
