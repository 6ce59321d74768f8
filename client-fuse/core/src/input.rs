//! `Input`: everything that can happen to a client.

use common::attr::{FileKind, SetAttr};
use common::file_lock::{FileLock, LockOwner};
use common::id::{Ino, Rank};
use common::mds_map::MdsMap;
use common::name::Name;
use common::wire::request::{
    Caller, IfExists, Node, Rename, SetLock, XattrName, XattrSet, XattrValue,
};
use common::wire::session::ToClient;

use crate::timer::Timer;

/// Closed and complete. A new ability of the mount begins as a variant here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// The kernel wants something done. Answered by one `Effect::Answer`.
    Call {
        id: CallId,
        caller: Caller,
        call: Call,
    },
    /// The kernel refers to more, or to less. Has no answer.
    References(References),
    /// The process that waits for a call has a signal pending.
    Cancel {
        id: CallId,
        signal: Signal,
    },
    /// The connection stands, and the hello was accepted.
    Connected {
        link: LinkId,
    },
    Disconnected {
        link: LinkId,
        end: LinkEnd,
    },
    FromMds {
        link: LinkId,
        message: ToClient,
    },
    /// The kernel knows what an [`Effect::Invalidate`](crate::Effect::Invalidate) was to tell it.
    Invalidated {
        id: InvalidationId,
    },
    Map(MdsMap),
    Timer(Timer),
    /// The file system is unmounted: give everything back.
    Close,
}

/// One call of the kernel, numbered by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// One connection to a rank, numbered by the core. A message over an old one is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Something the kernel is to be told, numbered by the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InvalidationId(pub u64);

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkEnd {
    /// It could not be made, broke, or the rank is not ready: try again.
    Broken,
    /// The rank refuses this session for good.
    Evicted,
}

/// What the waiting process has pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// It will see EINTR, so nothing may have happened.
    Handled,
    /// It will see nothing any more.
    Fatal,
}

/// What the kernel asks for. Names are checked, permissions are the kernel's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    Lookup {
        dir: Ino,
        name: Name,
    },
    Getattr {
        ino: Ino,
    },
    /// A process opens a file. From the answer on a handle refers to it, and it outlives its names: what
    /// only a listing has named so far is pinned by this.
    Open {
        ino: Ino,
    },
    Setattr {
        ino: Ino,
        set: SetAttr,
    },
    /// Any non-directory. `mode` as the application gave it.
    Create {
        dir: Ino,
        name: Name,
        node: Node,
        mode: u16,
        umask: u16,
        existing: IfExists,
    },
    Mkdir {
        dir: Ino,
        name: Name,
        mode: u16,
        umask: u16,
    },
    Unlink {
        dir: Ino,
        name: Name,
    },
    Rmdir {
        dir: Ino,
        name: Name,
    },
    Link {
        ino: Ino,
        dir: Ino,
        name: Name,
    },
    Rename(Rename),
    Readlink {
        ino: Ino,
    },
    Readdir {
        dir: Ino,
        cookie: u64,
        entries_max: u32,
        detail: ListDetail,
    },
    GetXattr {
        ino: Ino,
        name: XattrName,
    },
    SetXattr {
        ino: Ino,
        name: XattrName,
        value: XattrValue,
        mode: XattrSet,
    },
    ListXattr {
        ino: Ino,
    },
    RemoveXattr {
        ino: Ino,
        name: XattrName,
    },
    /// A file's data was written up to `end`.
    Wrote {
        ino: Ino,
        end: u64,
        kill_privileges: bool,
    },
    /// Answered when a file is made, if it is about to be: nothing is stored of what may never be.
    Made {
        ino: Ino,
    },
    /// Answered when everything this client has changed survives power loss.
    Sync,
    /// What is in the way of a lock (`F_GETLK`).
    GetLock {
        ino: Ino,
        lock: FileLock,
    },
    /// `handle`: the open file by which it is asked for.
    SetLock {
        ino: Ino,
        set: SetLock,
        handle: Handle,
    },
    /// A process closes one of the descriptors it has of a file: it keeps no lock on it (POSIX, `close`).
    Flush {
        ino: Ino,
        owner: LockOwner,
    },
}

/// An open file, numbered by the driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub u64);

/// A change of what the kernel and its file handles refer to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum References {
    /// The kernel drops so many references to each.
    Forgotten { items: Vec<(Ino, u64)> },
    /// The handle of a file that was made refers to the inode.
    Opened { ino: Ino },
    /// That handle is gone, and what was locked in its name.
    Released { ino: Ino, handle: Handle },
    /// These entries of a listing are handed to the kernel, which refers to them from then on.
    Listed { dir: Ino, entries: Vec<Listed> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListDetail {
    /// Numbers and kinds.
    Names,
    /// Attributes of every entry, wherever it lies.
    Attributes,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listed {
    pub ino: Ino,
    pub kind: FileKind,
    pub name: Name,
    /// Whom the listing named as the authority; `None` if the entry itself holds the inode.
    pub at: Option<Rank>,
}
