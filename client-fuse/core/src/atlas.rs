//! `Atlas`: where things are, as far as this client has been told: map, routes and inodes.

use common::attr::{Attr, FileKind};
use common::id::{Ino, Rank};
use common::mds_map::MdsMap;
use common::name::Name;
use common::wire::reply::{Answer, Found, Moved};
use common::wire::request::{Op, Place, Rename, RenameMode, Target};
use common::wire::session::Notice;

use crate::capability::Capabilities;
use crate::exclusive::Exclusives;
use crate::file_lock::LockLedger;
use crate::inode_table::InodeTable;
use crate::route::RouteTable;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Atlas {
    pub(crate) map: Option<MdsMap>,
    pub(crate) routes: RouteTable,
    pub(crate) inodes: InodeTable,
    pub(crate) capabilities: Capabilities,
    pub(crate) locks: LockLedger,
    pub(crate) exclusives: Exclusives,
}

impl Atlas {
    pub(crate) fn rank_of_dir(&self, dir: Ino) -> Rank {
        self.routes.rank(dir, &self.inodes)
    }

    /// The believed authority. `at`: who was named as that, for what no route leads to.
    pub(crate) fn rank_of(&self, target: &Target, at: Option<Rank>) -> Rank {
        match &target.place {
            Place::Dir => self.rank_of_dir(target.ino),
            Place::Entry { dir, .. } => self.rank_of_embedded(*dir, at),
            Place::Home => {
                let home = self.map.as_ref().and_then(|map| map.rank_of(target.ino.slot()));
                home.or(at).unwrap_or(Rank::ROOT)
            }
            Place::Orphan { rank } => *rank,
        }
    }

    /// The same for what is embedded in an entry of a directory.
    pub(crate) fn rank_of_embedded(&self, dir: Ino, at: Option<Rank>) -> Rank {
        match at {
            Some(rank) if !self.leads_to(dir) => rank,
            Some(_) | None => self.rank_of_dir(dir),
        }
    }

    /// Whether a rank's store is destroyed, so that it will never answer.
    pub(crate) fn is_lost(&self, rank: Rank) -> bool {
        self.map.as_ref().is_some_and(|map| map.lost.contains(&rank))
    }

    /// Whether anything is known of the way to a directory.
    pub(crate) fn leads_to(&self, dir: Ino) -> bool {
        self.inodes.path_up(dir).any(|above| above == Ino::ROOT || self.routes.is_known(above))
    }

    pub(crate) fn target(&self, ino: Ino) -> Target {
        Target { ino, place: self.inodes.place(ino) }
    }

    /// Takes in what an answer of that rank says about where things are.
    pub(crate) fn learn(&mut self, op: &Op, answer: &Answer, rank: Rank) {
        match (op, answer) {
            (
                Op::Lookup { dir, name } | Op::Mkdir { dir, name, .. } | Op::Link { dir, name, .. },
                Answer::Found(found),
            ) => self.found(*dir, name, found),
            (Op::Create(create), Answer::Found(found)) => {
                self.found(create.dir, &create.name, found);
            }
            (Op::Unlink { dir, name } | Op::Rmdir { dir, name }, Answer::Done) => {
                self.inodes.name_removed(*dir, name);
            }
            (Op::Rename(rename), Answer::Renamed(renamed)) => {
                if rename.mode != RenameMode::Exchange {
                    self.inodes.name_removed(rename.to_dir, &rename.to);
                }
                let Rename { from_dir, from, to_dir, to, from_rank, .. } = rename;
                let told = *from_rank == rank;
                self.renamed(&renamed.moved, (*from_dir, from), (*to_dir, to), told);
                if let Some(exchanged) = &renamed.exchanged {
                    self.renamed(exchanged, (*to_dir, to), (*from_dir, from), told);
                }
            }
            (_, Answer::Attr(attr)) => self.learn_orphan(attr, rank),
            _ => {}
        }
    }

    /// What has no name is an orphan of the rank that says so. Its holders were told when it lost the
    /// last one, but a kernel may know it from a listing, and so become a holder later.
    fn learn_orphan(&mut self, attr: &Attr, rank: Rank) {
        if attr.kind != FileKind::Dir && attr.nlink == 0 {
            self.inodes.orphaned(attr.ino, rank);
        }
    }

    fn found(&mut self, dir: Ino, name: &Name, found: &Found) {
        let named = (dir, name.clone());
        match found {
            Found::Here(attr) => {
                let place = Place::Entry { dir, name: name.clone() };
                self.inodes.meet(attr.ino, attr.kind, place, named, None);
            }
            Found::Dir { ino, rank, .. } => {
                self.inodes.meet(*ino, FileKind::Dir, Place::Dir, named, None);
                self.routes.learn(*ino, *rank, &self.inodes);
            }
            Found::Remote { ino, kind, rank, .. } => {
                self.inodes.meet(*ino, *kind, Place::Home, named, Some(*rank));
            }
        }
    }

    /// An entry of a listing is handed to the kernel.
    pub(crate) fn listed(
        &mut self,
        ino: Ino,
        kind: FileKind,
        (dir, name): (Ino, Name),
        at: Option<Rank>,
    ) {
        let place = match (kind, at) {
            (FileKind::Dir, _) => Place::Dir,
            (_, None) => Place::Entry { dir, name: name.clone() },
            (_, Some(_)) => Place::Home,
        };
        self.inodes.list(ino, kind, place, (dir, name), at);
        if let (FileKind::Dir, Some(rank)) = (kind, at) {
            self.routes.learn(ino, rank, &self.inodes);
        }
    }

    /// We gave something another name. A file that is elsewhere by now has been moved on by somebody
    /// whose notice overtook our answer. `told`: one rank did it, so if we pin the file its notices
    /// have said so, and all that happened since; it may even be back.
    fn renamed(
        &mut self,
        moved: &Moved,
        from: (Ino, &Name),
        (dir, name): (Ino, &Name),
        told: bool,
    ) {
        let place = self.inodes.get(moved.ino).map(|inode| inode.place.clone());
        let was_home = place == Some(Place::Home);
        let was_there = place == Some(Place::Entry { dir: from.0, name: from.1.clone() });
        if moved.kind == FileKind::Dir {
            self.inodes.renamed(moved.ino, (dir, name.clone()));
            self.routes.learn(moved.ino, moved.rank, &self.inodes);
        } else if was_home {
            self.inodes.renamed(moved.ino, (dir, name.clone()));
        } else if was_there && !(told && self.inodes.is_pinned(moved.ino)) {
            let place = Place::Entry { dir, name: name.clone() };
            self.inodes.moved(moved.ino, place, moved.rank);
        }
    }

    /// We gave a file another name, and its rank does not know yet.
    pub(crate) fn has_moved(&mut self, ino: Ino, rename: &Rename, rank: Rank) {
        let place = Place::Entry { dir: rename.to_dir, name: rename.to.clone() };
        self.inodes.moved(ino, place, rank);
    }

    /// The same again: we have been told meanwhile what was before.
    pub(crate) fn overtaken(&mut self, notice: &Notice) {
        if let Notice::Moved { ino, .. } = notice {
            self.inodes.hear_again(*ino);
        }
        self.noticed(notice);
    }

    /// Somebody else did something to an inode the kernel refers to.
    pub(crate) fn noticed(&mut self, notice: &Notice) {
        match notice {
            Notice::Moved { ino, place, rank, moves } => {
                if !self.inodes.heard(*ino, *moves) {
                    return;
                }
                self.inodes.moved(*ino, place.clone(), *rank);
                if let Place::Entry { dir, .. } = place
                    && self.inodes.get(*dir).is_some()
                {
                    self.routes.learn(*dir, *rank, &self.inodes);
                }
            }
            Notice::Unlinked { ino, rank } => {
                self.inodes.orphaned(*ino, *rank);
            }
            Notice::Expect { .. }
            | Notice::Pinned { .. }
            | Notice::Changed { .. }
            | Notice::ChangedAtHome { .. }
            | Notice::Recall { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests;
