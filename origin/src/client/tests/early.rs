//! Requests that go out with a TLS handshake, to a server that resumes sessions as told.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use parking_lot::Mutex;
use rustls::{ServerConfig, ServerConnection};

use super::*;
use crate::settings::Http2;
use crate::tls::authority::{Authority, NAME};

/// What the server does with early data.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    Take,
    /// Its tickets allow early data, and it takes none.
    Refuse,
    /// It takes it, and answers 425 to it.
    Answer425,
    /// Answers 425 to everything.
    Always425,
    /// It closes the connection when it has read it.
    Close,
}

/// A request as the server saw it: its first line, and whether it came before the end of the handshake.
type Came = (String, bool);

struct Server {
    url: String,
    ca: String,
    came: Arc<Mutex<Vec<Came>>>,
}

impl Server {
    /// Closes each connection after one answer, so that every request needs a handshake.
    fn start(does: Does) -> Self {
        let authority = Authority::new();
        let config = authority.server(&authority.certify(NAME, false), &["http/1.1"], false);
        // What tickets promise and what is taken are two configurations over one store of sessions.
        let mut promises = ServerConfig::clone(&config);
        promises.max_early_data_size = 16_384;
        let promises = Arc::new(promises);
        let takes = if does == Does::Refuse { config } else { promises.clone() };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let came = Arc::<Mutex<Vec<Came>>>::default();
        let seen = came.clone();
        std::thread::spawn(move || {
            for (turn, stream) in listener.incoming().enumerate() {
                let config = if turn == 0 { promises.clone() } else { takes.clone() };
                // A client that breaks off is no failure of this server.
                let _ = serve(stream.unwrap(), ServerConnection::new(config).unwrap(), does, &seen);
            }
        });
        Server { url, ca: authority.pem(), came }
    }

    fn group(&self, early_data: bool) -> Arc<Group> {
        group(&[&self.url], |settings| {
            settings.tls.early_data = early_data;
            settings.tls.verify = true;
            settings.tls.ca_pem = Some(self.ca.clone());
            settings.tls.server_name = Some(NAME.into());
            settings.http2 = Http2::Auto;
            settings.retries.attempts = 1;
        })
    }

    fn came(&self) -> Vec<Came> {
        self.came.lock().clone()
    }
}

fn serve(mut io: TcpStream, mut session: ServerConnection, does: Does, came: &Mutex<Vec<Came>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut early = false;
    while !is_whole(&head) {
        session.complete_io(&mut io)?;
        if let Some(mut data) = session.early_data() {
            early |= data.read_to_end(&mut head)? > 0;
        }
        match session.reader().read_to_end(&mut head) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
    }
    let head = String::from_utf8(head).unwrap();
    came.lock().push((head.lines().next().unwrap().to_owned(), early));
    let answer = match does {
        Does::Close if early => return Ok(()),
        Does::Answer425 if early => "425 Too Early",
        Does::Always425 => "425 Too Early",
        _ => "200 OK",
    };
    write!(session.writer(), "HTTP/1.1 {answer}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")?;
    session.send_close_notify();
    while session.wants_write() {
        session.write_tls(&mut io)?;
    }
    // Closed by the client first: a reset would overtake the answer.
    io.shutdown(std::net::Shutdown::Write)?;
    io.read_to_end(&mut Vec::new()).map(drop)
}

/// Head and body are here.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_none_or(|length| body.len() == length.parse::<usize>().unwrap())
}

/// One request to learn the server, then another; the second one's status, what the server saw of it, and what was
/// counted: taken, refused, failed.
fn second(does: Does, early_data: bool, request: Request) -> (u16, Vec<bool>, [u64; 3]) {
    let server = Server::start(does);
    let (client, group) = (Client::new(LIMITS), server.group(early_data));
    let status = on_a_runtime(async {
        fetch(&client, &group, get("/first")).await.unwrap();
        fetch(&client, &group, request).await.unwrap().0.status.as_u16()
    });
    let counters = client.counters();
    assert_eq!((counters.retries, counters.ejections.iter().sum::<u64>()), (0, 0));
    assert_eq!(client.open_connections(), Connections::default(), "the pool is whole");
    assert!(!server.came()[0].1, "nothing goes early without a ticket");
    let came = server.came()[1..].iter().map(|(_, early)| *early).collect();
    (status, came, [counters.early_taken, counters.early_refused, counters.early_failed])
}

#[test]
fn a_safe_request_goes_out_with_the_handshake_and_once() {
    assert_eq!(second(Does::Take, true, get("/")), (200, vec![true], [1, 0, 0]));
    assert_eq!(second(Does::Take, true, request(Method::HEAD, "/")).1, [true]);
}

#[test]
fn nothing_goes_early_unless_the_settings_say_so() {
    assert_eq!(second(Does::Take, false, get("/")), (200, vec![false], [0, 0, 0]));
}

#[test]
fn what_is_unsafe_or_has_a_body_waits_for_the_end_of_the_handshake() {
    let with_body = Request { method: Method::GET, ..post("body") };
    for request in [post("pay"), request(Method::POST, "/"), request(Method::DELETE, "/"), with_body] {
        assert_eq!(second(Does::Take, true, request), (200, vec![false], [0, 0, 0]));
    }
}

#[test]
fn early_data_that_is_refused_is_sent_again_after_the_handshake() {
    assert_eq!(second(Does::Refuse, true, get("/")), (200, vec![false], [0, 1, 0]));
}

#[test]
fn an_answer_of_425_to_early_data_is_not_the_answer() {
    assert_eq!(second(Does::Answer425, true, get("/")), (200, vec![true, false], [1, 0, 1]));
}

#[test]
fn an_answer_of_425_to_a_request_that_was_not_early_is_the_answer() {
    assert_eq!(second(Does::Always425, true, get("/")), (425, vec![true, false], [1, 0, 1]));
    assert_eq!(second(Does::Always425, true, post("pay")), (425, vec![false], [0, 0, 0]));
}

#[test]
fn a_server_that_breaks_off_over_early_data_is_asked_without_and_not_blamed() {
    assert_eq!(second(Does::Close, true, get("/")), (200, vec![true, false], [1, 0, 1]));
}

#[test]
fn a_head_longer_than_the_server_takes_early_waits_for_the_handshake() {
    let mut headers = HeaderMap::new();
    headers.insert("x-long", HeaderValue::from_str(&"x".repeat(20_000)).unwrap());
    let long = Request { headers: headers.into(), ..get("/") };
    assert_eq!(second(Does::Take, true, long), (200, vec![false], [0, 0, 0]));
}
