//! What an exporter does when another rank dies.
//!
//! One function for each role of the dead, one arm for each state, and no wildcards: a new state
//! does not compile until someone decides what deaths mean in it. Each arm that acts is named by its
//! coverage mark, and the test of that name is the proof.

use common::id::Rank;
use common::migration::EndReason;

use super::{Exporter, State, Undone};
use crate::cx::Cx;
use crate::mutant::mutated;
use crate::subtree::DirAuth;

/// A rank may play several roles.
pub(super) fn on_rank_down(
    exporter: &mut Exporter,
    mut state: State,
    dead: Rank,
    cx: &mut Cx<'_>,
) -> State {
    if exporter.export.importer == dead {
        state = on_importer_down(exporter, state, cx);
    }
    if exporter.export.bystanders.contains(&dead) {
        state = on_bystander_down(exporter, state, dead, cx);
    }
    if owns_a_bound(exporter, dead, cx) {
        state = on_bound_owner_down(exporter, state, cx);
    }
    state
}

/// Bounds are fixed by the freeze; until then those of now count.
fn owns_a_bound(exporter: &Exporter, dead: Rank, cx: &Cx<'_>) -> bool {
    let subtrees = &cx.own.subtrees;
    let is_dead = |bound| subtrees.get(bound).is_some_and(|it| it.auth == DirAuth::Sole(dead));
    exporter.export.bounds.values().any(|claim| claim.auth == dead)
        || subtrees
            .bounds(exporter.export.base, &cx.own.namespace)
            .is_ok_and(|bounds| bounds.into_iter().any(is_dead))
}

/// By E1 we are still the authority, unless `Export` may be durable.
fn on_importer_down(exporter: &mut Exporter, state: State, cx: &mut Cx<'_>) -> State {
    let reason = EndReason::ImporterDied;
    match state {
        State::Locking => {
            cov_mark::hit!(importer_dies_in_locking);
            exporter.undo(state, reason, Undone::Yes, cx)
        }
        State::Discovering => {
            cov_mark::hit!(importer_dies_in_discovering);
            exporter.undo(state, reason, Undone::Yes, cx)
        }
        State::Copying(_) => {
            cov_mark::hit!(importer_dies_in_copying);
            exporter.undo(state, reason, Undone::Yes, cx)
        }
        State::Freezing(_) => {
            cov_mark::hit!(importer_dies_in_freezing);
            exporter.undo(state, reason, Undone::Yes, cx)
        }
        State::Prepping(_) => {
            // Nobody but the importer has heard of the migration: thaw, and it never was.
            cov_mark::hit!(importer_dies_in_prepping);
            exporter.undo(state, reason, Undone::Yes, cx)
        }
        State::Warning(_) => {
            cov_mark::hit!(importer_dies_in_warning);
            exporter.undo(state, reason, Undone::Yes, cx)
        }
        State::Exporting(_) => {
            // Its journal may hold `ImportStart`. When it returns it asks us, and we answer from
            // ours, which holds no `Export`.
            cov_mark::hit!(importer_dies_in_exporting);
            exporter.undo(state, reason, Undone::Yes, cx)
        }
        State::LoggingExport(copy, _) if mutated!(cx.params, UndoAfterCommit) => {
            exporter.undo(State::Exporting(copy), reason, Undone::Yes, cx)
        }
        State::LoggingExport(..) => {
            // `Export` may be durable already. It comes back as the authority.
            // Its next life knows of no replicas.
            cov_mark::hit!(importer_dies_in_logging_export);
            exporter.export.kept.clear();
            state
        }
        State::Notifying { .. } => {
            // It learns in resolve that the region is its own, and says `Finished` then.
            cov_mark::hit!(importer_dies_in_notifying);
            state
        }
        State::Cancelling { awaiting, reason, .. } => {
            cov_mark::hit!(importer_dies_in_cancelling);
            Exporter::end_if_undone(awaiting, Undone::Yes, reason)
        }
        State::Over(_) => state,
    }
}

/// A dead bystander knows nothing that could be wrong; it counts as having acknowledged.
fn on_bystander_down(exporter: &mut Exporter, state: State, dead: Rank, cx: &mut Cx<'_>) -> State {
    if mutated!(cx.params, DeadBystanderAwaited) {
        return state;
    }
    exporter.export.bystanders.remove(&dead);
    match state {
        State::Locking | State::Discovering | State::Copying(_) | State::Freezing(_) => state,
        State::Prepping(_) => {
            cov_mark::hit!(bystander_dies_in_prepping);
            state
        }
        State::Warning(mut warning) => {
            cov_mark::hit!(bystander_dies_in_warning);
            warning.awaiting.remove(&dead);
            exporter.export_if_all_know(warning, cx)
        }
        State::Exporting(_) | State::LoggingExport(..) => state,
        State::Notifying { mut awaiting, finished } => {
            cov_mark::hit!(bystander_dies_in_notifying);
            awaiting.remove(&dead);
            exporter.finish_if_all_know(awaiting, finished, cx)
        }
        State::Cancelling { mut awaiting, importer, reason } => {
            cov_mark::hit!(bystander_dies_in_cancelling);
            awaiting.remove(&dead);
            Exporter::end_if_undone(awaiting, importer, reason)
        }
        State::Over(_) => state,
    }
}

/// The importer may wait for a bound that nobody can open for it.
fn on_bound_owner_down(exporter: &mut Exporter, state: State, cx: &mut Cx<'_>) -> State {
    match state {
        State::Freezing(_) => {
            cov_mark::hit!(bound_owner_dies_in_freezing);
            exporter.undo(state, EndReason::BoundOwnerDied, Undone::Awaited, cx)
        }
        State::Prepping(_) => {
            cov_mark::hit!(bound_owner_dies_in_prepping);
            exporter.undo(state, EndReason::BoundOwnerDied, Undone::Awaited, cx)
        }
        // Not looked at yet, or opened and pinned by the importer.
        State::Locking
        | State::Discovering
        | State::Copying(_)
        | State::Warning(_)
        | State::Exporting(_)
        | State::LoggingExport(..)
        | State::Notifying { .. }
        | State::Cancelling { .. }
        | State::Over(_) => state,
    }
}
