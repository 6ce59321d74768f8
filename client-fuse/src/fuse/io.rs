//! Data: to and from the store on threads of the pool, and to the rank what concerns attributes.
//!
//! The store is changed first, then the rank is told, then the kernel is answered. So a size that
//! a rank shows is always backed by the store, and a short read is the end of the file.

use std::io;
use std::sync::Arc;

use client_core::{Call, Done};
use common::attr::SetAttr;
use common::error::FsError;
use common::id::Ino;
use common::limit::FILE_BYTES_MAX;
use common::wire::request::Caller;
use fuser::{Errno, ReplyAttr, ReplyData, ReplyEmpty, ReplyLseek, ReplyStatfs, ReplyWrite};

use crate::data::{Allocate, Appended, Seek};
use crate::fuse::{Fuse, Rooted, reply};

pub(super) struct Write {
    pub(super) ino: Ino,
    pub(super) offset: u64,
    pub(super) data: Vec<u8>,
    pub(super) kill_privileges: bool,
}

/// The store's own errno, where it is one an application can use.
fn errno(error: &io::Error) -> Errno {
    let errno = Errno::from_i32(error.raw_os_error().unwrap_or(0));
    if errno.code() == Errno::EIO.code() {
        tracing::error!(%error, "data store failed");
    }
    errno
}

/// For whom, and which thread waits.
type Waiter = (Caller, u32);

impl Fuse {
    /// Has something of a file stored, on a thread of the pool, once the file is made: of what may never be
    /// nothing is to be left behind.
    fn store(
        &self,
        waiter: Waiter,
        ino: Ino,
        job: impl FnOnce(Result<Done, FsError>) + Send + 'static,
    ) {
        let pool = self.pool.clone();
        self.client.call(waiter, Call::Made { ino }, move |made, _| pool.run(move || job(made)));
    }

    pub(super) fn read_data(&self, ino: Ino, offset: u64, size: u32, reply: ReplyData) {
        let data = Arc::clone(&self.data);
        self.pool.run(move || match data.read(ino, offset, size as usize) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(errno(&error)),
        });
    }

    pub(super) fn write_data(&self, waiter: Waiter, write: Write, reply: ReplyWrite) {
        let Write { ino, offset, data: bytes, kill_privileges } = write;
        let end = offset.saturating_add(bytes.len() as u64);
        if end > FILE_BYTES_MAX {
            return reply.error(Errno::EFBIG);
        }
        let written = u32::try_from(bytes.len()).expect("the kernel writes at most what we allow");
        let (data, client) = (Arc::clone(&self.data), Arc::clone(&self.client));
        self.store(waiter, ino, move |made| {
            if let Err(error) = made {
                return reply.error(reply::errno(error));
            }
            if let Err(error) = data.write(ino, offset, &bytes) {
                return reply.error(errno(&error));
            }
            tell_rank(&client, waiter, (ino, end, kill_privileges), (written, reply));
        });
    }

    /// The kernel's offset is a guess if another mount writes too: the store knows the true end.
    pub(super) fn append_data(&self, waiter: Waiter, write: Write, reply: ReplyWrite) {
        let Write { ino, offset, data: bytes, kill_privileges } = write;
        if offset.saturating_add(bytes.len() as u64) > FILE_BYTES_MAX {
            return reply.error(Errno::EFBIG);
        }
        let (data, client) = (Arc::clone(&self.data), Arc::clone(&self.client));
        self.store(waiter, ino, move |made| match made.map(|_| data.append(ino, &bytes)) {
            Ok(Ok(Appended { end, written })) => {
                let written = u32::try_from(written).expect("no more than the kernel has given");
                tell_rank(&client, waiter, (ino, end, kill_privileges), (written, reply));
            }
            Ok(Err(error)) => reply.error(errno(&error)),
            Err(error) => reply.error(reply::errno(error)),
        });
    }

    pub(super) fn set_attributes(&self, waiter: Waiter, ino: Ino, set: SetAttr, reply: ReplyAttr) {
        let Some(size) = set.size else {
            return self.client.call(waiter, Call::Setattr { ino, set }, reply::attr(reply));
        };
        let (data, client) = (Arc::clone(&self.data), Arc::clone(&self.client));
        self.store(waiter, ino, move |made| match made.map(|_| data.truncate(ino, size)) {
            Ok(Ok(())) => client.call(waiter, Call::Setattr { ino, set }, reply::attr(reply)),
            Ok(Err(error)) => reply.error(errno(&error)),
            Err(error) => reply.error(reply::errno(error)),
        });
    }

    pub(super) fn sync_data(&self, waiter: Waiter, ino: Ino, reply: ReplyEmpty) {
        let (data, client) = (Arc::clone(&self.data), Arc::clone(&self.client));
        self.pool.run(move || match data.sync(ino) {
            Ok(()) => client.call(waiter, Call::Sync, reply::empty(reply)),
            Err(error) => reply.error(errno(&error)),
        });
    }

    pub(super) fn allocate(
        &self,
        waiter: Waiter,
        ino: Ino,
        (offset, length): (u64, u64),
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let Some(mode) = allocation(mode) else { return reply.error(Errno::EOPNOTSUPP) };
        let end = offset.saturating_add(length);
        if end > FILE_BYTES_MAX {
            return reply.error(Errno::EFBIG);
        }
        let grows_to = match mode {
            Allocate::Extend | Allocate::Zero => end,
            Allocate::KeepSize | Allocate::PunchHole | Allocate::ZeroKeepSize => 0,
        };
        let kill_privileges = waiter.0.uid != 0;
        let (data, client) = (Arc::clone(&self.data), Arc::clone(&self.client));
        self.store(waiter, ino, move |made| {
            match made.map(|_| data.allocate(ino, offset, length, mode)) {
                Ok(Ok(())) => {
                    let call = Call::Wrote { ino, end: grows_to, kill_privileges };
                    client.call(waiter, call, reply::empty(reply));
                }
                Ok(Err(error)) => reply.error(errno(&error)),
                Err(error) => reply.error(reply::errno(error)),
            }
        });
    }

    pub(super) fn seek(&self, ino: Ino, offset: i64, whence: i32, reply: ReplyLseek) {
        let what = match whence {
            libc::SEEK_DATA => Seek::Data,
            libc::SEEK_HOLE => Seek::Hole,
            _ => return reply.error(Errno::EINVAL),
        };
        let Ok(offset) = u64::try_from(offset) else { return reply.error(Errno::ENXIO) };
        let data = Arc::clone(&self.data);
        self.pool.run(move || match data.seek(ino, offset, what) {
            Ok(found) => reply.offset(i64::try_from(found).unwrap_or(i64::MAX)),
            Err(error) => reply.error(errno(&error)),
        });
    }

    pub(super) fn space(&self, reply: ReplyStatfs) {
        let data = Arc::clone(&self.data);
        self.pool.run(move || match data.space() {
            Ok(space) => reply.statfs(
                space.blocks,
                space.blocks_free,
                space.blocks_available,
                space.files,
                space.files_free,
                space.block_bytes,
                255,
                space.block_bytes,
            ),
            Err(error) => reply.error(errno(&error)),
        });
    }
}

/// What was written is the file's once its rank knows how far it reaches.
fn tell_rank(
    client: &Rooted,
    waiter: Waiter,
    (ino, end, kill_privileges): (Ino, u64, bool),
    (written, reply): (u32, ReplyWrite),
) {
    let call = Call::Wrote { ino, end, kill_privileges };
    client.call(waiter, call, move |result, _| match result {
        Ok(_) => reply.written(written),
        Err(error) => reply.error(reply::errno(error)),
    });
}

/// `None`: a way of allocating that moves data about.
fn allocation(mode: i32) -> Option<Allocate> {
    const KEEP: i32 = libc::FALLOC_FL_KEEP_SIZE;
    const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | KEEP;
    const ZERO: i32 = libc::FALLOC_FL_ZERO_RANGE;
    const ZERO_KEEP: i32 = ZERO | KEEP;
    match mode {
        0 => Some(Allocate::Extend),
        KEEP => Some(Allocate::KeepSize),
        PUNCH => Some(Allocate::PunchHole),
        ZERO => Some(Allocate::Zero),
        ZERO_KEEP => Some(Allocate::ZeroKeepSize),
        _ => None,
    }
}
