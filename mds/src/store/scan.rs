//! Every row that `grove fsck` compares, a page at a time.

use common::attr::FileKind;
use common::id::DirFragId;
use common::wire;
use common::wire::fsck::{File, Place, Position, Scanned, ScannedRow};
use mds_core::row::{Dir, Inode, Linkage, Parent};
use rocksdb::{Direction, IteratorMode};
use serde::de::DeserializeOwned;

use super::key::{self, Family};
use super::{Store, StoreError, value_error};

/// Rows of a page: with names as long as they can be it still fits a frame.
const ROWS_MAX: usize = 2000;
/// In this order.
const TABLES: [Family; 4] = [Family::Dirs, Family::Dentries, Family::Inodes, Family::Orphans];

impl Store {
    /// Rows after that position, or from the first on.
    ///
    /// # Errors
    /// The store is damaged or cannot be read.
    pub fn scan(&self, after: Option<&Position>) -> Result<Scanned, StoreError> {
        let first = after.map_or(0, |after| usize::from(after.table));
        let mut rows = Vec::new();
        for (number, family) in (0_u8..).zip(TABLES).skip(first) {
            let last = after.filter(|after| after.table == number).map(|after| &after.key[..]);
            let from =
                last.map_or(IteratorMode::Start, |key| IteratorMode::From(key, Direction::Forward));
            for item in self.db.iterator_cf(self.family(family), from) {
                let (key, value) = item?;
                if last == Some(&*key) {
                    continue;
                }
                rows.push(row(family, &key, &value)?);
                if rows.len() == ROWS_MAX {
                    let next = Some(Position { table: number, key: key.into_vec() });
                    return Ok(Scanned { rows, next });
                }
            }
        }
        Ok(Scanned { rows, next: None })
    }
}

fn row(family: Family, key: &[u8], value: &[u8]) -> Result<ScannedRow, StoreError> {
    match family {
        Family::Dirs => {
            let DirFragId { ino: dir, .. } = key::parse_frag(key)?;
            let Dir { parent, entries, subdirs, .. } = decode(family, value)?;
            let parent = parent.map(|Parent { dir, name }| Place { dir, name });
            Ok(ScannedRow::Dir { dir, parent, entries, subdirs })
        }
        Family::Dentries => {
            let key = key::parse_entry(key)?;
            let place = Place { dir: key.dir, name: key.name };
            Ok(match decode(family, value)? {
                Linkage::Primary(inode) => ScannedRow::Entry {
                    place,
                    ino: inode.attr.ino,
                    kind: inode.attr.kind,
                    file: Some(file(&inode)),
                },
                Linkage::Dir { ino } => {
                    ScannedRow::Entry { place, ino, kind: FileKind::Dir, file: None }
                }
                Linkage::Remote { ino, kind } => ScannedRow::Entry { place, ino, kind, file: None },
            })
        }
        Family::Inodes => {
            let inode: Inode = decode(family, value)?;
            let (ino, kind) = (inode.attr.ino, inode.attr.kind);
            Ok(ScannedRow::Inode { ino, kind, file: file(&inode) })
        }
        Family::Orphans => Ok(ScannedRow::Orphan { ino: key::parse_ino(key)? }),
        Family::Sessions
        | Family::Completed
        | Family::Notices
        | Family::Held
        | Family::Copied
        | Family::Drop
        | Family::Journal
        | Family::Meta => unreachable!("not one of the tables that are looked at"),
    }
}

fn file(inode: &Inode) -> File {
    File { nlink: inode.attr.nlink, size: inode.attr.size }
}

fn decode<T: DeserializeOwned>(family: Family, value: &[u8]) -> Result<T, StoreError> {
    wire::decode(value).map_err(value_error(family))
}
