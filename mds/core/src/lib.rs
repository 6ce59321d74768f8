//! The metadata server as a pure function of its inputs.
//!
//! [`Mds::handle`] is the only way in; [`Effects`] is the only way out. There is no clock, no IO, no
//! randomness and no unordered iteration here, so the same code runs in the daemon, in the seeded
//! simulator and in the exhaustive explorer.
//!
//! Reading order: [`input`] and [`effect`] (what can happen, what can be asked for), then the nouns
//! [`namespace`], [`subtree`], [`session`], then the verbs [`request`], [`two_phase`],
//! [`migration`], [`balancer`], [`recovery`], then [`mds`], which dispatches.

#![cfg_attr(
    test,
    allow(clippy::wildcard_enum_match_arm, reason = "a test names the case it wants")
)]

pub mod balancer;
pub mod capability;
pub mod check;
#[cfg(test)]
mod cluster_fixture;
pub mod cx;
pub mod effect;
pub mod file_lock;
#[cfg(test)]
mod fixture;
pub mod holdings;
pub mod ino_table;
pub mod input;
pub mod journal;
pub mod kill_point;
pub mod lock;
pub mod lost;
pub mod mds;
pub mod message;
pub mod migration;
pub mod monitor;
pub mod mutant;
pub mod namespace;
pub mod params;
pub mod pin;
pub mod recovery;
pub mod replica;
pub mod request;
pub mod row;
pub mod session;
pub mod spine;
pub mod subtree;
pub mod sweep;
pub mod timer;
pub mod two_phase;

pub use effect::{Effect, Effects};
pub use input::Input;
pub use mds::Mds;
pub use params::Params;
