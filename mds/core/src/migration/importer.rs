//! The importer's half of a migration.
//!
//! ```text
//!  Discovering ─▶ Discovered ─▶ Copying ─▶ Prepping ─▶ Prepped ─▶ LoggingStart ─▶ Acking ─▶ Finishing ─▶ Over
//!       │             │            │           │           │            │            │
//!       └─────────────┴────────────┴───────────┴───────────┼────────────┴────────────┴─▶ Over (undone)
//!                                                          └─▶ Aborting ─▶ Over
//! ```
//!
//! This file holds the edges to the right, [`steps`] what is set and written on each; deaths are in
//! [`failure`].
//!
//! Invariant **I1**: nothing of the region is served here before the exporter has said that its
//! `Export` is durable, or recovery has found so.

use std::collections::{BTreeMap, BTreeSet};

use common::id::{DirFragId, Epoch, Ino, MigrationId, Rank, Seq};

use super::{Event, Half, record};
use crate::cx::{Cx, Stop, Wait};
use crate::journal::InDoubt;
use crate::journal::entry::{ImportStart, SubtreeClaim};
use crate::kill_point::KillPoint;
use crate::message::migration::{Content, MigrationMsg, Payload, Step};
use crate::replica;
use crate::row::Parent;
use crate::subtree::{DirAuth, Freeze, Subtree};

mod failure;
mod receive;
mod steps;
#[cfg(test)]
mod tests;

pub use receive::Received;

/// A migration, seen from the rank that gets the subtree.
#[derive(Clone, Debug, Hash)]
pub struct Importer {
    import: Import,
    state: State,
    received: Received,
    thawed: Vec<DirFragId>,
}

/// What is known from the start, and what `Prep` adds.
#[derive(Clone, Debug, Hash)]
pub struct Import {
    pub id: MigrationId,
    pub base: DirFragId,
    pub exporter: Rank,
    /// The directory that holds the base's name.
    pub parent: Option<Ino>,
    pub ask: BTreeMap<Ino, Rank>,
    pub epoch: Epoch,
    pub bounds: BTreeMap<DirFragId, SubtreeClaim>,
    pub bystanders: BTreeSet<Rank>,
    /// What we took the base for before, as the neighbor that we may be.
    pub before: Option<Subtree>,
}

#[derive(Clone, Debug, Hash, strum::IntoStaticStr)]
pub enum State {
    /// Waiting for the directories above the base to be known here.
    Discovering,
    /// The path is known. Waiting for the first rows.
    Discovered,
    /// Waiting for rows, until the exporter has frozen the region.
    Copying,
    /// Waiting for the bounds to be known here.
    Prepping,
    /// Frozen. Waiting for the last delta.
    Prepped,
    /// Waiting for `ImportStart` to be durable.
    LoggingStart(Box<Payload>, Seq),
    /// In doubt. Waiting to hear that `Export` is durable.
    Acking(Box<Payload>),
    /// Serving. Waiting for `ImportFinish` to be durable and for the exporter to be done.
    Finishing {
        seq: Seq,
        told: Told,
        over: ExporterIs,
    },
    /// The exporter died. Waiting for bystanders to know that authority never moved.
    Aborting {
        awaiting: BTreeSet<Rank>,
    },
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    NotYet,
    /// `Finished` was sent.
    Yes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExporterIs {
    /// It still makes sure that every bystander knows.
    Notifying,
    Done,
}

impl Importer {
    pub fn start(
        (exporter, id, base): (Rank, MigrationId, DirFragId),
        parent: Parent,
        ask: BTreeMap<Ino, Rank>,
        cx: &mut Cx<'_>,
    ) -> Self {
        let import = Import {
            id,
            base,
            exporter,
            parent: Some(parent.dir),
            ask,
            epoch: Epoch(0),
            bounds: BTreeMap::new(),
            bystanders: BTreeSet::new(),
            before: cx.own.subtrees.get(base).cloned(),
        };
        let importer = Self {
            import,
            state: State::Discovering,
            received: Received::new(id),
            thawed: Vec::new(),
        };
        importer.set_deadline(cx);
        importer
    }

    /// As the journal leaves it: in doubt. Pins are claimed anew by their clients.
    #[must_use]
    pub fn restore(doubt: InDoubt) -> Self {
        let InDoubt { start, touched, before } = doubt;
        let ImportStart { id, base, from, epoch, bounds, parent, sessions } = start;
        let import = Import {
            id,
            base,
            exporter: from,
            parent,
            ask: BTreeMap::new(),
            epoch,
            bounds,
            bystanders: BTreeSet::new(),
            before: before.as_ref().map(Subtree::restored),
        };
        let payload = Payload { sessions, ..Payload::default() };
        Self {
            import,
            state: State::Acking(Box::new(payload)),
            received: Received::restored(id, touched),
            thawed: Vec::new(),
        }
    }

    pub fn step(&mut self, event: Event, cx: &mut Cx<'_>) {
        let from = self.name();
        let state = std::mem::replace(&mut self.state, State::Over);
        self.state = self.next(state, event, cx);
        self.entered(from, cx);
    }

    fn next(&mut self, state: State, event: Event, cx: &mut Cx<'_>) -> State {
        match (state, event) {
            (State::Discovering, Event::Poke) => self.discover(cx),
            (
                state @ (State::Discovered | State::Copying),
                Event::Message(Step::Rows { number, content }),
            ) => self.take_rows(state, number, content, cx),
            (
                State::Discovered | State::Copying,
                Event::Message(Step::Prep { epoch, bounds, bystanders }),
            ) => {
                self.import.epoch = epoch;
                self.import.bounds = bounds;
                self.import.bystanders = bystanders;
                cx.own.spine.watch.begin(self.import.id, self.import.base.ino);
                self.open_bounds(cx)
            }
            (State::Prepping, Event::Poke) => self.open_bounds(cx),
            (State::Prepped, Event::Message(Step::Rows { content, .. })) => {
                self.take_frozen_rows(content, cx)
            }
            (State::Prepped, Event::Message(Step::Export(payload))) => self.log_start(payload, cx),
            (State::LoggingStart(payload, seq), Event::Durable(through)) if seq <= through => {
                self.ack(payload, cx)
            }
            (State::Acking(payload), Event::Message(Step::Serve)) => self.serve(&payload, cx),
            (State::Finishing { seq, told, over }, Event::Durable(through)) if seq <= through => {
                self.tell_finished(seq, told, over, cx)
            }
            (State::Finishing { seq, told, .. }, Event::Message(Step::Over)) => {
                Self::end_if_done(seq, told, ExporterIs::Done)
            }
            // Our `Finished` was sent in answer to the first; the exporter asks again until it has it.
            (State::Finishing { seq, told: Told::Yes, over }, Event::Message(Step::Serve)) => {
                self.tell_finished(seq, Told::NotYet, over, cx)
            }
            // The next life of the exporter says so once more: `Finished` is on its way to the journal.
            (state @ State::Finishing { told: Told::NotYet, .. }, Event::Message(Step::Serve)) => {
                cov_mark::hit!(told_to_serve_once_more);
                state
            }
            (state, Event::Message(Step::Cancel)) => self.on_cancel(state, cx),
            (state, Event::Message(Step::Undecided)) => {
                self.set_deadline(cx);
                state
            }
            (State::Aborting { awaiting }, Event::Deadline) => {
                self.notify_bystanders(&awaiting, DirAuth::Sole(self.import.exporter), cx);
                self.end_after(cx.params.migration.notifying_resend, cx);
                State::Aborting { awaiting }
            }
            (state, Event::Deadline) => {
                self.send(Step::Ask, cx);
                cx.out.reached(KillPoint::AskSent);
                self.set_deadline(cx);
                state
            }
            (state, Event::RankDown(rank)) => failure::on_rank_down(self, state, rank, cx),
            (state, Event::Poke | Event::Durable(_) | Event::Cancel(_)) => state,
            (state, Event::Message(step)) => {
                let name: &'static str = (&state).into();
                tracing::warn!(migration = %self.import.id, state = name, ?step, "unexpected");
                state
            }
        }
    }

    /// Only while aborting do we notify anybody.
    pub fn on_notify_ack(&mut self, from: Rank, auth: DirAuth, cx: &mut Cx<'_>) {
        let before = self.name();
        let state = std::mem::replace(&mut self.state, State::Over);
        let un_warned = auth == DirAuth::Sole(self.import.exporter);
        self.state = if let (State::Aborting { awaiting }, true) = (&state, un_warned) {
            let mut awaiting = awaiting.clone();
            awaiting.remove(&from);
            self.end_if_unwarned(awaiting, cx)
        } else {
            state
        };
        self.entered(before, cx);
    }

    /// Makes the directories above the base known, asking whom the exporter has named.
    fn discover(&mut self, cx: &mut Cx<'_>) -> State {
        match cx.ancestors(self.import.parent.unwrap_or(Ino::ROOT)) {
            Ok(_) => {
                self.send(Step::DiscoverAck, cx);
                cx.out.reached(KillPoint::DiscoverAckSent);
                State::Discovered
            }
            Err(Stop::Wait(Wait::Spine(missing))) => {
                // All that is named and unknown at once: one by one would be a round each.
                let unknown =
                    |dir: &Ino| *dir != Ino::ROOT && matches!(cx.parent_of(*dir), Ok(None));
                let named: Vec<Ino> = self.import.ask.keys().copied().filter(unknown).collect();
                for dir in named.into_iter().chain([missing]) {
                    let hint = self.import.ask.get(&dir).copied().unwrap_or(self.import.exporter);
                    replica::discover(cx, dir, Some(hint));
                }
                State::Discovering
            }
            Err(Stop::Wait(Wait::Fetch(fetch))) => {
                cx.own.namespace.fetch(fetch, cx.out);
                State::Discovering
            }
            Err(
                Stop::Wait(_)
                | Stop::Refuse(_)
                | Stop::Redirect(_)
                | Stop::Gone(_)
                | Stop::TwoPhase,
            ) => State::Discovering,
        }
    }

    fn entered(&mut self, from: &'static str, cx: &mut Cx<'_>) {
        let to = self.name();
        if from == to {
            return;
        }
        let Import { id, base, exporter, .. } = self.import;
        record::import_step((id, base, exporter), (from, to), cx);
        if self.is_over() {
            cx.out.push(crate::Effect::StopTimer(crate::timer::Timer::Importer(self.import.id)));
        } else {
            self.set_deadline(cx);
        }
    }

    fn set_deadline(&self, cx: &mut Cx<'_>) {
        let params = &cx.params.migration;
        let aborting = matches!(self.state, State::Aborting { .. });
        let wait = if aborting { params.notifying_resend } else { params.importer_contact };
        self.end_after(wait, cx);
    }

    fn end_after(&self, wait: std::time::Duration, cx: &mut Cx<'_>) {
        let at = cx.now.monotonic.after(wait);
        cx.out.push(crate::Effect::SetTimer {
            timer: crate::timer::Timer::Importer(self.import.id),
            at,
        });
    }

    fn send(&self, step: Step, cx: &mut Cx<'_>) {
        let msg = MigrationMsg { id: self.import.id, base: self.import.base, step };
        cx.out.send(self.import.exporter, msg);
    }

    #[must_use]
    pub fn name(&self) -> &'static str {
        (&self.state).into()
    }

    #[must_use]
    pub fn base(&self) -> DirFragId {
        self.import.base
    }

    /// The directory that held the name of a base, if it is this one's, when the import began.
    #[must_use]
    pub fn above(&self, base: DirFragId) -> Option<Ino> {
        self.import.parent.filter(|_| self.import.base == base)
    }

    #[must_use]
    pub fn half(&self, me: Rank) -> Half {
        let Import { id, base, exporter, .. } = self.import;
        let both = |first, second| DirAuth::Ambiguous { first, second };
        let expected = match self.state {
            State::Prepped => Some((both(exporter, me), Freeze::Frozen)),
            State::LoggingStart(..) | State::Acking(_) => {
                Some((both(me, exporter), Freeze::Frozen))
            }
            State::Discovering
            | State::Discovered
            | State::Copying
            | State::Prepping
            | State::Finishing { .. }
            | State::Aborting { .. }
            | State::Over => None,
        };
        Half { id, base, state: self.name(), expected }
    }

    /// Where the region ends, while it is frozen for this.
    #[must_use]
    pub fn bounds(&self) -> Option<&BTreeMap<DirFragId, SubtreeClaim>> {
        match self.state {
            State::Prepped | State::LoggingStart(..) | State::Acking(_) => {
                Some(&self.import.bounds)
            }
            State::Discovering
            | State::Discovered
            | State::Copying
            | State::Prepping
            | State::Finishing { .. }
            | State::Aborting { .. }
            | State::Over => None,
        }
    }

    /// Directories whose replicas must stay, with those above them.
    pub fn paths(&self) -> impl Iterator<Item = Ino> + '_ {
        let bounds = self.import.bounds.keys().map(|bound| bound.ino);
        bounds.chain(self.import.ask.keys().copied()).chain(self.import.parent)
    }

    #[must_use]
    pub fn is_exporter(&self, rank: Rank) -> bool {
        self.import.exporter == rank
    }

    /// See [`Received::brings_pins`].
    #[must_use]
    pub fn brings_pins(&self) -> bool {
        self.received.brings_pins()
    }

    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        matches!(self.state, State::Acking(_))
    }

    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    pub fn take_thawed(&mut self) -> Vec<DirFragId> {
        std::mem::take(&mut self.thawed)
    }

    /// Rows of the live copy.
    fn take_rows(
        &mut self,
        state: State,
        number: u32,
        content: Vec<Content>,
        cx: &mut Cx<'_>,
    ) -> State {
        if !self.takes(content, cx) {
            return self.decline(state, cx);
        }
        self.send(Step::RowsAck { number }, cx);
        self.set_deadline(cx);
        State::Copying
    }

    fn take_frozen_rows(&mut self, content: Vec<Content>, cx: &mut Cx<'_>) -> State {
        if self.takes(content, cx) { State::Prepped } else { self.decline(State::Prepped, cx) }
    }

    /// Writes what came, if it can be taken.
    fn takes(&mut self, content: Vec<Content>, cx: &mut Cx<'_>) -> bool {
        if self.received.clashes(&content, cx) {
            return false;
        }
        self.received.begin(self.import.base, cx);
        self.received.write(content, cx);
        true
    }

    /// What came cannot be taken: as if the exporter had cancelled.
    fn decline(&mut self, state: State, cx: &mut Cx<'_>) -> State {
        cov_mark::hit!(what_is_here_already_is_declined);
        tracing::info!(migration = %self.import.id, "declined: it brings a directory that is here");
        self.on_cancel(state, cx)
    }
}
