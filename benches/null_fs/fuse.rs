//! The kernel's requests, answered from the tree. Flags are our own mount's, by the same code; what
//! is refused is what `client-fuse/src/fuse.rs` refuses, and changes with it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use client_fuse::fuse::{Locks, Profile};
use fuser::{
    BsdFileFlags, Errno, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use parking_lot::Mutex;

use super::tree::{New, Tree};

const GENERATION: Generation = Generation(0);

#[derive(Debug)]
pub struct NullFs {
    tree: Mutex<Tree>,
    profile: Profile,
    ttl: Duration,
}

impl NullFs {
    #[must_use]
    pub fn new(profile: Profile, ttl: Duration) -> Self {
        Self { tree: Mutex::new(Tree::new()), profile, ttl }
    }

    fn make(
        &self,
        req: &Request,
        (parent, name): (INodeNo, &OsStr),
        (kind, mode, rdev): (FileType, u32, u32),
        target: &OsStr,
    ) -> Result<fuser::FileAttr, Errno> {
        let (uid, gid) = (req.uid(), req.gid());
        let new = New { kind, mode, uid, gid, rdev, target: target.to_owned() };
        self.tree.lock().make(parent, name, new)
    }

    fn entry(&self, made: Result<fuser::FileAttr, Errno>, reply: ReplyEntry) {
        match made {
            Ok(attr) => reply.entry(&self.ttl, &attr, GENERATION),
            Err(errno) => reply.error(errno),
        }
    }
}

fn empty(done: Result<(), Errno>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

fn kind_of(mode: u32) -> FileType {
    match mode & libc::S_IFMT {
        libc::S_IFIFO => FileType::NamedPipe,
        libc::S_IFSOCK => FileType::Socket,
        libc::S_IFCHR => FileType::CharDevice,
        libc::S_IFBLK => FileType::BlockDevice,
        _ => FileType::RegularFile,
    }
}

fn time(asked: TimeOrNow) -> SystemTime {
    match asked {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

impl Filesystem for NullFs {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        self.profile.negotiate(config);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.tree.lock().lookup(parent, name);
        self.entry(found, reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let attr = self.tree.lock().node(ino).map(|node| node.attr);
        match attr {
            Ok(attr) => reply.attr(&self.ttl, &attr),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self,
        _: &Request,
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
        let mut tree = self.tree.lock();
        let Ok(node) = tree.node_mut(ino) else { return reply.error(Errno::ESTALE) };
        let attr = &mut node.attr;
        let perm = mode.and_then(|mode| u16::try_from(mode & 0o7777).ok());
        attr.perm = perm.unwrap_or(attr.perm);
        attr.uid = uid.unwrap_or(attr.uid);
        attr.gid = gid.unwrap_or(attr.gid);
        attr.size = size.unwrap_or(attr.size);
        attr.atime = atime.map_or(attr.atime, time);
        attr.mtime = mtime.map_or(attr.mtime, time);
        attr.ctime = SystemTime::now();
        reply.attr(&self.ttl, attr);
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.tree.lock().node(ino) {
            Ok(node) => reply.data(node.target.as_bytes()),
            Err(errno) => reply.error(errno),
        }
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
        let what = (kind_of(mode), mode & !u32::from(self.profile.umask(umask)), rdev);
        let made = self.make(req, (parent, name), what, OsStr::new(""));
        let taken = |errno: Errno| if errno.code() == libc::EEXIST { Errno::ESTALE } else { errno };
        self.entry(made.map_err(taken), reply);
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
        let what = (FileType::Directory, mode & !u32::from(self.profile.umask(umask)), 0);
        let made = self.make(req, (parent, name), what, OsStr::new(""));
        self.entry(made, reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let done = self.tree.lock().remove(parent, name);
        empty(done, reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let done = self.tree.lock().remove(parent, name);
        empty(done, reply);
    }

    fn symlink(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let what = (FileType::Symlink, 0o777, 0);
        let made = self.make(req, (parent, name), what, target.as_os_str());
        self.entry(made, reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        _flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let done = self.tree.lock().rename((parent, name), (newparent, newname));
        empty(done, reply);
    }

    fn link(
        &self,
        _: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        let made = self.tree.lock().link(ino, newparent, newname);
        self.entry(made, reply);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.profile.locks {
            Locks::Cluster => reply.opened(FileHandle(0), FopenFlags::empty()),
            Locks::Local => reply.error(Errno::ENOSYS),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        reply.data(&vec![0; size as usize]);
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        if let Ok(node) = self.tree.lock().node_mut(ino) {
            node.attr.size = node.attr.size.max(offset + data.len() as u64);
            node.attr.mtime = SystemTime::now();
        }
        reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        match self.profile.locks {
            Locks::Cluster => reply.ok(),
            Locks::Local => reply.error(Errno::ENOSYS),
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let tree = self.tree.lock();
        let Ok(dir) = tree.node(ino) else { return reply.error(Errno::ESTALE) };
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        for (position, (name, child)) in (1..).zip(&dir.names).skip(from) {
            let Ok(node) = tree.node(INodeNo(*child)) else { continue };
            if reply.add(node.attr.ino, position, node.attr.kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let tree = self.tree.lock();
        let Ok(dir) = tree.node(ino) else { return reply.error(Errno::ESTALE) };
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        for (position, (name, child)) in (1..).zip(&dir.names).skip(from) {
            let Ok(node) = tree.node(INodeNo(*child)) else { continue };
            let attr = &node.attr;
            if reply.add(attr.ino, position, name, &self.ttl, attr, GENERATION) {
                break;
            }
        }
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(1 << 30, 1 << 30, 1 << 30, 1 << 30, 1 << 30, 4096, 255, 4096);
    }

    fn getxattr(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, reply: ReplyXattr) {
        reply.error(Errno::ENODATA);
    }

    fn listxattr(&self, _: &Request, _: INodeNo, size: u32, reply: ReplyXattr) {
        if size == 0 { reply.size(0) } else { reply.data(&[]) }
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        if self.profile.locks == Locks::Local {
            return reply.error(Errno::ENOSYS);
        }
        let what = (FileType::RegularFile, mode & !u32::from(self.profile.umask(umask)), 0);
        match self.make(req, (parent, name), what, OsStr::new("")) {
            Ok(attr) => {
                let flags = FopenFlags::empty();
                reply.created(&self.ttl, &attr, GENERATION, FileHandle(0), flags);
            }
            Err(errno) => reply.error(errno),
        }
    }
}
