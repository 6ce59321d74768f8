//! MDS → client: what became of a request.

use serde::{Deserialize, Serialize};

use crate::attr::{Attr, FileKind};
use crate::error::FsError;
use crate::file_lock::FileLock;
use crate::id::{DirFragId, Epoch, Ino, MapEpoch, NoticeId, Rank, RequestId, Seq};
use crate::name::Name;
use crate::wire::request::{XattrName, XattrValue};

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reply {
    pub id: RequestId,
    /// Where it was applied, if it changed something. Until the client hears that this is durable
    /// it keeps the request, to replay it should the rank come back without it.
    pub applied: Option<Seq>,
    pub map_epoch: MapEpoch,
    pub outcome: Outcome,
    pub promise: Promise,
    /// The last notice before it was carried out: what a later one says is later, whichever comes first.
    pub after: NoticeId,
}

/// Whether what a reply says of names and attributes may be used again without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Promise {
    None,
    /// For [`crate::limit::CAPABILITY_TIME`] from when it was asked for, and not beyond the lease: who
    /// changes it is answered when the client has been told, and has let go of it.
    Shared,
    /// That, and the directory that was made or asked for is the client's alone, until it is recalled: nobody else sees
    /// or changes it or what is in it before the client has said that it has done with it.
    Exclusive,
}

/// Variants are encoded by position: append only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    Done(Answer),
    Refused(FsError),
    /// Another rank is the authority: ask it, under the same id.
    Redirect(Route),
    /// The inode is not where the request says, and this rank does not know where it is. The client
    /// looks the name up again (a directory) or uses what it has been told since (a file).
    Gone {
        ino: Ino,
    },
}

/// Who is the authority from `base` down. Of two, the higher epoch wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Route {
    pub base: DirFragId,
    pub rank: Rank,
    pub epoch: Epoch,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Answer {
    Done,
    /// To lookup, create, mkdir, link.
    Found(Found),
    Attr(Attr),
    Page(Page),
    /// One for each target asked, in order; `None` where it is not here.
    Stats(Vec<Option<Attr>>),
    Symlink(Vec<u8>),
    Xattr(XattrValue),
    XattrNames(Vec<XattrName>),
    /// To rename: what was moved.
    Renamed(Renamed),
    /// To forget: those targets that are not here.
    NotHere(Vec<Ino>),
    /// To a question for locks: the first that is in the way, and whether it is this client's.
    InTheWay(Option<InTheWay>),
    /// A lock is as it was asked for. The reply pins the inode.
    Locked(Ino),
    /// It is not, and as it was before.
    NotLocked(FsError),
    /// The directory that was asked for is the client's alone, if that is promised as well.
    Held(Contents),
    /// It is not: others use it, or it is too large.
    NotHeld,
}

/// A directory, and what is in it. Pins nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Contents {
    pub attr: Attr,
    pub entries: Vec<PageEntry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InTheWay {
    pub lock: FileLock,
    pub of: Holder,
}

/// Whose lock is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Holder {
    /// A process of the same mount.
    Ours,
    /// One that only another mount knows.
    Others,
}

impl Answer {
    /// The inode that a reply with this answer pins once: one of which it carries the attributes, or that it
    /// has locked, and that is no directory.
    #[must_use]
    pub fn pins(&self) -> Option<Ino> {
        let attr = match self {
            Self::Found(Found::Here(attr)) | Self::Attr(attr) => attr,
            Self::Found(Found::Remote { attr, .. }) => attr.as_ref()?,
            Self::Locked(ino) => return Some(*ino),
            Self::Found(Found::Dir { .. })
            | Self::Done
            | Self::Page(_)
            | Self::Stats(_)
            | Self::Symlink(_)
            | Self::Xattr(_)
            | Self::XattrNames(_)
            | Self::Renamed(_)
            | Self::NotHere(_)
            | Self::InTheWay(_)
            | Self::NotLocked(_)
            | Self::Held(_)
            | Self::NotHeld => return None,
        };
        (attr.kind != FileKind::Dir).then_some(attr.ino)
    }
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Found {
    /// A non-directory embedded in this entry. The reply pins it.
    Here(Attr),
    /// A directory: its attributes are with the rank that is its authority.
    Dir {
        ino: Ino,
        rank: Rank,
        /// If that is the answering rank.
        attr: Option<Attr>,
    },
    /// A hard-linked file, whose row is at its home rank.
    Remote {
        ino: Ino,
        kind: FileKind,
        rank: Rank,
        /// If that is the answering rank; the reply then pins it once.
        attr: Option<Attr>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Page {
    pub entries: Vec<PageEntry>,
    /// Whether the directory ends with these.
    pub end: PageEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PageEnd {
    More,
    Last,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PageEntry {
    pub name: Name,
    /// Continue after this entry with it. Equal cookies are never split over two pages.
    pub cookie: u64,
    pub found: Found,
}

impl Found {
    #[must_use]
    pub fn ino(&self) -> Ino {
        match self {
            Self::Here(attr) => attr.ino,
            Self::Dir { ino, .. } | Self::Remote { ino, .. } => *ino,
        }
    }

    #[must_use]
    pub fn attr(&self) -> Option<&Attr> {
        match self {
            Self::Here(attr) => Some(attr),
            Self::Dir { attr, .. } | Self::Remote { attr, .. } => attr.as_ref(),
        }
    }
}

/// The places of what a rename moved. The client corrects what it knows of these inodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Renamed {
    pub moved: Moved,
    /// The other one, if they were exchanged.
    pub exchanged: Option<Moved>,
}

/// An inode under its new name, and the rank that is now its authority.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Moved {
    pub ino: Ino,
    pub kind: FileKind,
    pub rank: Rank,
}
