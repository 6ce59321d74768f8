//! The exporter's half of a migration.
//!
//! ```text
//!  Locking ─▶ Discovering ─▶ Copying ─▶ Freezing ─▶ Prepping ─▶ Warning ─▶ Exporting ─▶ LoggingExport ─▶ Notifying ─▶ Over
//!     │            │            │           │           │           │           │
//!     ▼            └────────────┴───────────┴───────────┴───────────┴───────────┴─▶ Cancelling ─▶ Over
//!    Over
//! ```
//!
//! This file holds the edges to the right. Cancelling is in [`cancel`], deaths in [`failure`], what
//! is sent and set on each edge in [`steps`].
//!
//! Invariant **E1**: this rank is the authority until `Export` is durable, and not from then on. So
//! every state before `LoggingExport` can be undone, and none from it can.

use std::collections::{BTreeMap, BTreeSet};

use common::id::{DirFragId, Epoch, Ino, MigrationId, Nonce, Rank, Seq};
use common::migration::{EndReason, MigrationRecord};
use common::time::Monotonic;

use super::copy::{Changes, Copy};
use super::{Event, Half, Order, record};
use crate::cx::{Cx, Step as Attempt, Stop, Wait};
use crate::effect::Effect;
use crate::journal::entry::SubtreeClaim;
use crate::message::migration::{Content, MigrationMsg, Step};
use crate::replica;
use crate::row::{Parent, Row};
use crate::subtree::{DirAuth, Freeze};

mod cancel;
mod check;
mod failure;
mod steps;
#[cfg(test)]
mod tests;

pub use check::check;

/// A migration, seen from the rank that gives the subtree away.
#[derive(Clone, Debug, Hash)]
pub struct Exporter {
    export: Export,
    state: State,
    /// When the state was entered, and the region frozen.
    since: Monotonic,
    frozen: Option<Monotonic>,
    record: MigrationRecord,
    /// Bases that thawed in this step.
    thawed: Vec<DirFragId>,
}

/// What is decided when a migration starts, and what is fixed by its freeze.
#[derive(Clone, Debug, Hash)]
pub struct Export {
    pub id: MigrationId,
    pub base: DirFragId,
    pub parent: Parent,
    pub importer: Rank,
    /// Subtrees nested in this one, which stay where they are.
    pub bounds: BTreeMap<DirFragId, SubtreeClaim>,
    /// The living ranks, other than the importer, that replicate something of the region.
    pub bystanders: BTreeSet<Rank>,
    /// What that is, of each.
    pub replicated: BTreeMap<Rank, Vec<Ino>>,
    /// Directories of which this rank is to keep a replica, once they are the importer's.
    pub kept: BTreeMap<Ino, Kept>,
    /// The claim the importer will have.
    pub epoch: Epoch,
    /// From this position on it is durable that this epoch is used up. Nobody is told of it before: after
    /// a loss of power this rank would claim something else by it.
    pub stamped: Seq,
}

/// A replica to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kept {
    pub parent: Parent,
    pub nonce: Nonce,
}

#[derive(Clone, Debug, Hash, strum::IntoStaticStr)]
pub enum State {
    /// Waiting for the base's path to be known here.
    Locking,
    /// Waiting for the importer to know the base's path.
    Discovering,
    /// Waiting for rows to be written at the importer, until few are left; and for the region around this one,
    /// if that is leaving.
    Copying(Copying),
    /// Waiting for operations of several turns inside the region to end, and for regions in it to leave that
    /// are leaving.
    Freezing(Copy),
    /// Frozen. Waiting for the importer to open the bounds.
    Prepping(Copy),
    /// Waiting for bystanders to know that authority is in doubt.
    Warning(Warning),
    /// The last delta is sent. Waiting for the importer to make it durable.
    Exporting(Copy),
    /// Waiting for `Export` to be durable: the point of no return.
    LoggingExport(Copy, Seq),
    /// Waiting for bystanders to know the new authority, and for the importer to have finished.
    Notifying {
        awaiting: BTreeSet<Rank>,
        finished: Finished,
    },
    /// Undone. Waiting for bystanders to know that authority never moved, and for the importer to
    /// have undone its half.
    Cancelling {
        awaiting: BTreeSet<Rank>,
        importer: Undone,
        reason: EndReason,
    },
    Over(Result<(), EndReason>),
}

#[derive(Clone, Debug, Hash)]
pub struct Copying {
    copy: Copy,
    unacked: BTreeSet<u32>,
}

#[derive(Clone, Debug, Hash)]
pub struct Warning {
    copy: Copy,
    awaiting: BTreeSet<Rank>,
    /// Gathered so far for the last delta.
    delta: Vec<Content>,
    resent: Resent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resent {
    NotYet,
    Once,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finished {
    NotYet,
    Yes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Undone {
    Awaited,
    /// It has said so, or is dead, or was never told.
    Yes,
}

impl Exporter {
    /// Makes the base a subtree of its own and begins.
    ///
    /// # Errors
    /// What to wait for; nothing has changed then.
    pub fn start(
        id: MigrationId,
        order: &Order,
        record: MigrationRecord,
        cx: &mut Cx<'_>,
    ) -> Attempt<Self> {
        let base = DirFragId::whole(order.dir);
        let parent = cx.dir(order.dir)?.parent.clone().ok_or(Stop::Gone(order.dir))?;
        let above =
            cx.own.subtrees.base_of(order.dir, &cx.own.namespace)?.ok_or(Stop::Gone(order.dir))?;
        cx.own.subtrees.split(base, above, Some(parent.dir));
        let (epoch, stamped) = stamp(cx);
        let export = Export {
            id,
            base,
            parent,
            importer: order.to,
            bounds: BTreeMap::new(),
            bystanders: BTreeSet::new(),
            replicated: BTreeMap::new(),
            kept: BTreeMap::new(),
            epoch,
            stamped,
        };
        let since = cx.now.monotonic;
        let exporter =
            Self { export, state: State::Locking, since, frozen: None, record, thawed: Vec::new() };
        exporter.set_deadline(&exporter.state, cx);
        Ok(exporter)
    }

    /// One event. What it has to wait for inside this rank leaves it where it is: it is poked again.
    pub fn step(&mut self, event: Event, cx: &mut Cx<'_>) {
        let from = self.name();
        let state = std::mem::replace(&mut self.state, State::Over(Ok(())));
        self.state = self.next(state, event, cx);
        self.entered(from, cx);
    }

    fn next(&mut self, state: State, event: Event, cx: &mut Cx<'_>) -> State {
        match (state, event) {
            (State::Locking, Event::Poke) => self.discover(cx),
            (State::Discovering, Event::Message(Step::DiscoverAck)) => self.copy(cx),
            (State::Discovering, Event::Message(Step::Nack { reason })) => {
                self.undo(State::Discovering, reason, Undone::Yes, cx)
            }
            (State::Copying(copying), Event::Poke | Event::Durable(_)) => self.copy_on(copying, cx),
            (State::Copying(mut copying), Event::Message(Step::RowsAck { number })) => {
                copying.unacked.remove(&number);
                let state = self.copy_on(copying, cx);
                self.set_deadline(&state, cx);
                state
            }
            (State::Freezing(copy), Event::Poke) => self.freeze_if_drained(copy, cx),
            (State::Prepping(copy), Event::Message(Step::PrepAck)) => self.warn(copy, cx),
            (State::Warning(warning), Event::Poke) => self.export_if_all_know(warning, cx),
            (State::Exporting(copy), Event::Message(Step::ExportAck)) => self.log_export(copy, cx),
            (State::LoggingExport(copy, seq), Event::Durable(through)) if seq <= through => {
                self.notify(&copy, cx)
            }
            (State::Notifying { awaiting, .. }, Event::Message(Step::Finished)) => {
                self.finish_if_all_know(awaiting, Finished::Yes, cx)
            }
            (State::Cancelling { awaiting, reason, .. }, Event::Message(Step::CancelAck)) => {
                Self::end_if_undone(awaiting, Undone::Yes, reason)
            }
            (state, Event::Message(Step::CancelAck)) => self.importer_lost_it(state, cx),
            (state, Event::Deadline) => self.on_deadline(state, cx),
            (state, Event::Cancel(reason)) => self.undo(state, reason, Undone::Awaited, cx),
            (state, Event::RankDown(rank)) => failure::on_rank_down(self, state, rank, cx),
            // Not yet; of a state that is past; or of no interest to it: what was sent when frozen is
            // acknowledged by `ExportAck`.
            (state, Event::Poke | Event::Durable(_) | Event::Message(Step::RowsAck { .. })) => {
                state
            }
            (state, Event::Message(step)) => {
                tracing::warn!(migration = %self.export.id, state = name(&state), ?step, "unexpected");
                state
            }
        }
    }

    /// A bystander has acknowledged a notice, which the acknowledgement names.
    pub fn on_notify_ack(&mut self, from: Rank, auth: DirAuth, cx: &mut Cx<'_>) {
        let before = self.name();
        let state = std::mem::replace(&mut self.state, State::Over(Ok(())));
        let (me, importer) = (cx.me(), self.export.importer);
        self.state = match (state, auth) {
            (State::Warning(mut warning), auth) if auth == self.in_doubt(me) => {
                warning.awaiting.remove(&from);
                self.export_if_all_know(warning, cx)
            }
            (State::Notifying { mut awaiting, finished }, DirAuth::Sole(rank))
                if rank == importer =>
            {
                awaiting.remove(&from);
                self.finish_if_all_know(awaiting, finished, cx)
            }
            (State::Cancelling { mut awaiting, importer, reason }, auth)
                if auth == DirAuth::Sole(me) =>
            {
                awaiting.remove(&from);
                Self::end_if_undone(awaiting, importer, reason)
            }
            // Late: it acknowledges what no longer matters.
            (state, _) => state,
        };
        self.entered(before, cx);
    }

    /// Rows or pins changed somewhere at this rank.
    pub fn note(&mut self, changes: &Changes, cx: &mut Cx<'_>) {
        match &mut self.state {
            State::Copying(Copying { copy, .. })
            | State::Freezing(copy)
            | State::Prepping(copy)
            | State::Warning(Warning { copy, .. }) => copy.note(changes, cx),
            State::Locking
            | State::Discovering
            | State::Exporting(_)
            | State::LoggingExport(..)
            | State::Notifying { .. }
            | State::Cancelling { .. }
            | State::Over(_) => {}
        }
    }

    /// After each step: logs, journals and times a transition, if it was one.
    fn entered(&mut self, from: &'static str, cx: &mut Cx<'_>) {
        let to = self.name();
        if from == to {
            return;
        }
        record::enter(&mut self.record, to, self.since, cx);
        self.since = cx.now.monotonic;
        if let State::Over(outcome) = self.state {
            record::end(&mut self.record, outcome, cx);
        }
        record::step(&self.record, (from, to), cx);
        if self.is_over() {
            cx.out.push(Effect::StopTimer(crate::timer::Timer::Exporter(self.export.id)));
        } else {
            self.set_deadline(&self.state, cx);
        }
    }

    fn send(&self, step: Step, cx: &mut Cx<'_>) {
        self.send_to(self.export.importer, step, cx);
    }

    fn send_to(&self, to: Rank, step: Step, cx: &mut Cx<'_>) {
        let msg = MigrationMsg { id: self.export.id, base: self.export.base, step };
        cx.out.send(to, msg);
    }

    fn in_doubt(&self, me: Rank) -> DirAuth {
        DirAuth::Ambiguous { first: me, second: self.export.importer }
    }

    #[must_use]
    pub fn name(&self) -> &'static str {
        name(&self.state)
    }

    #[must_use]
    pub fn base(&self) -> DirFragId {
        self.export.base
    }

    #[must_use]
    pub fn is_importer(&self, rank: Rank) -> bool {
        self.export.importer == rank
    }

    #[must_use]
    pub fn half(&self) -> Half {
        let Export { id, base, importer, .. } = self.export;
        let me = id.exporter;
        let both = |first, second| DirAuth::Ambiguous { first, second };
        let expected = match self.state {
            State::Freezing(_) => Some((DirAuth::Sole(me), Freeze::Freezing)),
            State::Prepping(_) | State::Warning(_) => Some((both(me, me), Freeze::ReadOnly)),
            State::Exporting(_) => Some((both(me, importer), Freeze::Sealed)),
            State::LoggingExport(..) => Some((both(importer, me), Freeze::Frozen)),
            State::Locking
            | State::Discovering
            | State::Copying(_)
            | State::Notifying { .. }
            | State::Cancelling { .. }
            | State::Over(_) => None,
        };
        Half { id, base, state: self.name(), expected }
    }

    /// Where the region ends, while it is frozen for this.
    #[must_use]
    pub fn bounds(&self) -> Option<&BTreeMap<DirFragId, SubtreeClaim>> {
        match self.state {
            State::Prepping(_)
            | State::Warning(_)
            | State::Exporting(_)
            | State::LoggingExport(..) => Some(&self.export.bounds),
            State::Locking
            | State::Discovering
            | State::Copying(_)
            | State::Freezing(_)
            | State::Notifying { .. }
            | State::Cancelling { .. }
            | State::Over(_) => None,
        }
    }

    /// Directories whose replicas must stay, with those above them.
    pub fn paths(&self) -> impl Iterator<Item = Ino> + '_ {
        let bounds = self.export.bounds.keys().map(|bound| bound.ino);
        bounds.chain([self.export.parent.dir])
    }

    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over(_))
    }

    #[must_use]
    pub fn is_copying(&self) -> bool {
        matches!(
            self.state,
            State::Copying(_)
                | State::Freezing(_)
                | State::Prepping(_)
                | State::Warning(_)
                | State::Locking
                | State::Discovering
        )
    }

    pub fn take_thawed(&mut self) -> Vec<DirFragId> {
        std::mem::take(&mut self.thawed)
    }

    #[must_use]
    pub fn record(&self) -> MigrationRecord {
        self.record.clone()
    }

    #[must_use]
    pub fn into_record(self) -> MigrationRecord {
        self.record
    }

    /// What an importer that asks is told.
    #[must_use]
    pub fn verdict(&self) -> Step {
        match self.state {
            State::Notifying { .. } | State::Over(Ok(())) => Step::Serve,
            State::Cancelling { .. } | State::Over(Err(_)) => Step::Cancel,
            State::Locking
            | State::Discovering
            | State::Copying(_)
            | State::Freezing(_)
            | State::Prepping(_)
            | State::Warning(_)
            | State::Exporting(_)
            | State::LoggingExport(..) => Step::Undecided,
        }
    }
}

/// A claim higher than all that went before, and when it is durable that it is used up.
fn stamp(cx: &mut Cx<'_>) -> (Epoch, Seq) {
    let epoch = cx.own.subtrees.stamp();
    let stamped = cx.own.advance();
    cx.out.put(Row::Clock(epoch));
    cx.out.push(Effect::SyncSoon);
    (epoch, stamped)
}

fn name(state: &State) -> &'static str {
    state.into()
}

/// What a step inside this rank has to wait for is begun; everything pokes it when it comes.
fn await_locally(stop: Stop, cx: &mut Cx<'_>) {
    if let Stop::Wait(Wait::Fetch(fetch)) = stop {
        cx.own.namespace.fetch(fetch, cx.out);
    } else if let Stop::Wait(Wait::Spine(dir)) = stop {
        replica::discover(cx, dir, None);
    }
}
