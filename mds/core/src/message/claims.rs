//! What a rank that begins anew, and those that go on, hold against each other.

use common::id::{DirFragId, Epoch};
use serde::{Deserialize, Serialize};

/// Bases in one message: some 100 KB.
pub const CLAIMS_MAX: usize = 4096;

/// Variants are encoded by position: append only, never reorder, never remove.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClaimsMsg {
    /// recovering → all others. These bases are mine alone, by these claims.
    Mine { bases: Vec<(DirFragId, Epoch)> },
    /// asked → recovering. And these, at the edges of what you hold, are mine.
    Near { bases: Vec<(DirFragId, Epoch)> },
    /// whoever heard a claim → who made it. Mine is the higher one: you hold something old.
    Lower { base: DirFragId, epoch: Epoch },
}

#[cfg(test)]
mod tests;
