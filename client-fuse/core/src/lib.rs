//! The client as a pure function of its inputs: routing, sessions, retries, pins.
//!
//! Reading order: [`input`] and [`effect`] say what can happen and what can be asked for;
//! [`client_core`] dispatches. Below them, [`atlas`] knows where things are ([`route`],
//! [`inode_table`]), [`session`] keeps one conversation with each rank, [`pending`] brings a
//! request to its answer, [`give_back`] returns pins, [`call`] makes operations out of requests.
//! [`capability`] says what the kernel may cache, [`invalidation`] what it must not any more;
//! [`exclusive`] is what nobody else sees, and is answered without asking.
//!
//! ```text
//!   Input ──▶ client_core ──▶ call ──▶ pending ──▶ session ──▶ Effect
//!                               └──────────┴─── atlas ── route, inode_table
//! ```
//!
//! **Architecture Invariant:** no clock, no IO, no randomness, no locks, no unordered iteration.
//! The mount and the simulator drive this very code.

mod atlas;
mod call;
mod capability;
mod client_core;
mod cx;
mod effect;
mod exclusive;
mod file_lock;
mod give_back;
mod inode_table;
mod input;
mod invalidation;
mod number;
mod pending;
mod route;
mod session;
mod timer;

#[cfg(test)]
mod fixture;

pub use client_core::{ClientCore, Params};
pub use effect::{Done, Effect, Effects, Entry, Listing};
pub use input::{
    Call, CallId, Handle, Input, InvalidationId, LinkEnd, LinkId, ListDetail, Listed, References,
    Signal,
};
pub use timer::Timer;
