//! The HTTP/3 codec of the server side (RFC 9114, QPACK: RFC 9204): bytes of streams in, heads and body pieces out, and
//! the reverse. No sockets, no clock, no QUIC: what moves the bytes is `crate::connection::h3`.
//!
//! Model: [`Frames`] takes a request stream apart, however its bytes are split; [`read_head`] turns a field section into
//! a [`RequestHead`] or a refusal. Fields are coded without the dynamic table, which a server may leave at no size (RFC
//! 9204 section 3.2.3): nothing is kept for a client, and no stream waits for another.
//!
//! Invariant: what is refused is never repaired, and the verdict depends on the bytes alone, never on how they came.

mod control;
mod encode;
mod error;
mod frame;
mod head;
mod huffman;
mod priority;
mod qpack;
mod static_table;
mod turns;
mod varint;

pub use control::{Control, Instructions, QpackStream, StreamKind};
pub use encode::{FieldSection, data_frame, go_away, settings};
pub use error::Code;
pub use frame::{Event, Frames};
pub use head::{Malformed, RequestHead, read_head, read_trailers};
pub use priority::Priority;
pub use turns::{Taken, Turns};
pub use varint::{VARINT_MAX, VarintReader};
