//! QUIC connections of the daemons: one task reads, one writes, in order.

pub mod outbox;
