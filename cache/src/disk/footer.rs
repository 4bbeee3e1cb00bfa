//! What a segment holds: a list of its records, written behind them when it is closed.
//!
//! ```text
//! entry: hash u64 | variant u32 | offset u32 | length u32 | kind u32 | expires u32 | host u32
//! host:  hash u32 | length u32 | name
//! trailer: end u64 | entries u64 | newest birth u64 | oldest birth u64 | checksum u64 | magic u64
//! ```
//!
//! Offsets and lengths are in units of [`ALIGN_BYTES`]. Entries of version 1 end behind the kind, and no hosts follow.

use std::collections::BTreeMap;

use super::codec::Take;
use super::record::{ALIGN_BYTES, Kind, Layout};
use crate::Epoch;
use crate::object::Parts;

const MAGIC: u64 = u64::from_le_bytes(*b"HLFOOTER");
const ENTRY_BYTES: usize = 32;
/// Of version 1.
const FIRST_ENTRY_BYTES: usize = 24;
/// Bytes at the very end of a closed segment.
pub const TRAILER_BYTES: usize = 48;
/// No ledger has counted so many purges.
const BIRTHS_END: u64 = 1 << 48;
/// Later than every birth.
pub const NO_BIRTH: Epoch = Epoch(u64::MAX);
/// A record that never expires, or of which it is not known.
pub const NO_EXPIRY: u32 = u32::MAX;

/// One record as a footer lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    pub kind: Kind,
    pub hash: u64,
    pub variant: u32,
    /// From the beginning of the segment, in bytes.
    pub offset: u64,
    /// In bytes, padding included.
    pub length: u64,
    /// When it goes stale, in seconds of the clock; [`NO_EXPIRY`] where that is not known.
    pub expires_s: u32,
    /// The hash of its host; 0 where that is not known.
    pub host: u32,
}

/// A segment's records, and the epochs of the ledger that they were born in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    pub records: Vec<Listed>,
    /// The names of their hosts.
    pub hosts: BTreeMap<u32, Box<[u8]>>,
    pub newest_birth: Epoch,
    /// [`NO_BIRTH`] while there is none.
    pub oldest_birth: Epoch,
    /// Where the next record would begin.
    pub end: u64,
}

/// What the listing says of a response, beside its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    pub kind: Kind,
    pub hash: u64,
    pub variant: u32,
    pub expires_s: u32,
    pub host: Box<[u8]>,
}

impl Label {
    pub fn of(parts: &Parts) -> Self {
        let arrived = parts.freshness.response_time();
        let expires_s = arrived.as_secs().saturating_add_signed(parts.freshness.ttl(arrived));
        Label {
            kind: Kind::Response,
            hash: parts.key.hash() as u64,
            variant: parts.vary.hash() as u32,
            expires_s: u32::try_from(expires_s).unwrap_or(NO_EXPIRY),
            host: parts.key.as_ref().host().into(),
        }
    }

    pub fn tombstone(hash: u64) -> Self {
        Label { kind: Kind::Tombstone, hash, variant: 0, expires_s: NO_EXPIRY, host: Box::default() }
    }

    fn host_hash(&self) -> u32 {
        // 0 says that it is not known.
        if self.host.is_empty() { 0 } else { (xxhash_rust::xxh3::xxh3_64(&self.host) as u32).max(1) }
    }
}

impl Listing {
    /// That of a segment whose records begin there.
    pub fn new(begin: u64) -> Self {
        Listing {
            records: Vec::new(),
            hosts: BTreeMap::new(),
            newest_birth: Epoch(0),
            oldest_birth: NO_BIRTH,
            end: begin,
        }
    }

    /// A record was born then.
    pub fn born(&mut self, birth: Epoch) {
        self.newest_birth = self.newest_birth.max(birth);
        self.oldest_birth = self.oldest_birth.min(birth);
    }

    /// A record stands at the offset.
    pub fn add(&mut self, label: &Label, offset: u64, length: u64) {
        let host = label.host_hash();
        if host != 0 {
            self.hosts.entry(host).or_insert_with(|| label.host.clone());
        }
        let Label { kind, hash, variant, expires_s, .. } = *label;
        self.records.push(Listed { kind, hash, variant, offset, length, expires_s, host });
    }

    /// The footer.
    pub fn bytes(&self, layout: Layout) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.records.len() * ENTRY_BYTES + TRAILER_BYTES);
        let units = |bytes: u64| ((bytes / ALIGN_BYTES as u64) as u32).to_le_bytes();
        for record in &self.records {
            out.extend_from_slice(&record.hash.to_le_bytes());
            out.extend_from_slice(&record.variant.to_le_bytes());
            out.extend_from_slice(&units(record.offset));
            out.extend_from_slice(&units(record.length));
            out.extend_from_slice(&u32::from(record.kind == Kind::Tombstone).to_le_bytes());
            if layout.version > 1 {
                out.extend_from_slice(&record.expires_s.to_le_bytes());
                out.extend_from_slice(&record.host.to_le_bytes());
            }
        }
        for (hash, name) in self.hosts.iter().filter(|_| layout.version > 1) {
            out.extend_from_slice(&hash.to_le_bytes());
            super::codec::put_text(&mut out, name);
        }
        out.extend_from_slice(&self.end.to_le_bytes());
        out.extend_from_slice(&(self.records.len() as u64).to_le_bytes());
        out.extend_from_slice(&self.newest_birth.0.to_le_bytes());
        out.extend_from_slice(&self.oldest_birth.0.to_le_bytes());
        let sum = layout.sum(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out
    }

    /// Where a trailer says that its footer begins; none when it is no trailer.
    pub fn begin(trailer: &[u8; TRAILER_BYTES]) -> Option<u64> {
        let number = |at: usize| u64::from_le_bytes(trailer[at..at + 8].try_into().expect("eight bytes"));
        (number(40) == MAGIC).then_some(number(0))
    }

    /// The newest birth that a trailer tells of, which may not be true; none when no ledger can have come so far.
    pub fn claimed_birth(trailer: &[u8; TRAILER_BYTES]) -> Option<Epoch> {
        let birth = u64::from_le_bytes(trailer[16..24].try_into().expect("eight bytes"));
        (birth < BIRTHS_END).then_some(Epoch(birth))
    }

    /// Reads a whole footer.
    pub fn read(layout: Layout, footer: &[u8]) -> Option<Self> {
        let (summed, rest) = footer.split_at_checked(footer.len().checked_sub(16)?)?;
        if layout.sum(summed).to_le_bytes() != rest[..8] {
            return None;
        }
        let (lists, numbers) = summed.split_at_checked(summed.len().checked_sub(TRAILER_BYTES - 16)?)?;
        let mut numbers = Take(numbers);
        let (end, count) = (numbers.u64()?, numbers.u64()?);
        let (newest_birth, oldest_birth) = (Epoch(numbers.u64()?), Epoch(numbers.u64()?));
        let entry_bytes = if layout.version == 1 { FIRST_ENTRY_BYTES } else { ENTRY_BYTES };
        let entries = usize::try_from(count).ok()?.checked_mul(entry_bytes)?;
        let (entries, hosts) = lists.split_at_checked(entries)?;
        let records = entries.chunks_exact(entry_bytes).map(listed).collect::<Option<_>>()?;
        Some(Listing { records, hosts: named(hosts)?, newest_birth, oldest_birth, end })
    }
}

fn listed(entry: &[u8]) -> Option<Listed> {
    let mut take = Take(entry);
    let hash = take.u64()?;
    let variant = take.u32()?;
    let bytes = |units: u32| u64::from(units) * ALIGN_BYTES as u64;
    let (offset, length) = (bytes(take.u32()?), bytes(take.u32()?));
    let kind = if take.u32()? == 0 { Kind::Response } else { Kind::Tombstone };
    let (expires_s, host) = (take.u32().unwrap_or(NO_EXPIRY), take.u32().unwrap_or(0));
    Some(Listed { kind, hash, variant, offset, length, expires_s, host })
}

fn named(bytes: &[u8]) -> Option<BTreeMap<u32, Box<[u8]>>> {
    let mut take = Take(bytes);
    let mut hosts = BTreeMap::new();
    while !take.0.is_empty() {
        hosts.insert(take.u32()?, take.text()?.into());
    }
    Some(hosts)
}
