//! What the tests share: a simulated cluster, an exhaustive explorer, and a cluster of real daemons.

pub mod cluster;
pub mod explore;
pub mod mistake;
pub mod sim;
