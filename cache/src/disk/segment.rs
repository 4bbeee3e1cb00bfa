//! One file of records: written from its beginning to its end, closed by a footer that lists them, then only read.
//!
//! A file without a true footer was open when its node ended: it is read record by record. What was torn or damaged is
//! left out, and the search goes on behind it: checksums begin from a seed that only the file's own opening tells, so
//! that no body can hold bytes that pass for a record.

use std::fs::{File, OpenOptions};
use std::hash::BuildHasher;
use std::io::{self, IoSliceMut, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::io::ReadWriteFlags;

use super::codec;
use super::footer::{Label, Listing, TRAILER_BYTES};
use super::record::{ALIGN_BYTES, HEADER_BYTES, Head, Header, Kind, Layout, VERSION};
use crate::{Body, Time};

/// What a segment begins with: a name, and the version of all that follows.
const NAME: [u8; 7] = *b"HLSEG\0\0";
/// Name and version; seed u64, time of its beginning in milliseconds u64, checksum u64.
const OPENING_BYTES: usize = 32;
/// Of version 1: name and version alone.
const FIRST_OPENING_BYTES: usize = 8;
/// What is read at a time when a segment is searched.
const STEP_BYTES: usize = 1 << 20;

/// A segment's file.
#[derive(Debug)]
pub struct Segment {
    pub id: u32,
    pub layout: Layout,
    /// When it was begun; of version 1 that is not known.
    pub begun: Option<Time>,
    file: File,
    path: PathBuf,
}

/// Whether a read may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Only what the page cache has: anything else is [`io::ErrorKind::WouldBlock`].
    None,
    Waits,
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

    /// Begins a file.
    pub fn create(directory: &Path, id: u32, now: Time) -> io::Result<Segment> {
        let path = directory.join(Segment::name(id));
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        // The keys of the standard library's hash maps are random.
        let seed = std::hash::RandomState::new().hash_one(id);
        let mut opening = [&NAME[..], &[VERSION]].concat();
        opening.extend_from_slice(&seed.to_le_bytes());
        opening.extend_from_slice(&now.as_millis().to_le_bytes());
        let sum = Layout::FIRST.sum(&opening);
        opening.extend_from_slice(&sum.to_le_bytes());
        file.write_all(&opening)?;
        Ok(Segment { id, layout: Layout { version: VERSION, seed }, begun: Some(now), file, path })
    }

    /// Opens a file that is there; one of another version is an error.
    pub fn open(directory: &Path, id: u32) -> io::Result<Segment> {
        let path = directory.join(Segment::name(id));
        let file = File::open(&path)?;
        let mut name = [0; FIRST_OPENING_BYTES];
        file.read_exact_at(&mut name, 0)?;
        let (layout, begun) = match name.strip_prefix(&NAME) {
            Some([1]) => (Layout::FIRST, None),
            Some([VERSION]) => opening(&file)?,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "it is of another version")),
        };
        Ok(Segment { id, layout, begun, file, path })
    }

    /// Where the first record stands.
    pub fn begin(&self) -> u64 {
        if self.layout.version == 1 { FIRST_OPENING_BYTES as u64 } else { OPENING_BYTES as u64 }
    }

    /// Removes the file; those who are reading it go on.
    pub fn delete(&self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }

    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Reads exactly so many bytes.
    pub fn read_at(&self, out: &mut [u8], offset: u64, patience: Patience) -> io::Result<()> {
        if patience == Patience::Waits {
            return self.file.read_exact_at(out, offset);
        }
        let wanted = out.len();
        let read = rustix::io::preadv2(&self.file, &mut [IoSliceMut::new(out)], offset, ReadWriteFlags::NOWAIT);
        match read {
            Ok(read) if read == wanted => Ok(()),
            // A part of it, or a file system that cannot say.
            Ok(_) | Err(rustix::io::Errno::OPNOTSUPP) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Closes the segment behind its last record.
    pub fn finish(&self, listing: &Listing) -> io::Result<()> {
        self.write_at(&listing.bytes(self.layout), listing.end)
    }

    /// Closes one that was open when its node ended, or closes it anew with another listing.
    pub fn seal(&self, listing: &Listing) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(&self.path)?;
        file.set_len(listing.end)?;
        file.write_all_at(&listing.bytes(self.layout), listing.end)
    }

    /// What was written reaches the disk; so much of it, `from` an offset on, may leave the page cache.
    pub fn sync(&self, from: u64, bytes: u64, keeps_page_cache: bool) -> io::Result<()> {
        self.file.sync_data()?;
        if !keeps_page_cache {
            self.let_go(from, bytes);
        }
        Ok(())
    }

    /// The page cache need not keep this. It is advice: whether it is taken changes nothing else.
    pub fn let_go(&self, from: u64, bytes: u64) {
        let _ = rustix::fs::fadvise(&self.file, from, NonZeroU64::new(bytes), rustix::fs::Advice::DontNeed);
    }

    /// The records of the segment: from its footer, or one by one.
    pub fn listing(&self) -> io::Result<Listing> {
        self.footer()?.map_or_else(|| self.search(), Ok)
    }

    /// Bytes of the file.
    pub fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// The newest birth that its last bytes tell of, which may not be true; none when it was not closed.
    pub fn claimed_birth(&self) -> io::Result<Option<crate::Epoch>> {
        Ok(self.trailer()?.and_then(|(_, trailer)| Listing::claimed_birth(&trailer)))
    }

    /// Where the records of one end that was closed.
    pub fn end(&self) -> io::Result<u64> {
        Ok(self.trailer()?.ok_or(io::ErrorKind::InvalidData)?.0)
    }

    /// The last bytes of one that was closed, and where its footer begins.
    fn trailer(&self) -> io::Result<Option<(u64, [u8; TRAILER_BYTES])>> {
        let Some(at) = self.length()?.checked_sub(TRAILER_BYTES as u64).filter(|at| *at >= self.begin()) else {
            return Ok(None);
        };
        let mut trailer = [0; TRAILER_BYTES];
        self.file.read_exact_at(&mut trailer, at)?;
        let begin = Listing::begin(&trailer).filter(|begin| (self.begin()..=at).contains(begin));
        Ok(begin.map(|begin| (begin, trailer)))
    }

    /// What a closed segment says that it holds; none when it was not closed, or is damaged there.
    pub fn footer(&self) -> io::Result<Option<Listing>> {
        let (length, trailer) = (self.length()?, self.trailer()?);
        let Some((begin, _)) = trailer.filter(|(begin, _)| *begin < length) else { return Ok(None) };
        let mut footer = vec![0; (length - begin) as usize];
        self.file.read_exact_at(&mut footer, begin)?;
        Ok(Listing::read(self.layout, &footer).filter(|listing| listing.end == begin))
    }

    /// Finds every whole record.
    pub fn search(&self) -> io::Result<Listing> {
        let length = self.file.metadata()?.len();
        let mut listing = Listing::new(self.begin());
        let mut window = Window { segment: self, length, at: 0, bytes: Vec::new() };
        let mut at = self.begin();
        while at + HEADER_BYTES as u64 <= length {
            match self.record_at(&mut window, at)? {
                Some((label, birth, record_bytes)) => {
                    listing.add(&label, at, record_bytes);
                    if label.kind == Kind::Response {
                        listing.born(birth);
                    }
                    at += record_bytes;
                    listing.end = at;
                }
                // Without a seed, a body might hold what passes for a record.
                None if self.layout == Layout::FIRST => break,
                None => at += ALIGN_BYTES as u64,
            }
        }
        Ok(listing)
    }

    /// The record that begins there, if it is whole: but for the last one, its body is looked at when it is read.
    fn record_at(&self, window: &mut Window<'_>, at: u64) -> io::Result<Option<(Label, crate::Epoch, u64)>> {
        let header = window.get(at, HEADER_BYTES)?.and_then(|bytes| Header::read(self.layout, bytes.first_chunk()?));
        let Some(header) = header.filter(|header| at + header.record_bytes() <= window.length) else { return Ok(None) };
        let Some(bytes) = window.get(at, header.head_bytes())? else { return Ok(None) };
        let Some(Head { meta, sums, .. }) = header.open(bytes) else { return Ok(None) };
        let Some((_, birth)) = codec::key_and_birth(meta) else { return Ok(None) };
        let label = match header.kind {
            Kind::Tombstone => Some(Label::tombstone(header.key_hash as u64)),
            Kind::Response => codec::decode(meta, Body::default()).map(|parts| Label::of(&parts)),
        };
        let Some(label) = label else { return Ok(None) };
        if at + header.record_bytes() == window.length {
            // The last record may lack its end; all before it are whole, because they were written in order.
            let mut body = vec![0; header.body_bytes as usize];
            self.file.read_exact_at(&mut body, at + header.head_bytes() as u64)?;
            if !sums.hold_all(&body) {
                return Ok(None);
            }
        }
        Ok(Some((label, birth, header.record_bytes())))
    }
}

/// Layout and beginning, as a file's opening tells.
fn opening(file: &File) -> io::Result<(Layout, Option<Time>)> {
    let mut bytes = [0; OPENING_BYTES];
    file.read_exact_at(&mut bytes, 0)?;
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    if Layout::FIRST.sum(&bytes[..24]) != number(24) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its opening is damaged"));
    }
    Ok((Layout { version: VERSION, seed: number(8) }, Some(Time::from_millis(number(16)))))
}

/// What was read of a segment that is searched.
struct Window<'s> {
    segment: &'s Segment,
    /// Of the file.
    length: u64,
    at: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// So many bytes from there on; none beyond the end of the file.
    fn get(&mut self, at: u64, count: usize) -> io::Result<Option<&[u8]>> {
        if at + count as u64 > self.length {
            return Ok(None);
        }
        let is_here = at >= self.at && at + count as u64 <= self.at + self.bytes.len() as u64;
        if !is_here {
            let ahead = (STEP_BYTES.max(count) as u64).min(self.length - at) as usize;
            self.bytes.resize(ahead, 0);
            self.segment.file.read_exact_at(&mut self.bytes, at)?;
            self.at = at;
        }
        let from = (at - self.at) as usize;
        Ok(Some(&self.bytes[from..from + count]))
    }
}

#[cfg(test)]
pub(crate) mod tests;
