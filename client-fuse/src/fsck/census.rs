//! `Census`: all rows of all ranks, each by the rank that has it.

use std::collections::BTreeMap;

use common::attr::FileKind;
use common::id::{Ino, Rank};
use common::wire::fsck::{File, Place, ScannedRow};

#[derive(Clone, Debug, Default)]
pub struct Census {
    pub(super) ranks: BTreeMap<Rank, Rows>,
    /// Who says to be the authority for what begins at a directory.
    pub(super) claims: BTreeMap<Ino, Vec<Rank>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    pub(super) dirs: BTreeMap<Ino, Dir>,
    pub(super) entries: BTreeMap<Place, Entry>,
    pub(super) inodes: BTreeMap<Ino, (FileKind, File)>,
    pub(super) orphans: Vec<Ino>,
}

#[derive(Clone, Debug)]
pub(super) struct Dir {
    pub(super) parent: Option<Place>,
    pub(super) entries: u64,
    pub(super) subdirs: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) ino: Ino,
    pub(super) kind: FileKind,
    /// Of a file that lies in it.
    pub(super) file: Option<File>,
}

impl Census {
    pub fn claim(&mut self, rank: Rank, dir: Ino) {
        self.claims.entry(dir).or_default().push(rank);
    }

    pub fn add(&mut self, rank: Rank, rows: Vec<ScannedRow>) {
        let of = self.ranks.entry(rank).or_default();
        for row in rows {
            match row {
                ScannedRow::Dir { dir, parent, entries, subdirs } => {
                    of.dirs.insert(dir, Dir { parent, entries, subdirs });
                }
                ScannedRow::Entry { place, ino, kind, file } => {
                    of.entries.insert(place, Entry { ino, kind, file });
                }
                ScannedRow::Inode { ino, kind, file } => {
                    of.inodes.insert(ino, (kind, file));
                }
                ScannedRow::Orphan { ino } => of.orphans.push(ino),
            }
        }
    }

    /// Whether a rank is the authority for a directory, as its own rows lead up to a claim. What it has given
    /// away lies below another's.
    pub(super) fn owns(&self, rank: Rank, dir: Ino, known: &mut BTreeMap<Ino, bool>) -> bool {
        let Some(rows) = self.ranks.get(&rank) else { return false };
        let (mut way, mut here) = (Vec::new(), dir);
        let owns = loop {
            if let Some(owns) = known.get(&here) {
                break *owns;
            }
            if let Some(ranks) = self.claims.get(&here) {
                break ranks.contains(&rank);
            }
            way.push(here);
            match rows.dirs.get(&here).and_then(|row| row.parent.as_ref()) {
                Some(parent) if way.len() <= rows.dirs.len() => here = parent.dir,
                // A circle, or it leads nowhere.
                Some(_) | None => break false,
            }
        };
        known.extend(way.into_iter().map(|dir| (dir, owns)));
        owns
    }
}
