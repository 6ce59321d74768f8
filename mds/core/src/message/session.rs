//! What ranks say to each other of their clients.

use common::id::ClientId;
use serde::{Deserialize, Serialize};

/// Variants are encoded by position: append only, never reorder, never remove.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SessionMsg {
    /// a rank → all others. This client holds something here, and whoever was to tell it may not know
    /// that any more: tell it.
    Untold { client: ClientId },
    /// The answer of who has no session with it: if all say so, nobody can tell it.
    Unknown { client: ClientId },
}

#[cfg(test)]
mod tests;
