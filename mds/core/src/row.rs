//! `Row`: everything a rank stores besides its journal. The cache holds the same values.
//!
//! The store is write-through: when a turn ends it holds what memory holds. So the values of
//! [`Inode`], [`Dir`] and [`Linkage`] are the cached objects *and* what is encoded; what lives only
//! in memory (pins, freezes, waiting requests) is kept in tables of its own.
//!
//! Encoded by position: fields and variants are append only. Bytes are pinned in `row/tests.rs`.

use std::collections::BTreeMap;

use common::attr::{Attr, FileKind, Times};
use common::id::{
    ClientId, DirFragId, Epoch, Ino, InoRange, MigrationId, NoticeId, Rank, RequestId, Seq,
};
use common::name::{Name, NameHash};
use common::wire::request::Xattrs;
use common::wire::session::Notice;
use serde::{Deserialize, Serialize};

/// Who pins an inode, and by which request at the latest.
pub type Holders = BTreeMap<ClientId, RequestId>;

/// A row with its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Row {
    Entry(EntryKey, Linkage),
    Dir(DirFragId, Dir),
    /// At its home rank: an inode with several names.
    Inode(Ino, Inode),
    Orphan(Ino, Orphan),
    Session(ClientId, StoredSession),
    Completed(ClientId, RequestId),
    /// Which copy brought a fragment here. Absent: it was made here.
    Held(DirFragId, MigrationId),
    /// A fragment that a copy under way, or one not yet swept, has touched.
    Copied(MigrationId, DirFragId),
    /// A fragment to be deleted once `Export` of that migration is durable, if it is still held so.
    Drop(MigrationId, DirFragId, Option<MigrationId>),
    /// All counters below are recorded as used.
    InoReserved(u64),
    /// The highest epoch this rank has seen.
    Clock(Epoch),
    /// What became of an inode the client refers to. Until the client has acknowledged it, nobody else
    /// may know: it must outlive this process.
    Notice(ClientId, NoticeId, Notice),
    /// An operator has ended its session, and it may not know yet.
    Evicted(ClientId),
}

/// The key of a [`Row`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Key {
    Entry(EntryKey),
    Dir(DirFragId),
    Inode(Ino),
    Orphan(Ino),
    Session(ClientId),
    Completed(ClientId, RequestId),
    Held(DirFragId),
    Copied(MigrationId, DirFragId),
    Drop(MigrationId, DirFragId),
    InoReserved,
    Clock,
    Notice(ClientId, NoticeId),
    Evicted(ClientId),
}

impl Key {
    /// The directory that this is part of: of whose entry it says something, or of itself.
    #[must_use]
    pub fn dir(&self) -> Option<Ino> {
        match self {
            Self::Entry(entry) => Some(entry.dir),
            Self::Dir(frag) => Some(frag.ino),
            Self::Inode(_)
            | Self::Orphan(_)
            | Self::Session(_)
            | Self::Completed(..)
            | Self::Held(_)
            | Self::Copied(..)
            | Self::Drop(..)
            | Self::InoReserved
            | Self::Clock
            | Self::Notice(..)
            | Self::Evicted(_) => None,
        }
    }
}

impl Row {
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Entry(key, _) => Key::Entry(key.clone()),
            Self::Dir(id, _) => Key::Dir(*id),
            Self::Inode(ino, _) => Key::Inode(*ino),
            Self::Orphan(ino, _) => Key::Orphan(*ino),
            Self::Session(client, _) => Key::Session(*client),
            Self::Completed(client, id) => Key::Completed(*client, *id),
            Self::Held(id, _) => Key::Held(*id),
            Self::Copied(migration, id) => Key::Copied(*migration, *id),
            Self::Drop(migration, id, _) => Key::Drop(*migration, *id),
            Self::InoReserved(_) => Key::InoReserved,
            Self::Clock(_) => Key::Clock,
            Self::Notice(client, id, _) => Key::Notice(*client, *id),
            Self::Evicted(client) => Key::Evicted(*client),
        }
    }

    /// Whether it is of a table that is kept in memory whole, so that a start must bring it back.
    #[must_use]
    pub fn is_restored(&self) -> bool {
        match self {
            Self::Entry(..) | Self::Dir(..) | Self::Inode(..) => false,
            Self::Orphan(..)
            | Self::Session(..)
            | Self::Completed(..)
            | Self::Held(..)
            | Self::Copied(..)
            | Self::Drop(..)
            | Self::InoReserved(_)
            | Self::Clock(_)
            | Self::Notice(..)
            | Self::Evicted(_) => true,
        }
    }
}

/// A change of what is stored. The changes of one turn are one atomic batch, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    Put(Row),
    Delete(Key),
    /// Every entry in the fragment's key range, and its `Dir` row.
    DeleteFragment(DirFragId),
    /// Every `Completed` of the client below the id.
    DeleteCompletedBelow(ClientId, RequestId),
    /// Every `Completed` of the client.
    DeleteCompleted(ClientId),
}

/// Where an entry lies: directories' entries are ordered by hash, then by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryKey {
    pub dir: Ino,
    pub hash: NameHash,
    pub name: Name,
}

/// What a name points at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Linkage {
    /// A non-directory, embedded whole.
    Primary(Box<Inode>),
    /// A sub-directory; its attributes live with its contents.
    Dir { ino: Ino },
    /// A name of a hard-linked file, whose inode is at its home rank.
    Remote { ino: Ino, kind: FileKind },
}

impl Linkage {
    #[must_use]
    pub fn ino(&self) -> Ino {
        match self {
            Self::Primary(inode) => inode.attr.ino,
            Self::Dir { ino } | Self::Remote { ino, .. } => *ino,
        }
    }

    #[must_use]
    pub fn kind(&self) -> FileKind {
        match self {
            Self::Primary(inode) => inode.attr.kind,
            Self::Dir { .. } => FileKind::Dir,
            Self::Remote { kind, .. } => *kind,
        }
    }
}

/// A non-directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Inode {
    pub attr: Attr,
    pub xattrs: Xattrs,
    /// A symlink's target; else empty.
    pub symlink: Box<[u8]>,
    /// How often it was given another place: its clients are told of each in a notice.
    pub moves: u32,
}

/// A directory's own attributes, with its contents.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dir {
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub times: Times,
    /// Names in this fragment.
    pub entries: u64,
    /// Sub-directories in this fragment.
    pub subdirs: u32,
    /// Where its one name is. `None` for the root.
    pub parent: Option<Parent>,
    pub xattrs: Xattrs,
    /// `grove.dir.pin`: the subtree goes to that rank and stays.
    pub pin: Option<Rank>,
}

/// Among a directory's attributes: the rank that was lost with what it held. Clients cannot set it; they
/// can remove it, having seen it.
pub const DIR_LOST: &[u8] = b"grove.dir.lost";

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Parent {
    pub dir: Ino,
    pub name: Name,
}

impl Dir {
    #[must_use]
    pub fn attr(&self, ino: Ino) -> Attr {
        Attr {
            ino,
            kind: FileKind::Dir,
            mode: self.mode,
            nlink: self.subdirs.saturating_add(2),
            uid: self.uid,
            gid: self.gid,
            rdev: 0,
            size: self.entries,
            times: self.times,
        }
    }
}

/// Unlinked, and pinned by somebody or not yet purged.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Orphan {
    pub inode: Inode,
    /// Pins, as they were when it was unlinked. Clients claim them again after a restart.
    pub holders: Holders,
}

/// What must be known of a session after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StoredSession {
    /// Where it was recorded first. A client that was told of another session has lost that one.
    pub begun: Seq,
    /// Lent, to make inodes with.
    pub ranges: Vec<InoRange>,
    pub oldest: RequestId,
    /// Came from another rank, and the client may not know of it: it is not to come back in time.
    pub untold: bool,
    /// It came with directories that the client holds exclusively, and the client has not been here since.
    pub exclusive: bool,
}

#[cfg(test)]
mod tests;
