//! What the monitor keeps: the map and the slots it gave out, and how often it was started.

use std::path::Path;

use common::id::Incarnation;
use common::wire;
use mds_core::monitor::Stored;
use rocksdb::{DB, WriteBatch, WriteOptions};

use crate::store::{StoreError, database_options, format_file, open_error};

const FORMAT_NAME: &str = "grovefs-mon-store";
const FORMAT_VERSION: u32 = 2;
const STATE: &[u8] = b"state";
const INCARNATION: &[u8] = b"incarnation";

/// An open store of a monitor. Every write is synced: they are few.
#[derive(Debug)]
pub struct MonitorStore {
    db: DB,
}

impl MonitorStore {
    /// Makes the data directory. It must not exist, or be empty.
    ///
    /// # Errors
    /// It is not empty, or cannot be written.
    pub fn format(path: &Path, stored: &Stored) -> Result<(), StoreError> {
        format_file::require_vacant(path)?;
        std::fs::create_dir_all(path)
            .map_err(|source| StoreError::Io { path: path.to_owned(), source })?;
        let mut options = database_options();
        options.create_if_missing(true);
        let store = Self { db: DB::open(&options, path).map_err(|error| open_error(path, error))? };
        store.put(stored)?;
        drop(store);
        format_file::write(path, FORMAT_NAME, FORMAT_VERSION)
    }

    /// # Errors
    /// Names what is wrong with the directory.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        format_file::check(path, FORMAT_NAME, FORMAT_VERSION, "grove-mon")?;
        let db = DB::open(&database_options(), path).map_err(|error| open_error(path, error))?;
        Ok(Self { db })
    }

    /// # Errors
    /// Fatal: what the monitor has told others must be here.
    pub fn put(&self, stored: &Stored) -> Result<(), StoreError> {
        self.put_synced(STATE, &wire::encode(stored))
    }

    /// # Errors
    /// The store is damaged.
    pub fn read(&self) -> Result<Stored, StoreError> {
        let bytes = self.db.get_pinned(STATE)?.ok_or(StoreError::Missing("state"))?;
        wire::decode(&bytes).map_err(|source| StoreError::Value { family: "state", source })
    }

    /// One more life of the monitor.
    ///
    /// # Errors
    /// The store is damaged, or cannot be written.
    pub fn begin_incarnation(&self) -> Result<Incarnation, StoreError> {
        let last = match self.db.get_pinned(INCARNATION)? {
            None => 0,
            Some(bytes) => {
                let bytes = bytes.as_ref().try_into();
                u64::from_be_bytes(bytes.map_err(|_| StoreError::Missing("incarnation"))?)
            }
        };
        self.put_synced(INCARNATION, &(last + 1).to_be_bytes())?;
        Ok(Incarnation(last + 1))
    }

    fn put_synced(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        batch.put(key, value);
        let mut options = WriteOptions::default();
        options.set_sync(true);
        Ok(self.db.write_opt(batch, &options)?)
    }
}

#[cfg(test)]
mod tests {
    use common::id::ClusterId;
    use common::name::NameHashKey;

    use super::*;

    #[test]
    fn state_and_incarnation_survive() {
        let folder = tempfile::TempDir::new().unwrap();
        let stored = Stored::format(ClusterId(7), NameHashKey(1, 2));
        MonitorStore::format(folder.path(), &stored).unwrap();
        for expected in 1..=2 {
            let store = MonitorStore::open(folder.path()).unwrap();
            assert_eq!(store.read().unwrap(), stored);
            assert_eq!(store.begin_incarnation().unwrap(), Incarnation(expected));
        }
        let again = MonitorStore::format(folder.path(), &stored);
        assert!(matches!(again, Err(StoreError::Occupied { .. })));
    }
}
