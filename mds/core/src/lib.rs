//! The metadata server as a pure function of its inputs.
//!
//! [`Mds::handle`] is the only way in; [`Effects`] is the only way out. There is no clock, no IO, no
//! randomness and no unordered iteration here, so the same code runs in the daemon, in the seeded
//! simulator and in the exhaustive explorer.
//!
//! Reading order: [`input`] and [`effect`] (what can happen, what can be asked for), then the nouns
//! [`namespace`], [`subtree`], [`session`], then the verbs [`request`], [`two_phase`],
//! [`migration`], [`balancer`], [`recovery`], then [`mds`], which dispatches.

pub mod effect;
pub mod input;
pub mod journal;
pub mod kill_point;
pub mod message;
pub mod monitor;
pub mod params;
pub mod row;
pub mod timer;

pub use effect::{Effect, Effects};
pub use input::Input;
pub use params::Params;
