//! The metadata server and the monitor as daemons: everything that touches the world.
//!
//! Nothing here decides: the pure cores do, in `mds-core`. Reading order: `event_loop` (inputs to
//! the core, effects to the world), [`store`], [`transport`], then `daemon` and [`monitor_daemon`],
//! which put the parts together.

pub mod clock;
pub mod config;
pub mod monitor_daemon;
pub mod monitor_store;
pub mod process;
pub mod random;
pub mod shutdown;
pub mod store;
pub mod transport;
