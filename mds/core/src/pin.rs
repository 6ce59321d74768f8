//! `PinTable`: which clients' kernels refer to a non-directory. While one does, unlinking it leaves
//! an orphan, and whoever moves it tells the holders.
//!
//! Pins are counted: one for each reply that named the inode. A client gives back what it has
//! counted itself, so a reply that crosses with a forget is not lost.

use std::collections::{BTreeMap, BTreeSet};

use common::id::{ClientId, Ino};

#[derive(Clone, Debug, Default, Hash)]
pub struct PinTable {
    pins: BTreeMap<Ino, Pinned>,
    /// Inodes whose pins changed, if somebody copies.
    changes: Option<BTreeSet<Ino>>,
    /// What answers name to clients that have yet to say what they hold.
    unclaimed: BTreeMap<ClientId, BTreeMap<Ino, u64>>,
}

#[derive(Clone, Debug, Default, Hash)]
struct Pinned {
    /// The directory in whose entry the inode is embedded; the pins move with it. `None`: it is at
    /// its home, or an orphan.
    dir: Option<Ino>,
    holders: BTreeMap<ClientId, u64>,
}

/// What giving back has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    Some,
    /// Nobody pins the inode any more.
    Nobody,
}

impl PinTable {
    pub fn pin(&mut self, ino: Ino, dir: Option<Ino>, client: ClientId) {
        self.note(ino);
        let pinned = self.pins.entry(ino).or_default();
        pinned.dir = dir;
        *pinned.holders.entry(client).or_default() += 1;
        if let Some(named) = self.unclaimed.get_mut(&client) {
            *named.entry(ino).or_default() += 1;
        }
    }

    /// From here on answers are seen by a client after it has said what it holds.
    pub fn begin_claims(&mut self, client: ClientId) {
        self.unclaimed.insert(client, BTreeMap::new());
    }

    /// What was named to it meanwhile, and how often.
    pub fn end_claims(&mut self, client: ClientId) -> BTreeMap<Ino, u64> {
        self.unclaimed.remove(&client).unwrap_or_default()
    }

    /// The client does not know whether it pins the inode; if so, no answer that counts has come.
    pub fn keep(&mut self, ino: Ino, client: ClientId) {
        if let Some(pinned) = self.pins.get_mut(&ino)
            && let Some(count) = pinned.holders.get_mut(&client)
        {
            *count = 0;
            self.note(ino);
        }
    }

    /// Sets what a client holds, as it says itself after a broken connection or a restart.
    pub fn claim(&mut self, ino: Ino, dir: Option<Ino>, client: ClientId, count: u64) {
        if count == 0 {
            self.give_back(ino, client, u64::MAX);
            return;
        }
        self.note(ino);
        let pinned = self.pins.entry(ino).or_default();
        pinned.dir = dir;
        pinned.holders.insert(client, count);
    }

    pub fn give_back(&mut self, ino: Ino, client: ClientId, count: u64) -> Left {
        self.note(ino);
        let Some(pinned) = self.pins.get_mut(&ino) else { return Left::Nobody };
        if let Some(held) = pinned.holders.get_mut(&client) {
            *held = held.saturating_sub(count);
            if *held == 0 {
                pinned.holders.remove(&client);
            }
        }
        if pinned.holders.is_empty() {
            self.pins.remove(&ino);
            return Left::Nobody;
        }
        Left::Some
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

    pub fn holders(&self, ino: Ino) -> impl Iterator<Item = (ClientId, u64)> + '_ {
        let pinned = self.pins.get(&ino);
        pinned
            .into_iter()
            .flat_map(|pinned| &pinned.holders)
            .map(|(client, count)| (*client, *count))
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
    pub fn of(&self, client: ClientId) -> impl Iterator<Item = (Ino, u64)> + '_ {
        self.pins
            .iter()
            .filter_map(move |(ino, pinned)| Some((*ino, *pinned.holders.get(&client)?)))
    }

    /// Takes all pins of an inode away, as when it goes to another rank.
    pub fn take(&mut self, ino: Ino) -> BTreeMap<ClientId, u64> {
        self.note(ino);
        self.pins.remove(&ino).map(|pinned| pinned.holders).unwrap_or_default()
    }

    /// Takes over what another rank has counted. A client may have heard before where the inode was to go,
    /// and have claimed it here already: then both have counted the same answers.
    pub fn take_over(&mut self, ino: Ino, dir: Option<Ino>, holders: &BTreeMap<ClientId, u64>) {
        if holders.is_empty() {
            return;
        }
        self.note(ino);
        let pinned = self.pins.entry(ino).or_default();
        pinned.dir = dir;
        for (client, count) in holders {
            let held = pinned.holders.entry(*client).or_default();
            *held = (*held).max(*count);
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

    #[test]
    fn a_reply_that_crosses_with_a_forget_keeps_the_pin() {
        let mut pins = PinTable::default();
        pins.pin(INO, None, A);
        pins.pin(INO, None, A);
        assert_eq!(pins.give_back(INO, A, 1), Left::Some);
        assert_eq!(pins.give_back(INO, A, 1), Left::Nobody);
        assert!(!pins.is_pinned(INO));
    }

    #[test]
    fn each_client_holds_its_own() {
        let mut pins = PinTable::default();
        pins.pin(INO, None, A);
        pins.pin(INO, None, B);
        assert_eq!(pins.give_back(INO, A, 7), Left::Some);
        assert_eq!(pins.holders(INO).collect::<Vec<_>>(), [(B, 1)]);
    }

    #[test]
    fn what_was_claimed_before_it_came_is_not_counted_twice() {
        let mut pins = PinTable::default();
        pins.claim(INO, None, A, 3);
        pins.take_over(INO, None, &[(A, 3), (B, 1)].into());
        assert_eq!(pins.holders(INO).collect::<Vec<_>>(), [(A, 3), (B, 1)]);
        assert_eq!(pins.give_back(INO, B, 1), Left::Some);
        assert_eq!(pins.give_back(INO, A, 3), Left::Nobody);
    }

    #[test]
    fn a_claim_replaces_what_was_counted() {
        let mut pins = PinTable::default();
        pins.pin(INO, None, A);
        pins.claim(INO, None, A, 5);
        assert_eq!(pins.of(A).collect::<Vec<_>>(), [(INO, 5)]);
        pins.claim(INO, None, A, 0);
        assert!(!pins.is_pinned(INO));
    }
}
