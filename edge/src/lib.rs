//! The node: listeners, the request steps, delivery, metrics and logs. It decides with `headland_cache` and fetches
//! with `headland_origin`; those two know nothing of each other.

pub mod access_log;
pub mod answer;
pub mod clock;
pub mod condition;
pub mod connection;
pub mod counter;
pub mod deliver;
mod early_hints;
pub mod edited;
pub mod explain;
pub mod fetching;
pub mod fill;
pub mod forgetting;
pub mod forward;
pub mod h1;
pub mod h3;
pub mod hop_by_hop;
pub mod inspection;
mod interims;
pub mod invalidation;
pub mod key_log;
pub mod limits;
pub mod listener;
pub mod metrics;
pub mod multipart;
pub mod network;
pub mod node;
pub mod origin_fields;
pub mod partial;
pub mod peers;
mod pipe;
mod plan;
pub mod purge;
#[cfg(feature = "python")]
mod python;
pub mod queried;
pub mod quic;
pub mod recoding;
pub mod refill;
pub mod renewal;
pub mod report;
pub mod representation;
pub mod request;
pub mod route;
pub mod rules;
pub mod running;
pub mod secret;
pub mod settings;
pub mod snapshot;
pub mod tickets;
pub mod tier;
pub mod tls;
pub mod tunnel;
pub mod worker;

/// Many small, short-lived allocations on many threads: what this allocator is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
