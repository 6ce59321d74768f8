//! What other people have written to find out whether a file system is one: their test suites, and programs
//! that everybody uses, on mounts of a real cluster, also while every directory is on the move.
//!
//! Needs what the cluster tests need, and the suites: `scripts/test suites` installs them. In a short form;
//! `SUITES=long` asks for all that an afternoon has time for.

mod fsx;
mod ground;
mod pjdfstest;
mod programs;
mod sqlite;
mod stress;
mod turns;
