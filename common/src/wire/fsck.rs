//! Operator → rank: every row there is, for `grove fsck`, and what it mends.

use serde::{Deserialize, Serialize};

use crate::attr::FileKind;
use crate::id::Ino;
use crate::name::Name;

/// Where a look at all rows of a rank goes on: a table, and the last key of it that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    pub table: u8,
    pub key: Vec<u8>,
}

/// Some of the rows that are stored, in no order that matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scanned {
    pub rows: Vec<ScannedRow>,
    /// `None`: these were the last.
    pub next: Option<Position>,
}

/// What is to agree with other rows. Some may be of regions that were given away and are still to be
/// deleted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ScannedRow {
    Dir {
        dir: Ino,
        /// `None`: the root.
        parent: Option<Place>,
        entries: u64,
        subdirs: u32,
    },
    Entry {
        place: Place,
        ino: Ino,
        kind: FileKind,
        /// Of a file that lies in the entry itself.
        file: Option<File>,
    },
    /// A file of several names, at its home.
    Inode { ino: Ino, kind: FileKind, file: File },
    /// Without a name, open or about to be purged.
    Orphan { ino: Ino },
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    pub dir: Ino,
    pub name: Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct File {
    pub nlink: u32,
    pub size: u64,
}

/// One thing to mend. A rank does so only if it finds itself what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Repair {
    /// Counts the names in a directory.
    Recount { dir: Ino },
    /// A file of several names has this many.
    SetLinks { ino: Ino, from: u32, to: u32 },
    /// A name that leads to nothing goes.
    RemoveName { place: Place, ino: Ino },
    /// A file at its home that no name leads to goes, with its data.
    RemoveInode { ino: Ino },
}
