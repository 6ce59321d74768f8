//! A participant's half of an operation of several ranks.
//!
//! ```text
//!  Looking ⇄ Locked ─▶ Promising ─▶ Prepared ─▶ Committing ─▶ Settling ─▶ (over)
//!     │         │          │         │    ▼          ▲
//!     │         │          │         │  InDoubt ─────┘
//!     └─────────┴──────────┴─────────┴────┴─▶ (over): Rollback, or Busy
//! ```
//!
//! Invariants. **P1** until `PeerPrepare` is durable nothing was promised: the locks are in memory
//! only, and end with either rank. **P2** from then on only the coordinator's journal tells what
//! becomes of it. **P3** a freeze is never waited for: a region that is freezing answers `Busy`, and
//! what was locked here is let go in the same turn.

use std::collections::BTreeSet;

use common::id::{ClientId, Ino, Seq};

use super::look::{self, Unseen};
use super::part::{self, Acks};
use super::post::Post;
use crate::cx::{Cx, Stop, Wait};
use crate::journal::entry::{Entry, Held};
use crate::kill_point::KillPoint;
use crate::lock::Operation;
use crate::message::two_phase::{Item, Part, TwoPhaseMsg};
use crate::mutant::mutated;

pub mod failure;

#[derive(Clone, Debug, Hash)]
pub struct Participant {
    operation: Operation,
    /// For whom. `None`: that is not on record, and nothing is looked at any more.
    client: Option<ClientId>,
    /// Directories it keeps from being frozen.
    pinned: BTreeSet<Ino>,
    state: State,
}

#[derive(Clone, Debug, Hash, strum::IntoStaticStr)]
pub enum State {
    /// Waiting for a row, or for an operation of less precedence, before these can be locked.
    Looking { items: Vec<Item>, wait: Wait },
    /// Locked. Waiting for the coordinator to go on or to let go.
    Locked,
    /// Waiting for the promise to be durable, and for clients to have dropped what they may have cached of
    /// this: once it is decided, other ranks show it.
    Promising { prepare: Seq, durable: Durable, part: Part, acks: Acks },
    /// Promised. Waiting for the verdict.
    Prepared { prepare: Seq, part: Part },
    /// Promised, and the coordinator or this rank has died since. Waiting for the coordinator's next
    /// life to be asked, and for the verdict.
    InDoubt { prepare: Seq, part: Part },
    /// Waiting for a row that was evicted since, before it can be done.
    Committing { prepare: Seq, part: Part, wait: Wait },
    /// Done. Waiting for that to be durable, and for whom it concerns to know.
    Settling { commit: Seq, durable: Durable, acks: Acks },
    /// Waiting for nothing: to be taken off the table.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Durable {
    No,
    Yes,
}

/// What a participant came to after `look`.
#[derive(Debug)]
pub enum Looked {
    Kept,
    /// It is over here; the coordinator is to be told when this has come.
    Busy(Wait),
}

/// What the journal says of a promise that was not settled.
#[derive(Clone, Debug)]
pub struct Promise {
    pub prepare: Seq,
    pub part: Part,
    pub held: Vec<Held>,
}

impl Participant {
    #[must_use]
    pub fn new(operation: Operation, client: Option<ClientId>) -> Self {
        Self { operation, client, pinned: BTreeSet::new(), state: State::Locked }
    }

    /// After a restart: a promise that was not settled.
    #[must_use]
    pub fn restore(cx: &mut Cx<'_>, operation: Operation, promise: Promise) -> Self {
        let Promise { prepare, part, held } = promise;
        let mut participant = Self::new(operation, None);
        for Held { ino, dir, mut holders } in held {
            holders.retain(|client, _| cx.own.sessions.get(*client).is_some());
            cx.own.pins.assume(ino, dir, &holders);
        }
        for lock in part.locks(&cx.own.namespace) {
            cx.own.locks.take(lock, operation);
        }
        for dir in part.dirs() {
            participant.pin(cx, dir);
        }
        participant.state = State::InDoubt { prepare, part };
        participant
    }

    #[must_use]
    pub fn client(&self) -> Option<ClientId> {
        self.client
    }

    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    #[must_use]
    pub fn name(&self) -> &'static str {
        (&self.state).into()
    }

    /// Who is still to acknowledge what was done here.
    #[must_use]
    pub fn acks(&self) -> Option<&Acks> {
        match &self.state {
            State::Settling { acks, .. } => Some(acks),
            State::Looking { .. }
            | State::Locked
            | State::Promising { .. }
            | State::Prepared { .. }
            | State::InDoubt { .. }
            | State::Committing { .. }
            | State::Over => None,
        }
    }

    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    #[must_use]
    pub fn auth_pins(&self) -> usize {
        self.pinned.len()
    }

    /// Keeps a directory from being frozen until this is over.
    pub fn pin(&mut self, cx: &mut Cx<'_>, dir: Ino) {
        if self.pinned.insert(dir) {
            cx.own.subtrees.auth_pin(dir);
        }
    }

    /// Locks what is asked for, and tells what it is.
    pub fn look(&mut self, cx: &mut Cx<'_>, post: &mut Post, items: Vec<Item>) -> Looked {
        let Operation { coordinator, id } = self.operation;
        match look::look(cx, self, self.operation, &items) {
            Ok(sights) => {
                let clock = cx.own.subtrees.clock();
                self.state = State::Locked;
                post.send(cx, coordinator, TwoPhaseMsg::Looked { id, clock, sights });
            }
            Err(Unseen::Wait(wait)) => {
                if let Wait::Fetch(fetch) = &wait {
                    cx.own.namespace.fetch(fetch.clone(), cx.out);
                }
                self.state = State::Looking { items, wait };
            }
            Err(Unseen::Elsewhere { dir, rank }) => {
                self.state = State::Locked;
                post.send(cx, coordinator, TwoPhaseMsg::Elsewhere { id, dir, rank });
            }
            Err(Unseen::Busy(wait)) => {
                self.let_go(cx, post);
                post.send(cx, coordinator, TwoPhaseMsg::Busy { id });
                return Looked::Busy(wait);
            }
        }
        Looked::Kept
    }

    /// What must be durable before it can look.
    #[must_use]
    pub fn awaits_durable(&self) -> Option<Seq> {
        match self.state {
            State::Looking { wait: Wait::Durable(seq), .. } => Some(seq),
            State::Looking { .. }
            | State::Locked
            | State::Promising { .. }
            | State::Prepared { .. }
            | State::InDoubt { .. }
            | State::Committing { .. }
            | State::Settling { .. }
            | State::Over => None,
        }
    }

    /// What `wait` stood for has come.
    pub fn wake(&mut self, cx: &mut Cx<'_>, post: &mut Post, wait: &Wait) -> Looked {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Looking { items, wait: awaited } if awaited == *wait => {
                return self.look(cx, post, items);
            }
            State::Committing { prepare, part, wait: awaited } if awaited == *wait => {
                self.commit(cx, post, prepare, part);
            }
            state @ (State::Looking { .. }
            | State::Locked
            | State::Promising { .. }
            | State::Prepared { .. }
            | State::InDoubt { .. }
            | State::Committing { .. }
            | State::Settling { .. }
            | State::Over) => self.state = state,
        }
        Looked::Kept
    }

    /// The coordinator has decided what this rank is to contribute.
    pub fn on_prepare(&mut self, cx: &mut Cx<'_>, post: &mut Post, part: Part) {
        let Operation { coordinator, id } = self.operation;
        if !part.makes_sense() {
            tracing::error!(
                coordinator = coordinator.0,
                id = id.0,
                "told to promise what cannot be"
            );
            return;
        }
        if matches!(self.state, State::Locked) {
            let held = part.held(&cx.own.pins);
            let entry = Entry::PeerPrepare { id, coordinator, part: part.clone(), held };
            let prepare = post.journal(cx, entry);
            if mutated!(cx.params, PreparedBeforeDurable) {
                post.send(cx, coordinator, TwoPhaseMsg::Prepared { id });
                self.state = State::Prepared { prepare, part };
                return;
            }
            let acks = Acks { clients: part.tell(cx), ..Acks::default() };
            self.state = State::Promising { prepare, durable: Durable::No, part, acks };
        }
    }

    fn promise(
        &self,
        cx: &mut Cx<'_>,
        post: &mut Post,
        (prepare, durable): (Seq, Durable),
        (part, acks): (Part, Acks),
    ) -> State {
        let Operation { coordinator, id } = self.operation;
        let current = cx.map.incarnation(coordinator);
        if durable == Durable::Yes && self.operation.is_orphaned(current) {
            // The coordinator died meanwhile. If it is back it is asked now, else then.
            if current.is_some() {
                post.send(cx, coordinator, TwoPhaseMsg::Query { id });
            }
            return State::InDoubt { prepare, part };
        }
        if durable == Durable::No || !acks.is_empty() {
            return State::Promising { prepare, durable, part, acks };
        }
        post.send(cx, coordinator, TwoPhaseMsg::Prepared { id });
        cx.out.reached(KillPoint::PreparedSent);
        State::Prepared { prepare, part }
    }

    pub fn on_durable(&mut self, cx: &mut Cx<'_>, post: &mut Post, through: Seq) {
        self.state = match std::mem::replace(&mut self.state, State::Over) {
            State::Promising { prepare, durable: Durable::No, part, acks }
                if prepare <= through =>
            {
                cx.out.reached(KillPoint::PrepareDurable);
                self.promise(cx, post, (prepare, Durable::Yes), (part, acks))
            }
            State::Settling { commit, acks, .. } if commit <= through => {
                self.settle(cx, post, commit, Durable::Yes, acks)
            }
            state @ (State::Looking { .. }
            | State::Locked
            | State::Promising { .. }
            | State::Prepared { .. }
            | State::InDoubt { .. }
            | State::Committing { .. }
            | State::Settling { .. }
            | State::Over) => state,
        };
    }

    /// Everybody has prepared. Comes again after the coordinator's restart.
    pub fn on_commit(&mut self, cx: &mut Cx<'_>, post: &mut Post) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Prepared { prepare, part } | State::InDoubt { prepare, part } => {
                self.commit(cx, post, prepare, part);
            }
            state @ (State::Looking { .. }
            | State::Locked
            | State::Promising { .. }
            | State::Committing { .. }
            | State::Settling { .. }
            | State::Over) => self.state = state,
        }
    }

    fn commit(&mut self, cx: &mut Cx<'_>, post: &mut Post, prepare: Seq, part: Part) {
        if let Err(Stop::Wait(wait)) = part.check_cached(&cx.own.namespace) {
            if let Wait::Fetch(fetch) = &wait {
                cx.own.namespace.fetch(fetch.clone(), cx.out);
            }
            self.state = State::Committing { prepare, part, wait };
            return;
        }
        let acks = part::apply(cx, part);
        let Operation { coordinator, id } = self.operation;
        let commit = post.journal(cx, Entry::PeerCommit { id, coordinator });
        post.trim(commit, vec![prepare, commit]);
        cx.out.reached(KillPoint::CommitApplied);
        self.let_go(cx, post);
        self.state = State::Settling { commit, durable: Durable::No, acks };
    }

    /// Forget it. Before the promise nothing is on record; after it, the record ends here.
    pub fn on_rollback(&mut self, cx: &mut Cx<'_>, post: &mut Post) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Looking { .. } | State::Locked => self.let_go(cx, post),
            State::Promising { prepare, .. }
            | State::Prepared { prepare, .. }
            | State::InDoubt { prepare, .. } => {
                let Operation { coordinator, id } = self.operation;
                let entry = Entry::PeerRollback { id, coordinator };
                let rollback = post.journal(cx, entry);
                post.trim(rollback, vec![prepare, rollback]);
                self.let_go(cx, post);
            }
            // Decided: nobody can want it undone.
            state @ (State::Committing { .. } | State::Settling { .. } | State::Over) => {
                self.state = state;
            }
        }
    }

    /// Somebody it concerns knows, or is no more.
    pub fn on_acked(&mut self, cx: &mut Cx<'_>, post: &mut Post, remove: impl Fn(&mut Acks)) {
        self.state = match std::mem::replace(&mut self.state, State::Over) {
            State::Settling { commit, durable, mut acks } => {
                remove(&mut acks);
                self.settle(cx, post, commit, durable, acks)
            }
            State::Promising { prepare, durable, part, mut acks } => {
                remove(&mut acks);
                self.promise(cx, post, (prepare, durable), (part, acks))
            }
            state @ (State::Looking { .. }
            | State::Locked
            | State::Prepared { .. }
            | State::InDoubt { .. }
            | State::Committing { .. }
            | State::Over) => state,
        };
    }

    fn settle(
        &self,
        cx: &mut Cx<'_>,
        post: &mut Post,
        commit: Seq,
        durable: Durable,
        acks: Acks,
    ) -> State {
        if durable == Durable::No || !acks.is_empty() {
            return State::Settling { commit, durable, acks };
        }
        let Operation { coordinator, id } = self.operation;
        post.send(cx, coordinator, TwoPhaseMsg::Settled { id });
        State::Over
    }

    /// Locks and pins end; whoever waited for them may go on.
    fn let_go(&mut self, cx: &mut Cx<'_>, post: &mut Post) {
        self.state = State::Over;
        for lock in cx.own.locks.release(self.operation) {
            post.wake(Wait::Unlock(lock));
        }
        for dir in std::mem::take(&mut self.pinned) {
            cx.own.subtrees.auth_unpin(dir);
        }
    }
}
