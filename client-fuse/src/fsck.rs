//! `fsck`: whether names, inodes, counts, claims of authority and data agree. Looks at all rows of all ranks
//! while everybody goes on working, so what seems wrong once may just have been on its way: what is wrong
//! is so each time.
//!
//! Needs some hundred bytes of memory for each name.

mod census;
mod check;
mod objects;

use std::collections::{BTreeMap, BTreeSet};

use common::id::{Ino, Rank};
use common::wire::fsck::Place;

pub use census::Census;
pub use check::check;
pub use objects::Objects;

/// Something that does not agree with something else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// Two ranks believe to be the authority.
    ClaimedTwice { dir: Ino, ranks: BTreeSet<Rank> },
    /// A rank is the authority for a directory that it does not have.
    ClaimOfNothing { dir: Ino, rank: Rank },
    /// A name stands for what no rank has.
    LeadsToNothing { at: Rank, place: Place, ino: Ino },
    /// A directory that no name stands for.
    NoName { dir: Ino, at: Rank },
    /// A directory, or a file of one name, for which several stand.
    ManyNames { ino: Ino, places: BTreeSet<Place> },
    /// A directory believes to have another name than the one that stands for it.
    OtherParent { dir: Ino, at: Rank, place: Place },
    /// How many names a directory has, and how many of them are directories.
    Counts { dir: Ino, at: Rank, stored: (u64, u32), found: (u64, u32) },
    /// How many names a file has.
    Links { ino: Ino, at: Rank, stored: u32, found: u32 },
    /// A file at its home for which no name stands.
    NoLinks { ino: Ino, at: Rank },
    /// A file that has lost its last name, for which one stands.
    NamedOrphan { ino: Ino, places: BTreeSet<Place> },
    /// Data of a file that there is not.
    StrayData { ino: Ino, bytes: u64 },
    /// A file reaches further than its data.
    MissingData { ino: Ino, size: u64, bytes: u64 },
}

/// What a look at everything has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub problems: BTreeSet<Problem>,
    pub dirs: u64,
    pub names: u64,
    /// Files and the like, without directories.
    pub inodes: u64,
    /// Of those, without a name: open, or about to be purged.
    pub orphans: u64,
    /// Rows of regions that were given away, still to be deleted.
    pub stale: u64,
    pub objects: u64,
    /// By which names directories are found.
    pub paths: BTreeMap<Ino, Place>,
}

impl Findings {
    /// The path of a directory, as far as names lead to it.
    #[must_use]
    pub fn path(&self, dir: Ino) -> String {
        let mut names = Vec::new();
        let mut here = dir;
        while here != Ino::ROOT {
            match self.paths.get(&here) {
                Some(place) if names.len() < self.paths.len() => {
                    names.push(place.name.to_string());
                    here = place.dir;
                }
                Some(_) | None => {
                    names.push(format!("[{here}]"));
                    break;
                }
            }
        }
        if names.is_empty() {
            return "/".to_owned();
        }
        names.reverse();
        if here == Ino::ROOT { format!("/{}", names.join("/")) } else { names.join("/") }
    }

    #[must_use]
    pub fn path_of(&self, place: &Place) -> String {
        format!("{}/{}", self.path(place.dir).trim_end_matches('/'), place.name)
    }
}
