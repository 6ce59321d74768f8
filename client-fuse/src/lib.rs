//! The mount and the operator's tool: everything of the client that touches the world.
//!
//! Reading order: [`config`] and [`cluster`] (how to reach a cluster), [`client`] (drives `client-core`),
//! [`transport`] (the thread that talks to ranks and monitor), [`data`] (where bytes of files lie),
//! [`fuse`] (requests of the kernel), [`mount`] (from the first check to the clean end), [`fsck`] (what must
//! agree), [`cli`] (the sub-commands of `grove`).
//!
//! ```text
//!   kernel ─▶ fuse ─▶ client ─▶ client-core      one lock, held for one `handle`
//!               │        └────▶ transport ─▶ ranks
//!               └─▶ pool ─▶ data store           what may sleep is not done on a FUSE thread
//! ```

pub mod cli;
pub mod client;
pub mod cluster;
pub mod config;
pub mod data;
pub mod fsck;
pub mod fuse;
pub mod mount;
pub mod pool;
pub mod transport;
pub mod watcher;
