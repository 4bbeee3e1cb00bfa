//! A server with a known delay is measured as such, stalls included.
#![allow(clippy::unwrap_used)]

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers each request after `delay`; the one with number `stalled` holds up its connection for `stall`.
async fn known_server(delay: Duration, stalled: &'static str, stall: Duration) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(read) = stream.read(&mut buffer).await {
                    if read == 0 {
                        break;
                    }
                    let asked = String::from_utf8_lossy(&buffer[..read]).into_owned();
                    tokio::time::sleep(if asked.contains(stalled) { stall } else { delay }).await;
                    let answer = b"HTTP/1.1 200 OK\r\nX-Cache: HIT\r\nContent-Length: 5\r\n\r\nhello";
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    address
}

fn plan(address: std::net::SocketAddr, more: &str) -> Plan {
    let line = format!("--address {address} --path /n --unique yes --bytes 5 --count-header x-cache {more}");
    Plan::parse(line.split(' ').map(str::to_owned)).unwrap()
}

fn micros(report: &Value, what: &str, quantile: &str) -> f64 {
    report[what][quantile].as_f64().unwrap()
}

#[tokio::test]
async fn a_known_delay_is_measured_as_such_with_kept_and_with_new_connections() {
    let address = known_server(Duration::from_millis(20), "no", Duration::ZERO).await;
    for mode in ["reuse", "new"] {
        let report =
            run(plan(address, &format!("--rate 100 --seconds 0.5 --mode {mode} --connections 8"))).await.unwrap();
        assert_eq!(report["answered"], 50, "{report}");
        assert_eq!(report["statuses"]["200"], 50);
        assert_eq!(report["values"]["HIT"], 50);
        assert_eq!(report["wrong_length"], 0);
        assert_eq!(report["connections"], if mode == "new" { 50 } else { 0 });
        let p50 = micros(&report, "first_byte", "p50");
        assert!((20_000.0..40_000.0).contains(&p50), "{mode}: {p50}");
    }
}

#[tokio::test]
async fn a_stall_counts_for_every_request_that_fell_due_meanwhile() {
    let address = known_server(Duration::ZERO, "/n10 ", Duration::from_millis(200)).await;
    let report = run(plan(address, "--rate 100 --seconds 0.5 --connections 1")).await.unwrap();
    // Due every 10 ms: during 200 ms about twenty of the fifty waited, on average half of it.
    assert_eq!(report["answered"], 50);
    assert!(micros(&report, "first_byte", "p90") > 100_000.0, "{report}");
    assert!(micros(&report, "late", "p50") < 5_000.0, "{report}");
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_is_opened_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
            if stream.read(&mut buffer).await.unwrap() > 0 {
                stream.write_all(answer).await.unwrap();
            }
        }
    });
    let report = run(plan(address, "--rate 100 --seconds 0.1 --connections 1")).await.unwrap();
    assert_eq!((&report["answered"], &report["retried"]), (&Value::from(10), &Value::from(9)), "{report}");
}

#[tokio::test]
async fn a_wrong_length_and_a_refused_connection_are_counted() {
    let address = known_server(Duration::ZERO, "no", Duration::ZERO).await;
    let mut short = plan(address, "--rate 100 --seconds 0.1 --connections 1");
    short.bytes = Some(6);
    assert_eq!(run(short).await.unwrap()["wrong_length"], 10);
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let report = run(plan(closed, "--rate 100 --seconds 0.1 --mode new")).await.unwrap();
    assert_eq!(report["errors"]["connection refused"], 10, "{report}");
    assert!(run(plan(closed, "--rate 100 --seconds 0.1")).await.is_err());
}

#[test]
fn poisson_arrivals_have_the_rate_that_was_asked_for() {
    let mut arrivals = Arrivals { gap: 0.01, random: Some(7), at: 0.0 };
    let last = (0..10_000).map(|_| arrivals.next()).last().unwrap();
    assert!((last - 100.0).abs() < 4.0, "{last}");
}
