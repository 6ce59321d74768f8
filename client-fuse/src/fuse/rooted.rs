//! `Rooted`: the client as a mount of some directory sees it. To the kernel that directory is inode 1,
//! to everybody else it has its own number: here, and nowhere else, one becomes the other.
//!
//! The kernel names it in requests and in what it forgets; we name it when the kernel is to let go of
//! something. In attributes and listings it has its own number, as a bind mount's root has: so `stat`
//! and `find` see the same as on every other mount. What an answer makes known to the kernel is never the
//! root: no name leads to a directory from below it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use client_core::{Call, Done, Listed, References};
use common::error::FsError;
use common::id::Ino;
use common::name::Name;
use common::wire::request::{Caller, Rename};
use fuser::{INodeNo, Notifier};

use crate::client::Client;
use crate::fuse::reply::OnDone;

/// What is waited for before an operation is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Nothing: `fsync` is for that.
    Later,
    /// Changes of names survive power loss (`dirsync`).
    Names,
    /// Every change does (`sync`). Of data the kernel sees to that, with an `fsync` after each write.
    Everything,
}

/// Which directory a mount shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root(pub Ino);

impl Root {
    /// Whom the kernel means.
    #[must_use]
    pub fn ours(self, kernels: Ino) -> Ino {
        if kernels.0 == INodeNo::ROOT.0 { self.0 } else { kernels }
    }

    /// How the kernel calls it.
    #[must_use]
    pub fn kernels(self, ours: Ino) -> INodeNo {
        if ours == self.0 { INodeNo::ROOT } else { INodeNo(ours.0) }
    }

    /// A call as the kernel made it, of the inodes it is about.
    fn call(self, call: Call) -> Call {
        let ours = |ino| self.ours(ino);
        match call {
            Call::Lookup { dir, name } => Call::Lookup { dir: ours(dir), name },
            Call::Getattr { ino } => Call::Getattr { ino: ours(ino) },
            Call::Open { ino } => Call::Open { ino: ours(ino) },
            Call::Setattr { ino, set } => Call::Setattr { ino: ours(ino), set },
            Call::Create { dir, name, node, mode, umask, existing } => {
                Call::Create { dir: ours(dir), name, node, mode, umask, existing }
            }
            Call::Mkdir { dir, name, mode, umask } => {
                Call::Mkdir { dir: ours(dir), name, mode, umask }
            }
            Call::Unlink { dir, name } => Call::Unlink { dir: ours(dir), name },
            Call::Rmdir { dir, name } => Call::Rmdir { dir: ours(dir), name },
            Call::Link { ino, dir, name } => Call::Link { ino: ours(ino), dir: ours(dir), name },
            Call::Rename(rename) => {
                let (from_dir, to_dir) = (ours(rename.from_dir), ours(rename.to_dir));
                Call::Rename(Rename { from_dir, to_dir, ..rename })
            }
            Call::Readlink { ino } => Call::Readlink { ino: ours(ino) },
            Call::Readdir { dir, cookie, entries_max, detail } => {
                Call::Readdir { dir: ours(dir), cookie, entries_max, detail }
            }
            Call::GetXattr { ino, name } => Call::GetXattr { ino: ours(ino), name },
            Call::SetXattr { ino, name, value, mode } => {
                Call::SetXattr { ino: ours(ino), name, value, mode }
            }
            Call::ListXattr { ino } => Call::ListXattr { ino: ours(ino) },
            Call::RemoveXattr { ino, name } => Call::RemoveXattr { ino: ours(ino), name },
            Call::Wrote { ino, end, kill_privileges } => {
                Call::Wrote { ino: ours(ino), end, kill_privileges }
            }
            Call::Made { ino } => Call::Made { ino: ours(ino) },
            Call::Sync => Call::Sync,
            Call::GetLock { ino, lock } => Call::GetLock { ino: ours(ino), lock },
            Call::SetLock { ino, set, handle } => Call::SetLock { ino: ours(ino), set, handle },
            Call::Flush { ino, owner } => Call::Flush { ino: ours(ino), owner },
        }
    }

    fn references(self, change: References) -> References {
        match change {
            References::Forgotten { mut items } => {
                // The mount itself refers to its root, for as long as it lasts.
                items.retain(|(ino, _)| ino.0 != INodeNo::ROOT.0);
                References::Forgotten { items }
            }
            References::Opened { ino } => References::Opened { ino: self.ours(ino) },
            References::Released { ino, handle } => {
                References::Released { ino: self.ours(ino), handle }
            }
            References::Listed { dir, entries } => {
                let entries: Vec<Listed> = entries;
                References::Listed { dir: self.ours(dir), entries }
            }
        }
    }
}

/// The client, for requests of the kernel.
#[derive(Debug)]
pub struct Rooted {
    client: Arc<Client>,
    root: Root,
    durability: Durability,
}

impl Rooted {
    #[must_use]
    pub fn new(client: Arc<Client>, root: Root, durability: Durability) -> Self {
        Self { client, root, durability }
    }

    /// Whom the kernel means.
    #[must_use]
    pub fn ours(&self, kernels: INodeNo) -> Ino {
        self.root.ours(Ino(kernels.0))
    }

    /// See [`Client::call`]; the call is as the kernel made it.
    pub(super) fn call(&self, waiter: (Caller, u32), call: Call, reply: impl OnDone) {
        let call = self.root.call(call);
        if Durability::needed(&call).is_some_and(|needed| needed <= self.durability) {
            let client = Arc::clone(&self.client);
            self.client.call(waiter, call, move |result, ttl| match result {
                Ok(done) => reply_when_durable(&client, waiter, done, reply),
                Err(error) => reply(Err(error), ttl),
            });
        } else if matches!(&call, Call::Readdir { dir, .. } if *dir == self.root.0) {
            let root = self.root.0;
            self.client.call(waiter, call, move |result, ttl| {
                reply(result.map(|done| top(done, root)), ttl);
            });
        } else {
            self.client.call(waiter, call, reply);
        }
    }

    pub fn refer(&self, change: References) {
        self.client.refer(self.root.references(change));
    }
}

/// `..` of a mount's root is the root.
fn top(mut done: Done, root: Ino) -> Done {
    if let Done::Listing(listing) = &mut done {
        listing.parent = root;
    }
    done
}

impl Durability {
    /// The least that a mount promises whose users do not hear of this call before it is durable.
    fn needed(call: &Call) -> Option<Self> {
        match call {
            Call::Create { .. }
            | Call::Mkdir { .. }
            | Call::Unlink { .. }
            | Call::Rmdir { .. }
            | Call::Link { .. }
            | Call::Rename(_) => Some(Self::Names),
            Call::Setattr { .. } | Call::SetXattr { .. } | Call::RemoveXattr { .. } => {
                Some(Self::Everything)
            }
            Call::Lookup { .. }
            | Call::Getattr { .. }
            | Call::Open { .. }
            | Call::Readlink { .. }
            | Call::Readdir { .. }
            | Call::GetXattr { .. }
            | Call::ListXattr { .. }
            | Call::Wrote { .. }
            | Call::Made { .. }
            | Call::Sync
            | Call::GetLock { .. }
            | Call::SetLock { .. }
            | Call::Flush { .. } => None,
        }
    }
}

/// How long the kernel might have used what was answered is over by then, for all we know.
fn reply_when_durable(client: &Arc<Client>, waiter: (Caller, u32), done: Done, reply: impl OnDone) {
    let whose = Arc::clone(client);
    client.call(waiter, Call::Sync, move |synced, _| match synced {
        // Whoever has a signal pending does not wait any longer; the change is made all the same.
        Ok(_) | Err(FsError::Interrupted) => reply(Ok(done), Duration::ZERO),
        Err(error) => {
            if let Done::Entry(attr) = &done {
                // The kernel never hears of it.
                whose.refer(References::Forgotten { items: vec![(attr.ino, 1)] });
            }
            reply(Err(error), Duration::ZERO);
        }
    });
}

/// Orders to the kernel about what it has cached.
#[derive(Clone, Debug)]
pub struct Kernel {
    notifier: Notifier,
    root: Root,
}

impl Kernel {
    #[must_use]
    pub fn new(notifier: Notifier, root: Root) -> Self {
        Self { notifier, root }
    }

    /// Let go of a name.
    ///
    /// # Errors
    /// What the kernel says; for one, that it does not know that name.
    pub fn drop_name(&self, dir: Ino, name: &Name) -> io::Result<()> {
        use std::os::unix::ffi::OsStrExt;
        let name = std::ffi::OsStr::from_bytes(name.as_bytes());
        self.notifier.inval_entry(self.root.kernels(dir), name)
    }

    /// Let go of attributes, and of no pages.
    ///
    /// # Errors
    /// What the kernel says; for one, that it does not know that inode.
    pub fn drop_attributes(&self, ino: Ino) -> io::Result<()> {
        const NO_PAGES: i64 = -1;
        self.notifier.inval_inode(self.root.kernels(ino), NO_PAGES, 0)
    }

    /// Let go of a directory's attributes and its listing.
    ///
    /// # Errors
    /// What the kernel says; for one, that it does not know that inode.
    pub fn drop_directory(&self, dir: Ino) -> io::Result<()> {
        self.notifier.inval_inode(self.root.kernels(dir), 0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: Root = Root(Ino(0x107));

    #[test]
    fn the_root_has_two_numbers_and_nothing_else_has() {
        assert_eq!(TOP.ours(Ino(1)), Ino(0x107));
        assert_eq!(TOP.kernels(Ino(0x107)), INodeNo(1));
        assert_eq!(TOP.ours(Ino(0x108)), Ino(0x108));
        assert_eq!(TOP.kernels(Ino(0x108)), INodeNo(0x108));
        let whole = Root(Ino::ROOT);
        assert_eq!((whole.ours(Ino(1)), whole.kernels(Ino(1))), (Ino::ROOT, INodeNo(1)));
    }

    #[test]
    fn both_directories_of_a_rename_may_be_the_root() {
        let name = || Name::new(b"a").unwrap();
        let rename = |from_dir, to_dir| {
            Call::Rename(Rename {
                from_dir,
                from: name(),
                to_dir,
                to: name(),
                mode: common::wire::request::RenameMode::Replace,
                from_rank: common::id::Rank::ROOT,
            })
        };
        assert_eq!(TOP.call(rename(Ino(1), Ino(2))), rename(Ino(0x107), Ino(2)));
        assert_eq!(TOP.call(rename(Ino(2), Ino(1))), rename(Ino(2), Ino(0x107)));
    }

    #[test]
    fn the_kernel_cannot_forget_the_root() {
        let items = vec![(Ino(1), 1), (Ino(9), 2)];
        let kept = References::Forgotten { items: vec![(Ino(9), 2)] };
        assert_eq!(TOP.references(References::Forgotten { items }), kept);
    }

    #[test]
    fn what_is_waited_for_depends_on_what_was_asked() {
        let unlink = Call::Unlink { dir: Ino(1), name: Name::new(b"a").unwrap() };
        assert_eq!(Durability::needed(&unlink), Some(Durability::Names));
        assert!(Durability::Names <= Durability::Everything);
        assert!(Durability::Later < Durability::Names);
        assert_eq!(Durability::needed(&Call::Getattr { ino: Ino(1) }), None);
    }
}
