//! `MdsMap`: who holds which rank, where it listens, and how far its life has come.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::{ClusterId, Incarnation, MapEpoch, Rank, Slot};
use crate::name::NameHashKey;

/// Issued by the monitor, in one version after another. Receivers may skip versions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MdsMap {
    pub epoch: MapEpoch,
    pub cluster: ClusterId,
    /// Under which all ranks hash names.
    pub name_hash_key: NameHashKey,
    pub ranks: BTreeMap<Rank, RankEntry>,
    /// Which rank serves the inodes a store has allocated.
    pub slots: BTreeMap<Slot, Rank>,
    /// Where file data lies: the id in each store's `grove-store.json`.
    pub data_stores: Vec<String>,
    /// Whether rank 0 plans migrations by itself.
    pub balancer: Switch,
    /// Ranks whose stores are destroyed, and their numbers not given out again. What they held is
    /// claimed, empty, by the authority above it.
    pub lost: BTreeSet<Rank>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Switch {
    Off,
    On,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RankEntry {
    /// The daemon's name, as its certificate has it.
    pub daemon: String,
    pub incarnation: Incarnation,
    pub addr: SocketAddr,
    pub state: RankState,
}

/// The stages of a rank's life, in this order. A rank asks for the next one; the monitor grants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RankState {
    /// Nobody holds it, or its holder is taken for dead.
    Down,
    /// Restoring what the journal says.
    Replay,
    /// Settling with the other ranks what was undecided.
    Resolve,
    /// Waiting for the clients it knew.
    Reconnect,
    /// Registering its spine replicas anew.
    Rejoin,
    Active,
    /// Giving everything away.
    Stopping,
}

impl RankState {
    /// How operators see it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Replay => "replay",
            Self::Resolve => "resolve",
            Self::Reconnect => "reconnect",
            Self::Rejoin => "rejoin",
            Self::Active => "active",
            Self::Stopping => "stopping",
        }
    }
}

impl MdsMap {
    /// The home rank of what `slot` has allocated.
    #[must_use]
    pub fn rank_of(&self, slot: Slot) -> Option<Rank> {
        self.slots.get(&slot).copied()
    }

    #[must_use]
    pub fn state(&self, rank: Rank) -> RankState {
        self.ranks.get(&rank).map_or(RankState::Down, |entry| entry.state)
    }

    #[must_use]
    pub fn incarnation(&self, rank: Rank) -> Option<Incarnation> {
        let entry = self.ranks.get(&rank)?;
        (entry.state != RankState::Down).then_some(entry.incarnation)
    }

    /// Whether a life of a rank has ended, as far as this map tells. One that it does not show yet has not.
    #[must_use]
    pub fn has_ended(&self, rank: Rank, life: Incarnation) -> bool {
        self.ranks.get(&rank).is_none_or(|entry| {
            life < entry.incarnation
                || (life == entry.incarnation && entry.state == RankState::Down)
        })
    }

    /// Whether some rank is missing or not yet back: no migration starts then.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.ranks
            .values()
            .any(|entry| !matches!(entry.state, RankState::Active | RankState::Stopping))
    }
}
