//! The unidirectional streams of a client: what they are, and that they keep to their rules.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Door;
use crate::h3::{Code, Control, Instructions, QpackStream, StreamKind, VarintReader};
use crate::limits::H2_LIGHT_FRAMES_MAX;
use crate::quic::{Cut, Quic, Receiving};

/// Bytes read at a time.
const READ_BYTES: usize = 4 << 10;
const MINUTE: Duration = Duration::from_secs(60);

/// Which of the streams that there is one of have come.
#[derive(Debug, Default)]
struct Seen {
    control: bool,
    encoder: bool,
    decoder: bool,
}

/// Takes the client's unidirectional streams until the connection ends.
pub(super) async fn watch<Q: Quic>(door: Arc<Door<Q>>) {
    let seen = Arc::new(parking_lot::Mutex::new(Seen::default()));
    while let Some(stream) = door.quic.accept_uni().await {
        let (door, seen) = (door.clone(), seen.clone());
        tokio::spawn(async move {
            if let Err(reason) = serve(&door, &seen, stream).await {
                door.fail(reason);
            }
        });
    }
}

async fn serve<Q: Quic>(door: &Door<Q>, seen: &parking_lot::Mutex<Seen>, mut stream: Q::Receiving) -> Result<(), Code> {
    let mut kind = VarintReader::default();
    let mut input = Bytes::new();
    let kind = loop {
        if let Some(kind) = kind.read(&mut input) {
            break StreamKind::of(kind);
        }
        match stream.read(READ_BYTES).await {
            Ok(Some(chunk)) => input = chunk,
            // It may end before it says what it is (RFC 9114 section 6.2).
            _ => return Ok(()),
        }
    };
    match kind {
        StreamKind::Push => return Err(Code::StreamCreationError),
        StreamKind::Unknown => {
            stream.stop(Code::StreamCreationError as u32);
            return Ok(());
        }
        StreamKind::Control | StreamKind::Qpack(_) => {}
    }
    // There is one of each (section 6.2.1; RFC 9204 section 4.2).
    if std::mem::replace(seen.lock().place(kind), true) {
        return Err(Code::StreamCreationError);
    }
    match kind {
        StreamKind::Qpack(which) => read_instructions(stream, which, input).await,
        _ => read_control(door, stream, input).await,
    }
}

impl Seen {
    fn place(&mut self, kind: StreamKind) -> &mut bool {
        match kind {
            StreamKind::Qpack(QpackStream::Encoder) => &mut self.encoder,
            StreamKind::Qpack(QpackStream::Decoder) => &mut self.decoder,
            _ => &mut self.control,
        }
    }
}

async fn read_control<Q: Quic>(door: &Door<Q>, mut stream: Q::Receiving, mut input: Bytes) -> Result<(), Code> {
    let mut control = Control::default();
    let mut since = Instant::now();
    loop {
        control.read(&mut input)?;
        if let Some(bytes) = control.section_bytes_max.take() {
            door.section_bytes_max.store(bytes, Relaxed);
        }
        for (stream, priority) in control.priorities.drain(..) {
            let quic = &door.node.metrics.here().quic;
            quic.priority_updates.bump();
            door.order.reorder(stream, priority);
            if door.priorities.update(stream, priority) {
                quic.priorities_forgotten.bump();
            }
        }
        if control.light > H2_LIGHT_FRAMES_MAX {
            if since.elapsed() < MINUTE {
                door.node.metrics.here().connections_flooded.bump();
                return Err(Code::ExcessiveLoad);
            }
            (control.light, since) = (0, Instant::now());
        }
        let Some(chunk) = next(&mut stream).await? else { return Ok(()) };
        input = chunk;
    }
}

async fn read_instructions(mut stream: impl Receiving, which: QpackStream, mut input: Bytes) -> Result<(), Code> {
    let mut instructions = Instructions::new(which);
    loop {
        instructions.read(&input)?;
        let Some(chunk) = next(&mut stream).await? else { return Ok(()) };
        input = chunk;
    }
}

/// More of a stream that may not end before its connection does; none when that has ended.
async fn next(stream: &mut impl Receiving) -> Result<Option<Bytes>, Code> {
    match stream.read(READ_BYTES).await {
        Ok(Some(chunk)) => Ok(Some(chunk)),
        Ok(None) | Err(Cut::Stream) => Err(Code::ClosedCriticalStream),
        Err(Cut::Connection) => Ok(None),
    }
}
