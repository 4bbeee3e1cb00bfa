//! The unidirectional streams of a client: control (RFC 9114 section 6.2.1) and the two of QPACK (RFC 9204 section 4.2).

use bytes::{Buf, Bytes, BytesMut};

use super::error::Code;
use super::frame::gather;
use super::priority::Priority;
use super::varint::{self, VarintReader};

/// Bytes of a SETTINGS frame, or of another one with a meaning.
const PAYLOAD_BYTES_MAX: u64 = 4 << 10;
/// `PRIORITY_UPDATE` of a request, and of a push (RFC 9218 section 7.2).
const PRIORITY_UPDATE: u64 = 0xf_0700;
const PRIORITY_UPDATE_OF_PUSH: u64 = 0xf_0701;
/// Priorities that wait to be taken.
const UPDATES_MAX: usize = 32;

/// What a unidirectional stream is, by its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    Control,
    Qpack(QpackStream),
    /// Only a server pushes.
    Push,
    /// Nobody needs to read it.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QpackStream {
    Encoder,
    Decoder,
}

impl StreamKind {
    pub fn of(kind: u64) -> Self {
        match kind {
            0x0 => StreamKind::Control,
            0x1 => StreamKind::Push,
            0x2 => StreamKind::Qpack(QpackStream::Encoder),
            0x3 => StreamKind::Qpack(QpackStream::Decoder),
            _ => StreamKind::Unknown,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum State {
    Type(VarintReader),
    Length(u64, VarintReader),
    Payload(u64, u64),
    Skip(u64),
}

/// The control stream, taken apart.
#[derive(Debug, Default)]
pub struct Control {
    state: State,
    held: BytesMut,
    settled: bool,
    max_push_id: Option<u64>,
    /// Frames that ask for nothing; whoever reads the clock forgives them from time to time.
    pub light: u32,
    /// The largest field section that the client takes.
    pub section_bytes_max: Option<u64>,
    /// What the client wants of its requests now, by their streams; whoever reads on takes them first.
    pub priorities: Vec<(u64, Priority)>,
}

impl Default for State {
    fn default() -> Self {
        State::Type(VarintReader::default())
    }
}

impl Control {
    /// Takes all of the input.
    pub fn read(&mut self, input: &mut Bytes) -> Result<(), Code> {
        loop {
            match &mut self.state {
                State::Type(reader) => match reader.read(input) {
                    Some(kind) => self.state = State::Length(kind, VarintReader::default()),
                    None => return Ok(()),
                },
                State::Length(kind, reader) => match reader.read(input) {
                    Some(length) => {
                        let kind = *kind;
                        self.state = self.begin(kind, length)?;
                    }
                    None => return Ok(()),
                },
                State::Payload(kind, length) => {
                    let kind = *kind;
                    let Some(payload) = gather(&mut self.held, *length, input) else { return Ok(()) };
                    self.take(kind, payload)?;
                    self.state = State::Type(VarintReader::default());
                }
                State::Skip(0) => self.state = State::Type(VarintReader::default()),
                State::Skip(_) if !input.has_remaining() => return Ok(()),
                State::Skip(left) => {
                    let skipped = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    input.advance(skipped);
                    *left -= skipped as u64;
                }
            }
        }
    }

    fn begin(&mut self, kind: u64, length: u64) -> Result<State, Code> {
        // The first frame is SETTINGS, and no other one is (sections 6.2.1 and 7.2.4).
        if !self.settled && kind != 0x4 {
            return Err(Code::MissingSettings);
        }
        self.light += u32::from(self.settled);
        match kind {
            0x4 if self.settled => Err(Code::FrameUnexpected),
            0x4 | 0x3 | 0x7 | 0xd | PRIORITY_UPDATE if length > PAYLOAD_BYTES_MAX => Err(Code::ExcessiveLoad),
            0x4 | 0x3 | 0x7 | 0xd | PRIORITY_UPDATE => Ok(State::Payload(kind, length)),
            // Of a push that was never promised.
            PRIORITY_UPDATE_OF_PUSH => Err(Code::IdError),
            // Frames of request streams and of HTTP/2 (sections 7.2 and 7.2.8).
            0x0 | 0x1 | 0x2 | 0x5 | 0x6 | 0x8 | 0x9 => Err(Code::FrameUnexpected),
            _ => Ok(State::Skip(length)),
        }
    }

    fn take(&mut self, kind: u64, mut payload: Bytes) -> Result<(), Code> {
        if kind == 0x4 {
            return self.take_settings(payload);
        }
        if kind == PRIORITY_UPDATE {
            return self.take_priority(payload);
        }
        let id = varint::take(&mut payload).filter(|_| payload.is_empty()).ok_or(Code::FrameError)?;
        match kind {
            // MAX_PUSH_ID never shrinks (section 7.2.7).
            0xd if self.max_push_id.is_some_and(|known| id < known) => Err(Code::IdError),
            0xd => {
                self.max_push_id = Some(id);
                Ok(())
            }
            // CANCEL_PUSH of what was never promised (section 7.2.3).
            0x3 => Err(Code::IdError),
            // GOAWAY: no pushes any more, and there are none.
            _ => Ok(()),
        }
    }

    fn take_priority(&mut self, mut payload: Bytes) -> Result<(), Code> {
        let stream = varint::take(&mut payload).ok_or(Code::FrameError)?;
        // Only a request has one, and its stream is the client's and goes both ways (RFC 9000 section 2.1).
        if stream & 0x3 != 0 {
            return Err(Code::IdError);
        }
        if self.priorities.len() == UPDATES_MAX {
            self.priorities.remove(0);
        }
        self.priorities.push((stream, Priority::of(&payload)));
        Ok(())
    }

    fn take_settings(&mut self, mut payload: Bytes) -> Result<(), Code> {
        self.settled = true;
        let mut seen = Vec::new();
        while payload.has_remaining() {
            let setting = varint::take(&mut payload).ok_or(Code::FrameError)?;
            let value = varint::take(&mut payload).ok_or(Code::FrameError)?;
            // Settings of HTTP/2, and any setting twice (sections 7.2.4 and 7.2.4.1).
            if matches!(setting, 0x0 | 0x2..=0x5) || seen.contains(&setting) {
                return Err(Code::SettingsError);
            }
            if setting == 0x6 {
                self.section_bytes_max = Some(value);
            }
            if seen.len() < 64 {
                seen.push(setting);
            }
        }
        Ok(())
    }
}

/// Instructions on a stream of QPACK: since there is no dynamic table, hardly any make sense.
#[derive(Debug)]
pub struct Instructions {
    stream: QpackStream,
    /// In the middle of an integer.
    within: bool,
}

impl Instructions {
    pub fn new(stream: QpackStream) -> Self {
        Instructions { stream, within: false }
    }

    /// Takes all of the input.
    pub fn read(&mut self, input: &[u8]) -> Result<(), Code> {
        for &byte in input {
            match self.stream {
                // Set Dynamic Table Capacity to nothing (RFC 9204 sections 4.3.1 and 3.2.3).
                QpackStream::Encoder if byte == 0x20 => {}
                QpackStream::Encoder => return Err(Code::QpackEncoderStreamError),
                QpackStream::Decoder if self.within => self.within = byte & 0x80 != 0,
                // Stream Cancellation (section 4.4.2); there is nothing to acknowledge or to count.
                QpackStream::Decoder if byte & 0xc0 == 0x40 => self.within = byte & 0x3f == 0x3f,
                QpackStream::Decoder => return Err(Code::QpackDecoderStreamError),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn read(wire: &[u8], pieces: usize) -> Result<Control, Code> {
        let mut control = Control::default();
        for piece in wire.chunks(pieces) {
            control.read(&mut Bytes::copy_from_slice(piece))?;
        }
        Ok(control)
    }

    #[test]
    fn settings_are_read_and_the_rest_passed_over() {
        let wire = [4, 3, 6, 0x40, 100, 0x21, 2, 9, 9, 0xd, 1, 5, 7, 1, 0, 0x0d, 1, 5];
        for pieces in 1..wire.len() {
            let control = read(&wire, pieces).unwrap();
            assert_eq!((control.section_bytes_max, control.light), (Some(100), 4), "in pieces of {pieces}");
        }
    }

    #[test]
    fn what_breaks_a_rule_of_the_control_stream_is_named() {
        let cases: [(&[u8], Code); 10] = [
            (&[7, 1, 0], Code::MissingSettings),
            (&[4, 0, 4, 0], Code::FrameUnexpected),
            (&[4, 0, 0, 0], Code::FrameUnexpected),
            (&[4, 0, 1, 0], Code::FrameUnexpected),
            (&[4, 0, 6, 0], Code::FrameUnexpected),
            (&[4, 2, 2, 0], Code::SettingsError),
            (&[4, 4, 6, 1, 6, 1], Code::SettingsError),
            (&[4, 0, 0xd, 1, 5, 0xd, 1, 4], Code::IdError),
            (&[4, 0, 3, 1, 0], Code::IdError),
            (&[4, 0, 7, 2, 0, 0], Code::FrameError),
        ];
        for (wire, code) in cases {
            assert_eq!(read(wire, 1).unwrap_err(), code, "{wire:?}");
        }
        assert_eq!(read(&[4, 0x80, 1, 0, 0], 1).unwrap_err(), Code::ExcessiveLoad);
    }

    #[test]
    fn priorities_are_kept_for_who_reads_on_and_the_oldest_is_dropped_first() {
        let update = |stream: u8, value: &[u8]| [&[0x80, 0xf, 7, 0, value.len() as u8 + 1, stream][..], value].concat();
        let wire = [&[4, 0][..], &update(0, b"u=1"), &update(4, b"u=9, i")].concat();
        let control = read(&wire, 3).unwrap();
        let wanted =
            [(0, Priority { urgency: 1, incremental: false }), (4, Priority { urgency: 3, incremental: true })];
        assert_eq!(control.priorities, wanted);
        let many: Vec<u8> = (0..40).flat_map(|_| update(8, b"")).collect();
        assert_eq!(read(&[&wire, &many[..]].concat(), 5).unwrap().priorities.len(), UPDATES_MAX);
        assert_eq!(read(&[&[4, 0][..], &update(2, b"u=1")].concat(), 9).unwrap_err(), Code::IdError);
        assert_eq!(read(&[4, 0, 0x80, 0xf, 7, 1, 1, 0], 9).unwrap_err(), Code::IdError);
        assert_eq!(read(&[4, 0, 0x80, 0xf, 7, 0, 0], 9).unwrap_err(), Code::FrameError);
    }

    #[test]
    fn qpack_streams_hold_nothing_of_a_dynamic_table() {
        let read = |stream, wire: &[u8]| Instructions::new(stream).read(wire);
        assert_eq!(read(QpackStream::Encoder, &[0x20, 0x20]), Ok(()));
        assert_eq!(read(QpackStream::Encoder, &[0x3f, 0x01]), Err(Code::QpackEncoderStreamError));
        assert_eq!(read(QpackStream::Encoder, &[0xc0, 1, b'x']), Err(Code::QpackEncoderStreamError));
        assert_eq!(read(QpackStream::Decoder, &[0x44, 0x7f, 0x85, 0x01, 0x44]), Ok(()));
        assert_eq!(read(QpackStream::Decoder, &[0x80]), Err(Code::QpackDecoderStreamError));
        assert_eq!(read(QpackStream::Decoder, &[0x01]), Err(Code::QpackDecoderStreamError));
    }

    proptest! {
        #[test]
        fn no_bytes_upset_it_and_the_split_never_matters(wire in prop::collection::vec(0_u8..70, 0..100), pieces in 1..20_usize) {
            let wire = [&[4, 0], &wire[..]].concat();
            let verdict = |control: Result<Control, Code>| control.map(|control| control.light);
            prop_assert_eq!(verdict(read(&wire, pieces)), verdict(read(&wire, wire.len())));
        }
    }
}
