//! Counts the frames of an HTTP/2 client that ask for nothing and carry next to nothing: they cost as much as others.
//!
//! The codec bounds what they take of memory, but answers them for ever. The meter sees the bytes before the codec does,
//! and looks at frame heads only: a frame is light when it is PING, SETTINGS, PRIORITY or of a kind that nobody knows, or
//! DATA of a few bytes that does not end its stream. More of them in a minute than any client needs is a flood; the
//! clock is read only when so many have come.

use std::time::{Duration, Instant};

use crate::limits::{H2_LIGHT_DATA_BYTES, H2_LIGHT_FRAMES_MAX};

/// The client's preface (RFC 9113 3.4), which is no frame.
const PREFACE_BYTES: u32 = 24;
/// A frame head: length, type, flags, stream (RFC 9113 4.1).
const HEAD_BYTES: usize = 9;
const MINUTE: Duration = Duration::from_secs(60);

/// The frames of one connection.
#[derive(Debug)]
pub struct FrameMeter {
    /// Bytes until the next frame head.
    skip: u32,
    head: [u8; HEAD_BYTES],
    /// Bytes of the head that are here.
    have: usize,
    light: u32,
    since: Instant,
}

impl FrameMeter {
    /// At the start of a connection.
    pub fn new(now: Instant) -> Self {
        Self { skip: PREFACE_BYTES, head: [0; HEAD_BYTES], have: 0, light: 0, since: now }
    }

    /// Takes note of what was read; true when it is too much. `now` is asked seldom.
    pub fn floods(&mut self, mut bytes: &[u8], now: impl FnOnce() -> Instant) -> bool {
        while !bytes.is_empty() {
            let skipped = bytes.len().min(self.skip as usize);
            self.skip -= skipped as u32;
            bytes = &bytes[skipped..];
            let wanted = bytes.len().min(HEAD_BYTES - self.have);
            if self.skip == 0 {
                self.head[self.have..self.have + wanted].copy_from_slice(&bytes[..wanted]);
                self.have += wanted;
                bytes = &bytes[wanted..];
            }
            if self.have == HEAD_BYTES {
                self.take_head();
            }
        }
        if self.light <= H2_LIGHT_FRAMES_MAX {
            return false;
        }
        let now = now();
        if now.duration_since(self.since) < MINUTE {
            return true;
        }
        (self.light, self.since) = (0, now);
        false
    }

    fn take_head(&mut self) {
        let [a, b, c, kind, flags, ..] = self.head;
        let length = u32::from_be_bytes([0, a, b, c]);
        self.light += u32::from(is_light(kind, flags, length));
        (self.skip, self.have) = (length, 0);
    }
}

/// RFC 9113 6: HEADERS, `RST_STREAM`, `WINDOW_UPDATE` and CONTINUATION have bounds of their own in the codec.
fn is_light(kind: u8, flags: u8, length: u32) -> bool {
    const END_STREAM: u8 = 1;
    match kind {
        0x0 => length < H2_LIGHT_DATA_BYTES && flags & END_STREAM == 0,
        0x1 | 0x3 | 0x8 | 0x9 => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[kind, flags, 0, 0, 0, 1]);
        frame.extend_from_slice(payload);
        frame
    }

    fn light(frames: &[Vec<u8>], pieces: usize) -> u32 {
        let now = Instant::now();
        let mut meter = FrameMeter::new(now);
        let bytes = [vec![0; PREFACE_BYTES as usize], frames.concat()].concat();
        for piece in bytes.chunks(pieces) {
            assert!(!meter.floods(piece, || now));
        }
        assert_eq!((meter.skip, meter.have), (0, 0));
        meter.light
    }

    #[test]
    fn light_frames_are_counted_however_they_arrive() {
        let frames = [
            frame(0x6, 0, &[0; 8]),
            frame(0x4, 0, &[]),
            frame(0x2, 0, &[0; 5]),
            frame(0x77, 0, &[6; 300]),
            frame(0x0, 0, b"x"),
            frame(0x0, 1, b""),
            frame(0x0, 0, &[b'x'; 100]),
            frame(0x1, 4, &[0; 50]),
            frame(0x8, 0, &[0; 4]),
        ];
        for pieces in [1, 2, 7, 9, 10, 4096] {
            assert_eq!(light(&frames, pieces), 5, "in pieces of {pieces}");
        }
    }

    #[test]
    fn as_many_as_in_a_flood_are_none_when_they_take_their_time() {
        let start = Instant::now();
        let pings = frame(0x6, 0, &[0; 8]).repeat(H2_LIGHT_FRAMES_MAX as usize);
        let mut meter = FrameMeter::new(start);
        assert!(!meter.floods(&[0; PREFACE_BYTES as usize], || start));
        assert!(!meter.floods(&pings, || unreachable!("not looked at below the bound")));
        assert!(!meter.floods(&pings, || start + MINUTE));
        assert!(!meter.floods(&pings, || unreachable!("not looked at below the bound")));
        assert!(meter.floods(&pings, || start + MINUTE + MINUTE / 2));
    }
}
