//! Reads for the core's `Fetch` effects.

use common::id::{DirFragId, Ino};
use common::wire;
use common::wire::admin::Leftovers;
use mds_core::input::{FETCH_ENTRIES_MAX, Fetch, FetchEnd, Fetched};
use mds_core::row::{EntryKey, Linkage};
use rocksdb::{Direction, ErrorKind, IteratorMode, ReadOptions};
use serde::de::DeserializeOwned;

use super::key::{self, Family};
use super::{Store, StoreError, value_error};

impl Store {
    /// Answers a question about one row if it needs no disk for that.
    ///
    /// # Errors
    /// The store is damaged or cannot be read.
    pub fn fetch_cached(&self, fetch: &Fetch) -> Result<Option<Fetched>, StoreError> {
        if matches!(fetch, Fetch::Entries { .. }) {
            return Ok(None);
        }
        match self.fetch_by(fetch, &self.cached_only) {
            Ok(fetched) => Ok(Some(fetched)),
            Err(StoreError::Rocks(error)) if error.kind() == ErrorKind::Incomplete => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Answers a question with what is stored now.
    ///
    /// # Errors
    /// The store is damaged or cannot be read.
    pub fn fetch(&self, fetch: &Fetch) -> Result<Fetched, StoreError> {
        self.fetch_by(fetch, &ReadOptions::default())
    }

    /// Adds how many rows there are of names, of what they stand for, and of what has lost its names. The
    /// root's own is none of them. Looks at all of them: takes as long as there are many.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn count_rows(&self, counts: Leftovers) -> Result<Leftovers, StoreError> {
        let root = key::frag(DirFragId::whole(Ino::ROOT));
        Ok(Leftovers {
            entries: self.count(Family::Dentries, &[])?,
            dirs: self.count(Family::Dirs, &root)?,
            inodes: self.count(Family::Inodes, &[])?,
            orphans: self.count(Family::Orphans, &[])?,
            ..counts
        })
    }

    fn count(&self, family: Family, except: &[u8]) -> Result<u64, StoreError> {
        let mut rows = 0;
        for item in self.db.iterator_cf(self.family(family), IteratorMode::Start) {
            let (key, _) = item?;
            rows += u64::from(*key != *except);
        }
        Ok(rows)
    }

    fn fetch_by(&self, fetch: &Fetch, options: &ReadOptions) -> Result<Fetched, StoreError> {
        Ok(match fetch {
            Fetch::Entry(id) => {
                Fetched::Entry(id.clone(), self.value(Family::Dentries, &key::entry(id), options)?)
            }
            Fetch::Entries { frag, after } => {
                let (entries, end) = self.entries(*frag, after.as_ref())?;
                Fetched::Entries { frag: *frag, after: after.clone(), entries, end }
            }
            Fetch::Dir(id) => {
                Fetched::Dir(*id, self.value(Family::Dirs, &key::frag(*id), options)?)
            }
            Fetch::Inode(ino) => {
                Fetched::Inode(*ino, self.value(Family::Inodes, &key::ino(*ino), options)?)
            }
        })
    }

    fn value<T: DeserializeOwned>(
        &self,
        family: Family,
        key: &[u8],
        options: &ReadOptions,
    ) -> Result<Option<T>, StoreError> {
        let Some(bytes) = self.db.get_pinned_cf_opt(self.family(family), key, options)? else {
            return Ok(None);
        };
        wire::decode(&bytes).map(Some).map_err(value_error(family))
    }

    fn entries(
        &self,
        frag: DirFragId,
        after: Option<&EntryKey>,
    ) -> Result<(Vec<(EntryKey, Linkage)>, FetchEnd), StoreError> {
        let (begin, end) = key::entries_of(frag);
        let after = after.map(key::entry);
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(end);
        let from = IteratorMode::From(after.as_ref().unwrap_or(&begin), Direction::Forward);
        let rows = self.db.iterator_cf_opt(self.family(Family::Dentries), options, from);

        let mut entries = Vec::new();
        for item in rows {
            let (bytes, value) = item?;
            if after.as_ref().is_some_and(|after| **after == *bytes) {
                continue;
            }
            if entries.len() == FETCH_ENTRIES_MAX {
                return Ok((entries, FetchEnd::More));
            }
            let linkage = wire::decode(&value).map_err(value_error(Family::Dentries))?;
            entries.push((key::parse_entry(&bytes)?, linkage));
        }
        Ok((entries, FetchEnd::Last))
    }
}
