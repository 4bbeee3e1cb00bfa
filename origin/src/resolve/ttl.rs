//! How long an answer of DNS holds: the system's resolver gives addresses, but no TTL.
//!
//! The addresses stay the system's, so that its hosts file, its search list and its other sources count as ever. Beside
//! it the first name server of `/etc/resolv.conf` is asked for the same name (RFC 1035 section 4), and the least TTL of
//! its answer, aliases included, is believed where it tells of an address that the system gave, too. Whatever goes wrong
//! here leaves the time that is kept without a TTL; an answer that was forged can do no more than that.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

/// How long the name server may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// The least and the most that an answer is believed to hold.
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(3_600);
/// The largest datagram without extensions (RFC 1035 section 4.2.1), and some room for servers that send more.
const DATAGRAM_BYTES_MAX: usize = 4_096;
const HEADER_BYTES: usize = 12;
const PORT: u16 = 53;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const INTERNET: u16 = 1;

/// The first name server of the system. Reads a file: not for worker threads.
pub(super) fn system_nameserver() -> Option<SocketAddr> {
    nameserver(&std::fs::read_to_string("/etc/resolv.conf").ok()?)
}

fn nameserver(text: &str) -> Option<SocketAddr> {
    let mut addresses = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next()? == "nameserver").then(|| words.next()?.parse().ok()).flatten()
    });
    addresses.next().map(|address: IpAddr| SocketAddr::new(address, PORT))
}

/// How long these addresses of a name hold, by the word of a name server.
pub(super) async fn ttl(nameserver: SocketAddr, name: &str, addresses: &[SocketAddr]) -> Option<Duration> {
    // What has no dot is looked for in the search list, by the system.
    if !name.trim_end_matches('.').contains('.') {
        return None;
    }
    let (v4, v6) = tokio::join!(ask(nameserver, name, A), ask(nameserver, name, AAAA));
    let told: Vec<Told> = [v4, v6].into_iter().flatten().collect();
    let is_known = |told: &Told| told.addresses.iter().any(|known| addresses.iter().any(|each| each.ip() == *known));
    if !told.iter().any(is_known) {
        return None;
    }
    told.iter()
        .filter_map(|told| told.ttl_s)
        .min()
        .map(|ttl_s| Duration::from_secs(ttl_s.into()).clamp(TTL_MIN, TTL_MAX))
}

/// What an answer tells.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    addresses: Vec<IpAddr>,
    /// The least of its records.
    ttl_s: Option<u32>,
}

async fn ask(nameserver: SocketAddr, name: &str, kind: u16) -> Option<Told> {
    let query = query(number(), name, kind)?;
    let any: IpAddr = if nameserver.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await.ok()?;
    socket.connect(nameserver).await.ok()?;
    socket.send(&query).await.ok()?;
    let answer = async {
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            let length = socket.recv(&mut datagram).await.ok()?;
            // What does not answer this question is passed over.
            if let Some(told) = told(&datagram[..length], &query) {
                return Some(told);
            }
        }
    };
    timeout(ANSWER_WITHIN, answer).await.ok()?
}

/// A number that nobody can guess easily.
fn number() -> u16 {
    RandomState::new().build_hasher().finish() as u16
}

/// A question for the records of a kind; none for what is no name.
fn query(number: u16, name: &str, kind: u16) -> Option<Vec<u8>> {
    let mut query = Vec::with_capacity(HEADER_BYTES + name.len() + 6);
    query.extend_from_slice(&number.to_be_bytes());
    // Recursion desired, one question.
    query.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.trim_end_matches('.').split('.') {
        if label.is_empty() || label.len() > 63 {
            return None;
        }
        query.push(label.len() as u8);
        query.extend_from_slice(label.as_bytes());
    }
    query.push(0);
    query.extend_from_slice(&kind.to_be_bytes());
    query.extend_from_slice(&INTERNET.to_be_bytes());
    Some(query)
}

/// What a datagram tells, if it answers the query. Of one that was cut off, what is there counts.
fn told(datagram: &[u8], query: &[u8]) -> Option<Told> {
    let mut told = Told { addresses: Vec::new(), ttl_s: None };
    let is_answer = datagram.get(..2)? == &query[..2] && datagram.get(2)? & 0x80 != 0;
    if !is_answer || !datagram.get(HEADER_BYTES..query.len())?.eq_ignore_ascii_case(&query[HEADER_BYTES..]) {
        return None;
    }
    let is_good = datagram[3].trailing_zeros() >= 4;
    let count = u16::from_be_bytes([datagram[6], datagram[7]]);
    let mut rest = &datagram[query.len()..];
    for _ in 0..if is_good { count } else { 0 } {
        let Some((record, behind)) = record(rest) else { break };
        rest = behind;
        if matches!(record.kind, A | AAAA | CNAME) {
            told.ttl_s = Some(told.ttl_s.map_or(record.ttl_s, |least| least.min(record.ttl_s)));
        }
        told.addresses.extend(record.address());
    }
    Some(told)
}

struct Record<'a> {
    kind: u16,
    ttl_s: u32,
    data: &'a [u8],
}

impl Record<'_> {
    fn address(&self) -> Option<IpAddr> {
        match self.kind {
            A => <[u8; 4]>::try_from(self.data).ok().map(IpAddr::from),
            AAAA => <[u8; 16]>::try_from(self.data).ok().map(IpAddr::from),
            _ => None,
        }
    }
}

/// The record that bytes begin with, and what is behind it.
fn record(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (head, behind) = behind_name(bytes)?.split_first_chunk::<10>()?;
    let [kind, kind2, _, _, t0, t1, t2, t3, length, length2] = *head;
    let (data, behind) = behind.split_at_checked(u16::from_be_bytes([length, length2]).into())?;
    let ttl_s = u32::from_be_bytes([t0, t1, t2, t3]);
    // RFC 2181 section 8: one with the highest bit set counts as zero.
    let ttl_s = if ttl_s > u32::MAX / 2 { 0 } else { ttl_s };
    Some((Record { kind: u16::from_be_bytes([kind, kind2]), ttl_s, data }, behind))
}

/// RFC 1035 section 4.1.4: a name ends with an empty label or a pointer; where that leads does not matter here.
fn behind_name(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (&length, behind) = bytes.split_first()?;
        match length {
            0 => return Some(behind),
            0xc0.. => return behind.get(1..),
            _ => bytes = behind.get(usize::from(length)..)?,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const NAME: &str = "app.example.com";

    fn record_of(kind: u16, ttl_s: u32, data: &[u8]) -> Vec<u8> {
        let mut record = vec![0xc0, HEADER_BYTES as u8];
        record.extend_from_slice(&kind.to_be_bytes());
        record.extend_from_slice(&INTERNET.to_be_bytes());
        record.extend_from_slice(&ttl_s.to_be_bytes());
        record.extend_from_slice(&(data.len() as u16).to_be_bytes());
        record.extend_from_slice(data);
        record
    }

    fn answer(query: &[u8], records: &[Vec<u8>]) -> Vec<u8> {
        let mut answer = query.to_vec();
        answer[2] |= 0x80;
        answer[7] = records.len() as u8;
        answer.extend(records.concat());
        answer
    }

    /// A name server that gives the answers to A and to AAAA, after a word of somebody else.
    async fn server(v4: Vec<Vec<u8>>, v6: Vec<Vec<u8>>) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut datagram = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut datagram).await {
                let query = &datagram[..length];
                let is_v6 = query[length - 3] == AAAA as u8;
                let mut forged = answer(query, &[record_of(A, 9, &[10, 0, 0, 1])]);
                forged[0] ^= 1;
                socket.send_to(&forged, from).await.unwrap();
                socket.send_to(&answer(query, if is_v6 { &v6 } else { &v4 }), from).await.unwrap();
            }
        });
        address
    }

    fn addresses(text: &str) -> Vec<SocketAddr> {
        text.split(' ').map(|each| SocketAddr::new(each.parse().unwrap(), 443)).collect()
    }

    #[tokio::test]
    async fn the_least_ttl_of_addresses_and_aliases_counts() {
        let v4 = vec![record_of(CNAME, 70, b"\x01a\0"), record_of(A, 300, &[10, 0, 0, 1])];
        let v6 = vec![record_of(AAAA, 90, &Ipv6Addr::LOCALHOST.octets())];
        let server = server(v4, v6).await;
        assert_eq!(ttl(server, NAME, &addresses("10.0.0.1 ::1")).await, Some(Duration::from_secs(70)));
    }

    #[tokio::test]
    async fn a_ttl_is_kept_within_bounds() {
        for (told, believed) in [(0, TTL_MIN), (u32::MAX, TTL_MIN), (86_400, TTL_MAX)] {
            let server = server(vec![record_of(A, told, &[10, 0, 0, 1])], vec![]).await;
            assert_eq!(ttl(server, NAME, &addresses("10.0.0.1")).await, Some(believed), "{told}");
        }
    }

    #[tokio::test]
    async fn what_the_system_has_from_elsewhere_has_no_ttl() {
        let server = server(vec![record_of(A, 60, &[10, 0, 0, 1])], vec![]).await;
        assert_eq!(ttl(server, NAME, &addresses("192.0.2.1")).await, None, "as of the hosts file");
        assert_eq!(ttl(server, "app", &addresses("10.0.0.1")).await, None, "of the search list");
    }

    #[tokio::test]
    async fn without_a_name_server_there_is_no_ttl() {
        let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(ttl(gone, NAME, &addresses("10.0.0.1")).await, None);
    }

    #[test]
    fn the_first_name_server_of_the_system_is_asked() {
        let text = "# nameserver 10.0.0.9\nsearch a b\nnameserver 10.0.0.1\nnameserver ::1\n";
        assert_eq!(nameserver(text), Some("10.0.0.1:53".parse().unwrap()));
        assert_eq!(nameserver("options rotate\n"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_are_taken_for_more_than_they_are(bytes in proptest::collection::vec(any::<u8>(), 0..96)) {
            let query = query(7, NAME, A).unwrap();
            let whole = [answer(&query, &[]), bytes].concat();
            for end in 0..whole.len() {
                let _ = told(&whole[..end], &query);
            }
        }
    }
}
