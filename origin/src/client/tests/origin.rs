//! A real HTTP/1.1 server on loopback, on a thread and runtime of its own, that answers as told and keeps a record.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Its place among the requests of its connection.
    pub(crate) turn: usize,
}

pub(crate) struct Answer {
    bytes: Option<Vec<u8>>,
    closes: bool,
}

impl Answer {
    pub(crate) fn text(body: &str) -> Self {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        Answer { bytes: Some([head.as_bytes(), body.as_bytes()].concat()), closes: false }
    }

    /// These bytes.
    pub(crate) fn raw(text: &str) -> Self {
        Answer { bytes: Some(text.as_bytes().to_vec()), closes: false }
    }

    /// Another protocol from here on.
    pub(crate) fn switch() -> Self {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
        Answer { bytes: Some(head.to_vec()), closes: false }
    }

    /// Close without a word.
    pub(crate) fn close() -> Self {
        Answer { bytes: Some(Vec::new()), closes: true }
    }

    /// Say nothing and stay.
    pub(crate) fn never() -> Self {
        Answer { bytes: None, closes: false }
    }

    /// Close after the answer, without having announced it.
    pub(crate) fn and_close(mut self) -> Self {
        self.closes = true;
        self
    }
}

#[derive(Clone, Copy, Default)]
struct Tally {
    connections: usize,
    seen: usize,
    closed: usize,
}

type Script = dyn Fn(&Seen) -> Answer + Send + Sync;

struct Record {
    script: Box<Script>,
    seen: Mutex<Vec<Seen>>,
    tally: watch::Sender<Tally>,
}

pub(crate) struct Origin {
    address: SocketAddr,
    record: Arc<Record>,
    /// Its certificate, when it speaks TLS.
    certificate: Option<String>,
}

impl Origin {
    pub(crate) fn start(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_with(script, None)
    }

    /// Speaks TLS as `origin.test`, and by ALPN HTTP/1.1 only.
    pub(crate) fn start_tls(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let certified = rcgen::generate_simple_self_signed(["origin.test".to_owned()]).unwrap();
        let key = certified.signing_key.serialize_der().try_into().unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut origin = Self::start_with(script, Some(TlsAcceptor::from(Arc::new(config))));
        origin.certificate = Some(certified.cert.pem());
        origin
    }

    fn start_with(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static, tls: Option<TlsAcceptor>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let record = Arc::new(Record {
            script: Box::new(script),
            seen: Mutex::default(),
            tally: watch::Sender::new(Tally::default()),
        });
        let kept = record.clone();
        std::thread::spawn(move || {
            super::on_a_runtime(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    kept.tally.send_modify(|tally| tally.connections += 1);
                    tokio::spawn(welcome(stream, tls.clone(), kept.clone()));
                }
            });
        });
        Origin { address, record, certificate: None }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub(crate) fn certificate(&self) -> Option<String> {
        self.certificate.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.record.tally.borrow().connections
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.record.seen.lock().clone()
    }

    pub(crate) async fn wait_for_seen(&self, count: usize) {
        self.record.tally.subscribe().wait_for(|tally| tally.seen >= count).await.unwrap();
    }

    pub(crate) async fn wait_for_connections(&self, count: usize) {
        self.record.tally.subscribe().wait_for(|tally| tally.connections >= count).await.unwrap();
    }

    pub(crate) async fn wait_for_closed(&self, count: usize) {
        self.record.tally.subscribe().wait_for(|tally| tally.closed >= count).await.unwrap();
    }
}

/// A server that refuses connections: its port is taken, and nobody listens.
pub(crate) struct Dead(Socket);

impl Dead {
    pub(crate) fn start() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        Dead(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }
}

async fn welcome(stream: TcpStream, tls: Option<TlsAcceptor>, record: Arc<Record>) {
    match tls {
        None => serve(stream, record).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                serve(stream, record).await;
            }
        }
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, record: Arc<Record>) {
    let mut input = Vec::new();
    for turn in 0.. {
        let Some(method) = read_request(&mut stream, &mut input).await else { break };
        let seen = Seen { method, turn };
        record.seen.lock().push(seen.clone());
        record.tally.send_modify(|tally| tally.seen += 1);
        let answer = (record.script)(&seen);
        let Some(bytes) = answer.bytes else { continue };
        if stream.write_all(&bytes).await.is_err() || answer.closes {
            break;
        }
    }
    drop(stream);
    record.tally.send_modify(|tally| tally.closed += 1);
}

/// Reads one request with its body; its method, or `None` at the end.
async fn read_request(stream: &mut (impl AsyncRead + Unpin), input: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(input[..end].to_vec()).ok()?.to_ascii_lowercase();
            let length = head
                .split("content-length: ")
                .nth(1)
                .map_or(0, |rest| rest.lines().next().unwrap_or_default().trim().parse().unwrap_or(0));
            if input.len() >= end + 4 + length {
                input.drain(..end + 4 + length);
                return Some(head.split(' ').next()?.to_ascii_uppercase());
            }
        }
        if stream.read_buf(input).await.ok()? == 0 {
            return None;
        }
    }
}
