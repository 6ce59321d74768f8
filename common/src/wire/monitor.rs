//! Daemons, clients and operators ↔ monitor.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{Incarnation, MapEpoch, Rank, Slot};
use crate::mds_map::{MdsMap, RankState, Switch};

/// To the monitor. Variants are encoded by position: append only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ToMonitor {
    /// A daemon is alive; every [`crate::limit::BEACON`].
    Beacon(Beacon),
    /// Send me the map, and every later one.
    Subscribe,
    /// A store is being formatted and needs a slot. Answered by `Slot`. Role `mds`.
    AllocateSlot { daemon: String },
    /// A data store was made for this cluster. Role `admin` or `mds`.
    AddDataStore { id: String },
    /// Role `admin`.
    SetBalancer { to: Switch },
    /// Where the store lies that this daemon has open: there a successor finds it. Answered by `Done`.
    Register { daemon: String, slot: Slot, place: StorePlace },
    /// A daemon without a rank offers itself; every [`crate::limit::BEACON`]. Answered by `StandByAck`
    /// or `TakeOver`.
    StandBy(StandBy),
    /// Whatever held this rank has stopped for good, says the operator: a successor on another
    /// machine need not be able to kill it. Role `admin`.
    Fence { rank: Rank },
    /// The store of this rank is destroyed: nobody will hold it again. Role `admin`.
    Lose { rank: Rank },
    /// What the map does not say. Answered by `Description`.
    Describe,
}

/// Where a store lies.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StorePlace {
    /// The machine's id: its paths mean nothing elsewhere, unless they are shared.
    pub machine: String,
    pub path: String,
}

/// What a daemon that stands by says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StandBy {
    pub daemon: String,
    pub machine: String,
    /// Folders that it shares with other machines.
    pub reaches: Vec<String>,
    /// A store that it was to take over, and could not.
    pub failed: Option<Slot>,
    /// Counts; echoed.
    pub number: u64,
}

/// The order to take a store over.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Appointment {
    pub rank: Rank,
    pub slot: Slot,
    pub path: String,
    /// The life that was declared dead. A newer one must not be harmed.
    pub dead: Incarnation,
    /// The operator has confirmed that it has stopped.
    pub fenced: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Description {
    pub standbys: Vec<StandbyEntry>,
    pub stores: Vec<StoreEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StandbyEntry {
    pub daemon: String,
    pub machine: String,
    /// The rank it is taking over.
    pub takes: Option<Rank>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StoreEntry {
    pub slot: Slot,
    pub rank: Rank,
    pub place: Option<StorePlace>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Beacon {
    pub daemon: String,
    pub slot: Slot,
    pub incarnation: Incarnation,
    /// Where peers and clients reach it.
    pub addr: SocketAddr,
    /// The stage it has reached or asks for.
    pub state: RankState,
    pub map_epoch: MapEpoch,
    /// Turns of the core so far: one that stands still is stuck.
    pub turns: u64,
    /// Counts beacons of one incarnation; echoed.
    pub number: u64,
}

/// From the monitor. Variants are encoded by position: append only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FromMonitor {
    Map(MdsMap),
    BeaconAck {
        number: u64,
        rank: Option<Rank>,
        /// After so long without a beacon a rank is taken for dead.
        grace: Duration,
    },
    /// The slot, the cluster's map to begin with.
    Slot {
        slot: Slot,
        map: MdsMap,
    },
    Done,
    Refused(MonitorError),
    StandByAck {
        number: u64,
    },
    TakeOver(Appointment),
    Description(Description),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum MonitorError {
    #[error("a certificate of role `{needed}` is needed for this")]
    Role { needed: String },
    #[error("a newer incarnation of this daemon is known: this one must end")]
    StaleIncarnation,
    #[error("slot {0} was never given out by this monitor; the store belongs to another cluster")]
    UnknownSlot(Slot),
    #[error("the request is malformed")]
    Malformed,
    #[error("rank {0} was never given out; `grove status` shows those there are")]
    NoRank(Rank),
    #[error("rank {rank} is {state}, not down; stop its daemon first")]
    NotDown { rank: Rank, state: String },
    #[error("rank 0 holds the root: without its store there is no file system")]
    RootLost,
    #[error(
        "rank {0}, whose store this is, was given up as lost (`grove ranks lost`): what it held is \
         empty directories of other ranks by now, and nothing of it can come back. Keep the folder if \
         you want to look into it, and format another one (`grove-mds --format`) to add a rank"
    )]
    Lost(Rank),
}
