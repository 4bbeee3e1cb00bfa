//! One file of records: written from its beginning to its end, closed by a footer that lists them, then only read.
//!
//! A file without a true footer was open when its node ended: it is read record by record up to the last whole one. What
//! follows that was never finished, and counts as not written.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::codec::{self, Take};
use super::index::Place;
use super::record::{ALIGN_BYTES, HEADER_BYTES, Header, Kind, VERSION};
use crate::{Body, Epoch};

/// What a segment begins with: a name, and the version of all that follows.
const OPENING: [u8; 8] = [b'H', b'L', b'S', b'E', b'G', 0, 0, VERSION];
/// Bytes before the first record.
pub const OPENING_BYTES: u64 = 8;
const FOOTER_MAGIC: u64 = u64::from_le_bytes(*b"HLFOOTER");
const ENTRY_BYTES: usize = 24;
const TRAILER_BYTES: usize = 48;

/// One record as a footer lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    pub kind: Kind,
    pub hash: u64,
    pub variant: u32,
    pub offset: u64,
    pub length: u64,
}

/// A segment's records, and the epochs of the ledger that they were born in.
#[derive(Debug, PartialEq, Eq)]
pub struct Listing {
    pub records: Vec<Listed>,
    pub newest_birth: Epoch,
    /// [`NO_BIRTH`] while there is none.
    pub oldest_birth: Epoch,
    /// Where the next record would begin.
    pub end: u64,
}

/// Later than every birth.
pub const NO_BIRTH: Epoch = Epoch(u64::MAX);

impl Listing {
    pub fn new() -> Self {
        Listing { records: Vec::new(), newest_birth: Epoch(0), oldest_birth: NO_BIRTH, end: OPENING_BYTES }
    }

    /// A record was born then.
    pub fn born(&mut self, birth: Epoch) {
        self.newest_birth = self.newest_birth.max(birth);
        self.oldest_birth = self.oldest_birth.min(birth);
    }
}

/// A segment's file.
#[derive(Debug)]
pub struct Segment {
    pub id: u32,
    file: File,
    path: PathBuf,
}

impl Segment {
    /// The name of a segment's file.
    pub fn name(id: u32) -> String {
        format!("{id:010}.segment")
    }

    /// The number in a file's name; none for other files.
    pub fn id_of(name: &str) -> Option<u32> {
        let id = name.strip_suffix(".segment")?.parse().ok()?;
        (Segment::name(id) == name).then_some(id)
    }

    pub fn create(directory: &Path, id: u32) -> io::Result<Segment> {
        let path = directory.join(Segment::name(id));
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        file.write_all(&OPENING)?;
        Ok(Segment { id, file, path })
    }

    /// Opens a file that is there; one of another version is an error.
    pub fn open(directory: &Path, id: u32) -> io::Result<Segment> {
        let path = directory.join(Segment::name(id));
        let file = File::open(&path)?;
        let mut opening = [0; OPENING.len()];
        file.read_exact_at(&mut opening, 0)?;
        if opening != OPENING {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is of another version"));
        }
        Ok(Segment { id, file, path })
    }

    /// Removes the file; those who are reading it go on.
    pub fn delete(&self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }

    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    pub fn read_at(&self, place: Place) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; place.length as usize];
        self.file.read_exact_at(&mut bytes, place.offset)?;
        Ok(bytes)
    }

    /// Closes the segment behind its last record.
    pub fn finish(&self, listing: &Listing) -> io::Result<()> {
        let mut out = Vec::with_capacity(listing.records.len() * ENTRY_BYTES + TRAILER_BYTES);
        let units = |bytes: u64| ((bytes / ALIGN_BYTES as u64) as u32).to_le_bytes();
        for record in &listing.records {
            out.extend_from_slice(&record.hash.to_le_bytes());
            out.extend_from_slice(&record.variant.to_le_bytes());
            out.extend_from_slice(&units(record.offset));
            out.extend_from_slice(&units(record.length));
            out.extend_from_slice(&u32::from(record.kind == Kind::Tombstone).to_le_bytes());
        }
        out.extend_from_slice(&listing.end.to_le_bytes());
        out.extend_from_slice(&(listing.records.len() as u64).to_le_bytes());
        out.extend_from_slice(&listing.newest_birth.0.to_le_bytes());
        out.extend_from_slice(&listing.oldest_birth.0.to_le_bytes());
        out.extend_from_slice(&xxh3_64(&out).to_le_bytes());
        out.extend_from_slice(&FOOTER_MAGIC.to_le_bytes());
        self.write_at(&out, listing.end)
    }

    /// The records of the segment: from its footer, or one by one.
    pub fn listing(&self) -> io::Result<Listing> {
        let length = self.file.metadata()?.len();
        match self.footer(length)? {
            Some(listing) => Ok(listing),
            None => self.scan(length),
        }
    }

    fn footer(&self, length: u64) -> io::Result<Option<Listing>> {
        let Some(at) = length.checked_sub(TRAILER_BYTES as u64).filter(|at| *at >= OPENING_BYTES) else {
            return Ok(None);
        };
        let mut trailer = [0; TRAILER_BYTES];
        self.file.read_exact_at(&mut trailer, at)?;
        let mut take = Take(&trailer);
        let mut number = || take.u64().expect("a trailer is six numbers");
        let (end, count, newest_birth, oldest_birth) = (number(), number(), number(), number());
        let (checksum, magic) = (number(), number());
        let fits = count.checked_mul(ENTRY_BYTES as u64).and_then(|bytes| bytes.checked_add(end)) == Some(at);
        if magic != FOOTER_MAGIC || !fits {
            return Ok(None);
        }
        let mut entries = vec![0; (at - end) as usize + TRAILER_BYTES - 16];
        self.file.read_exact_at(&mut entries, end)?;
        if xxh3_64(&entries) != checksum {
            return Ok(None);
        }
        let records = entries[..(at - end) as usize].chunks_exact(ENTRY_BYTES).map(listed).collect();
        let (newest_birth, oldest_birth) = (Epoch(newest_birth), Epoch(oldest_birth));
        Ok(Some(Listing { records, newest_birth, oldest_birth, end }))
    }

    /// Reads record after record, up to the first that is not whole.
    fn scan(&self, length: u64) -> io::Result<Listing> {
        let mut listing = Listing::new();
        while let Some((header, meta)) = self.head_at(listing.end, length)? {
            let Some(bytes) = header.record_bytes().filter(|bytes| listing.end + bytes <= length) else { break };
            let Some((_, birth)) = codec::key_and_birth(&meta) else { break };
            let variant = match header.kind {
                Kind::Tombstone => 0,
                Kind::Response => match codec::decode(&meta, Body::default()) {
                    Some(parts) => parts.vary.hash() as u32,
                    None => break,
                },
            };
            // The last record may lack its end; all before it are whole, because they were written in order.
            let place = Place { segment: self.id, offset: listing.end, length: bytes };
            if listing.end + bytes == length && !self.is_whole(&header, place)? {
                break;
            }
            listing.records.push(Listed {
                kind: header.kind,
                hash: header.key_hash as u64,
                variant,
                offset: listing.end,
                length: bytes,
            });
            if header.kind == Kind::Response {
                listing.born(birth);
            }
            listing.end += bytes;
        }
        Ok(listing)
    }

    fn head_at(&self, offset: u64, length: u64) -> io::Result<Option<(Header, Vec<u8>)>> {
        if offset + HEADER_BYTES as u64 > length {
            return Ok(None);
        }
        let mut bytes = [0; HEADER_BYTES];
        self.file.read_exact_at(&mut bytes, offset)?;
        let Some(header) = Header::read(&bytes) else { return Ok(None) };
        if offset + (HEADER_BYTES + header.meta_bytes) as u64 > length {
            return Ok(None);
        }
        let mut meta = vec![0; header.meta_bytes];
        self.file.read_exact_at(&mut meta, offset + HEADER_BYTES as u64)?;
        Ok(header.holds(&meta).then_some((header, meta)))
    }

    fn is_whole(&self, header: &Header, place: Place) -> io::Result<bool> {
        let bytes = self.read_at(place)?;
        let body = HEADER_BYTES + header.meta_bytes;
        Ok(header.holds_body(&bytes[body..body + header.body_bytes as usize]))
    }
}

fn listed(entry: &[u8]) -> Listed {
    let mut take = Take(entry);
    let hash = take.u64().expect("an entry has a hash");
    let mut number = || u64::from(take.u32().expect("and four numbers"));
    let (variant, offset, length, tombstone) = (number(), number(), number(), number());
    let bytes = |units: u64| units * ALIGN_BYTES as u64;
    let kind = if tombstone == 0 { Kind::Response } else { Kind::Tombstone };
    Listed { kind, hash, variant: variant as u32, offset: bytes(offset), length: bytes(length) }
}

#[cfg(test)]
pub(crate) mod tests;
