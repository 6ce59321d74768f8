//! Locks of files: whoever waits for one can be interrupted; whoever closes a file keeps none.

use common::error::FsError;
use common::file_lock::{ByteRange, LockOwner};
use common::id::{Ino, RequestId};
use common::wire::reply::Answer;
use common::wire::request::{Caller, OnConflict, Op, SetLock, Target};

use crate::call::{Active, CallTable, Step};
use crate::cx::Cx;
use crate::effect::Done;
use crate::input::{Call, CallId, Handle, Signal};
use crate::pending::{Finished, Owner, Pending, Withdrawn};

/// An owner keeps nothing of a file.
fn unlock_all(owner: LockOwner) -> SetLock {
    let (range, on_conflict) = (ByteRange::WHOLE, OnConflict::Refuse);
    SetLock { owner, pid: 0, range, kind: None, on_conflict }
}

/// Locks are as they were asked to be. Nobody is there who would unlock what came too late.
pub(crate) fn on_answered(finished: &Finished, pending: &mut Pending, cx: &mut Cx<'_>) {
    let (Op::SetLock { target, set, .. }, Ok(Answer::Locked(_))) = (&finished.op, &finished.result)
    else {
        return;
    };
    match finished.owner {
        Owner::Call(_) | Owner::Unlock => cx.atlas.locks.set(target.ino, set),
        Owner::Withdrawn => {
            cov_mark::hit!(a_lock_that_nobody_waits_for_is_given_back);
            // The kernel may have forgotten the file meanwhile: it is where it was then.
            let known = cx.atlas.inodes.get(target.ino).is_some();
            let target = if known { cx.atlas.target(target.ino) } else { target.clone() };
            unlock_at(target, set, Owner::Unlock, Caller::default(), pending, cx);
        }
        // The second answer to a copy: what was so then is known, and may be otherwise by now.
        Owner::Nobody => {}
        Owner::Finder { .. }
        | Owner::Seeker { .. }
        | Owner::GiveBack { .. }
        | Owner::Scout
        | Owner::Replay
        | Owner::Unmade
        | Owner::Hold => {}
    }
}

/// Unlocks something, whoever waits for that.
fn unlock(
    ino: Ino,
    set: &SetLock,
    owner: Owner,
    caller: Caller,
    pending: &mut Pending,
    cx: &mut Cx<'_>,
) -> RequestId {
    unlock_at(cx.atlas.target(ino), set, owner, caller, pending, cx)
}

fn unlock_at(
    target: Target,
    set: &SetLock,
    owner: Owner,
    caller: Caller,
    pending: &mut Pending,
    cx: &mut Cx<'_>,
) -> RequestId {
    let set = SetLock { kind: None, on_conflict: OnConflict::Refuse, ..*set };
    let op = Op::SetLock { target, set, unanswered: [].into() };
    pending.begin(owner, caller, op, cx)
}

/// An open file is closed by the last that had it. What was locked in its own name is unlocked.
pub(crate) fn on_released(ino: Ino, handle: Handle, pending: &mut Pending, cx: &mut Cx<'_>) {
    for owner in cx.atlas.locks.by_handle(ino, handle) {
        let caller = Caller::default();
        unlock(ino, &unlock_all(owner), Owner::Unlock, caller, pending, cx);
    }
}

impl CallTable {
    /// A process closes a file. Its locks are gone when it hears that, but it does not wait for a rank that is
    /// not there.
    pub(super) fn flush(
        &mut self,
        id: CallId,
        (caller, ino, owner): (Caller, Ino, LockOwner),
        pending: &mut Pending,
        cx: &mut Cx<'_>,
    ) {
        let is_asked = pending.locks_asked_for(ino).any(|(_, set)| set.owner == owner);
        if !is_asked && !cx.atlas.locks.has(ino, owner) {
            return cx.out.answer(id, Ok(Done::Nothing));
        }
        let owned = unlock_all(owner);
        let request = unlock(ino, &owned, Owner::Call(id), caller, pending, cx);
        let call = Call::Flush { ino, owner };
        self.calls.insert(id, Active::new((caller, call), Step::Asking, [request].into(), cx));
        self.flushes.insert(id);
    }

    /// Those that would wait for a rank that is not there.
    pub(crate) fn let_flushes_go(&mut self, pending: &mut Pending, cx: &mut Cx<'_>) {
        if self.flushes.is_empty() {
            return;
        }
        let calls = &self.calls;
        self.flushes.retain(|id| calls.contains_key(id));
        let waits =
            |id: &CallId| calls[id].requests.iter().any(|request| pending.waits_for_rank(*request));
        let stuck: Vec<CallId> = self.flushes.iter().copied().filter(waits).collect();
        for id in stuck {
            cov_mark::hit!(a_close_does_not_wait_for_a_dead_rank);
            self.leave(id, Owner::Unlock, pending);
            cx.out.answer(id, Ok(Done::Nothing));
        }
    }

    fn leave(&mut self, id: CallId, to: Owner, pending: &mut Pending) {
        self.flushes.remove(&id);
        for request in self.calls.remove(&id).into_iter().flat_map(|active| active.requests) {
            pending.leave(request, to);
        }
    }

    /// A signal for a process that waits for a lock, or for an unlock. A lock that is there already stays.
    pub(super) fn cancel_lock(
        &mut self,
        id: CallId,
        signal: Signal,
        pending: &mut Pending,
        cx: &mut Cx<'_>,
    ) {
        let Some(Active { call, requests, .. }) = self.calls.get(&id) else { return };
        let unlocks = !matches!(call, Call::SetLock { set, .. } if set.kind.is_some());
        let asked: Vec<_> = requests.iter().copied().collect();
        let mut whole = true;
        if !unlocks {
            for request in asked {
                whole &= pending.withdraw_lock(request, cx) == Withdrawn::Whole;
            }
        }
        match signal {
            Signal::Handled if unlocks || !whole => {}
            Signal::Handled | Signal::Fatal => {
                let to = if unlocks { Owner::Unlock } else { Owner::Withdrawn };
                self.leave(id, to, pending);
                cx.out.answer(id, Err(FsError::Interrupted));
            }
        }
    }
}

#[cfg(test)]
mod tests;
