//! `Order`: what of the changes that we have answered ourselves must be made in order.
//!
//! A rank carries out requests in any order. So a request that may see or undo what an earlier change of
//! ours does waits until that is made. Changes of different names of a directory do not wait for each other.

use std::collections::BTreeMap;

use common::id::{Ino, RequestId};
use common::name::Name;
use common::wire::request::{Op, Place, Rename, Target};

use crate::inode_table::InodeTable;

/// Something that changes touch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Lane {
    /// A directory's attributes and names, and the inodes embedded in its entries.
    Dir(Ino),
    Name(Ino, Name),
    File(Ino),
}

/// In what way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Use {
    /// One name of the directory, or one file in it.
    Part,
    /// All of it, or the one thing there is.
    Whole,
    /// It must be there.
    Way,
    /// It comes into being.
    Make,
}

impl Use {
    /// Whether the later of two must wait for the earlier.
    fn waits_for(self, earlier: Self) -> bool {
        match (earlier, self) {
            (Self::Make, _) | (Self::Whole, Self::Part | Self::Whole | Self::Make) => true,
            (Self::Part, Self::Whole | Self::Make) => true,
            (Self::Part, Self::Part | Self::Way) | (Self::Whole, Self::Way) => false,
            (Self::Way, _) => false,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Order {
    /// Who is in it: changes that we know the outcome of, and that no rank has made yet.
    lanes: BTreeMap<Lane, BTreeMap<RequestId, Use>>,
    /// As things were when it was begun: what it removes has no name since.
    changes: BTreeMap<RequestId, Vec<(Lane, Use)>>,
}

impl Order {
    pub(super) fn enter(&mut self, id: RequestId, op: &Op, inodes: &InodeTable) {
        let lanes = of_change(op, inodes);
        for (lane, use_) in &lanes {
            self.lanes.entry(lane.clone()).or_default().insert(id, *use_);
        }
        self.changes.insert(id, lanes);
    }

    /// It is made, or will not be. Tells whether it was in any lane.
    pub(super) fn leave(&mut self, id: RequestId) -> bool {
        let Some(lanes) = self.changes.remove(&id) else { return false };
        for (lane, _) in lanes {
            if let Some(uses) = self.lanes.get_mut(&lane) {
                uses.remove(&id);
                if uses.is_empty() {
                    self.lanes.remove(&lane);
                }
            }
        }
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub(super) fn changes(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.changes.keys().copied()
    }

    pub(super) fn first(&self) -> Option<RequestId> {
        self.changes.keys().next().copied()
    }

    /// The change that makes a file.
    pub(super) fn maker(&self, ino: Ino) -> Option<RequestId> {
        let uses = self.lanes.get(&Lane::File(ino))?;
        uses.iter().find(|(_, it)| **it == Use::Make).map(|(id, _)| *id)
    }

    /// Changes of a file.
    pub(super) fn of_file(&self, ino: Ino) -> impl Iterator<Item = RequestId> + '_ {
        self.lanes.get(&Lane::File(ino)).into_iter().flatten().map(|(id, _)| *id)
    }

    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether nothing of a directory is under way.
    pub(super) fn is_done(&self, dir: Ino) -> bool {
        !self.lanes.contains_key(&Lane::Dir(dir))
    }

    /// Directories of which something is under way.
    pub(super) fn dirs(&self) -> impl Iterator<Item = Ino> + '_ {
        self.lanes.keys().filter_map(|lane| match lane {
            Lane::Dir(dir) => Some(*dir),
            Lane::Name(..) | Lane::File(_) => None,
        })
    }

    /// The first change before this request that it has to wait for.
    pub(super) fn before(&self, id: RequestId, op: &Op, inodes: &InodeTable) -> Option<RequestId> {
        if self.is_empty() {
            return None;
        }
        let other = if self.changes.contains_key(&id) { Vec::new() } else { of_other(op, inodes) };
        let lanes = self.changes.get(&id).unwrap_or(&other);
        lanes.iter().find_map(|(lane, use_)| {
            let mut earlier = self.lanes.get(lane)?.range(..id);
            earlier.find(|(_, it)| use_.waits_for(**it)).map(|(id, _)| *id)
        })
    }
}

/// Whether a request sees or changes something of a directory.
pub(super) fn concerns(op: &Op, dir: Ino, inodes: &InodeTable) -> bool {
    of_other(op, inodes).iter().any(|(lane, _)| *lane == Lane::Dir(dir))
}

/// What a change touches of which we know what comes of it.
fn of_change(op: &Op, inodes: &InodeTable) -> Vec<(Lane, Use)> {
    let part = |dir: Ino, name: &Name| {
        vec![(Lane::Dir(dir), Use::Part), (Lane::Name(dir, name.clone()), Use::Whole)]
    };
    match op {
        Op::Create(create) => {
            let mut lanes = part(create.dir, &create.name);
            lanes.push((Lane::File(create.ino), Use::Make));
            lanes
        }
        Op::Mkdir { dir, name, ino, .. } => {
            let mut lanes = part(*dir, name);
            lanes.push((Lane::Dir(*ino), Use::Make));
            lanes
        }
        Op::Unlink { dir, name } => {
            let mut lanes = part(*dir, name);
            lanes.extend(inodes.named(*dir, name).map(|ino| (Lane::File(ino), Use::Whole)));
            lanes
        }
        Op::Rmdir { dir, name } => {
            let mut lanes = part(*dir, name);
            lanes.extend(inodes.named(*dir, name).map(|ino| (Lane::Dir(ino), Use::Whole)));
            lanes
        }
        Op::Setattr { target, .. } | Op::Wrote { target, .. } => match &target.place {
            Place::Dir => vec![(Lane::Dir(target.ino), Use::Whole)],
            Place::Entry { dir, .. } => {
                vec![(Lane::Dir(*dir), Use::Part), (Lane::File(target.ino), Use::Whole)]
            }
            Place::Home | Place::Orphan { .. } => vec![(Lane::File(target.ino), Use::Whole)],
        },
        Op::Rename(Rename { from_dir, from, to_dir, to, .. }) => {
            let named = [(*from_dir, from), (*to_dir, to)].into_iter();
            let lanes = named.flat_map(|(dir, name)| {
                let file = inodes.named(dir, name).map(|ino| (Lane::File(ino), Use::Whole));
                part(dir, name).into_iter().chain(file)
            });
            lanes.collect()
        }
        // Of these only a rank knows what comes.
        Op::Lookup { .. }
        | Op::Getattr { .. }
        | Op::Readdir { .. }
        | Op::Stat { .. }
        | Op::Link { .. }
        | Op::Readlink { .. }
        | Op::GetXattr { .. }
        | Op::SetXattr { .. }
        | Op::ListXattr { .. }
        | Op::RemoveXattr { .. }
        | Op::Forget { .. }
        | Op::Sync
        | Op::GetLock { .. }
        | Op::SetLock { .. }
        | Op::Hold { .. } => of_other(op, inodes),
    }
}

/// What any other request sees or changes.
fn of_other(op: &Op, inodes: &InodeTable) -> Vec<(Lane, Use)> {
    let whole = |dir: Ino| (Lane::Dir(dir), Use::Whole);
    let named = |dir: Ino, name: &Name| inodes.named(dir, name).map(whole);
    match op {
        Op::Lookup { dir, name } => {
            let inner = inodes.named(*dir, name).into_iter();
            let inner = inner.flat_map(|ino| [whole(ino), (Lane::File(ino), Use::Whole)]);
            let way = [(Lane::Dir(*dir), Use::Way), (Lane::Name(*dir, name.clone()), Use::Whole)];
            way.into_iter().chain(inner).collect()
        }
        Op::Readdir { dir, .. } | Op::Hold { dir } => vec![whole(*dir)],
        Op::Create(create) => {
            [whole(create.dir)].into_iter().chain(named(create.dir, &create.name)).collect()
        }
        Op::Mkdir { dir, name, .. } | Op::Unlink { dir, name } | Op::Rmdir { dir, name } => {
            [whole(*dir)].into_iter().chain(named(*dir, name)).collect()
        }
        Op::Link { target, dir, name, .. } => {
            let mut lanes = of_target(target);
            lanes.push(whole(*dir));
            lanes.extend(named(*dir, name));
            lanes
        }
        Op::Rename(Rename { from_dir, from, to_dir, to, .. }) => {
            let inner = named(*from_dir, from).into_iter().chain(named(*to_dir, to));
            [whole(*from_dir), whole(*to_dir)].into_iter().chain(inner).collect()
        }
        Op::Stat { targets } => targets.iter().flat_map(of_target).collect(),
        Op::Getattr { target }
        | Op::Setattr { target, .. }
        | Op::Readlink { target }
        | Op::GetXattr { target, .. }
        | Op::SetXattr { target, .. }
        | Op::ListXattr { target }
        | Op::RemoveXattr { target, .. }
        | Op::Wrote { target, .. }
        | Op::GetLock { target, .. }
        | Op::SetLock { target, .. } => of_target(target),
        // What is let go is not given back before every answer has come that may name it.
        Op::Forget { .. } | Op::Sync => Vec::new(),
    }
}

fn of_target(target: &Target) -> Vec<(Lane, Use)> {
    match &target.place {
        Place::Dir => vec![(Lane::Dir(target.ino), Use::Whole)],
        Place::Entry { dir, name } => vec![
            (Lane::Dir(*dir), Use::Way),
            (Lane::Name(*dir, name.clone()), Use::Whole),
            (Lane::File(target.ino), Use::Whole),
        ],
        Place::Home | Place::Orphan { .. } => vec![(Lane::File(target.ino), Use::Whole)],
    }
}
