//! `CallTable`: operations of the kernel, made of one request or several.
//!
//! A call is begun in [`begin`]; each answer takes it a step further, until the kernel is
//! answered. Listings, which may need many requests, are in [`listing`].

mod begin;
pub(crate) mod file_lock;
mod hold;
mod listing;
mod local;

use std::collections::{BTreeMap, BTreeSet};

use common::attr::{Attr, FileKind, Times};
use common::error::FsError;
use common::id::{Ino, RequestId};
use common::time::{Monotonic, Timestamp};
use common::wire::reply::{Answer, Found};
use common::wire::request::{Caller, IfExists, OnConflict, Op, Place, SetLock, Target};

use crate::atlas::Atlas;
use crate::call::begin::{First, first};
use crate::call::listing::Partial;
use crate::capability::{self, NEVER, Told};
use crate::cx::Cx;
use crate::effect::{Done, Effect};
use crate::give_back::{GiveBack, release_if_unused};
use crate::input::{Call, CallId, Signal};
use crate::pending::{Finished, Owner, Pending};

/// How often a name is looked up for one call, when what it stood for is gone before we get there.
const LOOKUPS_MAX: u32 = 8;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct CallTable {
    calls: BTreeMap<CallId, Active>,
    /// Those of processes that close a file and wait for their locks to be gone.
    flushes: BTreeSet<CallId>,
    /// Something that was answered may be lost, and whoever asks whether it is durable is to hear so.
    lost: bool,
    /// Who waits for a file to be made, and by which request it is.
    makers: BTreeMap<(RequestId, CallId), Ino>,
    /// They concern a directory that we are asking for: what comes of them may be known when that is answered.
    early: BTreeMap<CallId, (Caller, Call)>,
    /// Who waits for changes up to there to be made before they can be durable.
    syncs: BTreeMap<(RequestId, CallId), Caller>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Active {
    caller: Caller,
    call: Call,
    step: Step,
    /// What it waits for.
    requests: BTreeSet<RequestId>,
    lookups: u32,
    /// The shortest time for which what was answered so far may be used.
    until: Monotonic,
    change: Option<RequestId>,
    /// The directories and inodes of which it says something.
    about: Vec<Ino>,
    counts_links: bool,
    asked: Monotonic,
}

/// What the next answer is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// Waits for the one answer there is.
    Asking,
    /// A name stands for this inode, which another rank holds. Waits for its attributes.
    Completing(Ino),
    /// Waits for attributes of a page's entries from the ranks that hold them.
    Listing(Partial),
    /// Waits for every rank to be durable.
    Syncing,
}

impl CallTable {
    pub(crate) fn note_lost(&mut self, changes: usize) {
        self.lost |= changes > 0;
    }

    /// Takes an answer to whoever asked.
    pub(crate) fn on_finished(
        &mut self,
        id: CallId,
        finished: Finished,
        pending: &mut Pending,
        give_back: &mut GiveBack,
        cx: &mut Cx<'_>,
    ) {
        let Some(active) = self.calls.get_mut(&id) else { return };
        if finished.result.is_err() && finished.op.is_change() {
            local::let_go_of_changed(&active.call, cx);
            if let Op::Mkdir { ino, .. } = &finished.op {
                cx.atlas.exclusives.drop(*ino);
            }
        }
        active.requests.remove(&finished.id);
        active.until = active.until.min(finished.until);
        active.about.extend(capability::about(&finished.op, &finished.result));
        active.counts_links |= capability::counts_links(&finished.op, &finished.result);
        if finished.op.is_change() && finished.result.is_ok() {
            active.change = Some(finished.id);
        }
        let step = std::mem::replace(&mut active.step, Step::Asking);
        let completing = match &step {
            Step::Completing(ino) => Some(*ino),
            Step::Asking | Step::Listing(_) | Step::Syncing => None,
        };
        let next = match step {
            Step::Asking => active.on_answer(id, finished, pending, cx),
            Step::Completing(ino) => active.complete(id, ino, finished.result, pending, cx),
            Step::Listing(partial) => active.on_attributes(id, partial, finished, pending, cx),
            Step::Syncing => active.on_synced(finished.result),
        };
        if let Some(ino) = completing {
            cx.atlas.inodes.end_completing(ino);
        }
        match next {
            Next::Step(step) => {
                active.step = step;
                if let Some(ino) = completing {
                    release_if_unused(ino, give_back, pending, cx);
                }
            }
            Next::Answer(result) => {
                let (until, change) = (active.until(cx), active.change);
                self.calls.remove(&id);
                if let Ok(Done::Entry(attr)) = &result {
                    cx.atlas.inodes.looked_up(attr.ino);
                }
                if let Some(ino) = completing {
                    release_if_unused(ino, give_back, pending, cx);
                }
                cx.out.push(Effect::Answer { call: id, result, until, change });
            }
        }
    }

    /// The process that waits has a signal pending: answers EINTR where that is no lie.
    pub(crate) fn cancel(
        &mut self,
        id: CallId,
        signal: Signal,
        pending: &mut Pending,
        give_back: &mut GiveBack,
        cx: &mut Cx<'_>,
    ) {
        let syncs = self.syncs.extract_if(.., |(_, it), _| *it == id).count();
        let makers = self.makers.extract_if(.., |(_, it), _| *it == id).count();
        if syncs + makers > 0 || self.early.remove(&id).is_some() {
            return cx.out.answer(id, Err(FsError::Interrupted));
        }
        let Some(active) = self.calls.get(&id) else { return };
        if let Call::SetLock { .. } | Call::Flush { .. } = active.call {
            return self.cancel_lock(id, signal, pending, cx);
        }
        let harmless = active.requests.iter().all(|request| pending.is_harmless(*request));
        if signal == Signal::Handled && !harmless {
            return;
        }
        let Some(active) = self.calls.remove(&id) else { return };
        for request in active.requests {
            pending.abandon(request);
        }
        if let Step::Completing(ino) = active.step {
            cx.atlas.inodes.end_completing(ino);
            release_if_unused(ino, give_back, pending, cx);
        }
        cx.out.answer(id, Err(FsError::Interrupted));
    }
}

enum Next {
    Step(Step),
    Answer(Result<Done, FsError>),
}

impl Active {
    /// Until when the kernel may use the answer. Something may have changed between two requests.
    fn until(&self, cx: &Cx<'_>) -> Monotonic {
        let Self { about, asked, counts_links, .. } = self;
        let (asked, counts_links, is_change) = (*asked, *counts_links, self.change.is_some());
        let told = Told { about, counts_links, asked, is_change };
        if cx.atlas.capabilities.is_old(told) { NEVER } else { self.until }
    }

    fn ask(&mut self, id: CallId, op: Op, pending: &mut Pending, cx: &mut Cx<'_>) {
        let request = pending.begin(Owner::Call(id), self.caller, op, cx);
        self.requests.insert(request);
    }

    fn on_answer(
        &mut self,
        id: CallId,
        finished: Finished,
        pending: &mut Pending,
        cx: &mut Cx<'_>,
    ) -> Next {
        let answer = match finished.result {
            Ok(answer) => answer,
            Err(error) => return Next::Answer(Err(error)),
        };
        match answer {
            Answer::Found(found) => self.on_found(id, found, pending, cx),
            Answer::Page(page) => self.on_page(id, page, finished.rank, pending, cx),
            Answer::Attr(attr) => Next::Answer(Ok(self.on_attr(attr, cx))),
            Answer::Symlink(target) => Next::Answer(Ok(Done::Symlink(target))),
            Answer::Xattr(value) => Next::Answer(Ok(Done::Xattr(value))),
            Answer::XattrNames(names) => Next::Answer(Ok(Done::XattrNames(names))),
            Answer::Done => self.on_done(id, pending, cx),
            Answer::Renamed(_) => Next::Answer(Ok(Done::Nothing)),
            Answer::InTheWay(in_the_way) => Next::Answer(Ok(Done::InTheWay(in_the_way))),
            Answer::Locked(ino) => Next::Answer(Ok(self.on_locked(ino, cx))),
            Answer::NotLocked(error) => Next::Answer(Err(self.not_locked(error))),
            Answer::Stats(_) | Answer::NotHere(_) | Answer::Held(_) | Answer::NotHeld => {
                Next::Answer(Err(FsError::Io))
            }
        }
    }

    fn on_attr(&self, attr: Attr, cx: &mut Cx<'_>) -> Done {
        let Call::Open { ino } = self.call else { return Done::Attr(attr) };
        cov_mark::hit!(what_was_listed_is_pinned_when_it_is_opened);
        cx.atlas.inodes.opened(ino);
        Done::Nothing
    }

    fn on_locked(&self, ino: Ino, cx: &mut Cx<'_>) -> Done {
        if let Call::SetLock { set, handle, .. } = &self.call {
            cx.atlas.locks.set_by(ino, set.owner, *handle);
        }
        Done::Nothing
    }

    /// Whoever wanted to wait was not refused, but interrupted.
    fn not_locked(&self, error: FsError) -> FsError {
        let waits = |set: &SetLock| set.on_conflict == OnConflict::Wait;
        let waited = matches!(&self.call, Call::SetLock { set, .. } if waits(set));
        if waited && error == FsError::WouldBlock { FsError::Interrupted } else { error }
    }

    /// Of a link that was made before, and whose name is gone since, no more is said than that.
    fn on_done(&mut self, id: CallId, pending: &mut Pending, cx: &mut Cx<'_>) -> Next {
        let Call::Link { ino, .. } = self.call else { return Next::Answer(Ok(Done::Nothing)) };
        cx.atlas.inodes.begin_completing(ino);
        self.ask(id, Op::Getattr { target: cx.atlas.target(ino) }, pending, cx);
        Next::Step(Step::Completing(ino))
    }

    /// A name stands for something. Its attributes may be with another rank.
    fn on_found(
        &mut self,
        id: CallId,
        found: Found,
        pending: &mut Pending,
        cx: &mut Cx<'_>,
    ) -> Next {
        let (ino, place) = match found {
            Found::Here(attr)
            | Found::Dir { attr: Some(attr), .. }
            | Found::Remote { attr: Some(attr), .. } => {
                return Next::Answer(Ok(Done::Entry(attr)));
            }
            Found::Dir { ino, attr: None, .. } => (ino, Place::Dir),
            Found::Remote { ino, attr: None, .. } => (ino, Place::Home),
        };
        cx.atlas.inodes.begin_completing(ino);
        self.ask(id, Op::Getattr { target: Target { ino, place } }, pending, cx);
        Next::Step(Step::Completing(ino))
    }

    /// The attributes of what a name stands for have come, or it is gone meanwhile.
    fn complete(
        &mut self,
        id: CallId,
        ino: Ino,
        result: Result<Answer, FsError>,
        pending: &mut Pending,
        cx: &mut Cx<'_>,
    ) -> Next {
        match result {
            Ok(Answer::Attr(attr)) if attr.ino == ino => Next::Answer(Ok(Done::Entry(attr))),
            Ok(_) => Next::Answer(Err(FsError::Io)),
            Err(FsError::Io) if matches!(self.call, Call::Lookup { .. }) => {
                Next::Answer(lost_inode(ino, cx).map(Done::Entry).ok_or(FsError::Io))
            }
            Err(FsError::NotFound | FsError::Stale) if self.lookups < LOOKUPS_MAX => {
                let Some(op) = self.again(cx.atlas) else {
                    return Next::Answer(Err(FsError::NotFound));
                };
                self.lookups += 1;
                self.ask(id, op, pending, cx);
                Next::Step(Step::Asking)
            }
            Err(FsError::Stale) => Next::Answer(Err(FsError::NotFound)),
            Err(error) => Next::Answer(Err(error)),
        }
    }

    /// What to ask once more when that which a name stood for is gone, if the call answers with it. Who makes
    /// what is not there has made nothing yet.
    fn again(&self, atlas: &Atlas) -> Option<Op> {
        if let Call::Create { existing: IfExists::Open, .. } = &self.call
            && let First::Op(op) = first(&self.call, atlas)
        {
            return Some(op);
        }
        if let Call::Lookup { dir, name }
        | Call::Create { dir, name, .. }
        | Call::Mkdir { dir, name, .. }
        | Call::Link { dir, name, .. } = &self.call
        {
            Some(Op::Lookup { dir: *dir, name: name.clone() })
        } else {
            None
        }
    }

    fn on_synced(&self, result: Result<Answer, FsError>) -> Next {
        match result {
            Err(error) => Next::Answer(Err(error)),
            Ok(_) if self.requests.is_empty() => Next::Answer(Ok(Done::Nothing)),
            Ok(_) => Next::Step(Step::Syncing),
        }
    }
}

/// A file whose home was lost with its rank. It can be neither read nor changed, but the kernel must know
/// something under its name, or nobody could remove that.
fn lost_inode(ino: Ino, cx: &Cx<'_>) -> Option<Attr> {
    let known = cx.atlas.inodes.get(ino)?;
    let lost = cx.atlas.map.as_ref().is_some_and(|map| !map.lost.is_empty());
    let times = Times::all(Timestamp::from_secs(0));
    (lost && known.kind != FileKind::Dir).then_some(Attr {
        ino,
        kind: known.kind,
        mode: 0,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        size: 0,
        times,
    })
}

#[cfg(test)]
mod tests;
