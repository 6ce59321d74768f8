//! `Disk`: the store of one rank, as RocksDB is one: atomic batches, a log that is synced late.

use std::collections::{BTreeMap, VecDeque};

use common::id::{DirFragId, Ino, RequestId, Seq};
use common::name::{Name, NameHash};
use mds_core::input::{FETCH_ENTRIES_MAX, Fetch, FetchEnd, Fetched, Restored};
use mds_core::journal::entry::Entry;
use mds_core::row::{Change, EntryKey, Key, Row};

use super::dice::Dice;

/// What a store holds at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Image {
    rows: BTreeMap<Key, Row>,
    journal: BTreeMap<Seq, Entry>,
}

/// The changes of one turn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Batch {
    pub steps: Vec<Step>,
    /// What is applied when the batch is.
    pub applied: Seq,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Change(Change),
    Journal(Seq, Entry),
    TrimJournal(Vec<Seq>),
}

#[derive(Clone, Debug, Default, Hash)]
pub struct Disk {
    /// Written: what a killed daemon finds again.
    live: Image,
    /// Synced: what is left after power loss, at the least.
    durable: Image,
    /// Written since, in order.
    unsynced: VecDeque<Batch>,
}

impl Disk {
    /// A disk as `grove-mds --format` leaves it: synced.
    #[must_use]
    pub fn formatted(rows: Vec<Row>, journal: Vec<Entry>) -> Self {
        let mut image = Image::default();
        for row in rows {
            image.change(Change::Put(row));
        }
        for (number, entry) in (1..).zip(journal) {
            image.journal.insert(Seq(number), entry);
        }
        Self { live: image.clone(), durable: image, unsynced: VecDeque::new() }
    }

    pub fn write(&mut self, batch: Batch) {
        self.live.apply(&batch);
        self.unsynced.push_back(batch);
    }

    /// Where a sync that begins now will have come when it ends.
    #[must_use]
    pub fn written(&self) -> Option<Seq> {
        self.unsynced.back().map(|batch| batch.applied)
    }

    /// A sync that began when `through` was written has ended.
    pub fn synced(&mut self, through: Seq) {
        while let Some(batch) = self.unsynced.pop_front_if(|batch| batch.applied <= through) {
            self.durable.apply(&batch);
        }
    }

    /// The machine lost power: what was not synced is gone, but for some first batches of it that
    /// happened to reach the disk.
    pub fn lose_power(&mut self, dice: &mut Dice) {
        self.lose_power_but_for(dice.index(self.unsynced.len() + 1));
    }

    /// Of what was not synced, only so many first batches had reached the disk.
    pub fn lose_power_but_for(&mut self, kept: usize) {
        for batch in self.unsynced.drain(..kept) {
            self.durable.apply(&batch);
        }
        self.unsynced.clear();
        self.live = self.durable.clone();
    }

    /// A machine that started again writes its log out first: nothing found can be lost later.
    pub fn reopen(&mut self) {
        self.durable = self.live.clone();
        self.unsynced.clear();
    }

    /// What a daemon reads when it starts.
    #[must_use]
    pub fn restore(&self) -> Restored {
        let rows = self.live.rows.values().filter(|row| row.is_restored());
        Restored {
            rows: rows.cloned().collect(),
            journal: self.live.journal.iter().map(|(seq, entry)| (*seq, entry.clone())).collect(),
        }
    }

    #[must_use]
    pub fn fetch(&self, fetch: &Fetch) -> Fetched {
        self.live.fetch(fetch)
    }

    /// Batches written and not synced.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// The facts that survive power loss, for checkers.
    pub fn durable_journal(&self) -> impl Iterator<Item = &Entry> {
        self.durable.journal.values()
    }

    /// The facts that were written, for checkers.
    pub fn journal(&self) -> impl Iterator<Item = &Entry> {
        self.live.journal.values()
    }

    /// Everything written, for checkers.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.live.rows.values()
    }
}

impl Image {
    fn apply(&mut self, batch: &Batch) {
        for step in &batch.steps {
            match step {
                Step::Change(change) => self.change(change.clone()),
                Step::Journal(seq, entry) => {
                    self.journal.insert(*seq, entry.clone());
                }
                Step::TrimJournal(seqs) => {
                    for seq in seqs {
                        self.journal.remove(seq);
                    }
                }
            }
        }
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Put(row) => {
                self.rows.insert(row.key(), row);
            }
            Change::Delete(key) => {
                self.rows.remove(&key);
            }
            Change::DeleteFragment(frag) => {
                let (first, last) = frag.frag.range();
                self.delete_if(
                    &lowest(frag.ino, first),
                    |key| matches!(key, Key::Entry(key) if key.dir == frag.ino && key.hash <= last),
                );
                self.rows.remove(&Key::Dir(frag));
            }
            Change::DeleteCompletedBelow(client, oldest) => {
                self.delete_if(
                    &Key::Completed(client, RequestId(0)),
                    |key| matches!(key, Key::Completed(of, id) if *of == client && *id < oldest),
                );
            }
            Change::DeleteCompleted(client) => {
                self.delete_if(
                    &Key::Completed(client, RequestId(0)),
                    |key| matches!(key, Key::Completed(of, _) if *of == client),
                );
            }
        }
    }

    /// Deletes the keys from `first` on, as long as they are of that kind.
    fn delete_if(&mut self, first: &Key, doomed: impl Fn(&Key) -> bool) {
        let keys = self.rows.range(first..).map(|(key, _)| key);
        let keys: Vec<Key> = keys.take_while(|key| doomed(key)).cloned().collect();
        for key in keys {
            self.rows.remove(&key);
        }
    }

    fn fetch(&self, fetch: &Fetch) -> Fetched {
        match fetch {
            Fetch::Entry(key) => Fetched::Entry(
                key.clone(),
                match self.rows.get(&Key::Entry(key.clone())) {
                    Some(Row::Entry(_, linkage)) => Some(linkage.clone()),
                    _ => None,
                },
            ),
            Fetch::Entries { frag, after } => self.entries(*frag, after.as_ref()),
            Fetch::Dir(id) => Fetched::Dir(
                *id,
                match self.rows.get(&Key::Dir(*id)) {
                    Some(Row::Dir(_, dir)) => Some(dir.clone()),
                    _ => None,
                },
            ),
            Fetch::Inode(ino) => Fetched::Inode(
                *ino,
                match self.rows.get(&Key::Inode(*ino)) {
                    Some(Row::Inode(_, inode)) => Some(inode.clone()),
                    _ => None,
                },
            ),
        }
    }

    fn entries(&self, frag: DirFragId, after: Option<&EntryKey>) -> Fetched {
        let (first, last) = frag.frag.range();
        let start = match after {
            Some(key) => Key::Entry(key.clone()),
            None => lowest(frag.ino, first),
        };
        let mut found =
            self.rows
                .range(start..)
                .map_while(|(_, row)| {
                    if let Row::Entry(key, linkage) = row { Some((key, linkage)) } else { None }
                })
                .take_while(|(key, _)| key.dir == frag.ino && key.hash <= last)
                .filter(|(key, _)| after != Some(*key));
        let entries: Vec<_> = found
            .by_ref()
            .take(FETCH_ENTRIES_MAX)
            .map(|(key, linkage)| (key.clone(), linkage.clone()))
            .collect();
        let end = if found.next().is_some() { FetchEnd::More } else { FetchEnd::Last };
        Fetched::Entries { frag, after: after.cloned(), entries, end }
    }
}

/// Before every entry of the directory whose hash is `hash` or above.
fn lowest(dir: Ino, hash: NameHash) -> Key {
    let name = Name::new(b"\x01").expect("one byte that is neither `/` nor NUL");
    Key::Entry(EntryKey { dir, hash, name })
}

#[cfg(test)]
mod tests;
