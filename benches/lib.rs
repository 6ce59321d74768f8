//! What GroveFS costs, against what the machine and the kernel leave it.
//!
//! [`null_fs`] is the ceiling: a file system that does nothing, behind the same mount.

pub mod null_fs;
