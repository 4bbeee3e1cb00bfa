//! What peers say to each other in the field Headland-Peer.
//!
//! With a request: the secret that all of them share, and the client's scheme and address, which a request loses when it
//! is passed on, and whether the request has been done and is told for what it has changed ([`super::notice`]). Without
//! the right secret it is refused, so that nobody else can speak for a client. With an answer from
//! what is stored: how many milliseconds ago it came from the origin. Beside it stand the fields that only a cache
//! reads: how long the response is fresh and what it is tagged with.

use std::net::IpAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use headland_cache::{Fields, Freshness, Scheme, Tags, Time};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Peers;
use crate::forward::PEER;
use crate::request::Received;
use crate::snapshot::Snapshot;

const LIFETIME: HeaderName = HeaderName::from_static("headland-cdn-cache-control");
/// Its tags stand apart by blanks, so that they may hold commas.
const TAGS_BY_BLANK: HeaderName = HeaderName::from_static("surrogate-key");
/// Its tags stand apart by commas, so that they may hold blanks.
const TAGS_BY_COMMA: HeaderName = HeaderName::from_static("cache-tag");

/// For whom a peer asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asking {
    pub scheme: Scheme,
    pub client: IpAddr,
    pub wants: Wants,
}

/// What a peer wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    Answer,
    /// That what the request has changed is forgotten.
    Forgetting,
}

/// The last word of the field, where something is to be forgotten.
const CHANGED: &str = "changed";

/// The field is there, and not from a peer.
#[derive(Debug, PartialEq, Eq)]
pub struct NoPeer;

impl Peers {
    /// For whom a peer asks, if one does.
    pub fn asking<F: Fields>(&self, fields: &F) -> Result<Option<Asking>, NoPeer> {
        let mut lines = fields.named(PEER.as_str());
        let Some(line) = lines.next() else { return Ok(None) };
        if lines.next().is_some() {
            return Err(NoPeer);
        }
        self.read(line).map(Some).ok_or(NoPeer)
    }

    fn read(&self, line: &[u8]) -> Option<Asking> {
        let mut words = std::str::from_utf8(line).ok()?.split(' ');
        let (scheme, client, secret) = (words.next()?, words.next()?, words.next()?);
        verify_slices_are_equal(secret.as_bytes(), &self.secret).ok()?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let client = client.parse().ok()?;
        let wants = match words.next() {
            None => Wants::Answer,
            Some(CHANGED) => Wants::Forgetting,
            Some(_) => return None,
        };
        words.next().is_none().then_some(Asking { scheme, client, wants })
    }

    /// The word that goes with a request; none if the secret were no field value, which the settings rule out.
    pub fn word(&self, asking: Asking) -> Option<HeaderValue> {
        let Asking { scheme, client, wants } = asking;
        let mut line = format!("{} {client} ", scheme.word()).into_bytes();
        line.extend_from_slice(&self.secret);
        if wants == Wants::Forgetting {
            line.extend_from_slice(format!(" {CHANGED}").as_bytes());
        }
        let mut value = HeaderValue::from_maybe_shared(bytes::Bytes::from(line)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// A peer passes a request on: it is the client's, who was let in there, and whom the peer's word describes.
pub fn of_peer<'r, F: Fields>(
    snapshot: &Snapshot,
    received: Received<'r, F>,
) -> Result<(Received<'r, F>, Option<Wants>), NoPeer> {
    let Some(peers) = &snapshot.peers else { return Ok((received, None)) };
    let asking = peers.asking(received.fields)?;
    Ok(match asking {
        None => (received, None),
        Some(Asking { scheme, client, wants }) => (Received { scheme, client, sni: None, ..received }, Some(wants)),
    })
}

/// Adds what a peer has to know of a stored response.
pub fn tell(headers: &mut HeaderMap, freshness: &Freshness, tags: &Tags, now: Time) {
    headers.insert(&PEER, now.millis_since(freshness.response_time()).into());
    let lifetime = format!("max-age={}", freshness.lifetime().as_secs());
    if let Ok(value) = HeaderValue::try_from(lifetime) {
        headers.insert(LIFETIME, value);
    }
    let (with_blanks, without): (Vec<&[u8]>, Vec<&[u8]>) = tags.iter().partition(|tag| tag.contains(&b' '));
    for (name, tags, separator) in [(TAGS_BY_BLANK, without, b" ".as_slice()), (TAGS_BY_COMMA, with_blanks, b",")] {
        if let Some(value) = joined(&tags, separator) {
            headers.insert(name, value);
        }
    }
}

fn joined(tags: &[&[u8]], separator: &[u8]) -> Option<HeaderValue> {
    let list = tags.join(separator);
    // What was read from field values is one.
    if list.is_empty() { None } else { HeaderValue::from_maybe_shared(bytes::Bytes::from(list)).ok() }
}

/// How many milliseconds ago a peer's stored response came from the origin; none when it comes from there now.
pub fn age_ms(fields: &impl Fields) -> Option<u64> {
    std::str::from_utf8(fields.first(PEER.as_str())?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn peers(secret: &str) -> Peers {
        Peers { own: 0, url: "".into(), group: None, secret: secret.as_bytes().into(), hot: 1, copies_bytes_max: 0 }
    }

    fn said(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (PEER.clone(), HeaderValue::from_str(line).unwrap())).collect()
    }

    #[test]
    fn a_peer_knows_another_by_the_secret_and_takes_its_word_for_the_client() {
        let peers = peers("hush");
        for (scheme, client, wants) in
            [(Scheme::Https, "192.0.2.1", Wants::Answer), (Scheme::Http, "2001:db8::1", Wants::Forgetting)]
        {
            let asking = Asking { scheme, client: client.parse().unwrap(), wants };
            let word = peers.word(asking).unwrap();
            assert_eq!(peers.asking(&said(&[word.to_str().unwrap()])), Ok(Some(asking)));
        }
        assert_eq!(peers.asking(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn whoever_does_not_know_the_secret_is_refused() {
        let peers = peers("hush");
        for line in ["", "https 192.0.2.1", "https 192.0.2.1 hus", "https 192.0.2.1 hush more", "ftp 192.0.2.1 hush"] {
            assert_eq!(peers.asking(&said(&[line])), Err(NoPeer), "{line:?}");
        }
        assert_eq!(peers.asking(&said(&["http nowhere hush"])), Err(NoPeer));
        assert_eq!(peers.asking(&said(&["http 192.0.2.1 hush", "http 192.0.2.1 hush"])), Err(NoPeer));
    }

    #[test]
    fn tags_come_over_whole_whatever_they_hold() {
        let tags = Tags::from_list([b"a".as_slice(), b"b,c", b"d e"]);
        let (blank, comma): (Vec<&[u8]>, Vec<&[u8]>) = tags.iter().partition(|tag| !tag.contains(&b' '));
        let mut headers = HeaderMap::new();
        headers.insert(TAGS_BY_BLANK, joined(&blank, b" ").unwrap());
        headers.insert(TAGS_BY_COMMA, joined(&comma, b",").unwrap());
        assert_eq!(Tags::of(&headers), tags);
    }
}
