//! Requests for locks of files. They may wait for as long as somebody else likes, so nothing else waits for
//! them: not the numbers of those that are done with, not pins on their way back.

use std::collections::BTreeSet;

use common::id::{Ino, RequestId};
use common::wire::request::{OnConflict, Op, SetLock};

use super::{Owner, Pended, Pending, State};
use crate::cx::Cx;
use crate::session::Readiness;

/// What has become of a request that its process waits for no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withdrawn {
    /// No rank has heard of it.
    Whole,
    /// The answer will come, and tell whether it was done.
    Asked,
}

impl Pended {
    pub(super) fn asks_for_lock(&self) -> bool {
        matches!(self.op, Op::SetLock { .. })
    }
}

impl Pending {
    /// Those of one file that have no answer yet, with what they ask for.
    pub(crate) fn locks_asked_for(
        &self,
        of: Ino,
    ) -> impl Iterator<Item = (RequestId, &SetLock)> + '_ {
        self.locks.iter().filter_map(move |id| {
            let Op::SetLock { target, set, .. } = &self.requests.get(id)?.op else { return None };
            (target.ino == of).then_some((*id, set))
        })
    }

    /// A rank need not remember what has become of others.
    pub(super) fn name_unanswered(&mut self, id: RequestId) {
        let Some(Op::SetLock { target, .. }) = self.requests.get(&id).map(|pended| &pended.op)
        else {
            return;
        };
        let all: BTreeSet<RequestId> = self.locks_asked_for(target.ino).map(|(id, _)| id).collect();
        if let Some(Op::SetLock { unanswered, .. }) =
            self.requests.get_mut(&id).map(|pended| &mut pended.op)
        {
            *unanswered = all;
        }
    }

    /// A lock is not to be waited for any more: it is there now, or refused.
    pub(crate) fn withdraw_lock(&mut self, id: RequestId, cx: &mut Cx<'_>) -> Withdrawn {
        let Some(pended) = self.requests.get_mut(&id) else { return Withdrawn::Asked };
        if pended.unanswered == 0 && pended.state != State::Finding {
            self.requests.remove(&id);
            self.locks.remove(&id);
            return Withdrawn::Whole;
        }
        let sent_to = if let State::Sent(rank) = pended.state { Some(rank) } else { None };
        let Op::SetLock { set, .. } = &mut pended.op else { return Withdrawn::Asked };
        let waited = std::mem::replace(&mut set.on_conflict, OnConflict::Refuse);
        if let (OnConflict::Wait, Some(rank)) = (waited, sent_to)
            && let Readiness::Open(link) = cx.sessions.want(rank, cx.atlas.map.as_ref(), cx.out)
        {
            self.send(id, rank, link, cx);
        }
        Withdrawn::Asked
    }

    /// Nobody waits for the answer; it is not without consequence.
    pub(crate) fn leave(&mut self, id: RequestId, to: Owner) {
        if let Some(pended) = self.requests.get_mut(&id) {
            pended.owner = to;
        }
    }

    /// Whether the rank that it concerns is not there.
    pub(crate) fn waits_for_rank(&self, id: RequestId) -> bool {
        self.requests.get(&id).is_some_and(|pended| matches!(pended.state, State::Waiting(_)))
    }
}
