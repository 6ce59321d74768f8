//! The record of a migration, for operators: kept while it runs and after it has ended.

use common::id::{DirFragId, MigrationId};
use common::migration::{EndReason, MigrationOutcome, MigrationRecord, Phase};
use common::time::Monotonic;

use super::Order;
use crate::cx::Cx;
use crate::effect::Effect;
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

/// One transition of one half: logged, and journaled in the batch of the turn that makes it.
pub fn step(
    role: Role,
    id: MigrationId,
    (from, to): (&'static str, &'static str),
    cx: &mut Cx<'_>,
) {
    tracing::debug!(migration = %id, rank = cx.me().0, ?role, from, to, "step");
    let step = Step { id, role, from: from.to_owned(), to: to.to_owned(), at: cx.now.wall };
    let seq = cx.own.advance();
    cx.out.push(Effect::Journal { seq, entry: Entry::Step(step) });
    cx.own.journal.note_step(seq, cx.out);
}
