//! `PinTable`: which clients' kernels refer to a non-directory. While one does, unlinking it leaves
//! an orphan, and whoever moves it tells the holders.
//!
//! Pins are counted: one for each reply that named the inode. A client gives back what it has
//! counted itself, so a reply that crosses with a forget is not lost.

use std::collections::BTreeMap;

use common::id::{ClientId, Ino};

#[derive(Clone, Debug, Default, Hash)]
pub struct PinTable {
    pins: BTreeMap<Ino, BTreeMap<ClientId, u64>>,
}

/// What giving back has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    Some,
    /// Nobody pins the inode any more.
    Nobody,
}

impl PinTable {
    pub fn pin(&mut self, ino: Ino, client: ClientId) {
        *self.pins.entry(ino).or_default().entry(client).or_default() += 1;
    }

    /// Sets what a client holds, as it says itself after a broken connection or a restart.
    pub fn claim(&mut self, ino: Ino, client: ClientId, count: u64) {
        if count > 0 {
            self.pins.entry(ino).or_default().insert(client, count);
        } else {
            self.give_back(ino, client, u64::MAX);
        }
    }

    pub fn give_back(&mut self, ino: Ino, client: ClientId, count: u64) -> Left {
        let Some(holders) = self.pins.get_mut(&ino) else { return Left::Nobody };
        if let Some(held) = holders.get_mut(&client) {
            *held = held.saturating_sub(count);
            if *held == 0 {
                holders.remove(&client);
            }
        }
        if holders.is_empty() {
            self.pins.remove(&ino);
            return Left::Nobody;
        }
        Left::Some
    }

    #[must_use]
    pub fn is_pinned(&self, ino: Ino) -> bool {
        self.pins.contains_key(&ino)
    }

    pub fn holders(&self, ino: Ino) -> impl Iterator<Item = (ClientId, u64)> + '_ {
        self.pins.get(&ino).into_iter().flatten().map(|(client, count)| (*client, *count))
    }

    /// Everything a client holds.
    pub fn of(&self, client: ClientId) -> impl Iterator<Item = (Ino, u64)> + '_ {
        self.pins.iter().filter_map(move |(ino, holders)| Some((*ino, *holders.get(&client)?)))
    }

    /// Takes all pins of an inode away, as when it goes to another rank.
    pub fn take(&mut self, ino: Ino) -> BTreeMap<ClientId, u64> {
        self.pins.remove(&ino).unwrap_or_default()
    }

    /// Adds what another rank has counted.
    pub fn add(&mut self, ino: Ino, holders: &BTreeMap<ClientId, u64>) {
        for (client, count) in holders {
            *self.pins.entry(ino).or_default().entry(*client).or_default() += count;
        }
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.pins.values().map(|holders| holders.len() as u64).sum()
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
        pins.pin(INO, A);
        pins.pin(INO, A);
        assert_eq!(pins.give_back(INO, A, 1), Left::Some);
        assert_eq!(pins.give_back(INO, A, 1), Left::Nobody);
        assert!(!pins.is_pinned(INO));
    }

    #[test]
    fn each_client_holds_its_own() {
        let mut pins = PinTable::default();
        pins.pin(INO, A);
        pins.pin(INO, B);
        assert_eq!(pins.give_back(INO, A, 7), Left::Some);
        assert_eq!(pins.holders(INO).collect::<Vec<_>>(), [(B, 1)]);
    }

    #[test]
    fn a_claim_replaces_what_was_counted() {
        let mut pins = PinTable::default();
        pins.pin(INO, A);
        pins.claim(INO, A, 5);
        assert_eq!(pins.of(A).collect::<Vec<_>>(), [(INO, 5)]);
        pins.claim(INO, A, 0);
        assert!(!pins.is_pinned(INO));
    }
}
