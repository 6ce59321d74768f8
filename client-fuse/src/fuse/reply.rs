//! What becomes of an answer: one function for each kind of reply.

use std::sync::Arc;
use std::time::Duration;

use client_core::{Done, References};
use common::attr::Attr;
use common::error::FsError;
use common::id::Ino;
use fuser::{
    Errno, FileHandle, FopenFlags, Generation, ReplyAttr, ReplyCreate, ReplyData, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyXattr,
};

use crate::fuse::convert::file_attr;
use crate::fuse::listing::some_directory;
use crate::fuse::rooted::Rooted;

/// What a name stands for that does not exist.
const NOTHING: Ino = Ino(0);
/// Inode numbers are never reused.
pub(super) const GENERATION: Generation = Generation(0);

/// What is called with the outcome of a call, and how long the kernel may use it.
pub(super) trait OnDone: FnOnce(Result<Done, FsError>, Duration) + Send + 'static {}

impl<F: FnOnce(Result<Done, FsError>, Duration) + Send + 'static> OnDone for F {}

/// The errno for the kernel. A refusal is an answer; anything else is worth a line in the log.
pub(super) fn errno(error: FsError) -> Errno {
    if error == FsError::Io {
        tracing::error!(%error, "operation failed");
    }
    Errno::from_i32(error.errno())
}

/// A rank has answered something that does not belong to the question.
pub(super) fn nonsense(done: &Done) -> Errno {
    tracing::error!(?done, "answer does not fit the question");
    Errno::EIO
}

pub(super) fn entry(reply: ReplyEntry) -> impl OnDone {
    move |result, ttl| match result {
        Ok(Done::Entry(attr)) => reply.entry(&ttl, &file_attr(&attr), GENERATION),
        Ok(done) => reply.error(nonsense(&done)),
        Err(error) => reply.error(errno(error)),
    }
}

/// The kernel may also use that there is no such name.
pub(super) fn looked_up(reply: ReplyEntry) -> impl OnDone {
    move |result, ttl| match result {
        Err(FsError::NotFound) if !ttl.is_zero() => {
            reply.entry(&ttl, &file_attr(&some_directory(NOTHING)), GENERATION);
        }
        result => entry(reply)(result, ttl),
    }
}

/// MKNOD of a name that is taken: the kernel looks it up again and opens it, or says EEXIST.
pub(super) fn made_node(reply: ReplyEntry) -> impl OnDone {
    let reply = entry(reply);
    move |result, ttl| {
        let taken = result == Err(FsError::Exists);
        reply(if taken { Err(FsError::Stale) } else { result }, ttl);
    }
}

/// CREATE is answered for new files only. A name that somebody else has taken meanwhile is looked
/// up again by the kernel, which then checks permissions and truncates as it must.
pub(super) fn created(
    client: Arc<Rooted>,
    (exclusive, (handle, flags)): (bool, (FileHandle, FopenFlags)),
    reply: ReplyCreate,
) -> impl OnDone {
    move |result, ttl| match result {
        Ok(Done::Entry(attr)) => {
            client.refer(References::Opened { ino: attr.ino });
            reply.created(&ttl, &file_attr(&attr), GENERATION, handle, flags);
        }
        Ok(done) => reply.error(nonsense(&done)),
        Err(FsError::Exists) if !exclusive => reply.error(Errno::ESTALE),
        Err(error) => reply.error(errno(error)),
    }
}

/// What is gone (`ESTALE`) is looked up again by the kernel.
pub(super) fn opened((handle, flags): (FileHandle, FopenFlags), reply: ReplyOpen) -> impl OnDone {
    move |result, _| match result {
        Ok(_) => reply.opened(handle, flags),
        Err(error) => reply.error(errno(error)),
    }
}

pub(super) fn attr(reply: ReplyAttr) -> impl OnDone {
    move |result, ttl| match attributes(result) {
        Ok(attr) => reply.attr(&ttl, &file_attr(&attr)),
        Err(errno) => reply.error(errno),
    }
}

fn attributes(result: Result<Done, FsError>) -> Result<Attr, Errno> {
    match result {
        Ok(Done::Attr(attr)) => Ok(attr),
        Ok(done) => Err(nonsense(&done)),
        Err(error) => Err(errno(error)),
    }
}

pub(super) fn empty(reply: ReplyEmpty) -> impl OnDone {
    move |result, _| match result {
        Ok(_) => reply.ok(),
        Err(error) => reply.error(errno(error)),
    }
}

pub(super) fn symlink(reply: ReplyData) -> impl OnDone {
    move |result, _| match result {
        Ok(Done::Symlink(target)) => reply.data(&target),
        Ok(done) => reply.error(nonsense(&done)),
        Err(error) => reply.error(errno(error)),
    }
}

/// `size`: of the application's buffer; 0 asks how much it needs.
pub(super) fn xattr(size: u32, reply: ReplyXattr) -> impl OnDone {
    move |result, _| {
        let data = match result {
            Ok(Done::Xattr(value)) => value.0.into_vec(),
            Ok(Done::XattrNames(names)) => {
                names.iter().flat_map(|name| name.0.iter().copied().chain([0])).collect()
            }
            Ok(done) => return reply.error(nonsense(&done)),
            Err(error) => return reply.error(errno(error)),
        };
        match u32::try_from(data.len()) {
            Ok(needed) if size == 0 => reply.size(needed),
            Ok(needed) if needed <= size => reply.data(&data),
            Ok(_) | Err(_) => reply.error(Errno::ERANGE),
        }
    }
}
