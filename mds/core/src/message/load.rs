//! Loads and orders of the balancer.

use common::id::{Ino, Rank};
use serde::{Deserialize, Serialize};

/// Variants are encoded by position: append only, never reorder, never remove.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LoadMsg {
    /// any rank → rank 0, once per epoch. Its load, and what could be moved away from it.
    Heartbeat(Heartbeat),
    /// rank 0 → the busiest rank. Move this directory; a refusal stays with you.
    Export { dir: Ino, to: Rank },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Operations per second, decayed.
    pub load: u64,
    /// Directories of this rank with the load of everything below them, the heaviest first.
    pub candidates: Vec<Candidate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Candidate {
    pub dir: Ino,
    /// Operations per second, decayed.
    pub load: u64,
}

#[cfg(test)]
mod tests;
