//! The record of a migration, for operators: kept while it runs and after it has ended.

use std::collections::VecDeque;

use common::id::{DirFragId, MigrationId, Rank};
use common::migration::{EndReason, MigrationCause, MigrationOutcome, MigrationRecord, Phase};
use common::time::Monotonic;

use super::Order;
use crate::cx::Cx;
use crate::effect::Effect;
use crate::journal::Recalled;
use crate::journal::entry::{Entry, Role, Step};

#[must_use]
pub fn begin(id: MigrationId, order: &Order, path: String, cx: &Cx<'_>) -> MigrationRecord {
    MigrationRecord {
        id,
        base: DirFragId::whole(order.dir),
        path,
        from: cx.me(),
        to: order.to,
        cause: order.cause,
        state: "Locking".to_owned(),
        started: cx.now.wall,
        phases: Vec::new(),
        rows_copied_live: 0,
        rounds: 0,
        rows_in_last_delta: 0,
        freeze_nanos: 0,
        outcome: None,
    }
}

/// The state has changed: the time spent in the one before is known.
pub fn enter(record: &mut MigrationRecord, to: &'static str, since: Monotonic, cx: &Cx<'_>) {
    let nanos = cx.now.monotonic.0.saturating_sub(since.0);
    let state = std::mem::replace(&mut record.state, to.to_owned());
    record.phases.push(Phase { state, nanos });
}

pub fn end(record: &mut MigrationRecord, outcome: Result<(), EndReason>, cx: &Cx<'_>) {
    "Over".clone_into(&mut record.state);
    record.outcome = Some(match outcome {
        Ok(()) => MigrationOutcome::Moved,
        Err(reason) => MigrationOutcome::Cancelled(reason),
    });
    let millis = record.freeze_nanos / 1_000_000;
    tracing::info!(
        migration = %record.id,
        rank = cx.me().0,
        to = record.to.0,
        path = record.path,
        outcome = ?record.outcome,
        freeze_ms = millis,
        "migration ended"
    );
}

/// A pin that cannot be followed is tried again every second: one record says why.
#[must_use]
pub fn is_repeated(ended: &MigrationRecord, refused: &MigrationRecord) -> bool {
    refused.cause == MigrationCause::Pin
        && ended.cause == refused.cause
        && (ended.base, ended.to) == (refused.base, refused.to)
        && ended.outcome == refused.outcome
}

/// A transition of the exporter, with what operators are to know of the migration by now.
pub fn step(record: &MigrationRecord, (from, to): (&str, &str), cx: &mut Cx<'_>) {
    journal(
        Step {
            id: record.id,
            role: Role::Exporter,
            base: record.base,
            peer: record.to,
            from: from.to_owned(),
            to: to.to_owned(),
            at: cx.now.wall,
            record: Some(Box::new(record.clone())),
        },
        cx,
    );
}

/// A transition of the importer.
pub fn import_step(
    (id, base, exporter): (MigrationId, DirFragId, Rank),
    (from, to): (&str, &str),
    cx: &mut Cx<'_>,
) {
    let (from, to) = (from.to_owned(), to.to_owned());
    let (role, at) = (Role::Importer, cx.now.wall);
    journal(Step { id, role, base, peer: exporter, from, to, at, record: None }, cx);
}

/// Each is logged, and journaled in the batch of the turn that makes it.
fn journal(step: Step, cx: &mut Cx<'_>) {
    let Step { id, role, from, to, .. } = &step;
    tracing::debug!(migration = %id, rank = cx.me().0, ?role, from, to, "step");
    let half = (*id, *role);
    let seq = cx.own.advance();
    cx.out.push(Effect::Journal { seq, entry: Entry::Step(step) });
    cx.own.journal.note_step(half, seq, cx.out);
}

/// The records of this rank's earlier lives. What was under way when the last one ended is over:
/// it stands if its `Export` was on record, else it never was.
#[must_use]
pub fn restore(found: Vec<Recalled>, cx: &mut Cx<'_>) -> VecDeque<MigrationRecord> {
    let mut records = VecDeque::new();
    for Recalled { mut record, exported } in found {
        if !record.is_over() {
            let state = record.state.clone();
            let outcome = if exported { Ok(()) } else { Err(EndReason::Restarted) };
            end(&mut record, outcome, cx);
            step(&record, (&state, "Over"), cx);
        }
        records.push_back(record);
    }
    records
}

#[cfg(test)]
mod tests;
