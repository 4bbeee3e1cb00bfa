#![allow(clippy::unwrap_used)]

mod answers;
mod deadlines;
mod sockets;
mod support;
mod uploads;
