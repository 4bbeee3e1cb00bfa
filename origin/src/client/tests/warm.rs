//! Connections opened ahead of need, against a real server that closes what is idle.

use super::*;

fn warm_group(origin: &Origin, warm: u32) -> Arc<Group> {
    group(&[&origin.url()], |settings| settings.pool.warm = warm)
}

/// Waits until so many connections rest in the pool.
async fn rest(client: &Client, count: usize) {
    while client.open_connections().idle != count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn after_the_origin_has_closed_the_next_request_still_finds_a_connection() {
    let origin = Origin::start(|_| Answer::text("hello").and_close());
    let (client, group) = (Client::new(LIMITS), warm_group(&origin, 4));
    on_a_runtime(async {
        for round in 1..=2 {
            let (response, _) = fetch(&client, &group, get("/")).await.unwrap();
            assert_eq!(response.reused, round == 2);
            // Beside the one that is needed there is a spare one.
            origin.wait_for_connections(round + 2).await;
            rest(&client, 2).await;
        }
    });
    assert_eq!(client.counters().opened_ahead, 3);
    client.close_idle();
    assert_eq!(client.open_connections(), Connections::default());
}

#[test]
fn as_many_are_kept_as_were_busy_at_a_time_within_the_bound() {
    let origin = Origin::start(|_| Answer::text("hello").and_close());
    let (client, group) = (Client::new(LIMITS), warm_group(&origin, 3));
    on_a_runtime(async {
        let fetches = (0..5).map(|_| {
            let (client, group) = (client.clone(), group.clone());
            tokio::spawn(async move { fetch(&client, &group, get("/")).await.map(drop) })
        });
        for fetched in fetches.collect::<Vec<_>>() {
            fetched.await.unwrap().unwrap();
        }
        rest(&client, 3).await;
    });
}

#[test]
fn a_node_that_goes_away_opens_nothing_more() {
    let origin = Origin::start(|_| Answer::text("hello").and_close());
    let (client, group) = (Client::new(LIMITS), warm_group(&origin, 1));
    on_a_runtime(async {
        fetch(&client, &group, get("/")).await.unwrap();
        client.close_idle();
        fetch(&client, &group, get("/")).await.unwrap();
        origin.wait_for_closed(2).await;
    });
    assert_eq!((origin.connections(), client.counters().opened_ahead), (2, 0));
}
