//! The coordinator's half of an operation of several ranks: the authority of the directory in which
//! a name is made or removed.
//!
//! ```text
//!  ┌─▶ Looking ──▶ Preparing ──▶ Deciding ──▶ Committing ──▶ (over)
//!  │    │ │ │ ▲        │
//!  │    │ │ └─┴ Pathfinding
//!  │    │ └─▶ Locking ─┐│
//!  └────┼──────────────┘▼
//!       ├─▶ (over): refused, or redirected
//!       └─▶ Blocked ─▶ (over): tried anew, from the beginning
//! ```
//!
//! It looks at one thing after the other, at whichever rank has it (also this one), until
//! [`plan`] can say what each is to do. Then all promise, then it decides.
//!
//! Invariants. **C1** nothing is held while something is waited for that another operation or a
//! freeze may keep: the rename lock, a replica of the path, a region that is frozen. **C2** a
//! `Decision` is durable before anybody hears of it or sees what it has done here (our own locks stay
//! until then), and stays on record until all have settled. No decision on record: it never was
//! (presumed abort).
//!
//! What comes in a state that does not wait for it is late, and changes nothing. What a death means
//! is decided for each state ([`failure`]).

use std::collections::BTreeSet;

use common::error::FsError;
use common::id::{ClientId, Ino, Rank, RequestId, Seq, TwoPhaseId};
use common::wire::request::Op;

use super::part::{self, Acks};
use super::plan::{self, Need, Plan, Seen};
use super::post::{Ended, Post};
use crate::cx::{Cx, Stop, Wait};
use crate::journal::entry::Entry;
use crate::kill_point::KillPoint;
use crate::message::two_phase::{Item, Sight, TwoPhaseMsg};
use crate::replica;
use crate::request::{Done, Parked};

pub mod failure;
mod settle;

/// Wrong ranks asked in one attempt, after which the client looks where things are.
const DETOURS_MAX: u32 = 8;

#[derive(Clone, Debug, Hash)]
pub struct Coordinator {
    id: TwoPhaseId,
    /// `None` after a restart: the client asks anew, and is answered from what was completed.
    parked: Option<Parked>,
    rename_lock: RenameLock,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum RenameLock {
    NotHeld,
    /// Until it is settled everywhere, or undone.
    Held,
}

#[derive(Clone, Debug, Hash, strum::IntoStaticStr)]
pub enum State {
    /// Waiting for rank 0 to let it move a directory.
    Locking,
    /// Holding the rename lock alone. Waiting for a directory above to be known here.
    Pathfinding { wait: Wait },
    /// Waiting for a rank to lock something and to tell what it is.
    Looking { seen: Seen, awaited: Rank },
    /// Waiting for all to promise.
    Preparing { plan: Plan, awaited: BTreeSet<Rank> },
    /// Everybody has promised. Waiting for an own row that was evicted since.
    Applying { plan: Plan, wait: Wait },
    /// Waiting for the decision to be durable.
    Deciding { decision: Seq, participants: BTreeSet<Rank>, acks: Acks, answer: Answering },
    /// Waiting for all to settle.
    Committing { decision: Seq, awaited: BTreeSet<Rank>, acks: Acks, answer: Answering },
    /// Nothing is held. Waiting for that rank to be free.
    Blocked { by: Rank },
    /// Waiting for nothing: to be taken off the table.
    Over,
}

/// When the client is answered.
#[derive(Clone, Debug, Hash)]
pub enum Answering {
    /// Once it is settled everywhere: what every rank then says is after it, and others may have cached what
    /// it changed and must have let go of that.
    Settled(Done),
    /// Nobody waits, or not in this life.
    Answered,
}

impl Coordinator {
    /// # Panics
    /// Never: the request was just handed over.
    pub fn begin(cx: &mut Cx<'_>, post: &mut Post, id: TwoPhaseId, parked: Parked) -> Self {
        let mut coordinator =
            Self { id, parked: Some(parked), rename_lock: RenameLock::NotHeld, state: State::Over };
        coordinator.go_on(cx, post, Seen::default());
        coordinator
    }

    /// After a restart: decided, and perhaps not yet settled everywhere.
    #[must_use]
    pub fn restore(id: TwoPhaseId, decision: Seq, participants: Vec<Rank>) -> Self {
        Self {
            id,
            parked: None,
            // Whether it had it is not on record. Giving back what is not held does no harm.
            rename_lock: RenameLock::Held,
            state: State::Committing {
                decision,
                awaited: participants.into_iter().collect(),
                acks: Acks::default(),
                answer: Answering::Answered,
            },
        }
    }

    #[must_use]
    pub fn name(&self) -> &'static str {
        (&self.state).into()
    }

    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    #[must_use]
    pub fn carries_out(&self, client: ClientId, id: RequestId) -> bool {
        let parked = self.parked.as_ref();
        parked.is_some_and(|parked| (parked.client, parked.request.id) == (client, id))
    }

    /// Who is still to acknowledge what was done here.
    #[must_use]
    pub fn acks(&self) -> Option<&Acks> {
        match &self.state {
            State::Deciding { acks, .. } | State::Committing { acks, .. } => Some(acks),
            State::Locking
            | State::Pathfinding { .. }
            | State::Looking { .. }
            | State::Preparing { .. }
            | State::Applying { .. }
            | State::Blocked { .. }
            | State::Over => None,
        }
    }

    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    #[must_use]
    pub fn holds_rename_lock(&self) -> bool {
        self.rename_lock == RenameLock::Held
    }

    /// The request it answers, if it has not yet.
    #[must_use]
    pub fn request(&self) -> Option<(ClientId, RequestId)> {
        self.parked.as_ref().map(|parked| (parked.client, parked.request.id))
    }

    /// Directories whose way up it has to know.
    #[must_use]
    pub fn paths(&self) -> Vec<Ino> {
        match self.parked.as_ref().map(|parked| &parked.request.op) {
            Some(Op::Rename(rename)) => vec![rename.from_dir, rename.to_dir],
            Some(_) | None => Vec::new(),
        }
    }

    /// Plans with what is known, and takes the next step.
    fn go_on(&mut self, cx: &mut Cx<'_>, post: &mut Post, mut seen: Seen) {
        let Some(parked) = &self.parked else { unreachable!("only what was decided is restored") };
        let asked = (parked.client, &parked.request);
        match plan::plan(cx, asked, &seen, self.holds_rename_lock()) {
            Ok(plan) => self.prepare(cx, post, plan, &seen.ranks),
            Err(Need::Look(rank, item)) => {
                seen.ranks.insert(rank);
                let (client, items) = (parked.client, vec![item]);
                post.send(cx, rank, TwoPhaseMsg::Look { id: self.id, client, items });
                self.state = State::Looking { seen, awaited: rank };
            }
            Err(Need::RenameLock) => {
                self.let_go(cx, post, &seen.ranks);
                post.send(cx, Rank::ROOT, TwoPhaseMsg::RenameLock { id: self.id });
                self.state = State::Locking;
            }
            Err(Need::Stop(Stop::Wait(Wait::Spine(dir)))) if self.holds_rename_lock() => {
                self.let_go(cx, post, &seen.ranks);
                let told_of = |((rank, item), _): (&(Rank, Item), &Sight)| match item {
                    Item::Entry { dir: told, .. } if *told == dir => Some(*rank),
                    Item::Entry { .. }
                    | Item::Home { .. }
                    | Item::Victim { .. }
                    | Item::Moving { .. } => None,
                };
                let hint = seen.sights.iter().find_map(told_of);
                replica::discover(cx, dir, hint);
                self.state = State::Pathfinding { wait: Wait::Spine(dir) };
            }
            Err(Need::Stop(stop)) => self.stop(cx, post, &seen.ranks, stop),
        }
    }

    pub fn on_rename_locked(&mut self, cx: &mut Cx<'_>, post: &mut Post) {
        if matches!(self.state, State::Locking) {
            self.rename_lock = RenameLock::Held;
            self.go_on(cx, post, Seen::default());
        }
    }

    pub fn on_looked(
        &mut self,
        cx: &mut Cx<'_>,
        post: &mut Post,
        from: Rank,
        sights: Vec<(Item, Sight)>,
    ) {
        if let Some(mut seen) = self.take_looking(from) {
            seen.sights.extend(sights.into_iter().map(|(item, sight)| ((from, item), sight)));
            self.go_on(cx, post, seen);
        }
    }

    /// A directory is not where it was thought to be. If that leads nowhere, the client has to look
    /// it up again.
    pub fn on_elsewhere(
        &mut self,
        cx: &mut Cx<'_>,
        post: &mut Post,
        (from, dir): (Rank, Ino),
        rank: Option<Rank>,
    ) {
        let Some(mut seen) = self.take_looking(from) else { return };
        seen.detours += 1;
        match rank {
            _ if self.is_about(dir) => {
                // What made this rank the coordinator is gone.
                self.let_go(cx, post, &seen.ranks);
                self.unlock_rename(cx, post);
                self.again(post);
            }
            Some(rank) if seen.detours <= DETOURS_MAX => {
                seen.whereabouts.insert(dir, rank);
                self.go_on(cx, post, seen);
            }
            Some(_) | None => self.stop(cx, post, &seen.ranks, Stop::Gone(dir)),
        }
    }

    pub fn on_refused(&mut self, cx: &mut Cx<'_>, post: &mut Post, from: Rank, error: FsError) {
        if let Some(seen) = self.take_looking(from) {
            self.stop(cx, post, &seen.ranks, Stop::Refuse(error));
        }
    }

    /// Whether it is this directory's authority that carries the operation out.
    fn is_about(&self, dir: Ino) -> bool {
        self.parked.as_ref().is_some_and(|parked| parked.request.op.dir() == Some(dir))
    }

    /// What was seen so far, if it is this rank's answer that is waited for.
    fn take_looking(&mut self, from: Rank) -> Option<Seen> {
        if !matches!(&self.state, State::Looking { awaited, .. } if *awaited == from) {
            return None;
        }
        let state = std::mem::replace(&mut self.state, State::Over);
        if let State::Looking { seen, .. } = state { Some(seen) } else { None }
    }

    /// Somebody is in the way: all is let go of, until that rank says it is free (**C1**).
    pub fn on_busy(&mut self, cx: &mut Cx<'_>, post: &mut Post, from: Rank) {
        let held: BTreeSet<Rank> = if let State::Looking { seen, .. } = &self.state {
            seen.ranks.clone()
        } else if let State::Preparing { plan, .. } = &self.state {
            plan.parts.keys().copied().collect()
        } else {
            return;
        };
        self.let_go(cx, post, &held);
        self.unlock_rename(cx, post);
        self.state = State::Blocked { by: from };
    }

    pub fn on_free(&mut self, post: &mut Post, from: Rank) {
        if matches!(self.state, State::Blocked { by } if by == from) {
            self.again(post);
        }
    }

    /// Everybody who does something promises it first; whoever was only looked at is done.
    fn prepare(
        &mut self,
        cx: &mut Cx<'_>,
        post: &mut Post,
        plan: Plan,
        looked_at: &BTreeSet<Rank>,
    ) {
        if plan.parts.is_empty() {
            let done = Done::read(plan.answer);
            self.let_go(cx, post, looked_at);
            self.unlock_rename(cx, post);
            self.end(post, None, done);
            return;
        }
        let me = cx.me();
        for rank in looked_at {
            if !plan.parts.contains_key(rank) && *rank != me {
                post.send(cx, *rank, TwoPhaseMsg::Rollback { id: self.id });
            }
        }
        let mut awaited = BTreeSet::new();
        for (rank, part) in plan.parts.iter().filter(|(rank, _)| **rank != me) {
            post.send(cx, *rank, TwoPhaseMsg::Prepare { id: self.id, part: part.clone() });
            awaited.insert(*rank);
        }
        self.decide_when_promised(cx, post, plan, awaited);
    }

    pub fn on_prepared(&mut self, cx: &mut Cx<'_>, post: &mut Post, from: Rank) {
        let state = std::mem::replace(&mut self.state, State::Over);
        if let State::Preparing { plan, mut awaited } = state {
            awaited.remove(&from);
            self.decide_when_promised(cx, post, plan, awaited);
        } else {
            self.state = state;
        }
    }

    fn decide_when_promised(
        &mut self,
        cx: &mut Cx<'_>,
        post: &mut Post,
        plan: Plan,
        awaited: BTreeSet<Rank>,
    ) {
        if awaited.is_empty() {
            self.decide(cx, post, plan);
        } else {
            self.state = State::Preparing { plan, awaited };
        }
    }

    /// It happens: what this rank does, that the request is completed, and the decision are one
    /// batch.
    fn decide(&mut self, cx: &mut Cx<'_>, post: &mut Post, mut plan: Plan) {
        let own =
            plan.parts.remove(&cx.me()).expect("whoever plans works in a directory of its own");
        if let Err(Stop::Wait(wait)) = own.check_cached(&cx.own.namespace) {
            if let Wait::Fetch(fetch) = &wait {
                cx.own.namespace.fetch(fetch.clone(), cx.out);
            }
            plan.parts.insert(cx.me(), own);
            self.state = State::Applying { plan, wait };
            return;
        }
        let participants: BTreeSet<Rank> = plan.parts.into_keys().collect();
        let acks = part::apply(cx, own);
        let entry =
            Entry::Decision { id: self.id, participants: participants.iter().copied().collect() };
        let decision = post.journal(cx, entry);
        if let Some(parked) = &self.parked {
            cx.own.sessions.complete(parked.client, parked.request.id, decision, cx.out);
        }
        cx.out.reached(KillPoint::DecisionSubmitted);
        let answer = Answering::Settled(Done::changed(plan.answer));
        self.state = State::Deciding { decision, participants, acks, answer };
    }

    /// What `wait` stood for has come.
    pub fn wake(&mut self, cx: &mut Cx<'_>, post: &mut Post, wait: &Wait) {
        if matches!(&self.state, State::Pathfinding { wait: awaited } if awaited == wait) {
            self.go_on(cx, post, Seen::default());
            return;
        }
        let state = std::mem::replace(&mut self.state, State::Over);
        if let State::Applying { plan, wait: awaited } = state {
            if awaited == *wait {
                self.decide(cx, post, plan);
            } else {
                self.state = State::Applying { plan, wait: awaited };
            }
        } else {
            self.state = state;
        }
    }

    fn let_go(&self, cx: &mut Cx<'_>, post: &mut Post, ranks: &BTreeSet<Rank>) {
        for rank in ranks {
            post.send(cx, *rank, TwoPhaseMsg::Rollback { id: self.id });
        }
    }

    fn unlock_rename(&mut self, cx: &mut Cx<'_>, post: &mut Post) {
        if self.rename_lock == RenameLock::Held {
            self.rename_lock = RenameLock::NotHeld;
            post.send(cx, Rank::ROOT, TwoPhaseMsg::RenameUnlock { id: self.id });
        }
    }

    /// It cannot be, or not now: the client is answered, or the request waits among the others.
    fn stop(&mut self, cx: &mut Cx<'_>, post: &mut Post, ranks: &BTreeSet<Rank>, stop: Stop) {
        self.let_go(cx, post, ranks);
        self.unlock_rename(cx, post);
        if let Some(parked) = self.parked.take() {
            post.end(Ended::Stopped { parked, stop });
        }
        self.state = State::Over;
    }

    fn again(&mut self, post: &mut Post) {
        if let Some(parked) = self.parked.take() {
            post.end(Ended::Again { parked });
        }
        self.state = State::Over;
    }

    fn end(&mut self, post: &mut Post, applied: Option<Seq>, done: Done) {
        if let Some(parked) = self.parked.take() {
            post.end(Ended::Done { parked, applied, done });
        }
    }
}
