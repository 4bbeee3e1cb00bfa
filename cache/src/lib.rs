//! What may be stored, for how long and under which key: RFC 9111 as pure functions, the memory tier, collapse of
//! concurrent fills, and the purge ledger. No sockets, no clock: time and fields are arguments.

pub mod admit;
pub mod body;
pub mod codings;
pub mod conditional;
pub mod directives;
pub mod etag;
pub mod facts;
pub mod fields;
#[cfg(test)]
mod fixtures;
pub mod freshness;
pub mod head;
pub mod http_date;
pub mod invalidate;
pub mod key;
pub mod lookup;
pub mod outcome;
pub mod policy;
pub mod range;
pub mod standing;
pub mod stored_fields;
mod structured;
mod surrogate;
mod syntax;
pub mod tags;
pub mod target;
pub mod time;
pub mod update;
pub mod vary;

pub use admit::{Admitted, Refusal, admit};
pub use body::Body;
pub use facts::RequestFacts;
pub use fields::Fields;
pub use freshness::Freshness;
pub use head::StoredHead;
pub use key::{CacheKey, KeyBuffer, KeyRef, Scheme};
pub use lookup::{Reuse, assess, may_serve_on_error};
pub use outcome::{BypassReason, MissReason, Outcome};
pub use policy::{Mode, Policy};
pub use standing::Standing;
pub use tags::Tags;
pub use time::{DeltaSeconds, Time};
pub use vary::{VaryFacts, VarySpec};
