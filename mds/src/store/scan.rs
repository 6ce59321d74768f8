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
const TABLES: [Table; 4] = [Table::Dirs, Table::Entries, Table::Homes, Table::Orphans];

#[derive(Clone, Copy, Debug)]
enum Table {
    Dirs,
    Entries,
    Homes,
    Orphans,
}

impl Table {
    fn family(self) -> Family {
        match self {
            Self::Dirs => Family::Dirs,
            Self::Entries => Family::Dentries,
            Self::Homes => Family::Inodes,
            Self::Orphans => Family::Orphans,
        }
    }
}

impl Store {
    /// Rows after that position, or from the first on.
    ///
    /// # Errors
    /// The store is damaged or cannot be read.
    pub fn scan(&self, after: Option<&Position>) -> Result<Scanned, StoreError> {
        let first = after.map_or(0, |after| usize::from(after.table));
        let mut rows = Vec::new();
        for (number, table) in (0_u8..).zip(TABLES).skip(first) {
            let last = after.filter(|after| after.table == number).map(|after| &after.key[..]);
            let from =
                last.map_or(IteratorMode::Start, |key| IteratorMode::From(key, Direction::Forward));
            for item in self.db.iterator_cf(self.family(table.family()), from) {
                let (key, value) = item?;
                if last == Some(&*key) {
                    continue;
                }
                rows.push(row(table, &key, &value)?);
                if rows.len() == ROWS_MAX {
                    let next = Some(Position { table: number, key: key.into_vec() });
                    return Ok(Scanned { rows, next });
                }
            }
        }
        Ok(Scanned { rows, next: None })
    }
}

fn row(table: Table, key: &[u8], value: &[u8]) -> Result<ScannedRow, StoreError> {
    match table {
        Table::Dirs => {
            let DirFragId { ino: dir, .. } = key::parse_frag(key)?;
            let Dir { parent, entries, subdirs, .. } = decode(table, value)?;
            let parent = parent.map(|Parent { dir, name }| Place { dir, name });
            Ok(ScannedRow::Dir { dir, parent, entries, subdirs })
        }
        Table::Entries => {
            let key = key::parse_entry(key)?;
            let place = Place { dir: key.dir, name: key.name };
            Ok(match decode(table, value)? {
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
        Table::Homes => {
            let inode: Inode = decode(table, value)?;
            let (ino, kind) = (inode.attr.ino, inode.attr.kind);
            Ok(ScannedRow::Inode { ino, kind, file: file(&inode) })
        }
        Table::Orphans => Ok(ScannedRow::Orphan { ino: key::parse_ino(key)? }),
    }
}

fn file(inode: &Inode) -> File {
    File { nlink: inode.attr.nlink, size: inode.attr.size }
}

fn decode<T: DeserializeOwned>(table: Table, value: &[u8]) -> Result<T, StoreError> {
    wire::decode(value).map_err(value_error(table.family()))
}
