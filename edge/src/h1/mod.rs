//! The HTTP/1.1 codec of the server side: bytes in, heads and body pieces out, and the reverse. No sockets, no clock.
//!
//! Model: a connection feeds what it read into [`HeadParser`], which yields one [`RequestHead`] or a [`Refusal`]; then
//! into a [`BodyDecoder`], until the body ends; then the next head. What is refused is never repaired: the connection
//! answers the refusal and closes (RFC 9112 has room for repairs; a cache that shares a pool has none).
//!
//! Invariant: the verdict depends on the bytes alone, never on how they were split over reads.

mod authority;
mod body;
pub mod encode;
mod fields;
mod framing;
mod head;
mod preface;
mod refuse;
mod target;

pub(crate) use authority::is_authority;
pub use body::{BodyDecoder, Piece};
pub use fields::FlatFields;
pub use framing::{BodyFraming, ResponseFraming};
pub use head::{HeadParser, Parsed, RequestHead, Version};
pub use preface::{Preface, looks_like_h2_preface};
pub use refuse::{Reason, Refusal};
pub use target::Target;
pub(crate) use target::check_bytes as check_target;
