//! `RouteTable`: which rank is believed to be the authority for a directory.
//!
//! A route holds for everything below its directory until another route is met. Any route may be
//! wrong: a wrong guess costs a redirect, never an error.

use std::collections::BTreeMap;

use common::id::{Epoch, Ino, Rank};
use common::wire::reply::Route;

use crate::inode_table::InodeTable;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct RouteTable {
    routes: BTreeMap<Ino, Known>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Known {
    rank: Rank,
    /// 0 if it came without one.
    epoch: Epoch,
}

impl RouteTable {
    /// The route of the nearest directory on the way up that has one.
    pub(crate) fn rank(&self, dir: Ino, inodes: &InodeTable) -> Rank {
        self.way(dir, inodes).unwrap_or(Rank::ROOT)
    }

    /// `None`: no way up is known.
    fn way(&self, dir: Ino, inodes: &InodeTable) -> Option<Rank> {
        inodes.path_up(dir).find_map(|dir| match self.routes.get(&dir) {
            Some(known) => Some(known.rank),
            None => (dir == Ino::ROOT).then_some(Rank::ROOT),
        })
    }

    pub(crate) fn is_known(&self, dir: Ino) -> bool {
        self.routes.contains_key(&dir)
    }

    /// A lookup named the authority of a directory.
    pub(crate) fn learn(&mut self, dir: Ino, rank: Rank, inodes: &InodeTable) {
        if dir == Ino::ROOT {
            return;
        }
        let before = self.routes.remove(&dir);
        if self.way(dir, inodes) != Some(rank) {
            let epoch = before.filter(|known| known.rank == rank).map_or(Epoch(0), |k| k.epoch);
            self.routes.insert(dir, Known { rank, epoch });
        }
    }

    /// A request about `dir` was told to go elsewhere: whatever sent it astray is dropped.
    pub(crate) fn redirected(&mut self, dir: Ino, route: Route, inodes: &InodeTable) {
        let base = route.base.ino;
        let path: Vec<Ino> = inodes.path_up(dir).take_while(|on_path| *on_path != base).collect();
        let base_is_on_path = path.last().is_none_or(|top| inodes.parent(*top) == Some(base));
        let set = if base_is_on_path { base } else { dir };
        for below in path.iter().filter(|_| base_is_on_path) {
            self.routes.remove(below);
        }
        self.routes.insert(set, Known { rank: route.rank, epoch: route.epoch });
    }

    /// A rank says, unasked, that authority moved.
    pub(crate) fn told(&mut self, route: Route) {
        let known = self.routes.get(&route.base.ino);
        if known.is_none_or(|known| known.epoch < route.epoch) {
            let known = Known { rank: route.rank, epoch: route.epoch };
            self.routes.insert(route.base.ino, known);
        }
    }

    /// A rank's store is destroyed: whoever holds what is above knows what became of it.
    pub(crate) fn lost(&mut self, rank: Rank) {
        self.routes.retain(|_, known| known.rank != rank);
    }

    /// The directory is not referred to any more.
    pub(crate) fn forget(&mut self, dir: Ino) {
        self.routes.remove(&dir);
    }
}

#[cfg(test)]
mod tests;
