//! The tree in memory: inodes by number, names by directory.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

use fuser::{Errno, FileAttr, FileType, INodeNo};

pub(crate) const ROOT: u64 = 1;

#[derive(Debug)]
pub(crate) struct Tree {
    nodes: HashMap<u64, Node>,
    next: u64,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) attr: FileAttr,
    /// Of a directory. In order, so that a listing can go on where it stopped.
    pub(crate) names: BTreeMap<OsString, u64>,
    pub(crate) target: OsString,
}

/// What is to be made.
#[derive(Debug)]
pub(crate) struct New {
    pub(crate) kind: FileType,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) rdev: u32,
    pub(crate) target: OsString,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let root = New {
            kind: FileType::Directory,
            mode: 0o755,
            uid: 0,
            gid: 0,
            rdev: 0,
            target: OsString::new(),
        };
        Self { nodes: HashMap::from([(ROOT, node(ROOT, root))]), next: ROOT + 1 }
    }

    pub(crate) fn node(&self, ino: INodeNo) -> Result<&Node, Errno> {
        self.nodes.get(&ino.0).ok_or(Errno::ESTALE)
    }

    pub(crate) fn node_mut(&mut self, ino: INodeNo) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&ino.0).ok_or(Errno::ESTALE)
    }

    pub(crate) fn lookup(&self, parent: INodeNo, name: &OsStr) -> Result<FileAttr, Errno> {
        let ino = *self.node(parent)?.names.get(name).ok_or(Errno::ENOENT)?;
        Ok(self.node(INodeNo(ino))?.attr)
    }

    pub(crate) fn make(
        &mut self,
        parent: INodeNo,
        name: &OsStr,
        new: New,
    ) -> Result<FileAttr, Errno> {
        let ino = self.next;
        let dir = self.node_mut(parent)?;
        if dir.names.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let is_dir = new.kind == FileType::Directory;
        dir.names.insert(name.to_owned(), ino);
        touch(dir);
        dir.attr.nlink += u32::from(is_dir);
        let made = node(ino, new);
        let attr = made.attr;
        self.nodes.insert(ino, made);
        self.next += 1;
        Ok(attr)
    }

    pub(crate) fn link(
        &mut self,
        ino: INodeNo,
        parent: INodeNo,
        name: &OsStr,
    ) -> Result<FileAttr, Errno> {
        let dir = self.node_mut(parent)?;
        if dir.names.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        dir.names.insert(name.to_owned(), ino.0);
        touch(dir);
        let node = self.node_mut(ino)?;
        node.attr.nlink += 1;
        node.attr.ctime = SystemTime::now();
        Ok(node.attr)
    }

    /// Takes a name away, and the inode with its last one. (What is open meanwhile is ESTALE: no
    /// workload here does that.)
    pub(crate) fn remove(&mut self, parent: INodeNo, name: &OsStr) -> Result<(), Errno> {
        let ino = *self.node(parent)?.names.get(name).ok_or(Errno::ENOENT)?;
        let node = self.node_mut(INodeNo(ino))?;
        let is_dir = node.attr.kind == FileType::Directory;
        if is_dir && !node.names.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        node.attr.nlink -= 1;
        if is_dir || node.attr.nlink == 0 {
            self.nodes.remove(&ino);
        }
        let dir = self.node_mut(parent)?;
        dir.names.remove(name);
        touch(dir);
        dir.attr.nlink -= u32::from(is_dir);
        Ok(())
    }

    pub(crate) fn rename(
        &mut self,
        (from_dir, from): (INodeNo, &OsStr),
        (to_dir, to): (INodeNo, &OsStr),
    ) -> Result<(), Errno> {
        let ino = *self.node(from_dir)?.names.get(from).ok_or(Errno::ENOENT)?;
        if self.node(to_dir)?.names.contains_key(to) {
            self.remove(to_dir, to)?;
        }
        let is_dir = self.node(INodeNo(ino))?.attr.kind == FileType::Directory;
        let source = self.node_mut(from_dir)?;
        source.names.remove(from);
        source.attr.nlink -= u32::from(is_dir);
        touch(source);
        let target = self.node_mut(to_dir)?;
        target.names.insert(to.to_owned(), ino);
        target.attr.nlink += u32::from(is_dir);
        touch(target);
        Ok(())
    }
}

fn touch(dir: &mut Node) {
    let now = SystemTime::now();
    dir.attr.mtime = now;
    dir.attr.ctime = now;
    dir.attr.size = dir.names.len() as u64;
}

fn node(ino: u64, new: New) -> Node {
    let now = SystemTime::now();
    let attr = FileAttr {
        ino: INodeNo(ino),
        size: new.target.len() as u64,
        blocks: 0,
        atime: now,
        mtime: now,
        ctime: now,
        crtime: now,
        kind: new.kind,
        perm: u16::try_from(new.mode & 0o7777).expect("masked to 12 bits"),
        nlink: if new.kind == FileType::Directory { 2 } else { 1 },
        uid: new.uid,
        gid: new.gid,
        rdev: new.rdev,
        blksize: 4096,
        flags: 0,
    };
    Node { attr, names: BTreeMap::new(), target: new.target }
}
