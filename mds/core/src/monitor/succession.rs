//! Who takes the place of the dead: daemons that stand by, and the stores they are to take over.
//!
//! ```text
//!              grace over                      a standby reaches its store
//!   living ──────────────▶ down, vacant ──────────────────────────────────▶ appointed
//!     ▲  │ goodbye            ▲     ▲                                           │
//!     │  └─▶ down, expected ──┘     └──── it says it cannot, or is silent ──────┤
//!     │      back for a grace                                                   │
//!     └─────────────────── first beacon of a new incarnation ───────────────────┘
//! ```
//!
//! An appointment is an order to try, repeated until it is obeyed; it is not stored. Whoever gets the
//! store's lock holds the rank: two who try are one who succeeds, whatever the monitor remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::id::{Incarnation, Rank, Slot};
use common::mds_map::RankState;
use common::time::Monotonic;
use common::wire::monitor::{
    Appointment, Description, FromMonitor, MonitorError, StandBy, StandbyEntry, StoreEntry,
    StorePlace,
};

use super::{Asker, ConnId, Effect, Monitor, SlotStanding, require_admin, require_mds};

/// An appointed daemon that has not begun by then has failed without a word.
const TAKE_OVER_MAX: Duration = Duration::from_secs(15);

/// Nothing of this is stored: those who stand by say so every second.
#[derive(Clone, Debug, Default)]
pub(super) struct Succession {
    standbys: BTreeMap<String, Standby>,
    appointed: BTreeMap<Rank, Appointed>,
    /// Ranks that are down on purpose, or were so when the monitor began: until when their own
    /// daemons may come back.
    expected: BTreeMap<Rank, Monotonic>,
}

#[derive(Clone, Debug)]
struct Standby {
    conn: ConnId,
    machine: String,
    reaches: Vec<String>,
    heard: Monotonic,
    /// Stores it could not take over. Tried again when nobody else is left.
    failed: BTreeSet<Slot>,
}

#[derive(Clone, Debug)]
struct Appointed {
    daemon: String,
    at: Monotonic,
}

impl Succession {
    /// A connection ended. The appointed goes on without one.
    pub(super) fn on_gone(&mut self, conn: ConnId) {
        self.standbys.retain(|_, standby| standby.conn != conn);
    }

    /// Somebody holds the rank again.
    pub(super) fn on_life(&mut self, rank: Rank) {
        self.expected.remove(&rank);
        if let Some(appointed) = self.appointed.remove(&rank) {
            self.standbys.remove(&appointed.daemon);
        }
    }

    pub(super) fn expect_return(&mut self, rank: Rank, until: Monotonic) {
        self.expected.insert(rank, until);
    }

    fn takes(&self, daemon: &str) -> Option<Rank> {
        self.appointed
            .iter()
            .find(|(_, appointed)| appointed.daemon == daemon)
            .map(|(rank, _)| *rank)
    }

    /// Of those that are free and reach the store: one that has not failed with it, if there is one.
    fn candidate(&self, slot: Slot, place: &StorePlace, fenced: bool) -> Option<String> {
        self.standbys
            .iter()
            .filter(|(daemon, standby)| {
                self.takes(daemon).is_none() && standby.reaches(place, fenced)
            })
            .min_by_key(|(_, standby)| standby.failed.contains(&slot))
            .map(|(daemon, _)| daemon.clone())
    }
}

impl Standby {
    /// On the same machine it can kill whoever holds the store; elsewhere somebody must have
    /// confirmed that nobody does.
    fn reaches(&self, place: &StorePlace, fenced: bool) -> bool {
        let below = |folder: &String| {
            let rest = place.path.strip_prefix(folder.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        self.machine == place.machine || (fenced && self.reaches.iter().any(below))
    }
}

impl Monitor {
    /// After the monitor's start: who is down may be just about to come back.
    pub(super) fn expect_returns(&mut self, now: Monotonic) {
        let until = now.after(self.params.grace);
        for (rank, entry) in &self.stored.map.ranks {
            if entry.state == RankState::Down {
                self.succession.expect_return(*rank, until);
            }
        }
    }

    pub(super) fn on_register(
        &mut self,
        asker: &Asker,
        daemon: &str,
        slot: Slot,
        place: StorePlace,
        out: &mut Vec<Effect>,
    ) -> Result<FromMonitor, MonitorError> {
        require_mds(asker, daemon)?;
        let unknown = MonitorError::UnknownSlot(slot);
        let entry = self.stored.slots.get_mut(&slot).ok_or_else(|| unknown.clone())?;
        match entry.standing {
            SlotStanding::Retired => return Err(unknown),
            SlotStanding::Lost(rank) => return Err(MonitorError::Lost(rank)),
            SlotStanding::Spare | SlotStanding::Promised(_) | SlotStanding::Holds(_) => {}
        }
        if entry.place.as_ref() != Some(&place) {
            entry.place = Some(place);
            out.push(Effect::Persist(self.stored.clone()));
        }
        Ok(FromMonitor::Done)
    }

    pub(super) fn on_stand_by(
        &mut self,
        now: Monotonic,
        conn: ConnId,
        asker: &Asker,
        word: StandBy,
        out: &mut Vec<Effect>,
    ) -> Result<FromMonitor, MonitorError> {
        let StandBy { daemon, machine, reaches, failed, number } = word;
        require_mds(asker, &daemon)?;
        let before = self.succession.standbys.remove(&daemon);
        let mut tried = before.map(|standby| standby.failed).unwrap_or_default();
        if let Some(slot) = failed {
            tried.insert(slot);
            self.succession.appointed.retain(|_, appointed| appointed.daemon != daemon);
        }
        let standby = Standby { conn, machine, reaches, heard: now, failed: tried };
        self.succession.standbys.insert(daemon.clone(), standby);
        if let Some(order) = self.order(&daemon) {
            return Ok(FromMonitor::TakeOver(order));
        }
        if failed.is_none() {
            self.appoint(now, out);
        }
        Ok(FromMonitor::StandByAck { number })
    }

    /// Finds a successor for each rank whose place is vacant (**M5**).
    pub(super) fn appoint(&mut self, now: Monotonic, out: &mut Vec<Effect>) {
        let grace = self.params.grace;
        self.succession.standbys.retain(|_, standby| now.since(standby.heard) <= grace);
        self.succession.appointed.retain(|_, appointed| now.since(appointed.at) <= TAKE_OVER_MAX);
        self.succession.expected.retain(|_, until| *until > now);
        for rank in self.vacant() {
            let Some((slot, place)) = self.store_of(rank) else { continue };
            let fenced = self.is_fenced(rank);
            let Some(daemon) = self.succession.candidate(slot, place, fenced) else { continue };
            self.succession.appointed.insert(rank, Appointed { daemon: daemon.clone(), at: now });
            let to = self.succession.standbys[&daemon].conn;
            if let Some(order) = self.order(&daemon) {
                out.push(Effect::Send { to, msg: FromMonitor::TakeOver(order) });
            }
        }
    }

    fn vacant(&self) -> Vec<Rank> {
        let Succession { appointed, expected, .. } = &self.succession;
        let ranks = self.stored.map.ranks.iter();
        ranks
            .filter(|(_, entry)| entry.state == RankState::Down)
            .map(|(rank, _)| *rank)
            .filter(|rank| !appointed.contains_key(rank) && !expected.contains_key(rank))
            .collect()
    }

    fn store_of(&self, rank: Rank) -> Option<(Slot, &StorePlace)> {
        let holds = SlotStanding::Holds(rank);
        let (slot, entry) = self.stored.slots.iter().rfind(|(_, entry)| entry.standing == holds)?;
        Some((*slot, entry.place.as_ref()?))
    }

    fn is_fenced(&self, rank: Rank) -> bool {
        let dead = self.stored.map.ranks.get(&rank).map(|entry| entry.incarnation);
        dead.is_some() && self.stored.fenced.get(&rank).copied() == dead
    }

    /// What this daemon is to do, if it is appointed.
    fn order(&self, daemon: &str) -> Option<Appointment> {
        let rank = self.succession.takes(daemon)?;
        let (slot, place) = self.store_of(rank)?;
        let entry = self.stored.map.ranks.get(&rank)?;
        Some(Appointment {
            rank,
            slot,
            path: place.path.clone(),
            dead: entry.incarnation,
            fenced: self.is_fenced(rank),
        })
    }

    /// The operator's word counts for the life that is down now, and for no later one.
    pub(super) fn on_fence(
        &mut self,
        now: Monotonic,
        asker: &Asker,
        rank: Rank,
        out: &mut Vec<Effect>,
    ) -> Result<FromMonitor, MonitorError> {
        require_admin(asker)?;
        let incarnation = self.down(rank)?;
        if self.stored.fenced.insert(rank, incarnation) != Some(incarnation) {
            out.push(Effect::Persist(self.stored.clone()));
        }
        self.succession.expected.remove(&rank);
        self.appoint(now, out);
        Ok(FromMonitor::Done)
    }

    /// Its numbers lead to the root's authority from now on, which answers that they are lost.
    pub(super) fn on_lose(
        &mut self,
        asker: &Asker,
        rank: Rank,
        out: &mut Vec<Effect>,
    ) -> Result<FromMonitor, MonitorError> {
        require_admin(asker)?;
        if self.stored.map.lost.contains(&rank) {
            return Ok(FromMonitor::Done);
        }
        if rank == Rank::ROOT {
            return Err(MonitorError::RootLost);
        }
        self.down(rank)?;
        for entry in self.stored.slots.values_mut() {
            if entry.standing == SlotStanding::Holds(rank) {
                entry.standing = SlotStanding::Lost(rank);
            }
        }
        for holder in self.stored.map.slots.values_mut().filter(|holder| **holder == rank) {
            *holder = Rank::ROOT;
        }
        self.stored.map.ranks.remove(&rank);
        self.stored.map.lost.insert(rank);
        self.succession.on_life(rank);
        self.publish(out);
        Ok(FromMonitor::Done)
    }

    /// Which life of a rank is over.
    fn down(&self, rank: Rank) -> Result<Incarnation, MonitorError> {
        let entry = self.stored.map.ranks.get(&rank).ok_or(MonitorError::NoRank(rank))?;
        if entry.state == RankState::Down {
            return Ok(entry.incarnation);
        }
        Err(MonitorError::NotDown { rank, state: entry.state.name().to_owned() })
    }

    pub(super) fn description(&self) -> Description {
        let standbys = self.succession.standbys.iter();
        let standbys = standbys.map(|(daemon, standby)| StandbyEntry {
            daemon: daemon.clone(),
            machine: standby.machine.clone(),
            takes: self.succession.takes(daemon),
        });
        let stores = self.stored.slots.iter().filter_map(|(slot, entry)| match entry.standing {
            SlotStanding::Holds(rank) | SlotStanding::Promised(rank) => {
                Some(StoreEntry { slot: *slot, rank, place: entry.place.clone() })
            }
            SlotStanding::Spare | SlotStanding::Retired | SlotStanding::Lost(_) => None,
        });
        Description { standbys: standbys.collect(), stores: stores.collect() }
    }
}
