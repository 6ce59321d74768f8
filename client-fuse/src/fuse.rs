//! Turns requests of the kernel into calls on [`Client`] and the data store, and results into
//! replies. Nothing is decided here that is not about the kernel's protocol.
//!
//! What the kernel is told about caching: names and attributes are valid as long as a rank has promised
//! to say what changes, which [`KernelCaches`] passes on. Pages of files and listings of directories are
//! kept, and dropped when the size or mtime that the kernel knows by then differs
//! (`FUSE_AUTO_INVAL_DATA`; with `FUSE_EXPLICIT_INVAL_DATA` it would keep them for ever). An `open` drops
//! the file's pages whatever the mtime says.
//!
//! Locks of byte ranges (`fcntl`) reach us in one profile and hold between all mounts; in the other, and
//! `flock` in both, they are the kernel's and hold within this mount.
//!
//! What is absent is answered ENOSYS by fuser, once for the whole mount, and the kernel then does it
//! by itself or not at all: ACCESS, BMAP, IOCTL, POLL, COPY_FILE_RANGE.

mod convert;
mod io;
mod kernel_caches;
mod listing;
mod lock;
mod name_dropper;
mod profile;
mod reply;
mod rooted;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use client_core::{Call, Handle, ListDetail, References};
use common::attr::{PERMISSION_BITS, SetAttr};
use common::error::FsError;
use common::id::{Ino, Rank};
use common::limit::SYMLINK_BYTES_MAX;
use common::name::Name;
use common::wire::request::{Caller, Node, Rename, XattrName, XattrValue};
use fuser::{
    BsdFileFlags, Errno, FileHandle, Filesystem, INodeNo, KernelConfig, LockOwner, OpenFlags,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyLock, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};

pub use kernel_caches::KernelCaches;
pub use name_dropper::NameDropper;
pub use profile::{Acl, Locks, Profile};
pub use rooted::{Durability, Kernel, Root, Rooted};

use crate::data::DataStore;
use crate::fuse::lock::Handles;
use crate::pool::Pool;

#[derive(Debug)]
pub struct Fuse {
    client: Arc<Rooted>,
    data: Arc<dyn DataStore>,
    pool: Pool,
    profile: Profile,
    handles: Handles,
}

impl Fuse {
    #[must_use]
    pub fn new(
        client: Arc<Rooted>,
        data: Arc<dyn DataStore>,
        pool: Pool,
        profile: Profile,
    ) -> Self {
        Self { client, data, pool, profile, handles: Handles::default() }
    }

    fn call(&self, req: &Request, call: Call, reply: impl reply::OnDone) {
        self.client.call(waiter(req), call, reply);
    }
}

/// For whom an operation is done, and which thread waits for it.
fn waiter(req: &Request) -> (Caller, u32) {
    (Caller { uid: req.uid(), gid: req.gid() }, req.pid())
}

fn name_of(name: &OsStr) -> Result<Name, FsError> {
    Name::new(name.as_bytes()).map_err(FsError::from)
}

/// Checks a name at the edge, or answers.
macro_rules! name {
    ($name:expr, $reply:expr) => {
        match name_of($name) {
            Ok(name) => name,
            Err(error) => return $reply.error(reply::errno(error)),
        }
    };
}

impl Filesystem for Fuse {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        self.profile.negotiate(config);
        Ok(())
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name!(name, reply);
        self.call(req, Call::Lookup { dir: Ino(parent.0), name }, reply::looked_up(reply));
    }

    fn forget(&self, _: &Request, ino: INodeNo, nlookup: u64) {
        self.client.refer(References::Forgotten { items: vec![(Ino(ino.0), nlookup)] });
    }

    fn getattr(&self, req: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.call(req, Call::Getattr { ino: Ino(ino.0) }, reply::attr(reply));
    }

    fn setattr(
        &self,
        req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let is_chown = uid.is_some() || gid.is_some();
        let set = SetAttr {
            mode: mode.map(convert::permissions),
            uid,
            gid,
            size,
            atime: atime.map(convert::asked_time),
            mtime: mtime.map(convert::asked_time),
            // FATTR_KILL_SUIDGID is hidden from us: this is when the kernel sets it, or, for a
            // new owner, relies on us without saying so.
            kill_privileges: mode.is_none() && (is_chown || (size.is_some() && req.uid() != 0)),
        };
        self.set_attributes(waiter(req), Ino(ino.0), set, reply);
    }

    fn readlink(&self, req: &Request, ino: INodeNo, reply: ReplyData) {
        self.call(req, Call::Readlink { ino: Ino(ino.0) }, reply::symlink(reply));
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let name = name!(name, reply);
        let Some(node) = convert::node(mode, rdev) else {
            return reply.error(Errno::EINVAL);
        };
        let modes = (convert::permissions(mode), self.profile.umask(umask));
        self.call(req, convert::create(parent, name, node, modes), reply::made_node(reply));
    }

    fn mkdir(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let name = name!(name, reply);
        let (mode, umask) = (convert::permissions(mode), self.profile.umask(umask));
        self.call(req, Call::Mkdir { dir: Ino(parent.0), name, mode, umask }, reply::entry(reply));
    }

    fn unlink(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name!(name, reply);
        self.call(req, Call::Unlink { dir: Ino(parent.0), name }, reply::empty(reply));
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name!(name, reply);
        self.call(req, Call::Rmdir { dir: Ino(parent.0), name }, reply::empty(reply));
    }

    fn symlink(
        &self,
        req: &Request,
        parent: INodeNo,
        link_name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let name = name!(link_name, reply);
        let target = target.as_os_str().as_bytes();
        if target.len() > SYMLINK_BYTES_MAX {
            return reply.error(Errno::ENAMETOOLONG);
        }
        let (node, modes) = (Node::Symlink(target.into()), (PERMISSION_BITS & 0o777, 0));
        self.call(req, convert::create(parent, name, node, modes), reply::entry(reply));
    }

    fn rename(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (from, to) = (name!(name, reply), name!(newname, reply));
        let Some(mode) = convert::rename_mode(flags) else { return reply.error(Errno::EINVAL) };
        let (from_dir, to_dir) = (Ino(parent.0), Ino(newparent.0));
        // The core knows where the other directory is.
        let from_rank = Rank::ROOT;
        let rename = Rename { from_dir, from, to_dir, to, mode, from_rank };
        self.call(req, Call::Rename(rename), reply::empty(reply));
    }

    fn link(
        &self,
        req: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        let name = name!(newname, reply);
        let call = Call::Link { ino: Ino(ino.0), dir: Ino(newparent.0), name };
        self.call(req, call, reply::entry(reply));
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        match self.profile.locks {
            Locks::Cluster => {
                let call = Call::Open { ino: Ino(ino.0) };
                let opened = (self.handles.next(), convert::handle_flags(flags.0));
                self.call(req, call, reply::opened(opened, reply));
            }
            Locks::Local => reply.error(Errno::ENOSYS),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.read_data(Ino(ino.0), offset, size, reply);
    }

    fn write(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let write = io::Write {
            ino: Ino(ino.0),
            offset,
            data: data.to_vec(),
            kill_privileges: write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID),
        };
        // Pages of a mapping go where they belong, however the file was opened.
        let is_page = write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        if flags.0 & libc::O_APPEND != 0 && !is_page {
            self.append_data(waiter(req), write, reply);
        } else {
            self.write_data(waiter(req), write, reply);
        }
    }

    fn flush(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        // Each write was answered when it was applied: there is nothing left to report.
        match self.profile.locks {
            Locks::Cluster => {
                let call = Call::Flush { ino: Ino(ino.0), owner: lock::owner(lock_owner) };
                self.call(req, call, reply::empty(reply));
            }
            Locks::Local => reply.error(Errno::ENOSYS),
        }
    }

    fn getlk(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        lock_owner: LockOwner,
        start: u64,
        end: u64,
        typ: i32,
        pid: u32,
        reply: ReplyLock,
    ) {
        let asked = lock::Asked { owner: lock_owner, range: (start, end), typ, pid };
        self.get_lock(req, Ino(ino.0), &asked, reply);
    }

    fn setlk(
        &self,
        req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        lock_owner: LockOwner,
        start: u64,
        end: u64,
        typ: i32,
        pid: u32,
        sleep: bool,
        reply: ReplyEmpty,
    ) {
        let asked = lock::Asked { owner: lock_owner, range: (start, end), typ, pid };
        self.set_lock(req, (Ino(ino.0), Handle(fh.0)), (&asked, sleep), reply);
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let handle = Handle(fh.0);
        self.client.refer(References::Released { ino: Ino(ino.0), handle });
        reply.ok();
    }

    fn fsync(&self, req: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync_data(waiter(req), Ino(ino.0), reply);
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Said once: the kernel opens directories by itself from then on.
        reply.error(Errno::ENOSYS);
    }

    fn readdir(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        let dir = self.client.ours(ino);
        let call = listing::call(dir, offset, ListDetail::Names);
        self.call(req, call, move |result, _| listing::names(dir, offset, result, reply));
    }

    fn readdirplus(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        let (dir, client) = (self.client.ours(ino), Arc::clone(&self.client));
        let call = listing::call(dir, offset, ListDetail::Attributes);
        let opens_unasked = self.profile.locks == Locks::Local;
        self.call(req, call, move |result, ttl| {
            // A listing pins nothing, so names are looked up before they are opened.
            let ttl = if opens_unasked { Duration::ZERO } else { ttl };
            listing::attributes(&client, (dir, offset), result, ttl, reply);
        });
    }

    fn fsyncdir(&self, req: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.call(req, Call::Sync, reply::empty(reply));
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        self.space(reply);
    }

    fn setxattr(
        &self,
        req: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let Some(mode) = convert::xattr_mode(flags) else { return reply.error(Errno::EINVAL) };
        let name = XattrName(name.as_bytes().into());
        let call = Call::SetXattr { ino: Ino(ino.0), name, value: XattrValue(value.into()), mode };
        self.call(req, call, reply::empty(reply));
    }

    fn getxattr(&self, req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let name = XattrName(name.as_bytes().into());
        self.call(req, Call::GetXattr { ino: Ino(ino.0), name }, reply::xattr(size, reply));
    }

    fn listxattr(&self, req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.call(req, Call::ListXattr { ino: Ino(ino.0) }, reply::xattr(size, reply));
    }

    fn removexattr(&self, req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = XattrName(name.as_bytes().into());
        self.call(req, Call::RemoveXattr { ino: Ino(ino.0), name }, reply::empty(reply));
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        if self.profile.locks == Locks::Local {
            return reply.error(Errno::ENOSYS);
        }
        let modes = (convert::permissions(mode), self.profile.umask(umask));
        let call = convert::create(parent, name!(name, reply), Node::File, modes);
        let exclusive = flags & libc::O_EXCL != 0;
        let handle = (self.handles.next(), convert::handle_flags(flags));
        let client = Arc::clone(&self.client);
        self.call(req, call, reply::created(client, (exclusive, handle), reply));
    }

    fn fallocate(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.allocate(waiter(req), Ino(ino.0), (offset, length), mode, reply);
    }

    fn lseek(
        &self,
        _: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        self.seek(Ino(ino.0), offset, whence, reply);
    }
}
