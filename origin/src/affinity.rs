//! What ties a request to a server: a key that the ring places it by, and a cookie that binds a client.
//!
//! Pure. Everything is hashed by XXH3, so that all nodes, and one node after a restart, agree. The cookie holds a hash
//! of the server's URL and the group's name, not the address. It is a wish: a server that is out is not waited for.

use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::message::Request;

/// What a request is placed on the ring by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashBy {
    /// Host and target.
    Url,
    /// The client's address.
    Client,
    /// The value of this field.
    Header(HeaderName),
}

/// How a group ties requests to servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ties {
    /// Where servers are chosen by a key.
    pub hash_by: Option<HashBy>,
    /// The cookie that binds a client to a server.
    pub cookie: Option<Box<str>>,
    /// Differs between groups that share servers.
    pub seed: u64,
}

/// What one request is tied by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Affinity {
    pub key: Option<u64>,
    /// The server that its client is bound to, by [`Ties::bond`].
    pub bound: Option<u64>,
}

/// What a server is told apart by on the ring.
pub fn identity(url: &str) -> u64 {
    xxh3_64(url.as_bytes())
}

impl Ties {
    pub fn new(hash_by: Option<HashBy>, cookie: Option<Box<str>>, group: &str) -> Self {
        Ties { hash_by, cookie, seed: xxh3_64(group.as_bytes()) }
    }

    /// What this request is tied by; cheap where a group ties nothing.
    pub fn of(&self, request: &Request) -> Affinity {
        let key = self.hash_by.as_ref().and_then(|by| key(by, request));
        let cookie = self.cookie.as_ref().and_then(|name| cookie_value(request, name));
        let bound = cookie.and_then(|hex| u64::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok());
        Affinity { key, bound }
    }

    /// What a cookie says of the server with this identity.
    pub fn bond(&self, identity: u64) -> u64 {
        xxh3_64_with_seed(&identity.to_be_bytes(), self.seed)
    }

    /// The field that binds a client to the server with this identity, as long as the browser runs.
    pub fn set_cookie(&self, identity: u64) -> Option<HeaderValue> {
        let name = self.cookie.as_ref()?;
        let line = format!("{name}={:016x}; Path=/; HttpOnly; SameSite=Lax", self.bond(identity));
        HeaderValue::try_from(line).ok()
    }
}

fn key(by: &HashBy, request: &Request) -> Option<u64> {
    match by {
        HashBy::Url => {
            let host = request.authority.as_bytes().to_ascii_lowercase();
            Some(xxh3_64_with_seed(&request.target, xxh3_64(&host)))
        }
        HashBy::Client => Some(match request.client?.to_canonical() {
            std::net::IpAddr::V4(address) => xxh3_64(&address.octets()),
            std::net::IpAddr::V6(address) => xxh3_64(&address.octets()),
        }),
        HashBy::Header(name) => request.headers.first(name).map(|value| xxh3_64(&value)),
    }
}

fn cookie_value(request: &Request, name: &str) -> Option<SmallVec<[u8; 32]>> {
    let line = request.headers.first(&http::header::COOKIE)?;
    line.split(|&byte| byte == b';').find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(SmallVec::from_slice(value))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;
    use http::Method;

    use super::*;
    use crate::message::{RequestBody, RequestFields};

    fn request(fields: &'static [u8]) -> Request {
        Request {
            method: Method::GET,
            authority: HeaderValue::from_static("A.example"),
            target: Bytes::from_static(b"/a"),
            headers: RequestFields::Text(fields.to_vec()),
            body: RequestBody::Empty,
            upgrade: None,
            client: Some("192.0.2.7".parse().unwrap()),
        }
    }

    fn ties(hash_by: Option<HashBy>, cookie: Option<&str>) -> Ties {
        Ties::new(hash_by, cookie.map(Into::into), "app")
    }

    #[test]
    fn the_key_of_a_url_is_its_host_in_any_case_and_its_target() {
        let by_url = ties(Some(HashBy::Url), None);
        let key = |host: &'static str, target: &'static str| {
            let (authority, target) = (HeaderValue::from_static(host), Bytes::from_static(target.as_bytes()));
            by_url.of(&Request { authority, target, ..request(b"") }).key.unwrap()
        };
        assert_eq!(key("a.example", "/x"), key("A.Example", "/x"));
        assert_ne!(key("a.example", "/x"), key("a.example", "/y"));
        assert_ne!(key("a.example", "/x"), key("b.example", "/x"));
    }

    #[test]
    fn a_client_and_a_field_are_keys_where_there_is_one() {
        let by_client = ties(Some(HashBy::Client), None);
        let mapped = Request { client: Some("::ffff:192.0.2.7".parse().unwrap()), ..request(b"") };
        assert_eq!(by_client.of(&request(b"")).key, by_client.of(&mapped).key);
        assert_eq!(by_client.of(&Request { client: None, ..request(b"") }).key, None);
        let by_field = ties(Some(HashBy::Header(HeaderName::from_static("x-user"))), None);
        assert_eq!(by_field.of(&request(b"x-user: 7\r\n")).key, Some(xxh3_64(b"7")));
        assert_eq!(by_field.of(&request(b"")).key, None);
    }

    #[test]
    fn the_cookie_that_a_client_was_given_names_its_server_again() {
        let sticky = ties(None, Some("HL"));
        let line = sticky.set_cookie(identity("http://10.0.0.1")).unwrap();
        let pair = line.to_str().unwrap().split(';').next().unwrap().to_owned();
        assert!(!pair.contains("10.0.0.1"));
        let back = |fields: String| sticky.of(&request(Box::leak(fields.into_bytes().into_boxed_slice()))).bound;
        assert_eq!(back(format!("cookie: a=b; {pair}; c=d\r\n")), Some(sticky.bond(identity("http://10.0.0.1"))));
        assert_eq!(back("cookie: XHL=1; HL=zz\r\n".into()), None);
        assert_ne!(
            Ties { seed: 1, ..sticky.clone() }.bond(7),
            sticky.bond(7),
            "another group's cookie says nothing here"
        );
    }
}
