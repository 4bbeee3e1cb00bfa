//! Getting bytes from upstream: pool, connect, TLS, balance, health, retry. Knows nothing of caching.
//!
//! The wire (this half): one connection, one exchange. A caller opens a [`exchange::Connection`] for a
//! [`connect::Endpoint`], lends it a [`message::Request`] and reads a [`message::Response`]; the connection comes
//! home when both bodies are through.

pub mod connect;
pub mod error;
pub mod exchange;
pub mod framing;
pub mod h1;
pub mod h2;
pub mod message;
pub mod resolve;
mod timer;
pub mod tls;
mod transport;
