//! The simulator: ranks and clients as pure functions, and a world that is unkind to them.
//!
//! Reading order: [`operation`] and [`model`] (what is asked, what is right), [`history`] (what was
//! answered, and whether that can be); [`disk`], [`network`], [`monitor`], [`daemon`], [`rank`]
//! and [`client`] (what stands around the cores), [`kernel`] and [`action`] (what is done); [`world`], in which all
//! this happens, [`checker`], which looks on, and [`random`], which tries one seed after another.

pub mod action;
pub mod cache;
pub mod checker;
pub mod client;
pub mod daemon;
pub mod dice;
pub mod disk;
pub mod history;
pub mod kernel;
pub mod lock_book;
pub mod model;
pub mod monitor;
pub mod network;
pub mod operation;
pub mod random;
pub mod rank;
pub mod shrink;
pub mod tally;
pub mod trace;
pub mod world;
