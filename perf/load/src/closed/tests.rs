//! Against a server over HTTP/3 that counts: so many at once, each with a body of five bytes.
#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use quinn::{Endpoint, ServerConfig};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};

use super::*;
use crate::plan::Plan;
use crate::run::run;

/// How many requests are with the server, how many that was at most; and how often a session came back.
#[derive(Debug, Default)]
struct Seen {
    now: AtomicUsize,
    most: AtomicUsize,
    resumed: AtomicUsize,
}

/// The sessions of the server; quinn does not say which connections resumed one.
#[derive(Debug)]
struct Sessions(Arc<ServerSessionMemoryCache>, Arc<Seen>);

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.0.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let found = self.0.take(key)?;
        self.1.resumed.fetch_add(1, Relaxed);
        Some(found)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

fn endpoint(seen: &Arc<Seen>) -> Endpoint {
    let made = rcgen::generate_simple_self_signed(["www.example.com".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    tls.session_storage = Arc::new(Sessions(ServerSessionMemoryCache::new(64), seen.clone()));
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let quic = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    Endpoint::server(ServerConfig::with_crypto(Arc::new(quic)), (Ipv4Addr::LOCALHOST, 0).into()).unwrap()
}

async fn serve(incoming: quinn::Incoming, seen: Arc<Seen>) {
    let quic = h3_quinn::Connection::new(incoming.await.unwrap());
    let mut connection = h3::server::Connection::<_, Bytes>::new(quic).await.unwrap();
    while let Ok(Some(request)) = connection.accept().await {
        let seen = seen.clone();
        tokio::spawn(async move {
            seen.most.fetch_max(seen.now.fetch_add(1, Relaxed) + 1, Relaxed);
            let (_, mut stream) = request.resolve_request().await.unwrap();
            tokio::task::yield_now().await; // so that the others of this connection are there, too
            seen.now.fetch_sub(1, Relaxed);
            stream.send_response(http::Response::new(())).await.unwrap();
            stream.send_data(Bytes::from_static(b"hello")).await.unwrap();
            stream.finish().await.unwrap();
        });
    }
}

fn known_server() -> (SocketAddr, Arc<Seen>) {
    let seen = Arc::<Seen>::default();
    let endpoint = endpoint(&seen);
    let (address, watched) = (endpoint.local_addr().unwrap(), seen.clone());
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(serve(incoming, seen.clone()));
        }
    });
    (address, watched)
}

fn plan(address: SocketAddr, more: &str) -> Plan {
    let line = format!("--address {address} --path /n --bytes 5 --door h3 --seconds 0.2 {more}");
    Plan::parse(line.split(' ').map(str::to_owned)).unwrap()
}

#[tokio::test]
async fn so_many_requests_are_under_way_on_every_connection_and_all_are_answered() {
    let (address, seen) = known_server();
    let report = run(plan(address, "--streams 3 --connections 2")).await.unwrap();
    assert_eq!(report["due"], report["answered"], "{report}");
    assert_eq!((&report["wrong_length"], &report["errors"]), (&0.into(), &serde_json::json!({})), "{report}");
    assert!(report["answered"].as_u64().unwrap() > 6, "{report}");
    assert!((2..=6).contains(&seen.most.load(Relaxed)), "{}", seen.most.load(Relaxed));
}

#[tokio::test]
async fn a_session_is_resumed_only_where_the_plan_says_so() {
    for resume in ["no", "yes"] {
        let (address, seen) = known_server();
        let report = run(plan(address, &format!("--rate 100 --mode new --resume {resume}"))).await.unwrap();
        assert_eq!(report["answered"], 20, "{report}");
        assert_eq!(report["resumed"], seen.resumed.load(Relaxed), "{report}");
        assert_eq!(seen.resumed.load(Relaxed) > 0, resume == "yes", "{report}");
    }
}
