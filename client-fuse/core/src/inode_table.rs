//! `InodeTable`: what the kernel refers to, where it lies, and how often ranks have named it to us.

use std::collections::BTreeMap;

use common::attr::FileKind;
use common::id::{Ino, NoticeId, Rank, RequestId};
use common::name::Name;
use common::wire::request::{Place, Target};

/// Steps from a directory to the root after which what is known of its parents is a circle
/// (renames by others leave such behind until the kernel looks the names up again).
const PATH_STEPS_MAX: usize = 4096;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct InodeTable {
    inodes: BTreeMap<Ino, Inode>,
    /// Which of them was last known by this name.
    names: BTreeMap<(Ino, Name), Ino>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Inode {
    pub(crate) kind: FileKind,
    pub(crate) place: Place,
    /// By which name it was found last. Of a directory: its parent.
    named: Option<(Ino, Name)>,
    /// The rank last named as its authority, for what no route leads to.
    at: Option<Rank>,
    /// The kernel's count.
    lookups: u64,
    /// Open file handles.
    handles: u64,
    /// Look-ups that have found it and wait for its attributes: the kernel is about to refer to it.
    completing: u64,
    /// The latest request whose answer has named it, and pins it at its authority.
    pinned_by: Option<RequestId>,
    /// How often it had been moved, as of the last that was heard.
    moves: u32,
    /// Who told last what became of it, and by which notice.
    told: Option<(Rank, NoticeId)>,
    /// Where it was before the last move: if that was lost with its rank's power, it is there again.
    before: Option<(Place, Option<Rank>)>,
}

/// What the kernel does not refer to any more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Released {
    pub(crate) target: Target,
    pub(crate) at: Option<Rank>,
    /// `None`: nobody counts us among its holders.
    pub(crate) pinned_by: Option<RequestId>,
}

impl Inode {
    fn is_at(&mut self, place: Place, at: Option<Rank>) {
        if self.place != place {
            let was = std::mem::replace(&mut self.place, place);
            self.before = Some((was, self.at));
        }
        self.at = at;
    }
}

impl InodeTable {
    pub(crate) fn get(&self, ino: Ino) -> Option<&Inode> {
        self.inodes.get(&ino)
    }

    pub(crate) fn parent(&self, ino: Ino) -> Option<Ino> {
        self.name_of(ino).map(|(dir, _)| *dir)
    }

    pub(crate) fn name_of(&self, ino: Ino) -> Option<&(Ino, Name)> {
        self.inodes.get(&ino)?.named.as_ref()
    }

    /// What was last known by a name.
    pub(crate) fn named(&self, dir: Ino, name: &Name) -> Option<Ino> {
        self.names.get(&(dir, name.clone())).copied()
    }

    /// The directory itself, its parent, and so on, as far as is known.
    pub(crate) fn path_up(&self, dir: Ino) -> impl Iterator<Item = Ino> + '_ {
        std::iter::successors(Some(dir), |dir| self.parent(*dir)).take(PATH_STEPS_MAX)
    }

    /// Something was found under a name.
    pub(crate) fn meet(
        &mut self,
        ino: Ino,
        kind: FileKind,
        place: Place,
        name: (Ino, Name),
        at: Option<Rank>,
    ) {
        self.unname(ino);
        self.names.insert(name.clone(), ino);
        let inode = self.inodes.entry(ino).or_insert_with(|| Inode {
            kind,
            place: place.clone(),
            named: None,
            at,
            lookups: 0,
            handles: 0,
            completing: 0,
            pinned_by: None,
            moves: 0,
            told: None,
            before: None,
        });
        inode.named = Some(name);
        inode.is_at(place, at);
    }

    /// A listing named it. What is pinned is told of every move, and so is known better.
    pub(crate) fn list(
        &mut self,
        ino: Ino,
        kind: FileKind,
        place: Place,
        name: (Ino, Name),
        at: Option<Rank>,
    ) {
        if self.inodes.get(&ino).is_none_or(|inode| inode.pinned_by.is_none()) {
            self.meet(ino, kind, place, name, at);
        }
        self.looked_up(ino);
    }

    pub(crate) fn looked_up(&mut self, ino: Ino) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.lookups += 1;
        }
    }

    pub(crate) fn opened(&mut self, ino: Ino) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.handles += 1;
        }
    }

    pub(crate) fn released(&mut self, ino: Ino) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.handles = inode.handles.saturating_sub(1);
        }
    }

    pub(crate) fn begin_completing(&mut self, ino: Ino) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.completing += 1;
        }
    }

    /// We hold it no more by that request, if that is still what we have claimed; tells whether it is.
    pub(crate) fn not_held(&mut self, target: &Target, latest: RequestId) -> bool {
        let Some(inode) = self.inodes.get_mut(&target.ino) else { return false };
        let is_claimed = inode.place == target.place && inode.pinned_by == Some(latest);
        if is_claimed {
            inode.pinned_by = None;
        }
        is_claimed
    }

    pub(crate) fn end_completing(&mut self, ino: Ino) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.completing = inode.completing.saturating_sub(1);
        }
    }

    pub(crate) fn forgotten(&mut self, ino: Ino, count: u64) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.lookups = inode.lookups.saturating_sub(count);
        }
    }

    /// Notes a pin; tells whether the inode is known.
    pub(crate) fn pin(&mut self, ino: Ino, by: RequestId) -> bool {
        let Some(inode) = self.inodes.get_mut(&ino) else { return false };
        inode.pinned_by = inode.pinned_by.max(Some(by));
        true
    }

    /// Takes the inode out if nothing refers to it.
    pub(crate) fn take_unused(&mut self, ino: Ino) -> Option<Released> {
        let inode = self.inodes.get(&ino)?;
        if inode.lookups > 0 || inode.handles > 0 || inode.completing > 0 {
            return None;
        }
        self.unname(ino);
        let inode = self.inodes.remove(&ino)?;
        let target = Target { ino, place: inode.place };
        Some(Released { target, at: inode.at, pinned_by: inode.pinned_by })
    }

    /// Whether a rank counts us among those who are told what becomes of it.
    pub(crate) fn is_pinned(&self, ino: Ino) -> bool {
        self.inodes.get(&ino).is_some_and(|inode| inode.pinned_by.is_some())
    }

    /// Whether an open handle keeps what it refers to, whoever removes its names.
    pub(crate) fn outlives_its_names(&self, ino: Ino) -> bool {
        self.inodes
            .get(&ino)
            .is_none_or(|inode| inode.pinned_by.is_some() || inode.kind == FileKind::Dir)
    }

    /// Whether the kernel refers to it, by a name or an open handle.
    pub(crate) fn is_referred(&self, ino: Ino) -> bool {
        self.inodes.get(&ino).is_some_and(|inode| inode.lookups > 0 || inode.handles > 0)
    }

    /// What it is known by, for a request about it.
    pub(crate) fn place(&self, ino: Ino) -> Place {
        match self.inodes.get(&ino) {
            Some(inode) => inode.place.clone(),
            // The root, or something the kernel knows from before: only directories are so.
            None => Place::Dir,
        }
    }

    pub(crate) fn is_at(&self, ino: Ino) -> Option<Rank> {
        self.inodes.get(&ino)?.at
    }

    /// A rank tells what became of it. False: it has told what became of it after that. (A change of ours is
    /// told at once, and others' when they are durable, so also by the next life.)
    pub(crate) fn is_told(&mut self, ino: Ino, by: Rank, notice: NoticeId) -> bool {
        let Some(inode) = self.inodes.get_mut(&ino) else { return true };
        if inode.told.is_some_and(|(rank, later)| rank == by && notice < later) {
            return false;
        }
        inode.told = Some((by, notice));
        true
    }

    /// Somebody says that it was moved for the `moves`th time. False: that is old, it has been moved on.
    pub(crate) fn heard(&mut self, ino: Ino, moves: u32) -> bool {
        let Some(inode) = self.inodes.get_mut(&ino) else { return false };
        let is_later = moves > inode.moves;
        inode.moves = inode.moves.max(moves);
        is_later
    }

    /// Its last move is told once more.
    pub(crate) fn hear_again(&mut self, ino: Ino) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.moves = inode.moves.saturating_sub(1);
        }
    }

    /// Its last name is gone. What is said of earlier moves is old, whenever it comes.
    pub(crate) fn orphaned(&mut self, ino: Ino, rank: Rank) {
        self.moved(ino, Place::Orphan { rank }, rank);
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.moves = u32::MAX;
        }
    }

    /// A rank may have lost, with its power, moves that were told: they count anew.
    pub(crate) fn forget_moves(&mut self) {
        for inode in self.inodes.values_mut() {
            inode.moves = 0;
        }
    }

    /// It is not where it was moved to. Tells whether it can be where it was before.
    pub(crate) fn move_back(&mut self, ino: Ino) -> bool {
        let Some((place, at)) = self.inodes.get(&ino).and_then(|inode| inode.before.clone()) else {
            return false;
        };
        let holder = match &place {
            Place::Entry { dir, name } => {
                self.named(*dir, name).map(|it| ((*dir, name.clone()), it))
            }
            Place::Dir | Place::Home | Place::Orphan { .. } => None,
        };
        self.moved(ino, place, at.unwrap_or(Rank::ROOT));
        // It is only a guess: what was met there since keeps the name.
        self.names.extend(holder);
        true
    }

    /// The directory in which it is, or was before it was moved last, if a rank has told us so.
    pub(crate) fn told_in(&self, ino: Ino) -> Option<Ino> {
        let inode = self.inodes.get(&ino).filter(|inode| inode.told.is_some())?;
        let before = inode.before.as_ref().and_then(|(place, _)| place.embedded_in());
        inode.place.embedded_in().or(before)
    }

    /// Somebody, or we, moved it.
    pub(crate) fn moved(&mut self, ino: Ino, place: Place, at: Rank) {
        if !self.inodes.contains_key(&ino) {
            return;
        }
        if let Place::Entry { dir, name } = &place {
            let name = (*dir, name.clone());
            self.unname(ino);
            self.names.insert(name.clone(), ino);
            if let Some(inode) = self.inodes.get_mut(&ino) {
                inode.named = Some(name);
            }
        }
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.is_at(place, Some(at));
        }
    }

    /// A directory, or a hard-linked file, has another name now. It lies where it lay.
    pub(crate) fn renamed(&mut self, ino: Ino, name: (Ino, Name)) {
        if !self.inodes.contains_key(&ino) {
            return;
        }
        self.unname(ino);
        self.names.insert(name.clone(), ino);
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.named = Some(name);
        }
    }

    /// We removed this name. What has become of a file that had it, its rank says in a notice, in order
    /// with what others do to it meanwhile.
    pub(crate) fn name_removed(&mut self, dir: Ino, name: &Name) {
        let Some(ino) = self.names.remove(&(dir, name.clone())) else { return };
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.named = None;
        }
    }

    /// Everything that ranks believe us to refer to.
    pub(crate) fn pinned(&self) -> impl Iterator<Item = (Target, Option<Rank>, RequestId)> + '_ {
        self.inodes.iter().filter_map(|(ino, inode)| {
            let target = Target { ino: *ino, place: inode.place.clone() };
            Some((target, inode.at, inode.pinned_by?))
        })
    }

    fn unname(&mut self, ino: Ino) {
        let Some(inode) = self.inodes.get_mut(&ino) else { return };
        if let Some(name) = inode.named.take()
            && self.names.get(&name) == Some(&ino)
        {
            self.names.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests;
