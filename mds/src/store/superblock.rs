//! What a store says of itself: cluster, slot, the hash of names, and how often it was opened.
//!
//! | word in `meta` | value |
//! |---|---|
//! | `superblock` | `Superblock` |
//! | `incarnation` | number 8, big-endian |
//! | `ino_reserved` | number 8 |
//! | `clock` | number 8 |

use common::id::{ClusterId, Incarnation, Slot};
use common::name::NameHashKey;
use common::wire;
use rocksdb::WriteBatch;
use serde::{Deserialize, Serialize};

use super::key::Family;
use super::{Store, StoreError, value_error};

pub(super) const INO_RESERVED: &[u8] = b"ino_reserved";
pub(super) const CLOCK: &[u8] = b"clock";
const SUPERBLOCK: &[u8] = b"superblock";
const INCARNATION: &[u8] = b"incarnation";

/// Written once, when the store is formatted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superblock {
    pub cluster: ClusterId,
    pub slot: Slot,
    pub name_hash_key: NameHashKey,
}

impl Store {
    /// # Errors
    /// Fatal: the store cannot be written.
    pub fn put_superblock(&self, superblock: &Superblock) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(Family::Meta), SUPERBLOCK, wire::encode(superblock));
        self.write_synced(batch)
    }

    /// # Errors
    /// The store is damaged.
    pub fn superblock(&self) -> Result<Superblock, StoreError> {
        let bytes = self
            .db
            .get_pinned_cf(self.family(Family::Meta), SUPERBLOCK)?
            .ok_or(StoreError::Missing("superblock"))?;
        wire::decode(&bytes).map_err(value_error(Family::Meta))
    }

    /// One more life of the daemon that uses this store. Durable before anybody hears of it, so no
    /// two lives share a number.
    ///
    /// # Errors
    /// The store is damaged, or cannot be written.
    pub fn begin_incarnation(&self) -> Result<Incarnation, StoreError> {
        let last = self.number(INCARNATION)?.unwrap_or(0);
        let next = last + 1;
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(Family::Meta), INCARNATION, next.to_be_bytes());
        self.write_synced(batch)?;
        Ok(Incarnation(next))
    }

    pub(super) fn number(&self, word: &[u8]) -> Result<Option<u64>, StoreError> {
        let Some(bytes) = self.db.get_pinned_cf(self.family(Family::Meta), word)? else {
            return Ok(None);
        };
        let bytes = bytes.as_ref().try_into().map_err(|_| StoreError::Missing("a number"))?;
        Ok(Some(u64::from_be_bytes(bytes)))
    }
}
