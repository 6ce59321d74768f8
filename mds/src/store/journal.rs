//! The journal: append, trim, and read back whole.

use common::id::Seq;
use common::wire;
use mds_core::journal::entry::Entry;
use rocksdb::{IteratorMode, WriteBatch};

use super::key::{self, Family};
use super::{Store, StoreError, value_error};

impl Store {
    pub(super) fn append(&self, seq: Seq, entry: &Entry, batch: &mut WriteBatch) {
        batch.put_cf(self.family(Family::Journal), key::seq(seq), wire::encode(entry));
    }

    pub(super) fn trim(&self, seqs: &[Seq], batch: &mut WriteBatch) {
        for seq in seqs {
            batch.delete_cf(self.family(Family::Journal), key::seq(*seq));
        }
    }

    /// # Errors
    /// The store is damaged.
    pub fn journal(&self) -> Result<Vec<(Seq, Entry)>, StoreError> {
        let mut entries = Vec::new();
        for item in self.db.iterator_cf(self.family(Family::Journal), IteratorMode::Start) {
            let (bytes, value) = item?;
            let entry = wire::decode(&value).map_err(value_error(Family::Journal))?;
            entries.push((key::parse_seq(&bytes)?, entry));
        }
        Ok(entries)
    }
}
