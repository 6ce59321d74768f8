//! `PinTable`: which clients' kernels refer to a non-directory. While one does, unlinking it leaves
//! an orphan, and whoever moves it tells the holders.
//!
//! A pin remembers the latest request by which its client may have come to refer to the inode. Who
//! gives it back names the first request of which it has not had the answer: if that is later, no
//! answer that names the inode is on its way any more. Nothing is counted, so an answer that is lost
//! with its connection, or given twice, does no harm.
//!
//! Who has locked something of a file pins it. So what is locked is known where the pins are, goes with
//! them to another rank, and ends with them.

use std::collections::{BTreeMap, BTreeSet};

use common::file_lock::{FileLock, FileLocks};
use common::id::{ClientId, Ino, RequestId};

use crate::file_lock::{FileLockTable, LocksOfFile};
use crate::row::Holders;

#[derive(Clone, Debug, Default, Hash)]
pub struct PinTable {
    pins: BTreeMap<Ino, Pinned>,
    locks: FileLockTable,
    /// Inodes whose pins changed, if somebody copies.
    changes: Option<BTreeSet<Ino>>,
    /// What answers name to clients that have yet to say what they hold.
    unclaimed: BTreeMap<ClientId, BTreeSet<Ino>>,
}

#[derive(Clone, Debug, Default, Hash)]
struct Pinned {
    /// The directory in whose entry the inode is embedded; the pins move with it. `None`: it is at
    /// its home, or an orphan.
    dir: Option<Ino>,
    holders: Holders,
}

/// What giving back has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    Some,
    /// Nobody pins the inode any more.
    Nobody,
}

impl PinTable {
    /// An answer names the inode to a client that has sent no request after `latest`.
    pub fn pin(&mut self, ino: Ino, dir: Option<Ino>, client: ClientId, latest: RequestId) {
        self.claim(ino, dir, client, latest);
        if let Some(named) = self.unclaimed.get_mut(&client) {
            named.insert(ino);
        }
    }

    /// From here on answers are seen by a client after it has said what it holds.
    pub fn begin_claims(&mut self, client: ClientId) {
        self.unclaimed.insert(client, BTreeSet::new());
    }

    /// What was named to it meanwhile.
    pub fn end_claims(&mut self, client: ClientId) -> BTreeSet<Ino> {
        self.unclaimed.remove(&client).unwrap_or_default()
    }

    /// A client says that it refers to the inode, and by which request.
    pub fn claim(&mut self, ino: Ino, dir: Option<Ino>, client: ClientId, latest: RequestId) {
        self.take_over(ino, dir, &Holders::from([(client, latest)]));
    }

    /// And what it has locked. `is_resumed`: its session has not ended, so nobody else can have. Returns
    /// what somebody else has.
    pub fn claim_locks(
        &mut self,
        ino: Ino,
        client: ClientId,
        locks: FileLocks,
        is_resumed: bool,
    ) -> Vec<FileLock> {
        self.note(ino);
        self.locks.claim(ino, client, locks, is_resumed)
    }

    /// These clients may refer to the inode, and have locked anything: an earlier life knew.
    pub fn assume(&mut self, ino: Ino, dir: Option<Ino>, strangers: &Holders) {
        for client in strangers.keys() {
            if !self.is_pinned_by(ino, *client) {
                self.locks.assume(ino, *client);
            }
        }
        self.take_over(ino, dir, strangers);
    }

    #[must_use]
    pub fn locks(&self) -> &FileLockTable {
        &self.locks
    }

    /// To change what is known of the locks of one file.
    pub fn locks_mut(&mut self, ino: Ino) -> &mut FileLockTable {
        self.note(ino);
        &mut self.locks
    }

    /// Adds what is known elsewhere of locks of an inode whose pins have come.
    pub fn take_over_locks(&mut self, ino: Ino, mut locks: LocksOfFile) {
        self.note(ino);
        locks.retain(|client, _| self.is_pinned_by(ino, *client));
        self.locks.take_over(ino, locks);
    }

    /// Files of which something was unlocked since the last time.
    pub fn take_released(&mut self) -> BTreeSet<Ino> {
        self.locks.take_released()
    }

    /// The client refers to it no more, if its pin is by a request before `below`.
    pub fn give_back(&mut self, ino: Ino, client: ClientId, below: RequestId) -> Left {
        let Some(pinned) = self.pins.get(&ino) else { return Left::Nobody };
        match pinned.holders.get(&client) {
            Some(latest) if *latest < below => self.drop_of(ino, client),
            Some(_) | None => Left::Some,
        }
    }

    /// A client is wrong in what it claims, or gone.
    pub fn drop_of(&mut self, ino: Ino, client: ClientId) -> Left {
        let Some(pinned) = self.pins.get_mut(&ino) else { return Left::Nobody };
        pinned.holders.remove(&client);
        self.locks.drop_of(ino, client);
        let left = if pinned.holders.is_empty() { Left::Nobody } else { Left::Some };
        if left == Left::Nobody {
            self.pins.remove(&ino);
        }
        self.note(ino);
        left
    }

    /// The inode is embedded elsewhere, or nowhere, from here on.
    pub fn relocate(&mut self, ino: Ino, dir: Option<Ino>) {
        self.note(ino);
        if let Some(pinned) = self.pins.get_mut(&ino) {
            pinned.dir = dir;
        }
    }

    #[must_use]
    pub fn is_pinned(&self, ino: Ino) -> bool {
        self.pins.contains_key(&ino)
    }

    #[must_use]
    pub fn is_pinned_by(&self, ino: Ino, client: ClientId) -> bool {
        self.pins.get(&ino).is_some_and(|pinned| pinned.holders.contains_key(&client))
    }

    pub fn holders(&self, ino: Ino) -> impl Iterator<Item = (ClientId, RequestId)> + '_ {
        let pinned = self.pins.get(&ino);
        pinned
            .into_iter()
            .flat_map(|pinned| &pinned.holders)
            .map(|(client, latest)| (*client, *latest))
    }

    /// Where a pinned inode is embedded.
    #[must_use]
    pub fn dir_of(&self, ino: Ino) -> Option<Ino> {
        self.pins.get(&ino)?.dir
    }

    /// Every pinned inode that is embedded in an entry, with that entry's directory.
    pub fn embedded(&self) -> impl Iterator<Item = (Ino, Ino)> + '_ {
        self.pins.iter().filter_map(|(ino, pinned)| Some((*ino, pinned.dir?)))
    }

    /// Everything a client holds.
    pub fn of(&self, client: ClientId) -> impl Iterator<Item = Ino> + '_ {
        let held = self.pins.iter().filter(move |(_, it)| it.holders.contains_key(&client));
        held.map(|(ino, _)| *ino)
    }

    /// Takes all pins of an inode away, as when it goes to another rank.
    pub fn take(&mut self, ino: Ino) -> Holders {
        self.note(ino);
        self.locks.drop_file(ino);
        self.pins.remove(&ino).map(|pinned| pinned.holders).unwrap_or_default()
    }

    /// Adds what is known of an inode's pins elsewhere: at another rank, or by a client.
    pub fn take_over(&mut self, ino: Ino, dir: Option<Ino>, holders: &Holders) {
        if holders.is_empty() {
            return;
        }
        self.note(ino);
        let pinned = self.pins.entry(ino).or_default();
        pinned.dir = dir;
        for (client, latest) in holders {
            let known = pinned.holders.entry(*client).or_insert(*latest);
            *known = (*known).max(*latest);
        }
    }

    /// Who pins what.
    pub fn iter(&self) -> impl Iterator<Item = (Ino, ClientId)> + '_ {
        self.pins.iter().flat_map(|(ino, it)| it.holders.keys().map(|client| (*ino, *client)))
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.pins.values().map(|pinned| pinned.holders.len() as u64).sum()
    }

    fn note(&mut self, ino: Ino) {
        if let Some(changes) = &mut self.changes {
            changes.insert(ino);
        }
    }

    /// From here on inodes whose pins change are kept.
    pub fn watch_changes(&mut self) {
        self.changes.get_or_insert_default();
    }

    pub fn stop_watching(&mut self) {
        self.changes = None;
    }

    /// Those whose pins changed since the last time.
    pub fn take_changes(&mut self) -> BTreeSet<Ino> {
        self.changes.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INO: Ino = Ino(0x100);
    const A: ClientId = ClientId(1);
    const B: ClientId = ClientId(2);

    const FIRST: RequestId = RequestId(1);
    const SECOND: RequestId = RequestId(2);
    const THIRD: RequestId = RequestId(3);

    #[test]
    fn a_reply_that_crosses_with_a_forget_keeps_the_pin() {
        let mut pins = PinTable::default();
        pins.pin(INO, None, A, FIRST);
        pins.pin(INO, None, A, SECOND);
        assert_eq!(pins.give_back(INO, A, SECOND), Left::Some);
        assert!(pins.is_pinned_by(INO, A));
        assert_eq!(pins.give_back(INO, A, THIRD), Left::Nobody);
        assert!(!pins.is_pinned(INO));
    }

    #[test]
    fn each_client_holds_its_own() {
        let mut pins = PinTable::default();
        pins.pin(INO, None, A, FIRST);
        pins.pin(INO, None, B, FIRST);
        assert_eq!(pins.give_back(INO, A, SECOND), Left::Some);
        assert_eq!(pins.holders(INO).collect::<Vec<_>>(), [(B, FIRST)]);
    }

    #[test]
    fn what_was_claimed_before_it_came_is_one_pin() {
        let mut pins = PinTable::default();
        pins.claim(INO, None, A, SECOND);
        pins.take_over(INO, None, &[(A, FIRST), (B, FIRST)].into());
        assert_eq!(pins.holders(INO).collect::<Vec<_>>(), [(A, SECOND), (B, FIRST)]);
        assert_eq!(pins.give_back(INO, B, SECOND), Left::Some);
        assert_eq!(pins.give_back(INO, A, THIRD), Left::Nobody);
    }

    #[test]
    fn a_late_forget_does_not_take_back_what_was_claimed_since() {
        let mut pins = PinTable::default();
        pins.claim(INO, None, A, SECOND);
        assert_eq!(pins.give_back(INO, A, SECOND), Left::Some);
        assert_eq!(pins.of(A).collect::<Vec<_>>(), [INO]);
        assert_eq!(pins.drop_of(INO, A), Left::Nobody);
    }
}
