//! `LockLedger`: what processes of this mount have locked, as far as ranks have answered.
//!
//! A rank that begins anew knows of locks what its clients say: so a lock is in here from the answer on,
//! and what is asked for and not answered is not yet so.

use std::collections::{BTreeMap, BTreeSet};

use common::file_lock::{ByteRange, FileLock, FileLocks, LockKind, LockOwner};
use common::id::Ino;
use common::wire::request::SetLock;

use crate::input::Handle;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct LockLedger {
    files: BTreeMap<Ino, LockedFile>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct LockedFile {
    held: FileLocks,
    /// By which open files an owner has come to what it holds. Of a process all that is gone when it closes
    /// any of them; an owner that is an open file itself is gone with that one.
    by: BTreeMap<LockOwner, BTreeSet<Handle>>,
}

impl LockLedger {
    /// A rank has done what was asked.
    pub(crate) fn set(&mut self, ino: Ino, set: &SetLock) {
        match set.lock() {
            Some(lock) => self.files.entry(ino).or_default().held.lock(lock),
            None => self.unlock(ino, set.owner, set.range),
        }
    }

    /// It was asked by way of this open file.
    pub(crate) fn set_by(&mut self, ino: Ino, owner: LockOwner, handle: Handle) {
        if let Some(file) = self.files.get_mut(&ino)
            && file.held.held_by(owner).next().is_some()
        {
            file.by.entry(owner).or_default().insert(handle);
        }
    }

    fn unlock(&mut self, ino: Ino, owner: LockOwner, range: ByteRange) {
        let Some(file) = self.files.get_mut(&ino) else { return };
        file.held.unlock(owner, range);
        if file.held.held_by(owner).next().is_none() {
            file.by.remove(&owner);
        }
        if file.held.is_empty() {
            self.files.remove(&ino);
        }
    }

    pub(crate) fn has(&self, ino: Ino, owner: LockOwner) -> bool {
        self.files.get(&ino).is_some_and(|file| file.held.held_by(owner).next().is_some())
    }

    /// Owners that have locked what they have by way of this open file and no other.
    pub(crate) fn by_handle(&self, ino: Ino, handle: Handle) -> Vec<LockOwner> {
        let by = self.files.get(&ino).into_iter().flat_map(|file| &file.by);
        by.filter(|(_, handles)| handles.iter().eq([&handle])).map(|(owner, _)| *owner).collect()
    }

    /// What to claim of a file: less than that while something is asked for that lessens it.
    pub(crate) fn claimed<'a>(
        &self,
        ino: Ino,
        asked: impl Iterator<Item = &'a SetLock>,
    ) -> FileLocks {
        let Some(file) = self.files.get(&ino) else { return FileLocks::default() };
        let mut claimed = file.held.clone();
        for set in asked {
            lessen(&mut claimed, set);
        }
        claimed
    }

    /// Somebody else has these.
    pub(crate) fn lost(&mut self, ino: Ino, locks: &[FileLock]) {
        for lock in locks {
            self.unlock(ino, lock.owner, lock.range);
        }
    }

    /// No rank knows of any of them any more. Tells how many there were.
    pub(crate) fn drop_file(&mut self, ino: Ino) -> usize {
        self.files.remove(&ino).map_or(0, |file| file.held.count())
    }
}

/// It may have been done already.
fn lessen(held: &mut FileLocks, set: &SetLock) {
    match set.kind {
        None => held.unlock(set.owner, set.range),
        Some(LockKind::Write) => {}
        Some(LockKind::Read) => {
            let written: Vec<FileLock> = held
                .held_by(set.owner)
                .filter(|lock| lock.kind == LockKind::Write && lock.range.overlaps(&set.range))
                .collect();
            for lock in written {
                let range = ByteRange {
                    first: lock.range.first.max(set.range.first),
                    last: lock.range.last.min(set.range.last),
                };
                held.lock(FileLock { range, kind: LockKind::Read, ..lock });
            }
        }
    }
}

#[cfg(test)]
mod tests;
