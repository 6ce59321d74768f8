//! `LockTable`: what an operation of several ranks has prepared and nobody else may touch until it
//! is settled. Ordinary operations take a turn and need no lock; they wait for these.

use std::collections::BTreeMap;

use common::id::{Incarnation, Ino, Rank, Seq, TwoPhaseId};
use common::name::NameHash;
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
    /// A directory that is about to have another name: its ancestors are uncertain.
    Parent(Ino),
}

/// An operation of several ranks, anywhere in the cluster. Of two the lower one has precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Operation {
    pub coordinator: Rank,
    pub id: TwoPhaseId,
}

impl Operation {
    /// The life of the coordinator that began it: numbers are positions in what it has applied.
    #[must_use]
    pub fn incarnation(self) -> Incarnation {
        Seq(self.id.0).incarnation()
    }

    /// Whether the coordinator that began it is gone, if this is its current life.
    #[must_use]
    pub fn is_orphaned(self, current: Option<Incarnation>) -> bool {
        current.is_none_or(|current| self.incarnation() < current)
    }
}

#[derive(Clone, Debug, Default, Hash)]
pub struct LockTable {
    held: BTreeMap<Lock, Operation>,
}

impl LockTable {
    #[must_use]
    pub fn holder(&self, lock: &Lock) -> Option<Operation> {
        self.held.get(lock).copied()
    }

    /// The lock on some name in a directory, if there is one.
    #[must_use]
    pub fn in_dir(&self, dir: Ino) -> Option<(Lock, Operation)> {
        self.held
            .iter()
            .find(|(lock, _)| matches!(lock, Lock::Entry(key) if key.dir == dir))
            .map(|(lock, operation)| (lock.clone(), *operation))
    }

    /// The lock on some name in a part of a directory; `last`: the end of it, if there is more behind.
    #[must_use]
    pub fn in_page(&self, dir: Ino, from: NameHash, last: Option<NameHash>) -> Option<&Lock> {
        self.held.keys().find(|lock| match lock {
            Lock::Entry(key) => {
                key.dir == dir && key.hash >= from && last.is_none_or(|last| key.hash <= last)
            }
            Lock::Inode(_) | Lock::Contents(_) | Lock::Parent(_) => false,
        })
    }

    /// # Panics
    /// If somebody else holds it: callers look first.
    pub fn take(&mut self, lock: Lock, by: Operation) {
        let before = self.held.insert(lock, by);
        assert!(before.is_none_or(|holder| holder == by), "a lock has one holder");
    }

    /// Lets go of everything an operation holds.
    pub fn release(&mut self, by: Operation) -> Vec<Lock> {
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

    pub fn iter(&self) -> impl Iterator<Item = (&Lock, Operation)> {
        self.held.iter().map(|(lock, holder)| (lock, *holder))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}
