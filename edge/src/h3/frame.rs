//! Frames of a request stream (RFC 9114 section 7): which may come when, and what is in them.
//!
//! A field section is gathered up to its bound; data passes through in the pieces it came in; what is of no known type is
//! passed over, up to a bound of frames, since each costs as much as one that means something.

use bytes::{Buf, Bytes, BytesMut};

use super::error::Code;
use super::varint::VarintReader;

/// Frames without content that one request may have: of unknown type, or DATA of no length.
const LIGHT_FRAMES_MAX: u32 = 1_000;

const DATA: u64 = 0x0;
const HEADERS: u64 = 0x1;

/// What a stream holds next.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The field section of the head.
    Head(Bytes),
    Data(Bytes),
    /// The field section of the trailers.
    Trailers(Bytes),
    /// All that came is used up.
    NeedMore,
    /// The field section is longer than is read.
    TooLarge,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Type(VarintReader),
    Length(u64, VarintReader),
    Section(u64),
    Data(u64),
    Skip(u64),
}

/// How far the message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Nothing,
    Head,
    Trailers,
}

/// A request stream, taken apart.
#[derive(Debug)]
pub struct Frames {
    state: State,
    progress: Progress,
    section: BytesMut,
    section_bytes_max: u64,
    light: u32,
}

impl Frames {
    pub fn new(section_bytes_max: u32) -> Self {
        Frames {
            state: State::Type(VarintReader::default()),
            progress: Progress::Nothing,
            section: BytesMut::new(),
            section_bytes_max: section_bytes_max.into(),
            light: 0,
        }
    }

    /// What is next. An error is one of the connection.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Event, Code> {
        loop {
            match &mut self.state {
                State::Type(reader) => match reader.read(input) {
                    Some(kind) => self.state = State::Length(kind, VarintReader::default()),
                    None => return Ok(Event::NeedMore),
                },
                State::Length(kind, reader) => match reader.read(input) {
                    Some(length) => {
                        let kind = *kind;
                        self.state = self.begin(kind, length)?;
                    }
                    None => return Ok(Event::NeedMore),
                },
                State::Section(left) if *left > self.section_bytes_max => return Ok(Event::TooLarge),
                State::Section(left) => match gather(&mut self.section, *left, input) {
                    Some(section) => return Ok(self.section_ends(section)),
                    None => return Ok(Event::NeedMore),
                },
                State::Data(0) | State::Skip(0) => self.state = State::Type(VarintReader::default()),
                State::Data(_) | State::Skip(_) if !input.has_remaining() => return Ok(Event::NeedMore),
                State::Data(left) => {
                    let piece = input.split_to(in_reach(*left, input));
                    *left -= piece.len() as u64;
                    return Ok(Event::Data(piece));
                }
                State::Skip(left) => {
                    let skipped = in_reach(*left, input);
                    input.advance(skipped);
                    *left -= skipped as u64;
                }
            }
        }
    }

    /// Whether the stream may end here: a head came, and no frame is cut short (RFC 9114 sections 4.1 and 7.1).
    pub fn end(&self) -> Result<(), Code> {
        match self.state {
            State::Type(reader) if reader.is_idle() => {}
            State::Data(0) | State::Skip(0) => {}
            _ => return Err(Code::FrameError),
        }
        if self.progress == Progress::Nothing { Err(Code::RequestIncomplete) } else { Ok(()) }
    }

    fn begin(&mut self, kind: u64, length: u64) -> Result<State, Code> {
        match (kind, self.progress) {
            (HEADERS, Progress::Nothing | Progress::Head) => return Ok(State::Section(length)),
            (DATA, Progress::Head) => {
                self.light += u32::from(length == 0);
                return if self.light > LIGHT_FRAMES_MAX { Err(Code::ExcessiveLoad) } else { Ok(State::Data(length)) };
            }
            // Section 4.1: an invalid sequence of frames; sections 7.2.3 to 7.2.8: what belongs to the control stream,
            // to the other direction, or to HTTP/2.
            (DATA | HEADERS | 0x2..=0x9 | 0xd, _) => return Err(Code::FrameUnexpected),
            _ => {}
        }
        self.light += 1;
        if self.light > LIGHT_FRAMES_MAX { Err(Code::ExcessiveLoad) } else { Ok(State::Skip(length)) }
    }

    fn section_ends(&mut self, section: Bytes) -> Event {
        self.state = State::Type(VarintReader::default());
        if self.progress == Progress::Nothing {
            self.progress = Progress::Head;
            return Event::Head(section);
        }
        self.progress = Progress::Trailers;
        Event::Trailers(section)
    }
}

fn in_reach(left: u64, input: &Bytes) -> usize {
    input.len().min(usize::try_from(left).unwrap_or(usize::MAX))
}

/// So many bytes in one piece; no copy when they came in one.
pub(super) fn gather(held: &mut BytesMut, wanted: u64, input: &mut Bytes) -> Option<Bytes> {
    if held.is_empty() && input.len() as u64 >= wanted {
        return Some(input.split_to(wanted as usize));
    }
    let more = in_reach(wanted - held.len() as u64, input);
    held.extend_from_slice(&input.split_to(more));
    (held.len() as u64 == wanted).then(|| std::mem::take(held).freeze())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::h3::varint;

    fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        varint::put(&mut wire, kind);
        varint::put(&mut wire, payload.len() as u64);
        wire.extend_from_slice(payload);
        wire
    }

    /// What a stream says, with adjacent data joined; fed in pieces.
    fn told(wire: &[u8], pieces: usize) -> (Vec<Event>, Result<(), Code>) {
        let mut frames = Frames::new(64);
        let mut events: Vec<Event> = Vec::new();
        for piece in wire.chunks(pieces.max(1)) {
            let mut input = Bytes::copy_from_slice(piece);
            loop {
                match frames.next(&mut input) {
                    Ok(Event::NeedMore) => break,
                    Ok(Event::TooLarge) => {
                        events.push(Event::TooLarge);
                        return (events, Ok(()));
                    }
                    Ok(Event::Data(data)) => match events.last_mut() {
                        Some(Event::Data(known)) => *known = [&known[..], &data].concat().into(),
                        _ => events.push(Event::Data(data)),
                    },
                    Ok(event) => events.push(event),
                    Err(code) => return (events, Err(code)),
                }
            }
            assert!(input.is_empty());
        }
        let end = frames.end();
        (events, end)
    }

    #[test]
    fn a_message_comes_apart_however_it_is_split() {
        let wire = [
            frame(0x21, b"grease"),
            frame(1, b"head"),
            frame(0, b"da"),
            frame(0, b""),
            frame(0, b"ta"),
            frame(1, b"end"),
        ];
        for pieces in 1..30 {
            let (events, end) = told(&wire.concat(), pieces);
            let wanted = [Event::Head("head".into()), Event::Data("data".into()), Event::Trailers("end".into())];
            assert_eq!((events.as_slice(), end), (wanted.as_slice(), Ok(())), "in pieces of {pieces}");
        }
    }

    #[test]
    fn frames_out_of_order_and_of_other_streams_are_errors() {
        let head = frame(1, b"h");
        let unexpected: [Vec<u8>; 7] = [
            frame(0, b"x"),
            [head.clone(), frame(1, b"t"), frame(0, b"x")].concat(),
            [head.clone(), frame(1, b"t"), frame(1, b"x")].concat(),
            [head.clone(), frame(4, b"")].concat(),
            frame(5, b"x"),
            frame(7, b"\0"),
            frame(2, b""),
        ];
        for wire in unexpected {
            assert_eq!(told(&wire, 5).1, Err(Code::FrameUnexpected), "{wire:?}");
        }
        assert_eq!(told(&[], 1).1, Err(Code::RequestIncomplete));
        assert_eq!(told(&frame(0x21, b"x"), 1).1, Err(Code::RequestIncomplete));
        assert_eq!(told(&head[..2], 1).1, Err(Code::FrameError));
        assert_eq!(told(&[head.clone(), vec![0, 5, b'x']].concat(), 1).1, Err(Code::FrameError));
    }

    #[test]
    fn a_field_section_beyond_its_bound_is_not_gathered() {
        assert_eq!(told(&[1, 0x80, 1, 0, 0], 1).0, [Event::TooLarge]);
    }

    #[test]
    fn frames_of_no_use_are_bounded() {
        let head = frame(1, b"h");
        for light in [frame(0, b""), frame(0x40, b"")] {
            let wire = [head.clone(), light.repeat(LIGHT_FRAMES_MAX as usize)].concat();
            assert_eq!(told(&wire, 4096).1, Ok(()));
            assert_eq!(told(&[wire, light].concat(), 4096).1, Err(Code::ExcessiveLoad));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_upset_it_and_the_split_never_matters(wire in prop::collection::vec(0_u8..80, 0..200), pieces in 1..50_usize) {
            let whole = told(&wire, usize::MAX);
            prop_assert_eq!(told(&wire, pieces), whole);
        }
    }
}
