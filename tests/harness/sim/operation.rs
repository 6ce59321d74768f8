//! `Operation` and `Answer`: what a kernel asks of a file system, and what it is told.
//!
//! `N` is how an inode is named: by its number where clients speak, by a symbol in the model.

use common::attr::{FileKind, SetAttr};
use common::error::FsError;
use common::name::Name;
use common::wire::request::{IfExists, RenameMode, XattrName, XattrSet, XattrValue};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operation<N> {
    Lookup {
        dir: N,
        name: Name,
    },
    Getattr {
        node: N,
    },
    Readdir {
        dir: N,
    },
    Readlink {
        node: N,
    },
    GetXattr {
        node: N,
        name: XattrName,
    },
    ListXattr {
        node: N,
    },
    Setattr {
        node: N,
        set: SetAttr,
    },
    Create {
        dir: N,
        name: Name,
        make: Make,
        mode: u16,
        existing: IfExists,
    },
    Unlink {
        dir: N,
        name: Name,
    },
    Rmdir {
        dir: N,
        name: Name,
    },
    Link {
        node: N,
        dir: N,
        name: Name,
    },
    Rename {
        from_dir: N,
        from: Name,
        to_dir: N,
        to: Name,
        mode: RenameMode,
    },
    SetXattr {
        node: N,
        name: XattrName,
        value: XattrValue,
        mode: XattrSet,
    },
    RemoveXattr {
        node: N,
        name: XattrName,
    },
    /// Data up to `end` was written.
    Write {
        node: N,
        end: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Make {
    File,
    Fifo,
    Dir,
    Symlink(Box<[u8]>),
}

impl Make {
    #[must_use]
    pub fn kind(&self) -> FileKind {
        match self {
            Self::File => FileKind::File,
            Self::Fifo => FileKind::Fifo,
            Self::Dir => FileKind::Dir,
            Self::Symlink(_) => FileKind::Symlink,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer<N> {
    Done,
    Entry { node: N, kind: FileKind },
    Attr(Seen<N>),
    Names(Vec<(Name, N, FileKind)>),
    Target(Box<[u8]>),
    Xattr(XattrValue),
    XattrNames(Vec<XattrName>),
}

/// What the model vouches for of a `stat`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seen<N> {
    pub node: N,
    pub kind: FileKind,
    pub mode: u16,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
}

/// What a client was told.
pub type Outcome<N> = Result<Answer<N>, FsError>;

impl<N: Copy> Operation<N> {
    #[must_use]
    pub fn is_change(&self) -> bool {
        match self {
            Self::Lookup { .. }
            | Self::Getattr { .. }
            | Self::Readdir { .. }
            | Self::Readlink { .. }
            | Self::GetXattr { .. }
            | Self::ListXattr { .. } => false,
            Self::Setattr { .. }
            | Self::Create { .. }
            | Self::Unlink { .. }
            | Self::Rmdir { .. }
            | Self::Link { .. }
            | Self::Rename { .. }
            | Self::SetXattr { .. }
            | Self::RemoveXattr { .. }
            | Self::Write { .. } => true,
        }
    }

    /// The inode it is about, if it names one and no name in a directory.
    pub fn node(&self) -> Option<N> {
        match self {
            Self::Getattr { node }
            | Self::Readlink { node }
            | Self::GetXattr { node, .. }
            | Self::ListXattr { node }
            | Self::Setattr { node, .. }
            | Self::Link { node, .. }
            | Self::SetXattr { node, .. }
            | Self::RemoveXattr { node, .. }
            | Self::Write { node, .. } => Some(*node),
            Self::Lookup { .. }
            | Self::Readdir { .. }
            | Self::Create { .. }
            | Self::Unlink { .. }
            | Self::Rmdir { .. }
            | Self::Rename { .. } => None,
        }
    }

    /// The same operation with inodes named otherwise; `None` if one has no other name.
    pub fn renamed<M>(&self, to: impl Fn(N) -> Option<M>) -> Option<Operation<M>> {
        Some(match self.clone() {
            Self::Lookup { dir, name } => Operation::Lookup { dir: to(dir)?, name },
            Self::Getattr { node } => Operation::Getattr { node: to(node)? },
            Self::Readdir { dir } => Operation::Readdir { dir: to(dir)? },
            Self::Readlink { node } => Operation::Readlink { node: to(node)? },
            Self::GetXattr { node, name } => Operation::GetXattr { node: to(node)?, name },
            Self::ListXattr { node } => Operation::ListXattr { node: to(node)? },
            Self::Setattr { node, set } => Operation::Setattr { node: to(node)?, set },
            Self::Create { dir, name, make, mode, existing } => {
                Operation::Create { dir: to(dir)?, name, make, mode, existing }
            }
            Self::Unlink { dir, name } => Operation::Unlink { dir: to(dir)?, name },
            Self::Rmdir { dir, name } => Operation::Rmdir { dir: to(dir)?, name },
            Self::Link { node, dir, name } => {
                Operation::Link { node: to(node)?, dir: to(dir)?, name }
            }
            Self::Rename { from_dir, from, to_dir, to: new, mode } => Operation::Rename {
                from_dir: to(from_dir)?,
                from,
                to_dir: to(to_dir)?,
                to: new,
                mode,
            },
            Self::SetXattr { node, name, value, mode } => {
                Operation::SetXattr { node: to(node)?, name, value, mode }
            }
            Self::RemoveXattr { node, name } => Operation::RemoveXattr { node: to(node)?, name },
            Self::Write { node, end } => Operation::Write { node: to(node)?, end },
        })
    }
}

impl<N: Copy> Answer<N> {
    /// The inodes the answer names, in order.
    pub fn nodes(&self) -> Vec<N> {
        match self {
            Self::Entry { node, .. } => vec![*node],
            Self::Attr(seen) => vec![seen.node],
            Self::Names(names) => names.iter().map(|(_, node, _)| *node).collect(),
            Self::Done | Self::Target(_) | Self::Xattr(_) | Self::XattrNames(_) => Vec::new(),
        }
    }

    /// The same answer without saying which inodes.
    #[must_use]
    pub fn anonymous(&self) -> Answer<()> {
        match self {
            Self::Done => Answer::Done,
            Self::Entry { kind, .. } => Answer::Entry { node: (), kind: *kind },
            Self::Attr(seen) => Answer::Attr(Seen {
                node: (),
                kind: seen.kind,
                mode: seen.mode,
                nlink: seen.nlink,
                uid: seen.uid,
                gid: seen.gid,
                size: seen.size,
            }),
            Self::Names(names) => Answer::Names(
                names.iter().map(|(name, _, kind)| (name.clone(), (), *kind)).collect(),
            ),
            Self::Target(target) => Answer::Target(target.clone()),
            Self::Xattr(value) => Answer::Xattr(value.clone()),
            Self::XattrNames(names) => Answer::XattrNames(names.clone()),
        }
    }
}
