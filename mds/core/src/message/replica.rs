//! Spine replicas: discover, and what keeps them true.

use common::id::{DirFragId, Ino, Nonce};
use serde::{Deserialize, Serialize};

use crate::row::Parent;

/// Variants in the order in which they are sent; append only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReplicaMsg {
    /// whoever needs it → authority. Where is this directory, and register me for it.
    Discover { dir: Ino },
    /// authority → asker. Here it is; the registration has this nonce.
    Discovered { dir: Ino, parent: Option<Parent>, nonce: Nonce },
    /// asked rank → asker. Not mine; ask the rank named, if any.
    NotHere { dir: Ino, ask: Option<common::id::Rank> },
    /// holder → authority. The replica under this nonce is dropped.
    Expire { container: DirFragId, dirs: Vec<(Ino, Nonce)> },
    /// authority → holder. The directory has another parent or name. Answered by `Acked`.
    Moved { dir: Ino, parent: Parent, nonce: Nonce },
    /// holder → authority. The replica says so too.
    MovedAcked { dir: Ino, nonce: Nonce },
}
