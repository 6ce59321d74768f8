//! The first request of each operation.

use std::collections::BTreeSet;

use common::attr::{FileKind, SetAttr};
use common::error::FsError;
use common::file_lock::LockOwner;
use common::id::{Ino, Rank, RequestId};
use common::limit::PAGE_ENTRIES_MAX;
use common::time::Monotonic;
use common::wire::request::{Caller, Create, Op};

use crate::atlas::Atlas;
use crate::call::{Active, CallTable, Step, hold};
use crate::cx::Cx;
use crate::effect::{Done, Effects};
use crate::input::{Call, CallId};
use crate::pending::{Owner, Pending, UNNUMBERED};

/// No answer has come that would end sooner.
const FOREVER: Monotonic = Monotonic(u64::MAX);

impl CallTable {
    /// Begins what the kernel asks for.
    pub(crate) fn begin(
        &mut self,
        id: CallId,
        (caller, call): (Caller, Call),
        pending: &mut Pending,
        cx: &mut Cx<'_>,
    ) {
        if pending.asks_for_any() && hold::concerns(&call, pending, cx) {
            self.early.insert(id, (caller, call));
            return;
        }
        if self.begin_local(id, (caller, &call), pending, cx) {
            return;
        }
        let (op, step) = match first(&call, cx.atlas) {
            First::Op(op) => (op, Step::Asking),
            First::Open(ino) => {
                cx.atlas.inodes.opened(ino);
                return cx.out.answer(id, Ok(Done::Nothing));
            }
            First::Made(ino) => return self.await_made(id, ino, pending, cx),
            First::Sync => return self.sync(id, caller, pending, cx),
            First::Flush(ino, owner) => {
                return self.flush(id, (caller, ino, owner), pending, cx);
            }
        };
        let request = pending.begin(Owner::Call(id), caller, op, cx);
        self.calls.insert(id, Active::new((caller, call), step, [request].into(), cx));
    }

    fn await_made(&mut self, id: CallId, ino: Ino, pending: &Pending, cx: &mut Cx<'_>) {
        match pending.made_by(ino) {
            Some(request) => drop(self.makers.insert((request, id), ino)),
            None => cx.out.answer(id, Ok(Done::Nothing)),
        }
    }

    /// Those who have waited for a file to be made.
    pub(crate) fn on_made(&mut self, pending: &Pending, cx: &mut Cx<'_>) {
        for ((_, id), _) in self.makers.extract_if(.., |_, ino| pending.made_by(*ino).is_none()) {
            cx.out.answer(id, Ok(Done::Nothing));
        }
    }

    /// What makes a file was refused, or nobody knows.
    pub(crate) fn is_never_made(&mut self, by: RequestId, out: &mut Effects) {
        let waiting = (by, CallId(0))..=(by, CallId(u64::MAX));
        for ((_, id), _) in self.makers.extract_if(waiting, |_, _| true) {
            out.answer(id, Err(FsError::Io));
        }
    }

    /// Those who want to know that everything is durable, and for whom everything is made by now.
    pub(crate) fn let_syncs_go(&mut self, pending: &mut Pending, cx: &mut Cx<'_>) {
        while let Some(((upto, id), caller)) = self.syncs.first_key_value()
            && pending.is_made(*upto)
        {
            let (id, caller, upto) = (*id, *caller, *upto);
            self.syncs.remove(&(upto, id));
            self.sync(id, caller, pending, cx);
        }
    }

    fn sync(&mut self, id: CallId, caller: Caller, pending: &mut Pending, cx: &mut Cx<'_>) {
        if !pending.is_made(pending.last()) {
            cov_mark::hit!(what_is_answered_is_made_before_it_is_durable);
            self.syncs.insert((pending.last(), id), caller);
            return;
        }
        if std::mem::take(&mut self.lost) {
            return cx.out.answer(id, Err(FsError::Io));
        }
        let ranks = pending.ranks_with_changes();
        if ranks.is_empty() {
            return cx.out.answer(id, Ok(Done::Nothing));
        }
        let requests = ranks
            .into_iter()
            .map(|rank| pending.begin_at(rank, Owner::Call(id), Op::Sync, cx))
            .collect();
        let call = Call::Sync;
        self.calls.insert(id, Active::new((caller, call), Step::Syncing, requests, cx));
    }
}

impl Active {
    pub(super) fn new(
        (caller, call): (Caller, Call),
        step: Step,
        requests: BTreeSet<RequestId>,
        cx: &Cx<'_>,
    ) -> Self {
        let (about, asked) = (Vec::new(), cx.now.monotonic);
        let (lookups, until, change) = (0, FOREVER, None);
        let counts_links = false;
        Self { caller, call, step, requests, lookups, until, change, about, counts_links, asked }
    }
}

pub(super) enum First {
    Op(Op),
    /// Whoever removes its name knows that we refer to it.
    Open(Ino),
    /// Waits for what we have answered, and asks nobody.
    Made(Ino),
    /// To every rank that has changes of ours.
    Sync,
    /// Of what it has locked nothing is to be left.
    Flush(Ino, LockOwner),
}

pub(super) fn first(call: &Call, atlas: &Atlas) -> First {
    let op = match call.clone() {
        Call::Create { dir, name, node, mode, umask, existing } => {
            Op::Create(Create { dir, name, ino: UNNUMBERED, node, mode, umask, existing })
        }
        Call::Mkdir { dir, name, mode, umask } => {
            let exclusive = atlas.exclusives.has_room();
            Op::Mkdir { dir, name, ino: UNNUMBERED, mode, umask, exclusive }
        }
        Call::Made { ino } => return First::Made(ino),
        Call::Sync => return First::Sync,
        Call::Flush { ino, owner } => return First::Flush(ino, owner),
        Call::GetLock { ino, lock } => Op::GetLock { target: atlas.target(ino), lock },
        Call::SetLock { ino, set, .. } => {
            // Which others are unanswered is filled in when it is sent.
            Op::SetLock { target: atlas.target(ino), set, unanswered: BTreeSet::new() }
        }
        Call::Lookup { dir, name } => Op::Lookup { dir, name },
        Call::Open { ino } if atlas.inodes.outlives_its_names(ino) => return First::Open(ino),
        Call::Getattr { ino } | Call::Open { ino } => Op::Getattr { target: atlas.target(ino) },
        Call::Setattr { ino, set } => {
            let set = keep_directory_privileges(ino, set, atlas);
            Op::Setattr { target: atlas.target(ino), set }
        }
        Call::Unlink { dir, name } => Op::Unlink { dir, name },
        Call::Rmdir { dir, name } => Op::Rmdir { dir, name },
        Call::Link { ino, dir, name } => {
            // The rank is filled in when it is sent.
            Op::Link { target: atlas.target(ino), rank: Rank::ROOT, dir, name }
        }
        Call::Rename(rename) => Op::Rename(rename),
        Call::Readlink { ino } => Op::Readlink { target: atlas.target(ino) },
        Call::Readdir { dir, cookie, entries_max, .. } => {
            let most = u32::try_from(PAGE_ENTRIES_MAX).unwrap_or(u32::MAX);
            Op::Readdir { dir, cookie, entries_max: entries_max.clamp(1, most) }
        }
        Call::GetXattr { ino, name } => Op::GetXattr { target: atlas.target(ino), name },
        Call::SetXattr { ino, name, value, mode } => {
            Op::SetXattr { target: atlas.target(ino), name, value, mode }
        }
        Call::ListXattr { ino } => Op::ListXattr { target: atlas.target(ino) },
        Call::RemoveXattr { ino, name } => Op::RemoveXattr { target: atlas.target(ino), name },
        Call::Wrote { ino, end, kill_privileges } => {
            Op::Wrote { target: atlas.target(ino), end, kill_privileges }
        }
    };
    First::Op(op)
}

/// Set-group-id of a directory is no privilege: a new owner does not clear it.
fn keep_directory_privileges(ino: Ino, set: SetAttr, atlas: &Atlas) -> SetAttr {
    let is_file = atlas.inodes.get(ino).is_some_and(|inode| inode.kind != FileKind::Dir);
    SetAttr { kill_privileges: set.kill_privileges && is_file, ..set }
}
