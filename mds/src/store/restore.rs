//! What the core gets back at a start: every small table, and the journal.

use common::id::{Epoch, MigrationId};
use common::wire;
use mds_core::input::Restored;
use mds_core::row::Row;
use rocksdb::IteratorMode;

use super::key::{self, Family};
use super::{Store, StoreError, superblock, value_error};

impl Store {
    /// # Errors
    /// The store is damaged or cannot be read.
    pub fn restore(&self) -> Result<Restored, StoreError> {
        let mut rows = Vec::new();
        for family in [
            Family::Sessions,
            Family::Completed,
            Family::Notices,
            Family::Evicted,
            Family::Orphans,
            Family::Held,
            Family::Copied,
            Family::Drop,
        ] {
            for item in self.db.iterator_cf(self.family(family), IteratorMode::Start) {
                let (key, value) = item?;
                rows.extend(row(family, &key, &value)?);
            }
        }
        rows.extend(self.number(superblock::INO_RESERVED)?.map(Row::InoReserved));
        rows.extend(self.number(superblock::CLOCK)?.map(|epoch| Row::Clock(Epoch(epoch))));
        Ok(Restored { rows, journal: self.journal()? })
    }
}

/// A row of one of the families that are restored whole.
fn row(family: Family, key: &[u8], value: &[u8]) -> Result<Option<Row>, StoreError> {
    let damaged = value_error(family);
    Ok(match family {
        Family::Sessions => {
            let session = wire::decode(value).map_err(damaged)?;
            Some(Row::Session(key::parse_client(key)?, session))
        }
        Family::Completed => {
            let (client, id) = key::parse_completed(key)?;
            Some(Row::Completed(client, id))
        }
        Family::Notices => {
            let notice = wire::decode(value).map_err(damaged)?;
            let (client, id) = key::parse_notice(key)?;
            Some(Row::Notice(client, id, notice))
        }
        Family::Evicted => Some(Row::Evicted(key::parse_client(key)?)),
        Family::Orphans => {
            let orphan = wire::decode(value).map_err(damaged)?;
            Some(Row::Orphan(key::parse_ino(key)?, orphan))
        }
        Family::Held => Some(Row::Held(key::parse_frag(key)?, key::parse_migration(value)?)),
        Family::Copied => {
            let (migration, id) = key::parse_migration_frag(key)?;
            Some(Row::Copied(migration, id))
        }
        Family::Drop => {
            let (migration, id) = key::parse_migration_frag(key)?;
            Some(Row::Drop(migration, id, held(value)?))
        }
        Family::Dentries | Family::Dirs | Family::Inodes | Family::Journal | Family::Meta => None,
    })
}

fn held(value: &[u8]) -> Result<Option<MigrationId>, StoreError> {
    if value.is_empty() {
        return Ok(None);
    }
    Ok(Some(key::parse_migration(value)?))
}
