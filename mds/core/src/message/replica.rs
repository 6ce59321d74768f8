//! Spine replicas: discover, and what keeps them true.

use common::id::{DirFragId, Epoch, Ino, Nonce, Rank};
use serde::{Deserialize, Serialize};

use crate::row::Parent;

/// Variants in the order in which they are sent; append only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReplicaMsg {
    /// whoever needs it → presumed authority. Where is this directory, and register me for it.
    Discover { dir: Ino },
    /// authority → asker. Here it is; the registration has this nonce, and the authority that claim.
    Discovered { dir: Ino, parent: Option<Parent>, nonce: Nonce, epoch: Epoch },
    /// asked rank → asker. Not mine; ask the rank named, if any.
    NotHere { dir: Ino, ask: Option<Rank> },
    /// holder → authority. The replicas under these nonces are dropped. `region`: the sender knows of
    /// a migration of that base, which they are below, and tells both candidates.
    Expire { dirs: Vec<(Ino, Nonce)>, region: Option<DirFragId> },
    /// authority → holder. The directory has another parent or name. Answered by `MovedAcked`, also
    /// when the replica is gone.
    Moved { dir: Ino, parent: Parent, nonce: Nonce },
    /// holder → authority. The replica says so too. Withheld while a region below is frozen.
    MovedAcked { dir: Ino, nonce: Nonce },
}

#[cfg(test)]
mod tests;
