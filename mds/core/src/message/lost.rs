//! What becomes of the names around a rank whose store is destroyed.

use common::id::{Epoch, Ino};
use common::name::Name;
use serde::{Deserialize, Serialize};

use crate::row::Parent;

/// Variants in the order in which they are sent; append only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LostMsg {
    /// whoever has to know → every other rank. Have you this directory, and, if a name of another one
    /// in it is given, that name? `round` counts the asker's questions.
    Whose { dir: Ino, names: Option<(Name, Ino)>, round: u64 },
    /// asked rank → asker. `imports`: how many regions have become its own in this life, so that two
    /// answers tell whether the directory may have come in between.
    Standing { dir: Ino, round: u64, standing: Standing, imports: u64 },
    /// authority → rank 0, once for each pair of lives. The directory that named this one of mine is
    /// lost: name it.
    Attach { dir: Ino, name: Name, epoch: Epoch },
    /// rank 0 → authority. It has that name, durably.
    Attached { dir: Ino, parent: Parent },
}

/// Whether a directory is with the rank that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Standing {
    No,
    Here {
        epoch: Epoch,
    },
    /// It may be, or not: something is under way, or in doubt.
    Undecided,
}

#[cfg(test)]
mod tests;
