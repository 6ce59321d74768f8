//! QUIC connections of the daemons: one task reads, one writes, in order.

pub mod admin;
pub mod client;
pub mod listener;
pub mod monitor;
pub mod outbox;
pub mod peer;
