//! `Watch`: paths that must not be said to have changed while a migration has its region frozen.
//!
//! A rename of a directory above goes ahead, but is not settled before every holder of a replica has
//! acknowledged it; both halves of a migration hold theirs back until they are over.

use std::collections::{BTreeMap, BTreeSet};

use common::id::{Ino, MigrationId, Nonce, Rank};

#[derive(Clone, Debug, Default, Hash)]
pub struct Watch {
    /// The base whose path is watched.
    bases: BTreeMap<MigrationId, Ino>,
    withheld: BTreeSet<Withheld>,
}

/// An acknowledgement that is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Withheld {
    pub to: Rank,
    pub dir: Ino,
    pub nonce: Nonce,
}

impl Watch {
    pub fn begin(&mut self, id: MigrationId, base: Ino) {
        self.bases.insert(id, base);
    }

    pub fn end(&mut self, id: MigrationId) {
        self.bases.remove(&id);
    }

    pub fn bases(&self) -> impl Iterator<Item = (MigrationId, Ino)> + '_ {
        self.bases.iter().map(|(id, base)| (*id, *base))
    }

    pub fn withhold(&mut self, ack: Withheld) {
        self.withheld.insert(ack);
    }

    pub fn withheld(&self) -> impl Iterator<Item = Withheld> + '_ {
        self.withheld.iter().copied()
    }

    #[must_use]
    pub fn take_withheld(&mut self) -> BTreeSet<Withheld> {
        std::mem::take(&mut self.withheld)
    }

    /// Whoever waited for it is dead.
    pub fn forget_rank(&mut self, rank: Rank) {
        self.withheld.retain(|ack| ack.to != rank);
    }
}
