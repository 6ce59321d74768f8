//! Directories that we ask for exclusively, because we make changes there.
//!
//! Such a request comes after the changes of that directory that are under way, and calls that concern it wait for
//! the answer ([`crate::call`]): so when it is ours there is nothing of ours of which it is not known whether
//! the answer shows it. If there is, or if what was granted may have been taken back before we heard of it, it is
//! not held.

use common::id::{Ino, Rank, RequestId};
use common::wire::reply::{Contents, Promise};
use common::wire::request::{Caller, Op};

use super::{Owner, Pended, Pending, State, order};
use crate::cx::Cx;
use crate::inode_table::InodeTable;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    by: RequestId,
    is_wanted: bool,
}

impl Pended {
    /// Whether it is still to be answered. (Whoever asks for a lock may wait for long, and changes nothing.)
    fn is_under_way(&self) -> bool {
        !self.asks_for_lock() && !matches!(self.state, State::Applied(..))
    }
}

impl Pending {
    pub(crate) fn asks_for(&self, dir: Ino) -> bool {
        self.holds.contains_key(&dir)
    }

    pub(crate) fn asks_for_any(&self) -> bool {
        !self.holds.is_empty()
    }

    /// Asks for a directory, unless something is under way there for which others may be waited.
    pub(crate) fn begin_hold(&mut self, dir: Ino, cx: &mut Cx<'_>) {
        let inodes = &cx.atlas.inodes;
        let mut under_way = self.requests.values().filter(|it| it.is_under_way());
        let is_long = |it: &Pended| matches!(it.op, Op::Rename(_) | Op::Link { .. });
        let takes_long = under_way.any(|it| is_long(it) && order::concerns(&it.op, dir, inodes));
        if takes_long || self.asks_for(dir) {
            return;
        }
        let id = self.add(Owner::Hold, Caller::default(), Op::Hold { dir }, None, cx);
        self.holds.insert(dir, Asked { by: id, is_wanted: true });
        self.dispatch(id, cx);
    }

    /// A change of the directory that was begun before it was asked for.
    pub(super) fn before_hold(&self, id: RequestId, inodes: &InodeTable) -> Option<RequestId> {
        let Op::Hold { dir } = self.requests.get(&id)?.op else { return None };
        let mut before = self.requests.range(..id).filter(|(_, it)| it.op.is_change());
        let is_in_the_way = |it: &Pended| it.is_under_way() && order::concerns(&it.op, dir, inodes);
        before.find(|(_, it)| is_in_the_way(it)).map(|(id, _)| *id)
    }

    /// Those that have waited for something that is not under way any more.
    pub(super) fn holds_to_send(&self) -> Vec<RequestId> {
        let state = |id: &RequestId| self.requests.get(id).map(|pended| &pended.state);
        let is_free = |id: &RequestId| match state(id) {
            Some(State::Behind(before)) => {
                self.requests.get(before).is_none_or(|it| !it.is_under_way())
            }
            Some(_) | None => false,
        };
        self.holds.values().map(|asked| asked.by).filter(is_free).collect()
    }

    /// Should these be granted, that is not for us.
    pub(super) fn does_not_want(&mut self, which: impl Fn(Ino) -> bool) {
        for (dir, asked) in &mut self.holds {
            asked.is_wanted &= !which(*dir);
        }
    }

    /// A rank has heard what we hold. What another one may just have granted was not among that.
    pub(super) fn is_held_elsewhere(&mut self, rank: Rank) {
        let sent_to = |id: RequestId| match self.requests.get(&id).map(|it| &it.state) {
            Some(State::Sent(at)) => Some(*at),
            Some(_) | None => None,
        };
        for asked in self.holds.values_mut() {
            asked.is_wanted &= sent_to(asked.by).is_none_or(|at| at == rank);
        }
    }

    pub(super) fn on_held(
        &mut self,
        id: RequestId,
        (rank, promise): (Rank, Promise),
        contents: &Contents,
        cx: &mut Cx<'_>,
    ) {
        let dir = contents.attr.ino;
        let is_wanted = self.holds.get(&dir).is_some_and(|it| it.by == id && it.is_wanted);
        let (inodes, exclusives) = (&cx.atlas.inodes, &mut cx.atlas.exclusives);
        let mut others = self.requests.iter().filter(|(other, _)| **other != id);
        let is_disturbed =
            others.any(|(_, it)| it.is_under_way() && order::concerns(&it.op, dir, inodes));
        let is_known = dir == Ino::ROOT || inodes.get(dir).is_some();
        if promise == Promise::Exclusive
            && is_wanted
            && is_known
            && !is_disturbed
            && exclusives.has_room()
        {
            cov_mark::hit!(a_directory_that_was_found_is_held);
            exclusives.hold_found(contents, rank);
        } else {
            cov_mark::hit!(what_was_granted_is_not_wanted_any_more);
            exclusives.is_not_wanted(dir);
        }
    }

    /// Whether or not it is ours, calls go on.
    pub(super) fn ends_asking(&mut self, op: &Op) {
        if let Op::Hold { dir } = op {
            self.holds.remove(dir);
        }
    }
}
