//! The monitor as a pure function of its inputs: who holds which rank, and how far its life has come.
//!
//! ```text
//!            beacon of a new incarnation              asked for by beacons, one step at a time
//!   (absent) ───────────────────────────▶ Replay ─▶ Resolve ─▶ Reconnect ─▶ Rejoin ─▶ Active ─▶ Stopping
//!                    ▲                       │          │           │          │         │
//!                    └──────── Down ◀────────┴──────────┴───────────┴──────────┴─────────┘
//!                                        no beacon for the grace, or a beacon that says goodbye
//! ```
//!
//! - **M1** The epoch grows with every change of the map, and a map is stored before anybody sees it.
//! - **M2** An incarnation that was declared down never comes back: others may have acted on its
//!   death. Its daemon starts again, as a new one.
//! - **M3** A slot is given out once. A rank keeps the slots it ever had.
//! - **M4** Silence counts only while the monitor itself was awake: after its own start, and after
//!   a late tick, everybody has a full grace.
//! - **M5** A successor is appointed only for a rank that is down, one at a time, and is told which
//!   life is dead: a newer one it must leave alone. ([`succession`])

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::id::{ClusterId, Incarnation, MapEpoch, Rank, Slot};
use common::mds_map::{MdsMap, RankEntry, RankState, Switch};
use common::name::NameHashKey;
use common::time::Monotonic;
use common::wire::monitor::{Beacon, FromMonitor, MonitorError, StorePlace, ToMonitor};
use serde::{Deserialize, Serialize};

pub mod link;
mod stages;
mod succession;

use succession::Succession;

/// How often the driver gives [`Input::Tick`].
pub const TICK: Duration = Duration::from_millis(250);
/// A tick so late means that the monitor slept, and heard nobody for its own fault.
const TICK_LATE: Duration = Duration::from_secs(1);

/// What is decided before a monitor begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    pub ranks_wanted: u16,
    pub grace: Duration,
}

/// Everything that can happen to a monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    Message { from: ConnId, asker: Asker, msg: ToMonitor },
    Gone { conn: ConnId },
    Tick,
}

/// Everything it can ask for, carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make this durable before any effect that follows.
    Persist(Stored),
    Send {
        to: ConnId,
        msg: FromMonitor,
    },
}

/// One connection, numbered by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Who is at the other end, by certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asker {
    Mds { name: String },
    Client,
    Admin,
}

/// What survives the monitor's restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    pub map: MdsMap,
    slots: BTreeMap<Slot, SlotEntry>,
    /// Lives that the operator has confirmed to be over.
    fenced: BTreeMap<Rank, Incarnation>,
}

/// One store that was, or was to be, formatted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SlotEntry {
    /// Which formatted it.
    daemon: String,
    standing: SlotStanding,
    /// Where it lies, as whoever opened it last has said.
    place: Option<StorePlace>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum SlotStanding {
    /// More stores than ranks were wanted.
    Spare,
    /// Its daemon was never heard of.
    Promised(Rank),
    Holds(Rank),
    /// Formatted anew before it was ever used: nobody may come with it.
    Retired,
    /// Destroyed, an operator has said.
    Lost(Rank),
}

impl Stored {
    /// A cluster in which nothing has happened yet.
    #[must_use]
    pub fn format(cluster: ClusterId, name_hash_key: NameHashKey) -> Self {
        let map = MdsMap {
            epoch: MapEpoch(1),
            cluster,
            name_hash_key,
            ranks: BTreeMap::new(),
            slots: BTreeMap::new(),
            data_stores: Vec::new(),
            balancer: Switch::Off,
            lost: BTreeSet::new(),
        };
        Self { map, slots: BTreeMap::new(), fenced: BTreeMap::new() }
    }

    /// How many ranks were given out: the number wanted cannot fall below.
    #[must_use]
    pub fn ranks_given(&self) -> u16 {
        u16::try_from(self.taken().len()).expect("ranks are numbered with 16 bits")
    }

    /// The lowest rank that no slot was ever mapped to.
    fn free_rank(&self, wanted: u16) -> Option<Rank> {
        let taken = self.taken();
        (0..wanted).map(Rank).find(|rank| !taken.contains(rank))
    }

    fn taken(&self) -> BTreeSet<Rank> {
        self.map.slots.values().chain(&self.map.lost).copied().collect()
    }
}

/// When a rank was last heard of, and what its core had done by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heard {
    at: Monotonic,
    turns: u64,
}

/// What a beacon is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// It is acknowledged.
    OfLife,
    /// It is not: the rank's leash must not outlast the grace.
    Idle,
}

/// The state machine. `stored` is what it has persisted; the rest begins anew with each start.
#[derive(Clone, Debug)]
pub struct Monitor {
    params: Params,
    stored: Stored,
    heard: BTreeMap<Rank, Heard>,
    subscribers: BTreeSet<ConnId>,
    succession: Succession,
    ticked: Monotonic,
}

impl Monitor {
    pub fn new(params: Params, stored: Stored, now: Monotonic, out: &mut Vec<Effect>) -> Self {
        let mut monitor = Self {
            params,
            stored,
            heard: BTreeMap::new(),
            subscribers: BTreeSet::new(),
            succession: Succession::default(),
            ticked: now,
        };
        monitor.forgive(now);
        monitor.expect_returns(now);
        if monitor.give_spares_ranks() {
            monitor.publish(out);
        }
        monitor
    }

    #[must_use]
    pub fn map(&self) -> &MdsMap {
        &self.stored.map
    }

    /// The only way in. Same state, same `now`, same input: same effects.
    pub fn handle(&mut self, now: Monotonic, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Message { from, asker, msg } => self.on_message(now, from, &asker, msg, out),
            Input::Gone { conn } => {
                self.subscribers.remove(&conn);
                self.succession.on_gone(conn);
            }
            Input::Tick => self.on_tick(now, out),
        }
    }

    fn on_message(
        &mut self,
        now: Monotonic,
        from: ConnId,
        asker: &Asker,
        msg: ToMonitor,
        out: &mut Vec<Effect>,
    ) {
        let answer = match msg {
            ToMonitor::Beacon(beacon) => self.on_beacon(now, asker, &beacon, out),
            ToMonitor::Subscribe => {
                self.subscribers.insert(from);
                Ok(FromMonitor::Map(self.stored.map.clone()))
            }
            ToMonitor::AllocateSlot { daemon } => self.on_allocate_slot(asker, daemon, out),
            ToMonitor::AddDataStore { id } => self.on_add_data_store(asker, id, out),
            ToMonitor::SetBalancer { to } => self.on_set_balancer(asker, to, out),
            ToMonitor::Register { daemon, slot, place } => {
                self.on_register(asker, &daemon, slot, place, out)
            }
            ToMonitor::StandBy(standby) => self.on_stand_by(now, from, asker, standby, out),
            ToMonitor::Fence { rank } => self.on_fence(now, asker, rank, out),
            ToMonitor::Lose { rank } => self.on_lose(asker, rank, out),
            ToMonitor::Describe => Ok(FromMonitor::Description(self.description())),
        };
        let msg = answer.unwrap_or_else(FromMonitor::Refused);
        out.push(Effect::Send { to: from, msg });
    }

    fn on_beacon(
        &mut self,
        now: Monotonic,
        asker: &Asker,
        beacon: &Beacon,
        out: &mut Vec<Effect>,
    ) -> Result<FromMonitor, MonitorError> {
        require_mds(asker, &beacon.daemon)?;
        let unknown = MonitorError::UnknownSlot(beacon.slot);
        let slot = self.stored.slots.get_mut(&beacon.slot).ok_or_else(|| unknown.clone())?;
        let rank = match slot.standing {
            SlotStanding::Spare => None,
            SlotStanding::Promised(rank) | SlotStanding::Holds(rank) => Some(rank),
            SlotStanding::Retired => return Err(unknown),
            SlotStanding::Lost(rank) => return Err(MonitorError::Lost(rank)),
        };
        if let Some(rank) = rank {
            slot.standing = SlotStanding::Holds(rank);
            if self.on_sign_of_life(now, rank, beacon, out)? == Sign::Idle {
                return Ok(FromMonitor::Done);
            }
        }
        let grace = self.params.grace;
        Ok(FromMonitor::BeaconAck { number: beacon.number, rank, grace })
    }

    fn on_sign_of_life(
        &mut self,
        now: Monotonic,
        rank: Rank,
        beacon: &Beacon,
        out: &mut Vec<Effect>,
    ) -> Result<Sign, MonitorError> {
        let known = self.stored.map.ranks.get(&rank);
        let known = known.map_or(Incarnation(0), |entry| entry.incarnation);
        if beacon.incarnation < known {
            return Err(MonitorError::StaleIncarnation);
        }
        if beacon.incarnation > known {
            if beacon.state != RankState::Down {
                self.begin_life(now, rank, beacon);
                self.publish(out);
            }
            return Ok(Sign::OfLife);
        }
        let sign = self.hear(now, rank, beacon);
        if self.step(rank, beacon.state) {
            if self.stored.map.state(rank) == RankState::Down {
                self.succession.expect_return(rank, now.after(self.params.grace));
            }
            self.publish(out);
        }
        Ok(sign)
    }

    fn begin_life(&mut self, now: Monotonic, rank: Rank, beacon: &Beacon) {
        let entry = RankEntry {
            daemon: beacon.daemon.clone(),
            incarnation: beacon.incarnation,
            addr: beacon.addr,
            state: RankState::Replay,
        };
        self.stored.map.ranks.insert(rank, entry);
        self.heard.insert(rank, Heard { at: now, turns: beacon.turns });
        self.stored.fenced.remove(&rank);
        self.succession.on_life(rank);
    }

    /// A beacon counts as a sign of life only if the core has turned since the last that did: the
    /// thread that sends beacons may outlive it. While it replays, the core does not turn yet. Nobody
    /// waits for one that is dead, or says goodbye.
    fn hear(&mut self, now: Monotonic, rank: Rank, beacon: &Beacon) -> Sign {
        let turns = beacon.turns;
        if beacon.state == RankState::Down {
            return Sign::OfLife;
        }
        match self.stored.map.state(rank) {
            RankState::Down => return Sign::Idle,
            RankState::Replay => {}
            RankState::Resolve
            | RankState::Reconnect
            | RankState::Rejoin
            | RankState::Active
            | RankState::Stopping => {
                if self.heard.get(&rank).is_some_and(|heard| heard.turns == turns) {
                    return Sign::Idle;
                }
            }
        }
        self.heard.insert(rank, Heard { at: now, turns });
        Sign::OfLife
    }

    /// Ranks are given out in the order of slots. A daemon that formats again what was never used
    /// keeps the rank it was promised.
    fn on_allocate_slot(
        &mut self,
        asker: &Asker,
        daemon: String,
        out: &mut Vec<Effect>,
    ) -> Result<FromMonitor, MonitorError> {
        require_mds(asker, &daemon)?;
        let next =
            self.stored.slots.last_key_value().map_or(Some(0), |(slot, _)| slot.0.checked_add(1));
        let slot = Slot(next.ok_or(MonitorError::Malformed)?);
        let standing = match self.retire_promise(&daemon) {
            Some(rank) => SlotStanding::Promised(rank),
            None => self
                .stored
                .free_rank(self.params.ranks_wanted)
                .map_or(SlotStanding::Spare, SlotStanding::Promised),
        };
        if let SlotStanding::Promised(rank) = standing {
            self.stored.map.slots.insert(slot, rank);
        }
        self.stored.slots.insert(slot, SlotEntry { daemon, standing, place: None });
        self.publish(out);
        Ok(FromMonitor::Slot { slot, map: self.stored.map.clone() })
    }

    fn retire_promise(&mut self, daemon: &str) -> Option<Rank> {
        self.stored.slots.values_mut().filter(|slot| slot.daemon == daemon).find_map(|slot| {
            let SlotStanding::Promised(rank) = slot.standing else { return None };
            slot.standing = SlotStanding::Retired;
            Some(rank)
        })
    }

    fn on_add_data_store(
        &mut self,
        asker: &Asker,
        id: String,
        out: &mut Vec<Effect>,
    ) -> Result<FromMonitor, MonitorError> {
        match asker {
            Asker::Mds { .. } | Asker::Admin => {}
            Asker::Client => return Err(needs("admin")),
        }
        if !self.stored.map.data_stores.contains(&id) {
            self.stored.map.data_stores.push(id);
            self.publish(out);
        }
        Ok(FromMonitor::Done)
    }

    fn on_set_balancer(
        &mut self,
        asker: &Asker,
        to: Switch,
        out: &mut Vec<Effect>,
    ) -> Result<FromMonitor, MonitorError> {
        require_admin(asker)?;
        if self.stored.map.balancer != to {
            self.stored.map.balancer = to;
            self.publish(out);
        }
        Ok(FromMonitor::Done)
    }

    fn on_tick(&mut self, now: Monotonic, out: &mut Vec<Effect>) {
        if now.since(self.ticked) > TICK_LATE {
            self.forgive(now);
        }
        self.ticked = now;
        let grace = self.params.grace;
        let over = |heard: &Heard| now.since(heard.at) > grace;
        let silent: Vec<Rank> =
            self.living().filter(|rank| self.heard.get(rank).is_none_or(over)).collect();
        for rank in &silent {
            self.end_life(*rank);
        }
        if !silent.is_empty() {
            self.publish(out);
        }
        self.appoint(now, out);
    }

    /// Everybody has a full grace from now on (**M4**).
    fn forgive(&mut self, now: Monotonic) {
        for rank in self.living().collect::<Vec<_>>() {
            let heard = self.heard.entry(rank).or_insert(Heard { at: now, turns: 0 });
            heard.at = now;
        }
    }

    fn living(&self) -> impl Iterator<Item = Rank> + '_ {
        let ranks = self.stored.map.ranks.iter();
        ranks.filter(|(_, entry)| entry.state != RankState::Down).map(|(rank, _)| *rank)
    }

    fn end_life(&mut self, rank: Rank) {
        self.heard.remove(&rank);
        if let Some(entry) = self.stored.map.ranks.get_mut(&rank) {
            entry.state = RankState::Down;
        }
    }

    /// Stores formatted when no rank was free get one when more are wanted. Tells whether any did.
    fn give_spares_ranks(&mut self) -> bool {
        let spares: Vec<Slot> = self
            .stored
            .slots
            .iter()
            .filter(|(_, entry)| entry.standing == SlotStanding::Spare)
            .map(|(slot, _)| *slot)
            .collect();
        let mut given = false;
        for slot in spares {
            let Some(rank) = self.stored.free_rank(self.params.ranks_wanted) else { break };
            if let Some(entry) = self.stored.slots.get_mut(&slot) {
                entry.standing = SlotStanding::Promised(rank);
            }
            self.stored.map.slots.insert(slot, rank);
            given = true;
        }
        given
    }

    /// Stores the changed map, then tells everybody (**M1**).
    fn publish(&mut self, out: &mut Vec<Effect>) {
        self.stored.map.epoch.0 += 1;
        out.push(Effect::Persist(self.stored.clone()));
        for to in &self.subscribers {
            out.push(Effect::Send { to: *to, msg: FromMonitor::Map(self.stored.map.clone()) });
        }
    }
}

fn require_mds(asker: &Asker, daemon: &str) -> Result<(), MonitorError> {
    match asker {
        Asker::Mds { name } if name == daemon => Ok(()),
        // It may speak only for the daemon that its certificate names.
        Asker::Mds { .. } => Err(MonitorError::Malformed),
        Asker::Client | Asker::Admin => Err(needs("mds")),
    }
}

fn require_admin(asker: &Asker) -> Result<(), MonitorError> {
    if *asker == Asker::Admin { Ok(()) } else { Err(needs("admin")) }
}

fn needs(role: &str) -> MonitorError {
    MonitorError::Role { needed: role.to_owned() }
}

#[cfg(test)]
mod tests;
