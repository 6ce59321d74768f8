//! `Kernel`: what one client's kernel refers to, and the locks under which it asks.

use std::collections::{BTreeMap, BTreeSet};

use common::attr::FileKind;
use common::id::Ino;

use super::operation::Operation;

#[derive(Clone, Debug)]
pub struct Kernel {
    inodes: BTreeMap<Ino, Known>,
    locks: BTreeMap<Ino, Held>,
    made: BTreeSet<Ino>,
}

#[derive(Clone, Debug)]
struct Known {
    kind: FileKind,
    /// How often it was named to the kernel; the root is never forgotten.
    lookups: u64,
    handles: u64,
    /// Operations under way that name it.
    busy: u64,
    /// An answer that pins it has named it. Entries of listings are not pinned: what somebody else
    /// unlinks meanwhile is stale, and a real kernel looks the name up again.
    pinned: bool,
    /// The directory in which it was found last, which the kernel keeps as long.
    parent: Ino,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Shared(u32),
    Exclusive,
}

/// What an operation locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lock {
    pub ino: Ino,
    pub how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// Only kept from being forgotten.
    Used,
    Shared,
    Exclusive,
}

impl Default for Kernel {
    fn default() -> Self {
        let root = Known {
            kind: FileKind::Dir,
            lookups: 1,
            handles: 0,
            busy: 0,
            pinned: true,
            parent: Ino::ROOT,
        };
        Self {
            inodes: BTreeMap::from([(Ino::ROOT, root)]),
            locks: BTreeMap::new(),
            made: BTreeSet::new(),
        }
    }
}

impl Kernel {
    /// An answer named an inode.
    pub fn meet(&mut self, ino: Ino, kind: FileKind, parent: Ino) {
        let known = self.inodes.entry(ino).or_insert(Known {
            kind,
            lookups: 0,
            handles: 0,
            busy: 0,
            pinned: false,
            parent,
        });
        known.lookups += 1;
        known.parent = parent;
    }

    /// An answer pinned an inode.
    pub fn pin(&mut self, ino: Ino) {
        if let Some(known) = self.inodes.get_mut(&ino) {
            known.pinned = true;
        }
    }

    /// A rank has given up what it kept for this client.
    pub fn unpin_all(&mut self) {
        for known in self.inodes.values_mut() {
            known.pinned = false;
        }
    }

    #[must_use]
    pub fn is_pinned(&self, ino: Ino) -> bool {
        self.inodes.get(&ino).is_some_and(|known| known.pinned || known.kind == FileKind::Dir)
    }

    /// A process has made a directory.
    pub fn has_made(&mut self, ino: Ino) {
        self.made.insert(ino);
    }

    /// Directories that processes have made, as far as they are known.
    #[must_use]
    pub fn made_dirs(&self) -> Vec<Ino> {
        let dirs = self.of_kind(|kind| kind == FileKind::Dir).into_iter();
        dirs.filter(|dir| self.made.contains(dir)).collect()
    }

    #[must_use]
    pub fn of_kind(&self, wanted: impl Fn(FileKind) -> bool) -> Vec<Ino> {
        let inodes = self.inodes.iter().filter(|(_, known)| wanted(known.kind));
        inodes.map(|(ino, _)| *ino).collect()
    }

    pub fn open(&mut self, ino: Ino) {
        if let Some(known) = self.inodes.get_mut(&ino) {
            known.handles += 1;
        }
    }

    pub fn release(&mut self, ino: Ino) {
        if let Some(known) = self.inodes.get_mut(&ino) {
            known.handles -= 1;
        }
    }

    #[must_use]
    pub fn opened(&self) -> Vec<Ino> {
        let inodes = self.inodes.iter().filter(|(_, known)| known.handles > 0);
        inodes.map(|(ino, _)| *ino).collect()
    }

    /// A process has it open, and something of it locked, or asks for that.
    pub fn keep(&mut self, ino: Ino) {
        self.use_inode(ino, true);
    }

    pub fn let_go(&mut self, ino: Ino) {
        self.use_inode(ino, false);
    }

    /// What may be forgotten: nothing uses it, nothing known lies in it.
    #[must_use]
    pub fn idle(&self) -> Vec<Ino> {
        let parents: BTreeSet<Ino> = self.inodes.values().map(|known| known.parent).collect();
        let idle = self.inodes.iter().filter(|(ino, known)| {
            **ino != Ino::ROOT && known.handles == 0 && known.busy == 0 && !parents.contains(ino)
        });
        idle.map(|(ino, _)| *ino).collect()
    }

    /// Forgets an inode; tells how often it had been named.
    pub fn forget(&mut self, ino: Ino) -> u64 {
        self.inodes.remove(&ino).map_or(0, |known| known.lookups)
    }

    /// Takes all locks of an operation, or none.
    pub fn lock(&mut self, locks: &[Lock]) -> bool {
        let free = |lock: &Lock| match (self.locks.get(&lock.ino), lock.how) {
            (None, _) | (Some(_), How::Used) | (Some(Held::Shared(_)), How::Shared) => true,
            (Some(Held::Shared(_)), How::Exclusive) | (Some(Held::Exclusive), _) => false,
        };
        if !locks.iter().all(free) {
            return false;
        }
        for lock in locks {
            self.use_inode(lock.ino, true);
            let held = match (self.locks.get(&lock.ino), lock.how) {
                (Some(Held::Shared(count)), How::Shared) => Held::Shared(count + 1),
                (None, How::Shared) => Held::Shared(1),
                (_, How::Used) => continue,
                (_, How::Exclusive) | (Some(Held::Exclusive), How::Shared) => Held::Exclusive,
            };
            self.locks.insert(lock.ino, held);
        }
        true
    }

    pub fn unlock(&mut self, locks: &[Lock]) {
        for lock in locks {
            self.use_inode(lock.ino, false);
            if lock.how == How::Used {
                continue;
            }
            match self.locks.get_mut(&lock.ino) {
                Some(Held::Shared(count)) if *count > 1 => *count -= 1,
                Some(Held::Shared(_) | Held::Exclusive) => {
                    self.locks.remove(&lock.ino);
                }
                None => (),
            }
        }
    }

    #[must_use]
    pub fn is_locked(&self, ino: Ino) -> bool {
        self.locks.contains_key(&ino)
    }

    #[must_use]
    pub fn is_changing(&self, ino: Ino) -> bool {
        self.locks.get(&ino) == Some(&Held::Exclusive)
    }

    fn use_inode(&mut self, ino: Ino, begins: bool) {
        if let Some(known) = self.inodes.get_mut(&ino) {
            known.busy = if begins { known.busy + 1 } else { known.busy - 1 };
        }
    }
}

/// What the VFS locks for an operation. Each inode once, the stronger way.
#[must_use]
pub fn locks_of(operation: &Operation<Ino>) -> Vec<Lock> {
    let named: Vec<(Ino, How)> = match operation {
        Operation::Lookup { dir, .. } | Operation::Readdir { dir } => vec![(*dir, How::Shared)],
        Operation::Getattr { node }
        | Operation::Readlink { node }
        | Operation::GetXattr { node, .. }
        | Operation::ListXattr { node } => vec![(*node, How::Used)],
        Operation::Setattr { node, .. }
        | Operation::SetXattr { node, .. }
        | Operation::RemoveXattr { node, .. }
        | Operation::Write { node, .. } => vec![(*node, How::Exclusive)],
        Operation::Create { dir, .. }
        | Operation::Unlink { dir, .. }
        | Operation::Rmdir { dir, .. } => vec![(*dir, How::Exclusive)],
        Operation::Link { node, dir, .. } => vec![(*node, How::Exclusive), (*dir, How::Exclusive)],
        Operation::Rename { from_dir, to_dir, .. } => {
            vec![(*from_dir, How::Exclusive), (*to_dir, How::Exclusive)]
        }
    };
    let strongest: BTreeMap<Ino, How> = named.into_iter().collect();
    strongest.into_iter().map(|(ino, how)| Lock { ino, how }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIR: Ino = Ino(300);
    const FILE: Ino = Ino(301);

    fn lock(ino: Ino, how: How) -> [Lock; 1] {
        [Lock { ino, how }]
    }

    #[test]
    fn a_directory_is_kept_as_long_as_what_lies_in_it() {
        let mut kernel = Kernel::default();
        kernel.meet(DIR, FileKind::Dir, Ino::ROOT);
        kernel.meet(FILE, FileKind::File, DIR);
        kernel.meet(FILE, FileKind::File, DIR);
        assert_eq!(kernel.idle(), [FILE]);
        kernel.open(FILE);
        assert!(kernel.idle().is_empty());
        kernel.release(FILE);
        assert_eq!(kernel.forget(FILE), 2);
        assert_eq!(kernel.idle(), [DIR]);
    }

    #[test]
    fn locks_exclude() {
        let mut kernel = Kernel::default();
        let (shared, exclusive) = (lock(DIR, How::Shared), lock(DIR, How::Exclusive));
        assert!(kernel.lock(&shared) && kernel.lock(&shared) && !kernel.lock(&exclusive));
        kernel.unlock(&shared);
        assert!(!kernel.lock(&exclusive));
        kernel.unlock(&shared);
        assert!(kernel.lock(&exclusive) && !kernel.lock(&shared));
    }
}
