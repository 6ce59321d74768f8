//! The explorer: the real ranks in a small world, through *every* order of what can happen to them.
//!
//! Reading order: [`rank`] (one rank and what an event makes of it) and [`client`], [`event`] (what can happen),
//! [`state`], [`seat`] and [`world`] (what there is, and how it begins), [`model`] (what an event makes of
//! everything), [`property`] (what must be true), [`search`] (how all of it is visited), [`reduction`] (what
//! need not be), [`visited`], [`trace`] (how a violation is told), [`census`]. [`arena`] is why it is quick: what one rank does with one input is
//! computed once, in however many worlds it happens.

#![allow(clippy::wildcard_enum_match_arm, reason = "most events and effects concern few parts")]

pub mod arena;
pub mod census;
pub mod client;
pub mod event;
pub mod model;
pub mod property;
pub mod rank;
pub mod reduction;
pub mod search;
pub mod seat;
pub mod state;
pub mod trace;
pub mod visited;
pub mod world;
