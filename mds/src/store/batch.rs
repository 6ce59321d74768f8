//! A turn's changes as one atomic batch.

use std::collections::BTreeMap;

use common::id::{ClientId, DirFragId, RequestId, Seq};
use common::wire;
use mds_core::journal::entry::Entry;
use mds_core::row::{Change, Key, Row};
use rocksdb::WriteBatch;

use super::key::{self, Family};
use super::{Store, StoreError, superblock};

/// Below this many ids the completed requests of a client are deleted one by one.
const COMPLETED_ONE_BY_ONE_MAX: u64 = 128;

/// Builds batches. There is one, and turns pass through it in order.
#[derive(Default)]
pub struct BatchBuilder {
    batch: WriteBatch,
    /// Per client the id below which its completed requests were deleted already. Without it each
    /// trim would leave a tombstone over the whole range from 0, and RocksDB's cost of overlapping
    /// range tombstones is quadratic.
    trimmed: BTreeMap<ClientId, RequestId>,
}

impl std::fmt::Debug for BatchBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchBuilder").field("changes", &self.batch.len()).finish_non_exhaustive()
    }
}

impl BatchBuilder {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Writes what was gathered, and begins anew.
    ///
    /// # Errors
    /// Fatal: see [`super`].
    pub fn write(&mut self, store: &Store) -> Result<(), StoreError> {
        store.write(std::mem::take(&mut self.batch))
    }

    /// The same, and it survives power loss.
    ///
    /// # Errors
    /// Fatal: see [`super`].
    pub fn write_synced(&mut self, store: &Store) -> Result<(), StoreError> {
        store.write_synced(std::mem::take(&mut self.batch))
    }

    pub fn journal(&mut self, store: &Store, seq: Seq, entry: &Entry) {
        store.append(seq, entry, &mut self.batch);
    }

    pub fn trim_journal(&mut self, store: &Store, seqs: &[Seq]) {
        store.trim(seqs, &mut self.batch);
    }

    pub fn change(&mut self, store: &Store, change: &Change) {
        match change {
            Change::Put(row) => self.put(store, row),
            Change::Delete(key) => self.delete(store, key),
            Change::DeleteFragment(id) => self.delete_fragment(store, *id),
            Change::DeleteCompletedBelow(client, oldest) => {
                self.delete_completed_below(store, *client, *oldest);
            }
            Change::DeleteCompleted(client) => {
                self.trimmed.remove(client);
                let first = key::completed(*client, RequestId(0));
                let last = key::completed(*client, RequestId(u64::MAX));
                let family = store.family(Family::Completed);
                self.batch.delete_range_cf(family, first, last);
                self.batch.delete_cf(family, last);
            }
        }
    }

    fn put(&mut self, store: &Store, row: &Row) {
        let mut put = |family, key: &[u8], value: &[u8]| {
            self.batch.put_cf(store.family(family), key, value);
        };
        match row {
            Row::Entry(id, linkage) => {
                put(Family::Dentries, &key::entry(id), &wire::encode(linkage));
            }
            Row::Dir(id, dir) => put(Family::Dirs, &key::frag(*id), &wire::encode(dir)),
            Row::Inode(ino, inode) => put(Family::Inodes, &key::ino(*ino), &wire::encode(inode)),
            Row::Orphan(ino, orphan) => {
                put(Family::Orphans, &key::ino(*ino), &wire::encode(orphan));
            }
            Row::Session(client, session) => {
                put(Family::Sessions, &key::client(*client), &wire::encode(session));
            }
            Row::Completed(client, id) => {
                put(Family::Completed, &key::completed(*client, *id), &[]);
            }
            Row::Held(id, migration) => {
                put(Family::Held, &key::frag(*id), &key::migration(*migration));
            }
            Row::Copied(migration, id) => {
                put(Family::Copied, &key::migration_frag(*migration, *id), &[]);
            }
            Row::Drop(migration, id, held) => {
                let held = held.map(key::migration);
                let held = held.as_ref().map_or(&[][..], |bytes| bytes);
                put(Family::Drop, &key::migration_frag(*migration, *id), held);
            }
            Row::InoReserved(counter) => {
                put(Family::Meta, superblock::INO_RESERVED, &counter.to_be_bytes());
            }
            Row::Clock(epoch) => put(Family::Meta, superblock::CLOCK, &epoch.0.to_be_bytes()),
            Row::Notice(client, id, notice) => {
                put(Family::Notices, &key::notice(*client, *id), &wire::encode(notice));
            }
            Row::Evicted(client) => put(Family::Evicted, &key::client(*client), &[]),
        }
    }

    fn delete(&mut self, store: &Store, key: &Key) {
        let mut delete = |family, key: &[u8]| self.batch.delete_cf(store.family(family), key);
        match key {
            Key::Entry(id) => delete(Family::Dentries, &key::entry(id)),
            Key::Dir(id) => delete(Family::Dirs, &key::frag(*id)),
            Key::Inode(ino) => delete(Family::Inodes, &key::ino(*ino)),
            Key::Orphan(ino) => delete(Family::Orphans, &key::ino(*ino)),
            Key::Session(client) => delete(Family::Sessions, &key::client(*client)),
            Key::Completed(client, id) => {
                delete(Family::Completed, &key::completed(*client, *id));
            }
            Key::Held(id) => delete(Family::Held, &key::frag(*id)),
            Key::Copied(migration, id) => {
                delete(Family::Copied, &key::migration_frag(*migration, *id));
            }
            Key::Drop(migration, id) => {
                delete(Family::Drop, &key::migration_frag(*migration, *id));
            }
            Key::InoReserved => delete(Family::Meta, superblock::INO_RESERVED),
            Key::Clock => delete(Family::Meta, superblock::CLOCK),
            Key::Notice(client, id) => delete(Family::Notices, &key::notice(*client, *id)),
            Key::Evicted(client) => delete(Family::Evicted, &key::client(*client)),
        }
    }

    fn delete_fragment(&mut self, store: &Store, id: DirFragId) {
        let (begin, end) = key::entries_of(id);
        self.batch.delete_range_cf(store.family(Family::Dentries), begin, end);
        self.batch.delete_cf(store.family(Family::Dirs), key::frag(id));
    }

    fn delete_completed_below(&mut self, store: &Store, client: ClientId, oldest: RequestId) {
        let family = store.family(Family::Completed);
        let done = self.trimmed.insert(client, oldest);
        let first = done.unwrap_or(RequestId(0));
        if oldest <= first {
            self.trimmed.insert(client, first);
            return;
        }
        if done.is_some() && oldest.0 - first.0 <= COMPLETED_ONE_BY_ONE_MAX {
            for id in first.0..oldest.0 {
                self.batch.delete_cf(family, key::completed(client, RequestId(id)));
            }
        } else {
            let (from, to) = (key::completed(client, first), key::completed(client, oldest));
            self.batch.delete_range_cf(family, from, to);
        }
    }
}
