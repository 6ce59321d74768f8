//! `LockBook`: what processes have locked of files, and whether that can be.
//!
//! A lock is *held* from its answer until somebody asks to have it unlocked, and *possible* from when it is
//! asked for until the unlock is answered. Nobody holds what somebody else holds; nobody is refused, and
//! nobody waits for long, where nothing is possible that would be in the way.

use std::collections::BTreeMap;

use common::error::FsError;
use common::file_lock::{ByteRange, FileLock, FileLocks, LockOwner};
use common::id::Ino;
use common::time::Monotonic;

/// A process of a client.
pub type Locker = (usize, usize);

#[derive(Clone, Debug, Default)]
pub struct LockBook {
    held: BTreeMap<(Ino, Locker), FileLocks>,
    possible: Vec<Possible>,
    /// When something was last unlocked, or nobody was there any more who had locked it.
    released: Monotonic,
}

#[derive(Clone, Debug)]
struct Possible {
    ino: Ino,
    by: Locker,
    lock: FileLock,
    /// Whether anything possible has been in its way since it was asked for.
    contended: bool,
    until: Until,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Unlocked,
    /// Nobody says: its client has died, or its process was killed while it waited, or has closed the file
    /// while the rank was not there.
    Unknown,
}

impl LockBook {
    /// Somebody asks for a lock.
    pub fn ask(&mut self, ino: Ino, by: Locker, lock: FileLock) {
        let mut contended = false;
        for other in &mut self.possible {
            let is_own = (other.by, other.lock.owner) == (by, lock.owner);
            if other.ino == ino && !is_own && other.lock.excludes(&lock) {
                other.contended = true;
                contended = true;
            }
        }
        self.possible.push(Possible { ino, by, lock, contended, until: Until::Unlocked });
    }

    /// It is locked. `counts`: whose sessions may have ended, and so their locks.
    ///
    /// # Errors
    /// Who holds it already.
    pub fn locked(
        &mut self,
        ino: Ino,
        by: Locker,
        lock: FileLock,
        counts: impl Fn(usize) -> bool,
    ) -> Result<(), String> {
        for ((of, other), held) in &self.held {
            if *of != ino || *other == by || !counts(other.0) || !counts(by.0) {
                continue;
            }
            if let Some(held) = held.iter().find(|held| held.excludes(&lock)) {
                return Err(format!(
                    "{by:?} has locked {lock:?} of {ino}; {other:?} holds {held:?}"
                ));
            }
        }
        self.held.entry((ino, by)).or_default().lock(lock);
        Ok(())
    }

    /// It is not.
    ///
    /// # Errors
    /// If there was no reason to refuse it.
    pub fn refused(
        &mut self,
        ino: Ino,
        by: Locker,
        lock: FileLock,
        error: FsError,
    ) -> Result<(), String> {
        let Some(possible) = self.take(ino, by, lock) else { return Ok(()) };
        let for_others = matches!(error, FsError::WouldBlock | FsError::Deadlock);
        if for_others && !possible.contended {
            return Err(format!("{by:?} was refused {lock:?} of {ino} ({error}); nobody had it"));
        }
        Ok(())
    }

    fn take(&mut self, ino: Ino, by: Locker, lock: FileLock) -> Option<Possible> {
        let is_it = |it: &Possible| (it.ino, it.by, it.lock) == (ino, by, lock);
        let at = self.possible.iter().position(|it| is_it(it) && it.until == Until::Unlocked)?;
        Some(self.possible.remove(at))
    }

    /// The process was killed while it waited: whether it has been locked nobody hears.
    pub fn left(&mut self, ino: Ino, by: Locker, lock: FileLock) {
        if let Some(possible) = self.take(ino, by, lock) {
            self.possible.push(Possible { until: Until::Unknown, ..possible });
        }
    }

    /// Somebody asks to have a range unlocked. Tells whose number it is locked by.
    pub fn unlock(&mut self, ino: Ino, by: Locker, range: ByteRange) -> Option<LockOwner> {
        let held = self.held.get_mut(&(ino, by))?;
        let owner = held.iter().next().map(|lock| lock.owner)?;
        held.unlock(owner, range);
        self.held.retain(|_, held| !held.is_empty());
        Some(owner)
    }

    /// That was answered. Of a part of what was locked in one piece the rest is still there. `is_late`: it may
    /// be answered before it is done.
    pub fn unlocked(
        &mut self,
        ino: Ino,
        by: Locker,
        (range, is_late): (ByteRange, bool),
        now: Monotonic,
    ) {
        let within =
            |lock: &FileLock| range.first <= lock.range.first && lock.range.last <= range.last;
        let is_it = |it: &Possible| {
            (it.ino, it.by) == (ino, by) && it.until == Until::Unlocked && within(&it.lock)
        };
        if is_late {
            for possible in self.possible.iter_mut().filter(|it| is_it(it)) {
                possible.until = Until::Unknown;
            }
        } else {
            self.possible.retain(|it| !is_it(it));
        }
        self.released = now;
    }

    /// A client is no more.
    pub fn has_died(&mut self, client: usize, now: Monotonic) {
        self.held.retain(|(_, by), _| by.0 != client);
        for possible in self.possible.iter_mut().filter(|it| it.by.0 == client) {
            possible.until = Until::Unknown;
        }
        self.released = now;
    }

    /// Files of which a process has something locked, as far as it knows.
    #[must_use]
    pub fn files_of(&self, by: Locker) -> Vec<Ino> {
        self.held.keys().filter(|(_, of)| *of == by).map(|(ino, _)| *ino).collect()
    }

    /// A file of which something is locked by a number that the process has no more.
    #[must_use]
    pub fn left_behind(&self, by: Locker, owner: LockOwner) -> Option<Ino> {
        let mut of = self.held.iter().filter(|((_, of), _)| *of == by);
        of.find(|(_, held)| held.iter().any(|lock| lock.owner != owner)).map(|((ino, _), _)| *ino)
    }

    /// Whether no process of a client has anything locked.
    #[must_use]
    pub fn is_free(&self, client: usize) -> bool {
        !self.held.keys().any(|(_, by)| by.0 == client)
    }

    #[must_use]
    pub fn has(&self, ino: Ino, by: Locker) -> bool {
        self.held.contains_key(&(ino, by))
    }

    /// Since when somebody waits for nothing that anybody would unlock.
    #[must_use]
    pub fn waits_for_nothing_since(
        &self,
        ino: Ino,
        by: Locker,
        lock: FileLock,
        asked: Monotonic,
    ) -> Option<Monotonic> {
        let in_the_way = |it: &Possible| {
            it.ino == ino && it.by != by && it.until == Until::Unlocked && it.lock.excludes(&lock)
        };
        (!self.possible.iter().any(in_the_way)).then_some(asked.max(self.released))
    }
}

#[cfg(test)]
mod tests {
    use common::file_lock::LockKind;

    use super::*;

    const INO: Ino = Ino(300);
    const A: Locker = (0, 0);
    const B: Locker = (1, 0);

    fn lock(first: u64, last: u64) -> FileLock {
        let range = ByteRange { first, last };
        FileLock { owner: LockOwner(1), pid: 1, range, kind: LockKind::Write }
    }

    #[test]
    fn two_do_not_hold_one_range() {
        let mut book = LockBook::default();
        book.ask(INO, A, lock(0, 3));
        book.ask(INO, B, lock(3, 4));
        assert_eq!(book.locked(INO, A, lock(0, 3), |_| true), Ok(()));
        assert!(book.locked(INO, B, lock(3, 4), |_| true).is_err());
        book.unlock(INO, A, ByteRange { first: 3, last: 3 });
        assert_eq!(book.locked(INO, B, lock(3, 4), |_| true), Ok(()));
    }

    #[test]
    fn nobody_is_refused_what_nobody_has() {
        let mut book = LockBook::default();
        book.ask(INO, A, lock(0, 3));
        book.ask(INO, B, lock(4, 4));
        assert!(book.refused(INO, B, lock(4, 4), FsError::WouldBlock).is_err());
        book.ask(INO, B, lock(3, 4));
        assert_eq!(book.refused(INO, B, lock(3, 4), FsError::WouldBlock), Ok(()));
        book.unlock(INO, A, ByteRange::WHOLE);
        book.ask(INO, B, lock(3, 4));
        assert_eq!(book.refused(INO, B, lock(3, 4), FsError::WouldBlock), Ok(()));
        book.unlocked(INO, A, (ByteRange::WHOLE, false), Monotonic(9));
        book.ask(INO, B, lock(3, 4));
        assert_eq!(
            book.waits_for_nothing_since(INO, B, lock(3, 4), Monotonic(5)),
            Some(Monotonic(9))
        );
        assert!(book.refused(INO, B, lock(3, 4), FsError::WouldBlock).is_err());
    }
}
