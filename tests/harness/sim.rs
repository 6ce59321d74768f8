//! The simulator: ranks and clients as pure functions, and a world that is unkind to them.
//!
//! Reading order: [`operation`] and [`model`] (what is asked, what is right), [`history`] (what was
//! answered, and whether that can be), [`disk`], then the world.

pub mod dice;
pub mod disk;
pub mod history;
pub mod model;
pub mod operation;
