//! Listings as the kernel wants them: with `.` and `..`, as many entries as its buffer holds.
//!
//! Offsets: 0 is the beginning, 1 after `.`, 2 after `..`, then the cookies of entries.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use client_core::{Call, Done, Entry, ListDetail, Listed, Listing, References};
use common::attr::{Attr, FileKind, Times};
use common::error::FsError;
use common::id::Ino;
use fuser::{Errno, FileType, INodeNo, ReplyDirectory, ReplyDirectoryPlus};

use crate::fuse::convert::{file_attr, file_type};
use crate::fuse::reply::{GENERATION, errno};
use crate::fuse::rooted::Rooted;

/// Entries that a buffer of 32 KiB, which is what the C library offers, can about hold.
const NAMES_MAX: u32 = 800;
const ENTRIES_MAX: u32 = 200;

pub(super) fn call(dir: Ino, offset: u64, detail: ListDetail) -> Call {
    let entries_max = match detail {
        ListDetail::Names => NAMES_MAX,
        ListDetail::Attributes => ENTRIES_MAX,
    };
    Call::Readdir { dir, cookie: offset, entries_max, detail }
}

fn listing(result: Result<Done, FsError>) -> Result<Listing, Errno> {
    match result {
        Ok(Done::Listing(listing)) => Ok(listing),
        Ok(_) => Err(Errno::EIO),
        Err(error) => Err(errno(error)),
    }
}

/// The two names every directory has, each with the offset after it.
fn dots(dir: Ino, parent: Ino, offset: u64) -> impl Iterator<Item = (u64, Ino, &'static str)> {
    [(1, dir, "."), (2, parent, "..")].into_iter().filter(move |(next, ..)| *next > offset)
}

pub(super) fn names(
    dir: Ino,
    offset: u64,
    result: Result<Done, FsError>,
    mut reply: ReplyDirectory,
) {
    let listing = match listing(result) {
        Ok(listing) => listing,
        Err(errno) => return reply.error(errno),
    };
    for (next, ino, name) in dots(dir, listing.parent, offset) {
        if reply.add(INodeNo(ino.0), next, FileType::Directory, name) {
            return reply.ok();
        }
    }
    for entry in &listing.entries {
        let name = OsStr::from_bytes(entry.name.as_bytes());
        if reply.add(INodeNo(entry.ino.0), entry.cookie, file_type(entry.kind), name) {
            break;
        }
    }
    reply.ok();
}

/// The kernel refers to each entry that it is given; the core hears of that first.
pub(super) fn attributes(
    client: &Rooted,
    (dir, offset): (Ino, u64),
    result: Result<Done, FsError>,
    ttl: Duration,
    mut reply: ReplyDirectoryPlus,
) {
    let listing = match listing(result) {
        Ok(listing) => listing,
        Err(errno) => return reply.error(errno),
    };
    for (next, ino, name) in dots(dir, listing.parent, offset) {
        let attr = file_attr(&some_directory(ino));
        if reply.add(INodeNo(ino.0), next, name, &Duration::ZERO, &attr, GENERATION) {
            return reply.ok();
        }
    }
    let mut handed_over = Vec::new();
    for Entry { name, cookie, ino, kind, at, attr } in listing.entries {
        let Some(attr) = attr else { continue };
        let text = OsStr::from_bytes(name.as_bytes());
        if reply.add(INodeNo(ino.0), cookie, text, &ttl, &file_attr(&attr), GENERATION) {
            break;
        }
        handed_over.push(Listed { ino, kind, name, at });
    }
    client.refer(References::Listed { dir, entries: handed_over });
    reply.ok();
}

/// The kernel takes number and kind of `.` and `..`, and nothing else.
pub(super) fn some_directory(ino: Ino) -> Attr {
    Attr {
        ino,
        kind: FileKind::Dir,
        mode: 0o755,
        nlink: 2,
        uid: 0,
        gid: 0,
        rdev: 0,
        size: 0,
        times: Times::default(),
    }
}
