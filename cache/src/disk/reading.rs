//! Reading a record: its head and a small body at once, a large body piece by piece.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::buffers::BUFFER_BYTES;
use super::codec;
use super::index::Place;
use super::record::{HEADER_BYTES, Head, Header, Kind, PIECE_BYTES, Sums};
use super::segment::{Patience, Segment};
use super::volume::Shared;
use crate::Body;
use crate::key::KeyRef;
use crate::object::{Object, Parts};
use crate::vary::VaryFacts;

/// A body up to this size is copied out of the buffer that it was read into, in bytes.
const COPIED_BYTES_MAX: usize = 32 << 10;
/// What is read of a large record to have its head, in bytes.
const HEAD_READ_BYTES: u64 = 16 << 10;

/// A response that was found on disk.
pub struct FoundRecord {
    /// The response; its body is empty while it is read in pieces, unless its bytes are records of their own. It is not
    /// fit for memory unless [`FoundRecord::owns_body`].
    pub object: Arc<Object>,
    pub body: FoundBody,
    hash: u64,
    place: Place,
    shared: Arc<Shared>,
}

/// The body of a response that was found.
pub enum FoundBody {
    /// All of it, in memory that perhaps belongs to a larger buffer.
    Here(Bytes),
    Pieces(Arc<DiskBody>),
}

/// A large body, read and checked piece by piece.
pub struct DiskBody {
    shared: Arc<Shared>,
    segment: Arc<Segment>,
    hash: u64,
    place: Place,
    /// Where the body begins in the segment.
    begin: u64,
    sums: Sums,
}

/// Why a piece is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPiece {
    /// It would have to be waited for.
    Waits,
    /// It cannot be read, or is not what was written: the record is given up.
    Lost,
}

impl FoundRecord {
    /// Whether this is still what the disk has for its key: nothing newer came, and nothing removed it.
    pub fn is_current(&self) -> bool {
        let moving = &self.shared.moving;
        self.shared.index.is_at(self.hash, self.place) && !moving.is_written(self.hash) && !moving.is_hidden(self.hash)
    }

    /// Whether the object has all of its body, in memory of its own.
    pub fn owns_body(&self) -> bool {
        match &self.body {
            _ if self.object.body.is_apart() => true,
            FoundBody::Here(bytes) => bytes.len() <= COPIED_BYTES_MAX,
            FoundBody::Pieces(_) => false,
        }
    }

    /// The length of the body.
    pub fn length(&self) -> u64 {
        match &self.body {
            _ if self.object.body.is_apart() => self.object.body.len(),
            FoundBody::Here(bytes) => bytes.len() as u64,
            FoundBody::Pieces(body) => body.len(),
        }
    }

    /// The whole body in memory of its own; waits for the disk. None when it is lost.
    pub fn whole_body(&self) -> Option<Body> {
        match &self.body {
            _ if self.object.body.is_apart() => Some(self.object.body.clone()),
            FoundBody::Here(bytes) if bytes.len() <= COPIED_BYTES_MAX => Some(Body::of(bytes.clone())),
            FoundBody::Here(bytes) => Some(Body::copy_of(bytes)),
            FoundBody::Pieces(body) => {
                let pieces = (0..body.pieces()).map(|number| body.piece(number, Patience::Waits));
                Some(Body::gathered(&pieces.collect::<Result<Vec<_>, _>>().ok()?))
            }
        }
    }
}

impl DiskBody {
    pub fn len(&self) -> u64 {
        self.sums.body_bytes
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn pieces(&self) -> u64 {
        self.sums.pieces()
    }

    /// The piece that a byte of the body is in, and where in it.
    pub fn piece_of(&self, offset: u64) -> (u64, usize) {
        (offset / self.sums.piece_bytes, (offset % self.sums.piece_bytes) as usize)
    }

    /// Reads a piece, whole and checked.
    pub fn piece(&self, number: u64, patience: Patience) -> Result<Bytes, NoPiece> {
        let (at, length) = self.sums.piece(number);
        let shared = &self.shared;
        let read = if length > BUFFER_BYTES {
            // Of version 1, whose bodies have one checksum.
            let mut bytes = vec![0; length];
            read_timed(shared, &self.segment, &mut bytes, self.begin + at, patience).map(|()| Bytes::from(bytes))
        } else {
            let mut buffer = shared.buffers.take();
            let read = read_timed(shared, &self.segment, &mut buffer.bytes()[..length], self.begin + at, patience);
            read.map(|()| buffer.share().slice(..length))
        };
        match read {
            Ok(bytes) if self.sums.holds(number, &bytes) => {
                shared.has_read(length as u64);
                Ok(bytes)
            }
            Ok(_) => {
                shared.is_damaged(self.hash, self.place);
                Err(NoPiece::Lost)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(NoPiece::Waits),
            Err(error) => {
                shared.has_failed_to_read(self.hash, self.place, &error);
                Err(NoPiece::Lost)
            }
        }
    }
}

impl Shared {
    /// The newest response under a key whose Vary facts are those wanted. The only error is that it would have to be
    /// waited for.
    pub fn read(
        self: &Arc<Self>,
        key: KeyRef<'_>,
        matches: &mut dyn FnMut(&VaryFacts) -> bool,
        patience: Patience,
    ) -> io::Result<Option<FoundRecord>> {
        let hash = key.short_hash();
        if self.moving.is_hidden(hash) {
            return Ok(None);
        }
        for place in self.index.find(hash) {
            if !self.is_read() {
                return Ok(None);
            }
            match self.record(hash, place, patience) {
                Ok(Some(found)) if found.object.key.as_ref() == key && matches(&found.object.vary) => {
                    return Ok(Some(found));
                }
                Ok(Some(_)) => {}
                Ok(None) => self.is_damaged(hash, place),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) => self.has_failed_to_read(hash, place, &error),
            }
        }
        Ok(None)
    }

    /// The record at a place; none when it is damaged.
    pub fn record(self: &Arc<Self>, hash: u64, place: Place, patience: Patience) -> io::Result<Option<FoundRecord>> {
        let segment = self.segments.read().get(&place.segment).cloned();
        let Some(segment) = segment else { return Ok(None) };
        let at_once = place.length <= BUFFER_BYTES as u64;
        let read = if at_once { place.length } else { HEAD_READ_BYTES } as usize;
        let mut buffer = self.buffers.take();
        read_timed(self, &segment, &mut buffer.bytes()[..read], place.offset, patience)?;
        let Some(header) =
            buffer.as_ref().first_chunk::<HEADER_BYTES>().and_then(|bytes| Header::read(segment.layout, bytes))
        else {
            return Ok(None);
        };
        if header.kind != Kind::Response || header.record_bytes() != place.length {
            return Ok(None);
        }
        let longer;
        let head = if header.head_bytes() > read {
            let mut bytes = vec![0; header.head_bytes()];
            read_timed(self, &segment, &mut bytes, place.offset, patience)?;
            longer = bytes;
            header.open(&longer)
        } else {
            header.open(buffer.as_ref())
        };
        let Some(Head { meta, sums, .. }) = head else { return Ok(None) };
        let Some(parts) = codec::decode(meta, Body::default()) else { return Ok(None) };
        self.has_read(read as u64);
        let begin = place.offset + header.head_bytes() as u64;
        let body = if at_once {
            let body = header.head_bytes()..header.head_bytes() + header.body_bytes as usize;
            if !sums.hold_all(&buffer.as_ref()[body.clone()]) {
                return Ok(None);
            }
            if body.len() <= COPIED_BYTES_MAX {
                FoundBody::Here(Bytes::copy_from_slice(&buffer.as_ref()[body]))
            } else {
                FoundBody::Here(buffer.share().slice(body))
            }
        } else {
            FoundBody::Pieces(Arc::new(DiskBody { shared: self.clone(), segment, hash, place, begin, sums }))
        };
        let whole = match &body {
            _ if parts.body.is_apart() => parts.body.clone(),
            FoundBody::Here(bytes) => Body::of(bytes.clone()),
            FoundBody::Pieces(_) => Body::default(),
        };
        let object = Arc::new(Object::new(Parts { body: whole, ..parts }));
        Ok(Some(FoundRecord { object, body, hash, place, shared: self.clone() }))
    }
}

/// Reads exactly so many bytes; how long that took counts where the disk was waited for.
fn read_timed(shared: &Shared, segment: &Segment, out: &mut [u8], offset: u64, patience: Patience) -> io::Result<()> {
    if patience == Patience::None {
        return segment.read_at(out, offset, patience);
    }
    let bytes = out.len() as u64;
    let read = || segment.read_at(out, offset, patience);
    shared.counters.read_latency.time(&shared.surroundings.stopwatch, read)?;
    if !shared.keeps_page_cache {
        segment.let_go(offset, bytes);
    }
    Ok(())
}

const _: () = assert!(PIECE_BYTES <= BUFFER_BYTES, "a piece fits into a buffer");
