//! Cancelling: legal until `Export` is submitted. The exporter decides and unfreezes at once, since
//! the importer serves nothing without being told to; then it makes sure that everybody knows.

use std::collections::BTreeSet;

use common::id::Rank;
use common::migration::EndReason;

use super::{Exporter, Finished, Resent, State, Undone, Warning};
use crate::cx::Cx;
use crate::effect::Effect;
use crate::kill_point::KillPoint;
use crate::message::migration::Step;
use crate::migration::copy::Copy;
use crate::mutant::mutated;
use crate::replica;
use crate::row::Key;
use crate::subtree::{DirAuth, Freeze};
use crate::timer::Timer;

impl Exporter {
    #[must_use]
    pub fn can_cancel(&self) -> bool {
        match self.state {
            State::Locking
            | State::Discovering
            | State::Copying(_)
            | State::Freezing(_)
            | State::Prepping(_)
            | State::Warning(_)
            | State::Exporting(_) => true,
            State::LoggingExport(..)
            | State::Notifying { .. }
            | State::Cancelling { .. }
            | State::Over(_) => false,
        }
    }

    /// Undoes what can be undone; a state that cannot be stays. `importer`: whether it must say that
    /// it has undone its half.
    pub(super) fn undo(
        &mut self,
        state: State,
        reason: EndReason,
        importer: Undone,
        cx: &mut Cx<'_>,
    ) -> State {
        let none = BTreeSet::new();
        match state {
            State::Locking => {
                self.thaw(None, cx);
                State::Over(Err(reason))
            }
            State::Discovering => {
                self.thaw(None, cx);
                self.await_undone(none, importer, reason, cx)
            }
            State::Copying(copying) => {
                self.thaw(Some(&copying.copy), cx);
                self.await_undone(none, importer, reason, cx)
            }
            State::Freezing(copy) | State::Prepping(copy) => {
                self.thaw(Some(&copy), cx);
                self.await_undone(none, importer, reason, cx)
            }
            State::Warning(Warning { copy, .. }) | State::Exporting(copy) => {
                self.thaw(Some(&copy), cx);
                let forgotten = mutated!(cx.params, NotUnwarned);
                let warned = if forgotten { none } else { self.export.bystanders.clone() };
                self.announce(&warned, DirAuth::Sole(cx.me()), cx);
                cx.out.reached(KillPoint::Unwarned);
                self.await_undone(warned, importer, reason, cx)
            }
            state @ (State::LoggingExport(..)
            | State::Notifying { .. }
            | State::Cancelling { .. }
            | State::Over(_)) => state,
        }
    }

    /// The region is live again, and what was to be deleted is not.
    fn thaw(&mut self, copy: Option<&Copy>, cx: &mut Cx<'_>) {
        let base = self.export.base;
        if let Some(frozen) = self.frozen {
            self.record.freeze_nanos = cx.now.monotonic.0.saturating_sub(frozen.0);
        }
        self.set_subtree(DirAuth::Sole(cx.me()), Freeze::Live, cx);
        if let Some(subtree) = cx.own.subtrees.get_mut(base) {
            subtree.apart = false;
        }
        cx.own.merge(base, cx.out);
        for dir in copy.into_iter().flat_map(Copy::dirs) {
            cx.out.delete(Key::Drop(self.export.id, common::id::DirFragId::whole(*dir)));
        }
        replica::win(cx, base);
        self.thawed.push(base);
    }

    fn await_undone(
        &self,
        awaiting: BTreeSet<Rank>,
        importer: Undone,
        reason: EndReason,
        cx: &mut Cx<'_>,
    ) -> State {
        if importer == Undone::Awaited {
            self.send(Step::Cancel, cx);
            cx.out.reached(KillPoint::CancelSent);
        }
        Self::end_if_undone(awaiting, importer, reason)
    }

    pub(super) fn end_if_undone(
        awaiting: BTreeSet<Rank>,
        importer: Undone,
        reason: EndReason,
    ) -> State {
        if awaiting.is_empty() && importer == Undone::Yes {
            State::Over(Err(reason))
        } else {
            State::Cancelling { awaiting, importer, reason }
        }
    }

    /// The importer has nothing of this migration (any more): its half is undone.
    pub(super) fn importer_lost_it(&mut self, state: State, cx: &mut Cx<'_>) -> State {
        self.undo(state, EndReason::ImporterRefused, Undone::Yes, cx)
    }

    /// Every state that is to end by itself has a deadline; those that must not be undone send again.
    pub(super) fn on_deadline(&mut self, state: State, cx: &mut Cx<'_>) -> State {
        let reason = match &state {
            State::Locking => EndReason::LockingTimedOut,
            State::Discovering => EndReason::DiscoveringTimedOut,
            State::Copying(_) => EndReason::CopyingTimedOut,
            State::Freezing(_) => EndReason::FreezingTimedOut,
            State::Prepping(_) => EndReason::PreppingTimedOut,
            State::Warning(Warning { resent: Resent::NotYet, .. }) => {
                return self.warn_again(state, cx);
            }
            State::Warning(_) => EndReason::WarningTimedOut,
            State::Exporting(_) => EndReason::ExportingTimedOut,
            State::LoggingExport(..) | State::Over(_) => return state,
            State::Notifying { awaiting, finished } => {
                self.announce(awaiting, DirAuth::Sole(self.export.importer), cx);
                if *finished == Finished::NotYet {
                    self.send(Step::Serve, cx);
                }
                self.set_deadline(&state, cx);
                return state;
            }
            State::Cancelling { awaiting, importer, .. } => {
                self.announce(awaiting, DirAuth::Sole(cx.me()), cx);
                if *importer == Undone::Awaited {
                    self.send(Step::Cancel, cx);
                }
                self.set_deadline(&state, cx);
                return state;
            }
        };
        self.undo(state, reason, Undone::Awaited, cx)
    }

    fn warn_again(&self, state: State, cx: &mut Cx<'_>) -> State {
        let State::Warning(mut warning) = state else { return state };
        self.announce(&warning.awaiting, self.in_doubt(cx.me()), cx);
        warning.resent = Resent::Once;
        let state = State::Warning(warning);
        self.set_deadline(&state, cx);
        state
    }

    /// Starts the clock for a state, which within a step is not `self.state` yet. (The wait for our own sync has none: a failed sync
    /// ends the process.)
    pub(super) fn set_deadline(&self, state: &State, cx: &mut Cx<'_>) {
        let params = &cx.params.migration;
        let wait = match state {
            State::Locking => params.locking,
            State::Discovering => params.discovering,
            State::Copying(_) => params.copying_stalled,
            State::Freezing(_) => params.freezing,
            State::Prepping(_) => params.prepping,
            State::Warning(_) => params.warning / 2,
            State::Exporting(_) => params.exporting,
            State::Notifying { .. } | State::Cancelling { .. } => params.notifying_resend,
            State::LoggingExport(..) | State::Over(_) => {
                cx.out.push(Effect::StopTimer(Timer::Exporter(self.export.id)));
                return;
            }
        };
        let at = cx.now.monotonic.after(wait);
        cx.out.push(Effect::SetTimer { timer: Timer::Exporter(self.export.id), at });
    }
}
