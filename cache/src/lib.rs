//! What may be stored, for how long and under which key: RFC 9111 as pure functions, the memory tier, collapse of
//! concurrent fills, and the purge ledger. No sockets, no clock: time and fields are arguments.

pub mod body;
pub mod fields;
pub mod head;
pub mod key;
pub mod outcome;
pub mod target;
pub mod time;

pub use body::Body;
pub use fields::Fields;
pub use head::StoredHead;
pub use key::{CacheKey, KeyBuffer, KeyRef, Scheme};
pub use outcome::{BypassReason, MissReason, Outcome};
pub use time::{DeltaSeconds, Time};
