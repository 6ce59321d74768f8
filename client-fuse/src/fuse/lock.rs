//! Locks of byte ranges, as the kernel asks for them.

use std::sync::atomic::{AtomicU64, Ordering};

use client_core::{Call, Done, Handle};
use common::file_lock::{self, ByteRange, FileLock, LockKind};
use common::id::Ino;
use common::wire::reply::{Holder, InTheWay};
use common::wire::request::{OnConflict, SetLock};
use fuser::{Errno, FileHandle, LockOwner, ReplyEmpty, ReplyLock, Request};

use crate::fuse::Fuse;
use crate::fuse::reply::{self, OnDone};

/// Numbers for open files: what is locked in the name of one is unlocked when that is closed.
#[derive(Debug, Default)]
pub(super) struct Handles {
    last: AtomicU64,
}

impl Handles {
    pub(super) fn next(&self) -> FileHandle {
        FileHandle(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

pub(super) fn owner(LockOwner(owner): LockOwner) -> file_lock::LockOwner {
    file_lock::LockOwner(owner)
}

/// What is asked about a lock.
pub(super) struct Asked {
    pub(super) owner: LockOwner,
    /// The first byte and the last one.
    pub(super) range: (u64, u64),
    pub(super) typ: i32,
    pub(super) pid: u32,
}

impl Asked {
    /// # Errors
    /// What the kernel does not ask for.
    fn to_get(&self, ino: Ino) -> Result<Call, Errno> {
        let Some(kind) = self.kind()? else { return Err(Errno::EINVAL) };
        let (owner, pid, range) = (owner(self.owner), self.pid, self.range()?);
        Ok(Call::GetLock { ino, lock: FileLock { owner, pid, range, kind } })
    }

    /// # Errors
    /// What the kernel does not ask for.
    fn to_set(&self, ino: Ino, handle: Handle, sleep: bool) -> Result<Call, Errno> {
        let (owner, pid, range) = (owner(self.owner), self.pid, self.range()?);
        let on_conflict = if sleep { OnConflict::Wait } else { OnConflict::Refuse };
        let set = SetLock { owner, pid, range, kind: self.kind()?, on_conflict };
        Ok(Call::SetLock { ino, set, handle })
    }

    fn range(&self) -> Result<ByteRange, Errno> {
        ByteRange::new(self.range.0, self.range.1).ok_or(Errno::EINVAL)
    }

    /// `None`: unlock.
    fn kind(&self) -> Result<Option<LockKind>, Errno> {
        match self.typ {
            libc::F_RDLCK => Ok(Some(LockKind::Read)),
            libc::F_WRLCK => Ok(Some(LockKind::Write)),
            libc::F_UNLCK => Ok(None),
            _ => Err(Errno::EINVAL),
        }
    }
}

impl Fuse {
    pub(super) fn get_lock(&self, req: &Request, ino: Ino, asked: &Asked, reply: ReplyLock) {
        match asked.to_get(ino) {
            Ok(call) => self.call(req, call, in_the_way(reply)),
            Err(errno) => reply.error(errno),
        }
    }

    pub(super) fn set_lock(
        &self,
        req: &Request,
        (ino, handle): (Ino, Handle),
        (asked, sleep): (&Asked, bool),
        reply: ReplyEmpty,
    ) {
        match asked.to_set(ino, handle, sleep) {
            Ok(call) => self.call(req, call, reply::empty(reply)),
            Err(errno) => reply.error(errno),
        }
    }
}

/// Processes of other mounts have no number here: 0, as the kernel says of those outside of a namespace.
fn in_the_way(reply: ReplyLock) -> impl OnDone {
    move |result, _| match result {
        Ok(Done::InTheWay(None)) => reply.locked(0, 0, libc::F_UNLCK, 0),
        Ok(Done::InTheWay(Some(InTheWay { lock, of }))) => {
            let typ = match lock.kind {
                LockKind::Read => libc::F_RDLCK,
                LockKind::Write => libc::F_WRLCK,
            };
            let pid = match of {
                Holder::Ours => lock.pid,
                Holder::Others => 0,
            };
            reply.locked(lock.range.first, lock.range.last, typ, pid);
        }
        Ok(done) => reply.error(reply::nonsense(&done)),
        Err(error) => reply.error(reply::errno(error)),
    }
}
