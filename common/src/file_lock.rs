//! Byte-range locks of a file, as `fcntl(2)` has them: who has locked which range, and what is in the way of
//! whom.
//!
//! Locks of one owner are never in its own way: what it sets replaces what it had there. Ranges are cut and
//! joined as POSIX wants it, so an owner has at most one lock on a byte.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Whoever holds locks, within one mount: the processes that share a table of open files, or an open file
/// itself (`F_OFD_SETLK`). The kernel's number.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct LockOwner(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LockKind {
    /// `F_RDLCK`: shared.
    Read,
    /// `F_WRLCK`: exclusive.
    Write,
}

/// Bytes from `first` to `last`, both among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ByteRange {
    pub first: u64,
    pub last: u64,
}

impl ByteRange {
    pub const WHOLE: Self = Self { first: 0, last: u64::MAX };

    /// `None`: it would end before it begins.
    #[must_use]
    pub fn new(first: u64, last: u64) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileLock {
    pub owner: LockOwner,
    /// The process that has set it, as its kernel numbers it: for `F_GETLK`.
    pub pid: u32,
    pub range: ByteRange,
    pub kind: LockKind,
}

impl FileLock {
    /// Whether two owners cannot have both.
    #[must_use]
    pub fn excludes(&self, other: &Self) -> bool {
        self.range.overlaps(&other.range)
            && (self.kind == LockKind::Write || other.kind == LockKind::Write)
    }
}

/// Locks of the owners of one mount on one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileLocks {
    /// By owner and first byte.
    locks: BTreeMap<(LockOwner, u64), Rest>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Rest {
    last: u64,
    kind: LockKind,
    pid: u32,
}

impl FileLocks {
    /// Locks a range for an owner, whatever it had locked of that before.
    pub fn lock(&mut self, lock: FileLock) {
        let FileLock { owner, pid, mut range, kind } = lock;
        self.unlock(owner, range);
        let alike = |rest: &Rest| rest.kind == kind && rest.pid == pid;
        let before = self.of(owner, 0, range.first).next_back();
        if let Some((first, rest)) = before
            && rest.last.checked_add(1) == Some(range.first)
            && alike(&rest)
        {
            range.first = first;
        }
        if let Some(next) = range.last.checked_add(1)
            && let Some(rest) = self.locks.get(&(owner, next)).copied().filter(alike)
        {
            self.locks.remove(&(owner, next));
            range.last = rest.last;
        }
        self.locks.insert((owner, range.first), Rest { last: range.last, kind, pid });
    }

    /// Unlocks what an owner has locked of a range.
    pub fn unlock(&mut self, owner: LockOwner, range: ByteRange) {
        let touched: Vec<(u64, Rest)> = self
            .of(owner, 0, range.last)
            .rev()
            .take_while(|(_, rest)| rest.last >= range.first)
            .collect();
        for (first, rest) in touched {
            self.locks.remove(&(owner, first));
            if first < range.first {
                self.locks.insert((owner, first), Rest { last: range.first - 1, ..rest });
            }
            if rest.last > range.last {
                self.locks.insert((owner, range.last + 1), rest);
            }
        }
    }

    /// The locks of an owner that begin between these bytes, both among them, in order.
    fn of(
        &self,
        owner: LockOwner,
        from: u64,
        to: u64,
    ) -> impl DoubleEndedIterator<Item = (u64, Rest)> + '_ {
        self.locks.range((owner, from)..=(owner, to)).map(|((_, first), rest)| (*first, *rest))
    }

    /// What an owner has locked.
    pub fn held_by(&self, owner: LockOwner) -> impl Iterator<Item = FileLock> + '_ {
        self.of(owner, 0, u64::MAX).map(move |(first, rest)| lock((owner, first), rest))
    }

    pub fn iter(&self) -> impl Iterator<Item = FileLock> + '_ {
        self.locks.iter().map(|(at, rest)| lock(*at, *rest))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.locks.is_empty()
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.locks.len()
    }
}

fn lock((owner, first): (LockOwner, u64), Rest { last, kind, pid }: Rest) -> FileLock {
    FileLock { owner, pid, range: ByteRange { first, last }, kind }
}

impl FromIterator<FileLock> for FileLocks {
    fn from_iter<I: IntoIterator<Item = FileLock>>(locks: I) -> Self {
        let mut all = Self::default();
        locks.into_iter().for_each(|lock| all.lock(lock));
        all
    }
}

#[cfg(test)]
mod tests;
