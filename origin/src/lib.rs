//! Getting bytes from upstream: pool, connect, TLS, balance, health, retry. Knows nothing of caching.
//!
//! The wire (this half): one connection, one exchange. A caller opens a [`exchange::Connection`] for a
//! [`connect::Endpoint`], lends it a [`message::Request`] and reads a [`message::Response`]; the connection comes
//! home when both bodies are through.
//!
//! The fleet (the other half): which server, which connection, and whether again. [`client::Client::fetch`] awaits;
//! [`pool`], [`balance`], [`affinity`], [`eject`] and [`retry`] decide, with time as an argument.

pub mod affinity;
mod arena;
pub mod balance;
pub mod client;
pub mod connect;
pub mod counters;
mod early_data;
pub mod eject;
pub mod error;
pub mod exchange;
pub mod framing;
mod gradient;
pub mod group;
pub mod h1;
pub mod h2;
mod hop_by_hop;
mod latency;
mod lease;
pub mod message;
pub mod outlier;
pub mod pool;
pub mod public;
#[cfg(feature = "python")]
pub mod python;
mod quantile;
pub mod resolve;
pub mod retry;
pub mod settings;
mod slow_start;
mod timer;
pub mod tls;
mod transport;
mod warmth;
pub mod wire;

pub use client::{Client, Connections, enter_worker};
pub use counters::Snapshot;
pub use error::{BodyFault, Deadline, Fault, FetchError, Phase};
pub use group::owner::place_of;
pub use group::{Group, ServerStatus};
pub use h1::Upgraded;
pub use message::{FieldLines, Interim, InterimSink, Request, RequestBody, RequestFields, Response, ResponseBody};
pub use settings::{GroupSettings, PoolLimits, SettingsError};
