//! Daemons, clients and operators ↔ monitor.

use std::net::SocketAddr;

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
    },
    /// The slot, the cluster's map to begin with.
    Slot {
        slot: Slot,
        map: MdsMap,
    },
    Done,
    Refused(MonitorError),
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
}
