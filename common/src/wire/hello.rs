//! The first message on a connection, each way: who speaks, and whether the other side will listen.
//!
//! The TLS certificate says what *role* the sender may play; the hello says which of them it is.

use serde::{Deserialize, Serialize};

use crate::id::{ClientId, ClusterId, Incarnation, MapEpoch, Rank};

/// Raised with every change of the wire. There is no negotiation: both sides must be equal.
pub const PROTOCOL_VERSION: u32 = 4;
/// The ALPN protocol of every connection.
pub const ALPN: &[u8] = b"grovefs/1";
/// Begins every hello, so that a stranger is recognized.
pub const MAGIC: [u8; 8] = *b"GroveFS\0";

/// The first frame of whoever dialled. `magic` and `version` keep their place in all versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub magic: [u8; 8],
    pub version: u32,
    pub cluster: ClusterId,
    pub from: Identity,
    /// Whom the sender believes to be talking to: a stale map must not reach a successor unseen.
    pub to: Option<Incarnation>,
}

impl Hello {
    #[must_use]
    pub fn new(cluster: ClusterId, from: Identity, to: Option<Incarnation>) -> Self {
        Self { magic: MAGIC, version: PROTOCOL_VERSION, cluster, from, to }
    }
}

/// Variants are encoded by position: append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    Client(ClientId),
    Mds {
        rank: Rank,
        incarnation: Incarnation,
        /// Messages of the listener that the dialler has received: what to send again after a break.
        received: u64,
    },
    /// A daemon that holds no rank yet, talking to the monitor.
    Daemon {
        name: String,
    },
    Admin,
}

/// The answer to a hello.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Welcome {
    Accepted {
        incarnation: Incarnation,
        map_epoch: MapEpoch,
        /// Messages of the dialling rank that the listener has received; 0 for others.
        received: u64,
    },
    Refused(Refusal),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    #[error("not a GroveFS client: the hello does not begin with the magic bytes")]
    Magic,
    #[error(
        "it speaks protocol version {ours}, we speak {yours}; install the same release on both sides"
    )]
    Version { ours: u32, yours: u32 },
    #[error(
        "it belongs to cluster {ours}, we were set up for {yours}; check the monitor's address"
    )]
    Cluster { ours: ClusterId, yours: ClusterId },
    #[error("its certificate's role is `{role}`, which may not do this")]
    Role { role: String },
    #[error("incarnation {current} is meant to be addressed, not {yours}; a newer map is needed")]
    Incarnation { current: Incarnation, yours: Incarnation },
    #[error("the daemon holds no rank at present")]
    NoRank,
    #[error("this session was ended by the cluster; mount again")]
    Evicted,
}
