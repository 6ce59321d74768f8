//! What others did, and what we have claimed, while answers were under way that say what was before.

use common::id::{NoticeId, Rank, RequestId};
use common::time::Monotonic;
use common::wire::request::{Op, Place, Target};
use common::wire::session::Notice;

use super::{Owner, Pended, Pending, State, UNNUMBERED};

/// What we have heard of a file while answers were under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Overtaking {
    pub(super) rank: Rank,
    pub(super) id: NoticeId,
    pub(super) notice: Notice,
    pub(super) at: Monotonic,
}

impl Pending {
    /// Somebody else did something to a file. Answers under way may be older than that.
    pub(crate) fn noticed(&mut self, rank: Rank, id: NoticeId, notice: &Notice, at: Monotonic) {
        if let Notice::Moved { ino, .. } | Notice::Unlinked { ino, .. } = notice
            && !self.requests.is_empty()
        {
            let notice = notice.clone();
            self.overtaken.insert(*ino, Overtaking { rank, id, notice, at });
        }
    }

    /// Drops what was heard before the oldest answer that is under way was asked for.
    pub(crate) fn trim_overtaken(&mut self, oldest: Monotonic) {
        self.overtaken.retain(|_, it| it.at >= oldest);
    }

    /// A rank has heard what we have locked, and hold. What another one may just have granted was not among
    /// that, and may have come to it: then it is nobody's any more.
    pub(crate) fn has_claimed(&mut self, rank: Rank) {
        for pended in self.requests.values_mut() {
            if let (State::Sent(at), Op::Mkdir { exclusive, .. }) = (&pended.state, &mut pended.op)
                && pended.known_at.is_none()
            {
                *exclusive &= *at == rank;
            }
        }
        self.is_held_elsewhere(rank);
        for id in &self.locks {
            if let Some(pended) = self.requests.get_mut(id)
                && let Op::SetLock { set, .. } = &pended.op
                && let State::Sent(at) = pended.state
            {
                pended.is_unclaimed |= set.kind.is_some() && at != rank;
            }
        }
    }

    /// Files of which it is not known whether they were made: by which request, and where they are if so.
    pub(crate) fn makes(&self) -> impl Iterator<Item = (RequestId, Target, Option<Rank>)> + '_ {
        // What is repeated was answered: the kernel refers to it, and it is held by that, or does not.
        let is_first =
            |it: &Pended| it.owner != Owner::Replay && !matches!(it.state, State::Replayed(..));
        let unanswered =
            self.requests.iter().filter(move |(_, pended)| pended.may_name() && is_first(pended));
        unanswered.filter_map(|(id, pended)| {
            let Op::Create(create) = &pended.op else { return None };
            let ino = create.ino;
            let (place, at) = match self.overtaken.get(&ino).map(|it| &it.notice) {
                Some(Notice::Moved { place, rank, .. }) => (place.clone(), Some(*rank)),
                Some(Notice::Unlinked { rank, .. }) => (Place::Orphan { rank: *rank }, None),
                Some(
                    Notice::Expect { .. }
                    | Notice::Pinned { .. }
                    | Notice::Changed { .. }
                    | Notice::ChangedAtHome { .. }
                    | Notice::Recall { .. },
                )
                | None => (Place::Entry { dir: create.dir, name: create.name.clone() }, None),
            };
            (ino != UNNUMBERED).then_some((*id, Target { ino, place }, at))
        })
    }
}
