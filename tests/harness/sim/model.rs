//! `Model`: what a file system is, on one machine, with nothing else going on.
//!
//! Inodes are known by a [`Sym`], since which number a client chooses is no matter of the model.
//! Permissions are the kernel's affair and not modelled, nor are times. A file that lost its last
//! name stays: whoever asks for it still holds it.

use std::collections::BTreeMap;
use std::sync::Arc;

use common::attr::{FileKind, PERMISSION_BITS, SetAttr, without_privileges};
use common::error::FsError;
use common::name::Name;
use common::wire::request::{IfExists, RenameMode, XattrSet, Xattrs};

use super::operation::{Answer, Make, Operation, Seen};

/// An inode of the model, named by the operation that made it; 0 is the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sym(pub u32);

impl Sym {
    pub const ROOT: Self = Self(0);
    /// What was never made, or is undone.
    pub const NOTHING: Self = Self(u32::MAX);
}

/// An answer, or every reason there is to refuse: which of several is named first is not prescribed.
pub type Verdict = Result<Answer<Sym>, Vec<FsError>>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Model {
    nodes: BTreeMap<Sym, Arc<Node>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Node {
    kind: FileKind,
    mode: u16,
    uid: u32,
    gid: u32,
    /// Names of a non-directory; sub-directories and 2 of a directory.
    nlink: u32,
    /// Of a file.
    size: u64,
    target: Box<[u8]>,
    xattrs: Xattrs,
    entries: BTreeMap<Name, Sym>,
    /// Of a directory that is in the tree.
    parent: Option<Sym>,
}

impl Default for Model {
    fn default() -> Self {
        let root = Node::new(&Make::Dir, 0o755, Some(Sym::ROOT));
        Self { nodes: BTreeMap::from([(Sym::ROOT, Arc::new(root))]) }
    }
}

impl Node {
    fn new(make: &Make, mode: u16, parent: Option<Sym>) -> Self {
        let kind = make.kind();
        let (nlink, parent) = if kind == FileKind::Dir { (2, parent) } else { (1, None) };
        let target: Box<[u8]> = match make {
            Make::Symlink(target) => target.clone(),
            Make::File | Make::Fifo | Make::Dir => Box::default(),
        };
        Self {
            kind,
            mode: mode & PERMISSION_BITS,
            uid: 0,
            gid: 0,
            nlink,
            size: u64::try_from(target.len()).expect("targets are short"),
            target,
            xattrs: Xattrs::new(),
            entries: BTreeMap::new(),
            parent,
        }
    }

    fn seen(&self, node: Sym) -> Seen<Sym> {
        let size = if self.kind == FileKind::Dir {
            u64::try_from(self.entries.len()).expect("directories are small")
        } else {
            self.size
        };
        let Self { kind, mode, nlink, uid, gid, .. } = *self;
        Seen { node, kind, mode, nlink, uid, gid, size }
    }

    fn set(&mut self, set: &SetAttr) {
        self.mode = set.mode.map_or(self.mode, |mode| mode & PERMISSION_BITS);
        self.uid = set.uid.unwrap_or(self.uid);
        self.gid = set.gid.unwrap_or(self.gid);
        if self.kind == FileKind::File {
            self.size = set.size.unwrap_or(self.size);
        }
        if set.kill_privileges {
            self.mode = without_privileges(self.mode);
        }
    }
}

fn refuse<T>(error: FsError) -> Result<T, Vec<FsError>> {
    Err(vec![error])
}

impl Model {
    /// Carries an operation out. `made` is the name of what it makes, if it makes something.
    pub fn apply(&mut self, operation: &Operation<Sym>, made: Sym) -> Verdict {
        match operation {
            Operation::Lookup { dir, name } => self.entry(*dir, name),
            Operation::Getattr { node } => Ok(Answer::Attr(self.node(*node)?.seen(*node))),
            Operation::Readdir { dir } => self.readdir(*dir),
            Operation::Readlink { node } => Ok(Answer::Target(self.node(*node)?.target.clone())),
            Operation::GetXattr { node, name } => {
                let value = self.node(*node)?.xattrs.get(name);
                value.cloned().map(Answer::Xattr).ok_or_else(|| vec![FsError::NoAttribute])
            }
            Operation::ListXattr { node } => {
                Ok(Answer::XattrNames(self.node(*node)?.xattrs.keys().cloned().collect()))
            }
            Operation::Setattr { node, set } => {
                self.change(*node)?.set(set);
                Ok(Answer::Done)
            }
            Operation::Create { dir, name, make, mode, existing } => {
                let node = Node::new(make, *mode, Some(*dir));
                self.create(*dir, name, made, node, *existing)
            }
            Operation::Unlink { dir, name } => self.unlink(*dir, name),
            Operation::Rmdir { dir, name } => self.rmdir(*dir, name),
            Operation::Link { node, dir, name } => self.link(*node, *dir, name),
            Operation::Rename { from_dir, from, to_dir, to, mode } => {
                self.rename((*from_dir, from), (*to_dir, to), *mode)
            }
            Operation::SetXattr { node, name, value, mode } => {
                let xattrs = &mut self.change(*node)?.xattrs;
                match (mode, xattrs.contains_key(name)) {
                    (XattrSet::Create, true) => refuse(FsError::Exists),
                    (XattrSet::Replace, false) => refuse(FsError::NoAttribute),
                    (XattrSet::Any, _) | (XattrSet::Create, false) | (XattrSet::Replace, true) => {
                        xattrs.insert(name.clone(), value.clone());
                        Ok(Answer::Done)
                    }
                }
            }
            Operation::RemoveXattr { node, name } => {
                let removed = self.change(*node)?.xattrs.remove(name);
                removed.map(|_| Answer::Done).ok_or_else(|| vec![FsError::NoAttribute])
            }
            Operation::Write { node, end } => {
                let file = self.change(*node)?;
                file.size = file.size.max(*end);
                Ok(Answer::Done)
            }
        }
    }

    fn node(&self, node: Sym) -> Result<&Node, Vec<FsError>> {
        let found = self.nodes.get(&node).ok_or_else(|| vec![FsError::NotFound, FsError::Stale])?;
        if found.kind == FileKind::Dir && found.parent.is_none() {
            return refuse(FsError::NotFound);
        }
        Ok(found)
    }

    fn change(&mut self, node: Sym) -> Result<&mut Node, Vec<FsError>> {
        self.node(node)?;
        Ok(Arc::make_mut(self.nodes.get_mut(&node).expect("looked up above")))
    }

    fn known(&mut self, node: Sym) -> &mut Node {
        Arc::make_mut(self.nodes.get_mut(&node).expect("entries name nodes that are there"))
    }

    fn kind(&self, node: Sym) -> FileKind {
        self.nodes[&node].kind
    }

    fn child(&self, dir: Sym, name: &Name) -> Result<Option<Sym>, Vec<FsError>> {
        Ok(self.node(dir)?.entries.get(name).copied())
    }

    fn entry(&self, dir: Sym, name: &Name) -> Verdict {
        let node = self.child(dir, name)?.ok_or_else(|| vec![FsError::NotFound])?;
        Ok(Answer::Entry { node, kind: self.kind(node) })
    }

    fn readdir(&self, dir: Sym) -> Verdict {
        let entries = &self.node(dir)?.entries;
        let entries = entries.iter().map(|(name, node)| (name.clone(), *node, self.kind(*node)));
        Ok(Answer::Names(entries.collect()))
    }

    fn create(
        &mut self,
        dir: Sym,
        name: &Name,
        made: Sym,
        node: Node,
        existing: IfExists,
    ) -> Verdict {
        match (self.child(dir, name)?, existing) {
            (Some(_), IfExists::Refuse) => return refuse(FsError::Exists),
            (Some(_), IfExists::Open) => return self.entry(dir, name),
            (None, IfExists::Refuse | IfExists::Open) => (),
        }
        let kind = node.kind;
        self.nodes.insert(made, Arc::new(node));
        self.put(dir, name, made);
        Ok(Answer::Entry { node: made, kind })
    }

    fn unlink(&mut self, dir: Sym, name: &Name) -> Verdict {
        let node = self.child(dir, name)?.ok_or_else(|| vec![FsError::NotFound])?;
        if self.kind(node) == FileKind::Dir {
            return refuse(FsError::IsDirectory);
        }
        self.take(dir, name);
        self.drop_name(node);
        Ok(Answer::Done)
    }

    fn rmdir(&mut self, dir: Sym, name: &Name) -> Verdict {
        let node = self.child(dir, name)?.ok_or_else(|| vec![FsError::NotFound])?;
        if self.kind(node) != FileKind::Dir {
            return refuse(FsError::NotDirectory);
        }
        if !self.nodes[&node].entries.is_empty() {
            return refuse(FsError::NotEmpty);
        }
        self.take(dir, name);
        self.drop_name(node);
        Ok(Answer::Done)
    }

    fn link(&mut self, node: Sym, dir: Sym, name: &Name) -> Verdict {
        let taken = self.child(dir, name)?.is_some();
        let mut reasons: Vec<FsError> = taken.then_some(FsError::Exists).into_iter().collect();
        let target = match self.node(node) {
            Ok(target) => target,
            // The name may be looked at first.
            Err(gone) => return Err(reasons.into_iter().chain(gone).collect()),
        };
        if target.kind == FileKind::Dir {
            reasons.push(FsError::NotPermitted);
        }
        if target.nlink == 0 {
            reasons.extend([FsError::NotFound, FsError::Stale]);
        }
        if !reasons.is_empty() {
            return Err(reasons);
        }
        self.known(node).nlink += 1;
        self.put(dir, name, node);
        Ok(Answer::Entry { node, kind: self.kind(node) })
    }

    fn rename(&mut self, from: (Sym, &Name), to: (Sym, &Name), mode: RenameMode) -> Verdict {
        let (source, target) = (self.child(from.0, from.1), self.child(to.0, to.1));
        let (Ok(Some(source)), Ok(target)) = (source, target) else {
            let mut reasons = vec![FsError::NotFound];
            let taken = self.child(to.0, to.1).is_ok_and(|target| target.is_some());
            if mode == RenameMode::NoReplace && taken {
                reasons.push(FsError::Exists);
            }
            return Err(reasons);
        };
        let reasons = self.rename_refused(source, from.0, to.0, target, mode);
        let same = target == Some(source) && mode != RenameMode::NoReplace;
        if !reasons.is_empty() && !same {
            return Err(reasons);
        }
        if same {
            return Ok(Answer::Done);
        }
        self.take(from.0, from.1);
        if let Some(target) = target {
            self.take(to.0, to.1);
            match mode {
                RenameMode::Exchange => self.put(from.0, from.1, target),
                RenameMode::Replace | RenameMode::NoReplace => self.drop_name(target),
            }
        }
        self.put(to.0, to.1, source);
        Ok(Answer::Done)
    }

    fn rename_refused(
        &self,
        source: Sym,
        from_dir: Sym,
        to_dir: Sym,
        target: Option<Sym>,
        mode: RenameMode,
    ) -> Vec<FsError> {
        let mut reasons = Vec::new();
        if self.is_below(to_dir, source) {
            reasons.push(FsError::Invalid);
        }
        let source_is_dir = self.kind(source) == FileKind::Dir;
        match (mode, target) {
            (RenameMode::NoReplace, Some(_)) => reasons.push(FsError::Exists),
            (RenameMode::Exchange, None) => reasons.push(FsError::NotFound),
            (RenameMode::Exchange, Some(target)) => {
                if self.is_below(from_dir, target) {
                    reasons.push(FsError::Invalid);
                }
            }
            (RenameMode::Replace, Some(target)) => {
                let target_is_dir = self.kind(target) == FileKind::Dir;
                if source_is_dir && !target_is_dir {
                    reasons.push(FsError::NotDirectory);
                }
                if target_is_dir && !source_is_dir {
                    reasons.push(FsError::IsDirectory);
                }
                if !self.nodes[&target].entries.is_empty() {
                    reasons.push(FsError::NotEmpty);
                }
            }
            (RenameMode::Replace | RenameMode::NoReplace, None) => (),
        }
        reasons
    }

    /// Whether `dir` is `above` or lies below it.
    fn is_below(&self, dir: Sym, above: Sym) -> bool {
        let mut at = dir;
        loop {
            if at == above {
                return true;
            }
            match self.nodes[&at].parent {
                Some(parent) if at != Sym::ROOT => at = parent,
                Some(_) | None => return false,
            }
        }
    }

    fn put(&mut self, dir: Sym, name: &Name, node: Sym) {
        let is_dir = self.kind(node) == FileKind::Dir;
        let parent = self.known(dir);
        parent.entries.insert(name.clone(), node);
        parent.nlink += u32::from(is_dir);
        if is_dir {
            self.known(node).parent = Some(dir);
        }
    }

    /// Takes a name out of a directory, without a say on what it named.
    fn take(&mut self, dir: Sym, name: &Name) {
        let node = self.known(dir).entries.remove(name).expect("looked up before");
        if self.kind(node) == FileKind::Dir {
            self.known(dir).nlink -= 1;
        }
    }

    /// An inode lost a name for good.
    fn drop_name(&mut self, node: Sym) {
        let node = self.known(node);
        match node.kind {
            FileKind::Dir => node.parent = None,
            FileKind::File
            | FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => node.nlink -= 1,
        }
    }

    /// The names of an inode.
    #[must_use]
    pub fn names_of(&self, of: Sym) -> Vec<(Sym, Name)> {
        let dirs = self.nodes.iter().flat_map(|(dir, node)| {
            node.entries.iter().map(move |(name, node)| (*dir, name, *node))
        });
        let names = dirs.filter(|(_, _, node)| *node == of);
        names.map(|(dir, name, _)| (dir, name.clone())).collect()
    }

    /// Directories in the tree (without the root), and names.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        let dirs = self.nodes.values().filter(|node| node.parent.is_some());
        let (mut dir_count, mut names) = (0, 0);
        for dir in dirs {
            dir_count += 1;
            names += u64::try_from(dir.entries.len()).expect("directories are small");
        }
        (dir_count - 1, names)
    }
}

#[cfg(test)]
mod tests;
