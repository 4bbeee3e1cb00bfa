//! What may be stored, for how long and under which key: RFC 9111 as pure functions, the memory tier, collapse of
//! concurrent fills, and the purge ledger. No sockets, no clock: time and fields are arguments.

pub mod admit;
pub mod body;
pub mod codings;
pub mod collapse;
pub mod conditional;
pub mod directives;
pub mod etag;
mod eviction;
pub mod facts;
pub mod fields;
pub mod fill;
pub mod fill_reader;
#[cfg(test)]
mod fixtures;
pub mod freshness;
pub mod groups;
pub mod head;
pub mod http_date;
pub mod invalidate;
pub mod key;
pub mod ledger;
pub mod lookup;
pub mod object;
pub mod outcome;
mod pieces;
pub mod policy;
pub mod purge_rule;
#[cfg(feature = "python")]
pub mod python;
pub mod range;
mod rule_index;
pub mod standing;
pub mod store;
pub mod stored_fields;
mod structured;
mod surrogate;
mod syntax;
pub mod tags;
pub mod target;
pub mod time;
pub mod uncacheable;
pub mod update;
pub mod vary;

pub use admit::{Admitted, Refusal, admit};
pub use body::Body;
pub use collapse::{Collapse, CollapseLimits, Join, Lead, Sealed};
pub use facts::RequestFacts;
pub use fields::Fields;
pub use fill::{Broken, FillHead, NoHead, NobodyReads, Retention};
pub use fill_reader::{FillReader, Follower};
pub use freshness::Freshness;
pub use head::StoredHead;
pub use key::{CacheKey, KeyBuffer, KeyRef, Scheme};
pub use ledger::{Epoch, Ledger};
pub use lookup::{Reuse, assess, assess_absence, may_serve_on_error};
pub use object::Object;
pub use outcome::{BypassReason, MissReason, Outcome};
pub use policy::{Mode, Policy};
pub use purge_rule::{PurgeKind, PurgeMode, PurgeRule};
pub use standing::Standing;
pub use store::{Insertion, MemoryStore, StoreStats};
pub use tags::Tags;
pub use time::{DeltaSeconds, Time};
pub use uncacheable::Uncacheable;
pub use vary::{VaryFacts, VarySpec};
