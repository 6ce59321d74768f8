//! What one rank says to another.
//!
//! Per pair of incarnations messages arrive complete, in order and once: `transport/peer.rs` of the
//! daemon sees to that over broken connections, and the protocols here rely on it. What a dead
//! incarnation had sent may be lost.

pub mod claims;
pub mod deadlock;
pub mod load;
pub mod lost;
pub mod migration;
pub mod replica;
pub mod session;
pub mod two_phase;

use serde::{Deserialize, Serialize};

/// Variants are encoded by position: append only, never reorder, never remove.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PeerMsg {
    Replica(replica::ReplicaMsg),
    TwoPhase(two_phase::TwoPhaseMsg),
    Migration(migration::MigrationMsg),
    Load(load::LoadMsg),
    Lost(lost::LostMsg),
    Claims(claims::ClaimsMsg),
    Session(session::SessionMsg),
    Deadlock(deadlock::DeadlockMsg),
}

impl From<claims::ClaimsMsg> for PeerMsg {
    fn from(msg: claims::ClaimsMsg) -> Self {
        Self::Claims(msg)
    }
}

impl From<deadlock::DeadlockMsg> for PeerMsg {
    fn from(msg: deadlock::DeadlockMsg) -> Self {
        Self::Deadlock(msg)
    }
}

impl From<load::LoadMsg> for PeerMsg {
    fn from(msg: load::LoadMsg) -> Self {
        Self::Load(msg)
    }
}

impl From<lost::LostMsg> for PeerMsg {
    fn from(msg: lost::LostMsg) -> Self {
        Self::Lost(msg)
    }
}

impl From<migration::MigrationMsg> for PeerMsg {
    fn from(msg: migration::MigrationMsg) -> Self {
        Self::Migration(msg)
    }
}

impl From<replica::ReplicaMsg> for PeerMsg {
    fn from(msg: replica::ReplicaMsg) -> Self {
        Self::Replica(msg)
    }
}

impl From<session::SessionMsg> for PeerMsg {
    fn from(msg: session::SessionMsg) -> Self {
        Self::Session(msg)
    }
}

impl From<two_phase::TwoPhaseMsg> for PeerMsg {
    fn from(msg: two_phase::TwoPhaseMsg) -> Self {
        Self::TwoPhase(msg)
    }
}
