//! edge

pub mod forward;
pub mod h1;
pub mod hop_by_hop;
pub mod limits;
