//! Client → MDS: what an application wants.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::attr::{Attr, FileKind, SetAttr, Times};
use crate::file_lock::{ByteRange, FileLock, LockKind, LockOwner};
use crate::id::{Ino, Rank, RequestId, Seq};
use crate::name::Name;
use crate::time::Timestamp;

/// One operation. A retry, also at another rank, has the same id; an id is applied at most once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Request {
    pub id: RequestId,
    /// The lowest id about which the client may still ask; what is below may be forgotten.
    pub oldest: RequestId,
    pub caller: Caller,
    /// The client's clock, for the times of what is made and changed.
    pub at: Timestamp,
    /// Where this was applied by an earlier incarnation, if it answered.
    pub replay: Option<Seq>,
    pub op: Op,
}

/// For whom the operation is done. Permissions are checked by the kernel (`default_permissions`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Caller {
    pub uid: u32,
    pub gid: u32,
}

/// Which inode, and where the client last knew it to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    pub ino: Ino,
    pub place: Place,
}

impl Target {
    #[must_use]
    pub fn dir(ino: Ino) -> Self {
        Self { ino, place: Place::Dir }
    }

    /// The directory whose authority has the inode's row, unless it lies at a home or among orphans.
    fn dir_of_row(&self) -> Option<Ino> {
        match &self.place {
            Place::Dir => Some(self.ino),
            Place::Entry { dir, .. } => Some(*dir),
            Place::Home | Place::Orphan { .. } => None,
        }
    }
}

/// Where an inode's row lies; so, who is its authority.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Place {
    /// It is a directory: its attributes lie with its contents.
    Dir,
    /// Embedded in this entry: the authority of directory `dir`.
    Entry { dir: Ino, name: Name },
    /// It has, or had, several names: its home rank.
    Home,
    /// Unlinked, but held open: the rank that unlinked it.
    Orphan { rank: Rank },
}

impl Place {
    /// The directory in whose entry it is embedded.
    #[must_use]
    pub fn embedded_in(&self) -> Option<Ino> {
        match self {
            Self::Entry { dir, .. } => Some(*dir),
            Self::Dir | Self::Home | Self::Orphan { .. } => None,
        }
    }
}

/// Extended attributes, in order of name.
pub type Xattrs = BTreeMap<XattrName, XattrValue>;

/// The full name of an extended attribute, `user.…`. 1 to 255 bytes, no NUL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct XattrName(#[serde(with = "bytes")] pub Box<[u8]>);

impl std::borrow::Borrow<[u8]> for XattrName {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct XattrValue(#[serde(with = "bytes")] pub Box<[u8]>);

/// Variants are encoded by position: append only, never reorder, never remove.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Op {
    Lookup {
        dir: Ino,
        name: Name,
    },
    Getattr {
        target: Target,
    },
    Setattr {
        target: Target,
        set: SetAttr,
    },
    /// The entries after `cookie` (0: from the beginning), in order of hash, without `.` and `..`.
    Readdir {
        dir: Ino,
        cookie: u64,
        entries_max: u32,
    },
    /// Attributes of many inodes at once, for READDIRPLUS of entries that lie elsewhere.
    Stat {
        targets: Vec<Target>,
    },
    /// Any non-directory. `ino` is from a range lent to the session.
    Create(Create),
    Mkdir {
        dir: Ino,
        name: Name,
        ino: Ino,
        /// As for [`Create`].
        mode: u16,
        umask: u16,
        /// The client is to hold the new directory exclusively, which nobody else knows yet.
        exclusive: bool,
    },
    Unlink {
        dir: Ino,
        name: Name,
    },
    Rmdir {
        dir: Ino,
        name: Name,
    },
    /// Goes to the authority of `dir`; `rank` is where the client believes the target to be.
    Link {
        target: Target,
        rank: Rank,
        dir: Ino,
        name: Name,
    },
    Rename(Rename),
    Readlink {
        target: Target,
    },
    GetXattr {
        target: Target,
        name: XattrName,
    },
    SetXattr {
        target: Target,
        name: XattrName,
        value: XattrValue,
        mode: XattrSet,
    },
    ListXattr {
        target: Target,
    },
    RemoveXattr {
        target: Target,
        name: XattrName,
    },
    /// Bytes were written to a file's data: its size is at least `end`, its mtime the request's time.
    Wrote {
        target: Target,
        end: u64,
        kill_privileges: bool,
    },
    /// Gives back pins: what the kernel has forgotten. Answered with those that are not here.
    Forget {
        items: Vec<Forget>,
    },
    /// Is answered when everything this rank has applied for the client is durable.
    Sync,
    /// `F_GETLK`: what is in the way of a lock.
    GetLock {
        target: Target,
        lock: FileLock,
    },
    SetLock {
        target: Target,
        set: SetLock,
        /// Requests for locks on this file that the client has had no answer to, this one among them. Of
        /// those that are not named and not later it asks for none again.
        unanswered: BTreeSet<RequestId>,
    },
    /// The client would have a directory for itself, with the inodes embedded in its entries.
    Hold {
        dir: Ino,
    },
}

/// `F_SETLK`, `F_SETLKW`. That it was done, or refused, is known with the file's pins, as long as these are:
/// see [`crate::wire::session::PinClaim`] for what comes after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SetLock {
    pub owner: LockOwner,
    pub pid: u32,
    pub range: ByteRange,
    /// `None`: `F_UNLCK`.
    pub kind: Option<LockKind>,
    /// Sent once more with another value, under the same id, it is what counts.
    pub on_conflict: OnConflict,
}

impl SetLock {
    /// The lock that is asked for, unless it is to go.
    #[must_use]
    pub fn lock(&self) -> Option<FileLock> {
        let Self { owner, pid, range, .. } = *self;
        self.kind.map(|kind| FileLock { owner, pid, range, kind })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OnConflict {
    /// EAGAIN (`F_SETLK`).
    Refuse,
    /// The answer comes when it is locked (`F_SETLKW`).
    Wait,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Create {
    pub dir: Ino,
    pub name: Name,
    pub ino: Ino,
    pub node: Node,
    /// Permission bits as they were asked for.
    pub mode: u16,
    /// What is taken from them, unless the directory has a default ACL.
    pub umask: u16,
    pub existing: IfExists,
}

impl Create {
    /// Attributes of what has just been made. `mode`: what the umask, or the directory's default ACL, has left.
    #[must_use]
    pub fn attr(&self, mode: u16, (uid, gid): (u32, u32), at: Timestamp) -> Attr {
        let (kind, rdev, size) = match &self.node {
            Node::File => (FileKind::File, 0, 0),
            Node::Symlink(target) => (FileKind::Symlink, 0, target.len() as u64),
            Node::Fifo => (FileKind::Fifo, 0, 0),
            Node::Socket => (FileKind::Socket, 0, 0),
            Node::CharDevice(rdev) => (FileKind::CharDevice, *rdev, 0),
            Node::BlockDevice(rdev) => (FileKind::BlockDevice, *rdev, 0),
        };
        let times = Times::all(at);
        Attr { ino: self.ino, kind, mode, nlink: 1, uid, gid, rdev, size, times }
    }
}

/// What is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Node {
    File,
    Symlink(#[serde(with = "bytes")] Box<[u8]>),
    Fifo,
    Socket,
    CharDevice(u32),
    BlockDevice(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum IfExists {
    /// EEXIST (`O_EXCL`, `mknod`, `symlink`).
    Refuse,
    /// Answer with what is there (`O_CREAT` alone).
    Open,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rename {
    pub from_dir: Ino,
    pub from: Name,
    pub to_dir: Ino,
    pub to: Name,
    pub mode: RenameMode,
    /// The rank the client believes to be the authority for `from_dir`. The request itself goes to
    /// that of `to_dir`, which need not know.
    pub from_rank: Rank,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RenameMode {
    Replace,
    /// `RENAME_NOREPLACE`
    NoReplace,
    /// `RENAME_EXCHANGE`
    Exchange,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum XattrSet {
    Any,
    /// `XATTR_CREATE`
    Create,
    /// `XATTR_REPLACE`
    Replace,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Forget {
    pub ino: Ino,
    /// In whose entry it is embedded, as far as the client knows. `None`: it is at its home, or an orphan.
    pub dir: Option<Ino>,
    /// The client has had the answers to all requests before this one that could name the inode, and
    /// refers to it by none of them.
    pub below: RequestId,
}

impl Op {
    /// The directory whose authority carries it out, if it is about one. (A file at its home, an
    /// orphan, and what concerns one rank alone have none.)
    #[must_use]
    pub fn dir(&self) -> Option<Ino> {
        match self {
            Self::Lookup { dir, .. }
            | Self::Readdir { dir, .. }
            | Self::Hold { dir }
            | Self::Mkdir { dir, .. }
            | Self::Unlink { dir, .. }
            | Self::Rmdir { dir, .. }
            | Self::Link { dir, .. } => Some(*dir),
            Self::Create(create) => Some(create.dir),
            Self::Rename(rename) => Some(rename.to_dir),
            Self::Getattr { .. }
            | Self::Setattr { .. }
            | Self::Readlink { .. }
            | Self::GetXattr { .. }
            | Self::SetXattr { .. }
            | Self::ListXattr { .. }
            | Self::RemoveXattr { .. }
            | Self::Wrote { .. }
            | Self::GetLock { .. }
            | Self::SetLock { .. }
            | Self::Stat { .. }
            | Self::Forget { .. }
            | Self::Sync => self.subject().and_then(Target::dir_of_row),
        }
    }

    /// The one inode whose authority carries it out. A link is carried out where its new name is,
    /// so it is not about its target in this sense.
    #[must_use]
    pub fn subject(&self) -> Option<&Target> {
        match self {
            Self::Getattr { target }
            | Self::Setattr { target, .. }
            | Self::Readlink { target }
            | Self::GetXattr { target, .. }
            | Self::SetXattr { target, .. }
            | Self::ListXattr { target }
            | Self::RemoveXattr { target, .. }
            | Self::Wrote { target, .. }
            | Self::GetLock { target, .. }
            | Self::SetLock { target, .. } => Some(target),
            Self::Lookup { .. }
            | Self::Readdir { .. }
            | Self::Stat { .. }
            | Self::Create(_)
            | Self::Mkdir { .. }
            | Self::Unlink { .. }
            | Self::Rmdir { .. }
            | Self::Link { .. }
            | Self::Rename(_)
            | Self::Forget { .. }
            | Self::Sync
            | Self::Hold { .. } => None,
        }
    }

    /// Whether carrying it out changes what is stored, so that it must happen at most once. (A lock is not
    /// stored: whoever has it says so when a rank begins anew.)
    #[must_use]
    pub fn is_change(&self) -> bool {
        match self {
            Self::Setattr { .. }
            | Self::Create(_)
            | Self::Mkdir { .. }
            | Self::Unlink { .. }
            | Self::Rmdir { .. }
            | Self::Link { .. }
            | Self::Rename(_)
            | Self::SetXattr { .. }
            | Self::RemoveXattr { .. }
            | Self::Wrote { .. } => true,
            Self::Lookup { .. }
            | Self::Getattr { .. }
            | Self::Readdir { .. }
            | Self::Stat { .. }
            | Self::Readlink { .. }
            | Self::GetXattr { .. }
            | Self::ListXattr { .. }
            | Self::Forget { .. }
            | Self::Sync
            | Self::GetLock { .. }
            | Self::SetLock { .. }
            | Self::Hold { .. } => false,
        }
    }
}

/// Byte strings as one length and their bytes; serde would write a sequence of numbers.
mod bytes {
    use serde::{Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Box<[u8]>, D::Error> {
        struct Bytes;
        impl de::Visitor<'_> for Bytes {
            type Value = Box<[u8]>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(bytes.into())
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
