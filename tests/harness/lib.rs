//! What the tests share: a simulated cluster, and one of real daemons and mounts.

pub mod cluster;
pub mod sim;
