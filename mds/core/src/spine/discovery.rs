//! `Discovery`: replicas asked for, and askers that must wait.

use std::collections::{BTreeMap, BTreeSet};

use common::id::{Ino, Rank};

use crate::cx::Wait;

#[derive(Clone, Debug, Default, Hash)]
pub struct Discovery {
    /// Ours: the ranks asked so far, and the one whose answer is awaited.
    asking: BTreeMap<Ino, Asking>,
    /// Who may be the authority for a directory, or know who is.
    hints: BTreeMap<Ino, Rank>,
    /// Ours: there was nobody to ask.
    unasked: BTreeSet<Ino>,
    /// Others': asked of us while we could not tell.
    parked: BTreeMap<Wait, BTreeSet<(Rank, Ino)>>,
}

#[derive(Clone, Debug, Hash)]
struct Asking {
    asked: BTreeSet<Rank>,
    now: Rank,
}

impl Discovery {
    /// Remembers who may know about a directory.
    pub fn hint(&mut self, dir: Ino, rank: Rank) {
        self.hints.insert(dir, rank);
    }

    #[must_use]
    pub fn hinted(&self, dir: Ino) -> Option<Rank> {
        self.hints.get(&dir).copied()
    }

    #[must_use]
    pub fn is_asking(&self, dir: Ino) -> bool {
        self.asking.contains_key(&dir)
    }

    /// It is being asked for, or will be when there is somebody to ask.
    #[must_use]
    pub fn is_sought(&self, dir: Ino) -> bool {
        self.is_asking(dir) || self.unasked.contains(&dir)
    }

    #[must_use]
    pub fn asks_of(&self, dir: Ino, rank: Rank) -> bool {
        self.asking.get(&dir).is_some_and(|asking| asking.now == rank)
    }

    /// Directories about which a rank has been asked and has not answered.
    #[must_use]
    pub fn asked_of(&self, rank: Rank) -> Vec<Ino> {
        let asked = self.asking.iter().filter(|(_, asking)| asking.now == rank);
        asked.map(|(dir, _)| *dir).collect()
    }

    /// The rank was asked before in this search.
    #[must_use]
    pub fn was_asked(&self, dir: Ino, rank: Rank) -> bool {
        self.asking.get(&dir).is_some_and(|asking| asking.asked.contains(&rank))
    }

    pub fn ask(&mut self, dir: Ino, rank: Rank) {
        let asking =
            self.asking.entry(dir).or_insert_with(|| Asking { asked: BTreeSet::new(), now: rank });
        asking.now = rank;
        asking.asked.insert(rank);
    }

    /// It is known now, or nobody knows.
    pub fn end(&mut self, dir: Ino) {
        self.asking.remove(&dir);
        self.hints.remove(&dir);
    }

    /// Nobody is there who could be asked: for the time being.
    pub fn put_off(&mut self, dir: Ino) {
        self.unasked.insert(dir);
    }

    #[must_use]
    pub fn is_put_off(&self, dir: Ino) -> bool {
        self.unasked.contains(&dir)
    }

    #[must_use]
    pub fn take_unasked(&mut self) -> BTreeSet<Ino> {
        std::mem::take(&mut self.unasked)
    }

    pub fn park(&mut self, wait: Wait, asker: Rank, dir: Ino) {
        self.parked.entry(wait).or_default().insert((asker, dir));
    }

    #[must_use]
    pub fn take_parked(&mut self, wait: &Wait) -> BTreeSet<(Rank, Ino)> {
        self.parked.remove(wait).unwrap_or_default()
    }

    /// The asker is gone; its next life asks anew.
    pub fn forget_rank(&mut self, rank: Rank) {
        for askers in self.parked.values_mut() {
            askers.retain(|(asker, _)| *asker != rank);
        }
        self.parked.retain(|_, askers| !askers.is_empty());
    }
}
