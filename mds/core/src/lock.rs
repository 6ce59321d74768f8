//! `LockTable`: what an operation of several ranks has prepared and nobody else may touch until it
//! is settled. Ordinary operations take a turn and need no lock; they wait for these.

use std::collections::BTreeMap;

use common::id::{Ino, TwoPhaseId};
use serde::{Deserialize, Serialize};

use crate::row::EntryKey;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Lock {
    /// The name, and the inode embedded in it.
    Entry(EntryKey),
    /// The inode at its home.
    Inode(Ino),
    /// A directory that is about to go: nothing may be put into it.
    Contents(Ino),
}

#[derive(Clone, Debug, Default, Hash)]
pub struct LockTable {
    held: BTreeMap<Lock, TwoPhaseId>,
}

impl LockTable {
    #[must_use]
    pub fn holder(&self, lock: &Lock) -> Option<TwoPhaseId> {
        self.held.get(lock).copied()
    }

    /// # Panics
    /// If somebody else holds it: callers look first.
    pub fn take(&mut self, lock: Lock, by: TwoPhaseId) {
        let before = self.held.insert(lock, by);
        assert!(before.is_none_or(|holder| holder == by), "a lock has one holder");
    }

    /// Lets go of everything an operation holds.
    pub fn release(&mut self, by: TwoPhaseId) -> Vec<Lock> {
        let locks: Vec<Lock> = self
            .held
            .iter()
            .filter(|(_, holder)| **holder == by)
            .map(|(lock, _)| lock.clone())
            .collect();
        for lock in &locks {
            self.held.remove(lock);
        }
        locks
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}
