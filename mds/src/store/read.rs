//! Reads for the core's `Fetch` effects.

use common::wire;
use mds_core::input::{FETCH_ENTRIES_MAX, Fetch, FetchEnd, Fetched};
use mds_core::row::{EntryKey, Linkage};
use rocksdb::{Direction, IteratorMode, ReadOptions};
use serde::de::DeserializeOwned;

use super::key::{self, Family};
use super::{Store, StoreError, value_error};

impl Store {
    /// Answers a question with what is stored now.
    ///
    /// # Errors
    /// The store is damaged or cannot be read.
    pub fn fetch(&self, fetch: &Fetch) -> Result<Fetched, StoreError> {
        Ok(match fetch {
            Fetch::Entry(id) => {
                Fetched::Entry(id.clone(), self.value(Family::Dentries, &key::entry(id))?)
            }
            Fetch::Entries { frag, after } => {
                let (entries, end) = self.entries(*frag, after.as_ref())?;
                Fetched::Entries { frag: *frag, after: after.clone(), entries, end }
            }
            Fetch::Dir(id) => Fetched::Dir(*id, self.value(Family::Dirs, &key::frag(*id))?),
            Fetch::Inode(ino) => Fetched::Inode(*ino, self.value(Family::Inodes, &key::ino(*ino))?),
            Fetch::Orphan(ino) => {
                Fetched::Orphan(*ino, self.value(Family::Orphans, &key::ino(*ino))?)
            }
        })
    }

    fn value<T: DeserializeOwned>(
        &self,
        family: Family,
        key: &[u8],
    ) -> Result<Option<T>, StoreError> {
        let Some(bytes) = self.db.get_pinned_cf(self.family(family), key)? else {
            return Ok(None);
        };
        wire::decode(&bytes).map(Some).map_err(value_error(family))
    }

    fn entries(
        &self,
        frag: common::id::DirFragId,
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
