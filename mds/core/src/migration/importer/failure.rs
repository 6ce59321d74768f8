//! What an importer does when another rank dies. One arm for each state, and no wildcards.

use common::id::Rank;

use super::{ExporterIs, Importer, State};
use crate::cx::Cx;
use crate::journal::entry::ImportOutcome;
use crate::mutant::mutated;

pub(super) fn on_rank_down(
    importer: &mut Importer,
    mut state: State,
    dead: Rank,
    cx: &mut Cx<'_>,
) -> State {
    if importer.import.exporter == dead {
        state = on_exporter_down(importer, state, cx);
    }
    if importer.import.bystanders.contains(&dead) {
        state = on_bystander_down(importer, state, dead, cx);
    }
    state
}

fn on_exporter_down(importer: &mut Importer, state: State, cx: &mut Cx<'_>) -> State {
    match state {
        State::Discovering => {
            cov_mark::hit!(exporter_dies_in_discovering);
            State::Over
        }
        State::Discovered => {
            cov_mark::hit!(exporter_dies_in_discovered);
            State::Over
        }
        State::Copying => {
            cov_mark::hit!(exporter_dies_in_copying);
            importer.reverse(&state, cx);
            State::Over
        }
        State::Prepping => {
            cov_mark::hit!(exporter_dies_in_prepping);
            importer.reverse(&state, cx);
            State::Over
        }
        State::Prepped => {
            // It may have warned bystanders, and is not there to take that back.
            cov_mark::hit!(exporter_dies_in_prepped);
            importer.abort(cx)
        }
        State::LoggingStart(..) => {
            // We have not acknowledged, so there can be no `Export`.
            cov_mark::hit!(exporter_dies_in_logging_start);
            importer.log_finish(ImportOutcome::Foreign, cx);
            importer.abort(cx)
        }
        State::Acking(payload) => {
            // In doubt: its journal decides, and its next incarnation says what is in it.
            cov_mark::hit!(exporter_dies_in_acking);
            if mutated!(cx.params, DoubtSeized) {
                return importer.serve(&payload, cx);
            }
            if mutated!(cx.params, DoubtForgotten) {
                importer.log_finish(ImportOutcome::Foreign, cx);
                return importer.abort(cx);
            }
            State::Acking(payload)
        }
        State::Finishing { seq, told, .. } => {
            // It was durable, or we would not serve.
            cov_mark::hit!(exporter_dies_in_finishing);
            importer.announce_ourselves(cx);
            Importer::end_if_done(seq, told, ExporterIs::Done)
        }
        State::Aborting { awaiting } => {
            cov_mark::hit!(exporter_dies_in_aborting);
            State::Aborting { awaiting }
        }
        State::Over => State::Over,
    }
}

fn on_bystander_down(importer: &mut Importer, state: State, dead: Rank, cx: &mut Cx<'_>) -> State {
    importer.import.bystanders.remove(&dead);
    match state {
        State::Aborting { mut awaiting } => {
            cov_mark::hit!(bystander_dies_in_aborting);
            awaiting.remove(&dead);
            importer.end_if_unwarned(awaiting, cx)
        }
        State::Discovering
        | State::Discovered
        | State::Copying
        | State::Prepping
        | State::Prepped
        | State::LoggingStart(..)
        | State::Acking(_)
        | State::Finishing { .. }
        | State::Over => state,
    }
}
