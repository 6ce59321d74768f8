//! Changes whose outcome we know: their callers may be answered before they are made.

use common::id::{Ino, Rank, RequestId};
use common::wire::reply::{Answer, Found};
use common::wire::request::{Caller, Op};

use super::{Owner, Pended, Pending, State};
use crate::cx::Cx;

impl Pending {
    /// Begins a change of which it is known what comes of it. What may see or undo it waits.
    pub(crate) fn begin_known(
        &mut self,
        owner: Owner,
        caller: Caller,
        op: Op,
        cx: &mut Cx<'_>,
    ) -> RequestId {
        let id = self.add(owner, caller, op, None, cx);
        if let Some(pended) = self.requests.get_mut(&id) {
            let rank = pended.op.dir().map(|dir| cx.atlas.rank_of_dir(dir));
            pended.known_at = rank.or(Some(Rank::ROOT));
            self.order.enter(id, &pended.op, &cx.atlas.inodes);
        }
        self.dispatch(id, cx);
        id
    }

    /// Changes that are still to be made.
    pub(crate) fn unmade(&self) -> usize {
        self.order.len()
    }

    /// Those whose callers were answered.
    pub(crate) fn answered_unmade(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.order
            .changes()
            .filter(|id| self.requests.get(id).is_some_and(|pended| pended.owner == Owner::Unmade))
    }

    /// Whether all changes up to there are made.
    pub(crate) fn is_made(&self, upto: RequestId) -> bool {
        self.order.first().is_none_or(|first| first > upto)
    }

    /// The request that was begun last.
    pub(crate) fn last(&self) -> RequestId {
        RequestId(self.last_id)
    }

    /// Whether nothing of a directory is still to be made.
    pub(crate) fn is_dir_made(&self, dir: Ino) -> bool {
        self.order.is_done(dir)
    }

    /// Directories of which something is still to be made.
    pub(crate) fn unmade_dirs(&self) -> impl Iterator<Item = Ino> + '_ {
        self.order.dirs()
    }

    /// Whether a file is about to be made, and pinned with that.
    pub(crate) fn is_being_made(&self, ino: Ino) -> bool {
        self.made_by(ino).is_some()
    }

    /// Whether we have said that a file has another name, and have not heard that its rank knows.
    pub(crate) fn is_renamed(&self, ino: Ino) -> bool {
        let mut unmade = self.order.of_file(ino).filter_map(|id| self.requests.get(&id));
        unmade.any(|it| it.owner == Owner::Unmade && matches!(it.op, Op::Rename(_)))
    }

    /// What we have answered of a file that we have answered another name for since: it is made where the file was
    /// then.
    pub(super) fn is_before_our_rename(&self, id: RequestId) -> bool {
        let known = self.requests.get(&id).filter(|pended| pended.is_known());
        let file = known.and_then(|pended| pended.op.subject());
        file.is_some_and(|target| self.is_renamed(target.ino))
    }

    pub(crate) fn made_by(&self, ino: Ino) -> Option<RequestId> {
        self.order.maker(ino)
    }

    /// A directory was recalled before we heard that it is made: we do not begin to hold it.
    pub(crate) fn on_recalled(&mut self, dir: Ino) {
        self.does_not_want(|asked| asked == dir);
        for pended in self.requests.values_mut() {
            if let Op::Mkdir { ino, exclusive, .. } = &mut pended.op
                && *ino == dir
            {
                *exclusive = false;
            }
        }
    }

    /// A request waits for what was answered before and is not made. (What is asked on behalf of a request
    /// does not: that might be the very one.)
    pub(super) fn is_behind(&mut self, id: RequestId, cx: &Cx<'_>) -> bool {
        let Some(pended) = self.requests.get_mut(&id) else { return false };
        if !matches!(pended.owner, Owner::Call(_) | Owner::Unmade | Owner::Hold) {
            return false;
        }
        let before = self.order.before(id, &pended.op, &cx.atlas.inodes);
        let Some(before) = before.or_else(|| self.before_hold(id, &cx.atlas.inodes)) else {
            return false;
        };
        if let Some(pended) = self.requests.get_mut(&id) {
            pended.state = State::Behind(before);
        }
        true
    }

    pub(super) fn is_made_now(&mut self, id: RequestId) {
        if self.order.leave(id) {
            self.made.push(id);
        }
    }

    /// Whether nothing is left to be done for now.
    pub(crate) fn is_settled(&self) -> bool {
        self.made.is_empty() && self.finished.is_empty()
    }

    /// Sends what has waited for changes that are made by now.
    pub(crate) fn go_on(&mut self, cx: &mut Cx<'_>) {
        for made in std::mem::take(&mut self.made) {
            self.dispatch_all(|state| *state == State::Behind(made), cx);
        }
        for id in self.holds_to_send() {
            self.dispatch(id, cx);
        }
    }
}

impl Pended {
    pub(super) fn is_known(&self) -> bool {
        self.known_at.is_some()
    }

    /// A directory was made, and is ours alone: nobody has met it before.
    pub(super) fn hold(&self, answer: &Answer, cx: &mut Cx<'_>) {
        if let (
            Op::Mkdir { exclusive: true, .. },
            Answer::Found(Found::Dir { ino, rank, attr: Some(attr) }),
        ) = (&self.op, answer)
            && !self.is_known()
        {
            let is_new = cx.atlas.inodes.get(*ino).is_none();
            if is_new && matches!(self.owner, Owner::Call(_)) {
                cx.atlas.exclusives.hold(attr.clone(), *rank);
            } else {
                cx.atlas.exclusives.is_not_wanted(*ino);
            }
        }
    }
}
