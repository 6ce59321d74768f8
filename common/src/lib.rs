//! The vocabulary of GroveFS: what metadata servers, clients and tools all speak of.
//!
//! Reading order: [`id`], [`name`], [`frag`], [`time`], [`attr`], [`file_lock`], [`error`], [`mds_map`], [`limit`],
//! then [`wire`], which says how these travel.
//!
//! **Architecture Invariant:** nothing here decides, waits, or touches the operating system.

pub mod acl;
pub mod attr;
pub mod data_store;
pub mod error;
pub mod file_lock;
pub mod frag;
pub mod id;
pub mod id_set;
pub mod limit;
pub mod mds_map;
pub mod migration;
pub mod name;
pub mod time;
pub mod wire;
