//! The metadata server and the monitor as daemons: everything that touches the world.
//!
//! Nothing here decides: the pure cores do, in `mds-core`. Reading order: [`event_loop`] (inputs to
//! the core), [`writer`] and [`outlet`] (effects to the world), [`store`], [`transport`], then
//! [`daemon`] and [`monitor_daemon`], which put the parts together.

pub mod clock;
pub mod config;
pub mod daemon;
pub mod event_loop;
pub mod format;
pub mod inbox;
pub mod kill_points;
pub mod leash;
pub mod monitor_daemon;
pub mod monitor_store;
pub mod outlet;
pub mod owner;
pub mod process;
pub mod purge;
pub mod random;
pub mod readers;
pub mod shutdown;
pub mod standby;
pub mod store;
pub mod syncer;
pub mod transport;
pub mod work_queue;
pub mod writer;
