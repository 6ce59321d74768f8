//! `DataStore`: where the bytes of files lie. They never pass a metadata server.

mod file;

use std::io;

use common::id::Ino;

pub use file::{FileStore, OpenError, init};

/// Bytes of inodes. What was never written reads as nothing.
///
/// Everything here may sleep: it is called on the threads of a [`crate::pool::Pool`].
pub trait DataStore: Send + Sync + std::fmt::Debug {
    /// Less than `length` bytes only at the end.
    ///
    /// # Errors
    /// The store failed.
    fn read(&self, ino: Ino, offset: u64, length: usize) -> io::Result<Vec<u8>>;
    /// # Errors
    /// The store failed, or is full.
    fn write(&self, ino: Ino, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Writes at the end, wherever that is: of two who append at the same moment neither overwrites the
    /// other, whichever mounts they use.
    ///
    /// # Errors
    /// The store failed, or is full.
    fn append(&self, ino: Ino, data: &[u8]) -> io::Result<Appended>;
    /// # Errors
    /// The store failed.
    fn truncate(&self, ino: Ino, size: u64) -> io::Result<()>;
    /// # Errors
    /// The store failed, is full, or cannot do this.
    fn allocate(&self, ino: Ino, offset: u64, length: u64, mode: Allocate) -> io::Result<()>;
    /// The next data or hole at or after `offset`.
    ///
    /// # Errors
    /// The store failed; ENXIO if `offset` is past the end.
    fn seek(&self, ino: Ino, offset: u64, what: Seek) -> io::Result<u64>;
    /// Returns when what was written survives power loss.
    ///
    /// # Errors
    /// The store failed.
    fn sync(&self, ino: Ino) -> io::Result<()>;
    /// # Errors
    /// The store failed.
    fn remove(&self, ino: Ino) -> io::Result<()>;
    /// # Errors
    /// The store failed.
    fn space(&self) -> io::Result<Space>;
    /// Nothing refers to the inode here any more.
    fn forget(&self, ino: Ino);
}

/// Where appended data lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The end of the file with it.
    pub end: u64,
    /// Less than was to be written if the store became full.
    pub written: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocate {
    /// Space for a range, which becomes part of the file.
    Extend,
    /// Space for a range, also beyond the end.
    KeepSize,
    PunchHole,
    /// The range reads as zeros; the file may grow by it.
    Zero,
    ZeroKeepSize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    Data,
    Hole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub block_bytes: u32,
    pub blocks: u64,
    pub blocks_free: u64,
    /// For those without privilege.
    pub blocks_available: u64,
    pub files: u64,
    pub files_free: u64,
}
