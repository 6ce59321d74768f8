//! `Queue`: expires that name a region of which it is not clear whose it is.
//!
//! Their sender was told of a migration and says the same to both candidates. Each keeps it until
//! authority is clear again; then the winner does it, and the loser, who has no registrations any
//! more, throws it away.

use std::collections::BTreeMap;

use common::id::{DirFragId, Ino, Nonce, Rank};

/// By region and sender, in the order in which they came.
#[derive(Clone, Debug, Default, Hash)]
pub struct Queue {
    expires: BTreeMap<DirFragId, BTreeMap<Rank, Vec<(Ino, Nonce)>>>,
}

impl Queue {
    pub fn keep(&mut self, base: DirFragId, sender: Rank, dirs: Vec<(Ino, Nonce)>) {
        self.expires.entry(base).or_default().entry(sender).or_default().extend(dirs);
    }

    /// It is clear whose the region is.
    #[must_use]
    pub fn take(&mut self, base: DirFragId) -> BTreeMap<Rank, Vec<(Ino, Nonce)>> {
        self.expires.remove(&base).unwrap_or_default()
    }

    /// The sender is dead, and with it what it held.
    pub fn forget_rank(&mut self, rank: Rank) {
        self.expires.retain(|_, senders| {
            senders.remove(&rank);
            !senders.is_empty()
        });
    }

    /// Regions for which something is kept.
    pub fn regions(&self) -> impl Iterator<Item = DirFragId> + '_ {
        self.expires.keys().copied()
    }
}
