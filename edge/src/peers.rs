//! Nodes of one place as peers: each key belongs to one of them, which alone asks the origin for it and stores it.
//!
//! A node that misses what another one owns passes the request on to it ([`relay`]), and stores nothing of the answer,
//! unless it is asked for that often ([`heat`]) that a copy pays ([`copies`]). The owner is the key's place on a ring of
//! the nodes that are well ([`headland_origin::Group::owner`]); its answer, or the origin's through it, is the answer.
//! Who is asked by a peer asks nobody but the origin: a request is passed on once ([`word`]). What an unsafe request
//! changes is told to all ([`notice`]). A peer that fails is passed
//! over at once, and left out of the ring soon: its keys are spread over the others, which fetch them in turns
//! ([`crate::refill`]), and it gets them back little by little.

use std::sync::Arc;
use std::time::Instant;

use headland_origin::{Group, place_of};

use crate::settings::PeerSettings;

pub mod copies;
pub mod heat;
pub mod notice;
pub mod relay;
pub mod word;

/// The peers of a node, compiled.
pub struct Peers {
    /// Our own place on the ring, and the URL that gives it.
    own: u64,
    url: Box<str>,
    /// The others; none while this node is alone.
    group: Option<Arc<Group>>,
    secret: Box<[u8]>,
    /// Requests within the time of [`heat`] after which a copy is kept.
    pub hot: u32,
    /// What all copies may take.
    pub copies_bytes_max: u64,
}

impl Peers {
    /// The error is one sentence.
    pub fn compile(settings: &PeerSettings, previous: Option<&Peers>) -> Result<Self, String> {
        let known = previous.and_then(|peers| peers.group.as_deref());
        let group = (!settings.group.servers.is_empty()).then(|| Group::compile(&settings.group, known)).transpose();
        Ok(Peers {
            own: place_of(&settings.url),
            url: settings.url.as_str().into(),
            group: group.map_err(|error| format!("peers: {error}"))?,
            secret: settings.secret.as_bytes().into(),
            hot: settings.hot,
            copies_bytes_max: settings.copies_bytes_max,
        })
    }

    pub fn group(&self) -> Option<&Arc<Group>> {
        self.group.as_ref()
    }

    /// The peer that a key belongs to, if it is none of these and not ours.
    fn owner(&self, hash: u128, without: &[usize]) -> Option<usize> {
        self.group.as_ref()?.owner(ring_key(hash), self.own, without, Instant::now())
    }

    /// The URL of the node that a key belongs to now.
    pub fn owner_url(&self, hash: u128) -> Box<str> {
        let group = self.group.as_deref().zip(self.owner(hash, &[]));
        group.map_or_else(|| self.url.clone(), |(group, place)| (**group.url(place)).into())
    }

    /// Whether we stand in for the peer that the key belongs to when all are well.
    pub fn stands_in(&self, hash: u128) -> bool {
        self.group.as_ref().is_some_and(|group| group.is_displaced(ring_key(hash), self.own, Instant::now()))
    }
}

/// A part of the hash that the tables of the store do not use first.
fn ring_key(hash: u128) -> u64 {
    (hash >> 64) as u64
}
