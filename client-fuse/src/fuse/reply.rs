//! What becomes of an answer: one function for each kind of reply.

use std::sync::Arc;
use std::time::Duration;

use client_core::{Done, References};
use common::attr::Attr;
use common::error::FsError;
use fuser::{
    Errno, FileHandle, FopenFlags, Generation, ReplyAttr, ReplyCreate, ReplyData, ReplyEmpty,
    ReplyEntry, ReplyXattr,
};

use crate::fuse::convert::file_attr;
use crate::fuse::rooted::Rooted;

/// How long the kernel may use what it is told: each use asks anew.
pub(super) const TTL: Duration = Duration::ZERO;
/// Inode numbers are never reused.
pub(super) const GENERATION: Generation = Generation(0);

/// What is called with the outcome of a call.
pub(super) trait OnDone: FnOnce(Result<Done, FsError>) + Send + 'static {}

impl<F: FnOnce(Result<Done, FsError>) + Send + 'static> OnDone for F {}

/// The errno for the kernel. A refusal is an answer; anything else is worth a line in the log.
pub(super) fn errno(error: FsError) -> Errno {
    if error == FsError::Io {
        tracing::error!(%error, "operation failed");
    }
    Errno::from_i32(error.errno())
}

/// A rank has answered something that does not belong to the question.
fn nonsense(done: &Done) -> Errno {
    tracing::error!(?done, "answer does not fit the question");
    Errno::EIO
}

pub(super) fn entry(reply: ReplyEntry) -> impl OnDone {
    move |result| match result {
        Ok(Done::Entry(attr)) => reply.entry(&TTL, &file_attr(&attr), GENERATION),
        Ok(done) => reply.error(nonsense(&done)),
        Err(error) => reply.error(errno(error)),
    }
}

/// MKNOD of a name that is taken: the kernel looks it up again and opens it, or says EEXIST.
pub(super) fn made_node(reply: ReplyEntry) -> impl OnDone {
    let reply = entry(reply);
    move |result| {
        let taken = result == Err(FsError::Exists);
        reply(if taken { Err(FsError::Stale) } else { result });
    }
}

/// CREATE is answered for new files only. A name that somebody else has taken meanwhile is looked
/// up again by the kernel, which then checks permissions and truncates as it must.
pub(super) fn created(client: Arc<Rooted>, exclusive: bool, reply: ReplyCreate) -> impl OnDone {
    move |result| match result {
        Ok(Done::Entry(attr)) => {
            client.refer(References::Opened { ino: attr.ino });
            let flags = FopenFlags::empty();
            reply.created(&TTL, &file_attr(&attr), GENERATION, FileHandle(0), flags);
        }
        Ok(done) => reply.error(nonsense(&done)),
        Err(FsError::Exists) if !exclusive => reply.error(Errno::ESTALE),
        Err(error) => reply.error(errno(error)),
    }
}

pub(super) fn attr(reply: ReplyAttr) -> impl OnDone {
    move |result| match attributes(result) {
        Ok(attr) => reply.attr(&TTL, &file_attr(&attr)),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn attributes(result: Result<Done, FsError>) -> Result<Attr, Errno> {
    match result {
        Ok(Done::Attr(attr)) => Ok(attr),
        Ok(done) => Err(nonsense(&done)),
        Err(error) => Err(errno(error)),
    }
}

pub(super) fn empty(reply: ReplyEmpty) -> impl OnDone {
    move |result| match result {
        Ok(_) => reply.ok(),
        Err(error) => reply.error(errno(error)),
    }
}

pub(super) fn symlink(reply: ReplyData) -> impl OnDone {
    move |result| match result {
        Ok(Done::Symlink(target)) => reply.data(&target),
        Ok(done) => reply.error(nonsense(&done)),
        Err(error) => reply.error(errno(error)),
    }
}

/// `size`: of the application's buffer; 0 asks how much it needs.
pub(super) fn xattr(size: u32, reply: ReplyXattr) -> impl OnDone {
    move |result| {
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
