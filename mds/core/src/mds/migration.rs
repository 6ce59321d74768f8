//! The migrations of this rank, wired to what happens to it.

use common::id::{Ino, Rank};
use common::migration::{EndReason, MigrationCause};
use common::time::Now;
use common::wire::admin::{AdminError, AdminReply, Settlement};

use super::Mds;
use crate::cx::{Cx, Step, Stop};
use crate::effect::{Effect, Effects};
use crate::message::migration::MigrationMsg;
use crate::migration::{Migrator, Order, sweep};
use crate::replica;
use crate::subtree::{DirAuth, Freeze};
use crate::timer::Timer;

/// How often directories whose pin says that they belong elsewhere are looked for.
const PINS_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

impl Mds {
    fn split_migrator<'a>(
        &'a mut self,
        now: Now,
        out: &'a mut Effects,
    ) -> (Cx<'a>, &'a mut Migrator) {
        let cx = Cx { now, params: &self.params, map: &self.map, own: &mut self.own, out };
        (cx, &mut self.migrator)
    }

    /// Lets the migrations see what this input has changed, then wakes whoever waited for a thaw.
    pub(super) fn poke_migrations(&mut self, now: Now, out: &mut Effects) {
        let (mut cx, migrator) = self.split_migrator(now, out);
        migrator.poke(&mut cx);
        self.wake_thawed(now, out);
    }

    pub(super) fn wake_thawed(&mut self, now: Now, out: &mut Effects) {
        for wait in self.migrator.take_thawed() {
            self.wake(now, &wait, out);
        }
    }

    pub(super) fn on_migration_msg(
        &mut self,
        now: Now,
        from: Rank,
        msg: MigrationMsg,
        out: &mut Effects,
    ) {
        let (mut cx, migrator) = self.split_migrator(now, out);
        migrator.on_message(from, msg, &mut cx);
        self.wake_thawed(now, out);
    }

    pub(super) fn on_migrations_durable(
        &mut self,
        now: Now,
        through: common::id::Seq,
        out: &mut Effects,
    ) {
        let (mut cx, migrator) = self.split_migrator(now, out);
        if !cx.own.is_read_only() {
            // What contradicts itself is kept to be looked into.
            cx.own.journal.on_durable(through, cx.out);
        }
        migrator.on_durable(through, &mut cx);
        self.wake_thawed(now, out);
    }

    /// Whoever waited for a thaw goes on when everybody has heard of the death: what they begin concerns
    /// the rank's next life.
    pub(super) fn on_rank_down(&mut self, now: Now, rank: Rank, out: &mut Effects) {
        let (mut cx, migrator) = self.split_migrator(now, out);
        replica::forget_rank(&mut cx, rank);
        migrator.on_rank_down(rank, &mut cx);
    }

    pub(super) fn on_exporter_returned(&mut self, now: Now, rank: Rank, out: &mut Effects) {
        let (mut cx, migrator) = self.split_migrator(now, out);
        migrator.on_rank_returned(rank, &mut cx);
        self.wake_thawed(now, out);
    }

    /// What waits for a lost rank to finish is finished without it.
    pub(super) fn migrations_lost(&mut self, now: Now, out: &mut Effects) {
        let (mut cx, migrator) = self.split_migrator(now, out);
        migrator.settle_lost(&mut cx);
        self.wake_thawed(now, out);
    }

    pub(super) fn on_migration_timer(&mut self, now: Now, timer: Timer, out: &mut Effects) {
        let (mut cx, migrator) = self.split_migrator(now, out);
        match timer {
            Timer::Exporter(id) => migrator.on_export_deadline(id, &mut cx),
            Timer::Importer(id) => migrator.on_import_deadline(id, &mut cx),
            Timer::Sweep => sweep::sweep(&mut cx),
            Timer::Lease(_)
            | Timer::ReconnectWindow
            | Timer::Balancer
            | Timer::Pins
            | Timer::Spine
            | Timer::LockProbe => {}
        }
        self.wake_thawed(now, out);
    }

    /// The rank serves again: what an earlier life left open goes on.
    pub(super) fn resume_migrations(&mut self, now: Now, out: &mut Effects) {
        let (mut cx, migrator) = self.split_migrator(now, out);
        migrator.on_active(&mut cx);
        sweep::soon(&mut cx);
        self.wake_thawed(now, out);
    }

    pub(super) fn export(
        &mut self,
        now: Now,
        order: &Order,
        out: &mut Effects,
    ) -> Step<AdminReply> {
        let (mut cx, migrator) = self.split_migrator(now, out);
        Ok(match migrator.start(order, &mut cx)? {
            Ok(id) => AdminReply::Exporting(id),
            Err(reason) => AdminReply::Refused(AdminError::Migration(reason)),
        })
    }

    pub(super) fn cancel_migration(
        &mut self,
        now: Now,
        id: common::id::MigrationId,
        out: &mut Effects,
    ) -> AdminReply {
        let (mut cx, migrator) = self.split_migrator(now, out);
        match migrator.cancel(id, &mut cx) {
            None => AdminReply::Refused(AdminError::NoSuchMigration),
            Some(false) => AdminReply::Refused(AdminError::PastCommit),
            Some(true) => AdminReply::Cancelling,
        }
    }

    /// Only whoever gave the region away knows whether it did; if that is lost, somebody must choose.
    pub(super) fn settle_migration(
        &mut self,
        now: Now,
        id: common::id::MigrationId,
        verdict: Settlement,
        out: &mut Effects,
    ) -> AdminReply {
        if self.map.ranks.contains_key(&id.exporter) {
            return AdminReply::Refused(AdminError::ExporterLives(id.exporter));
        }
        let (mut cx, migrator) = self.split_migrator(now, out);
        let settled = migrator.settle(id, verdict, &mut cx);
        self.wake_thawed(now, out);
        if settled { AdminReply::Settled } else { AdminReply::Refused(AdminError::NotInDoubt) }
    }

    pub(super) fn set_pins_timer(&self, now: Now, out: &mut Effects) {
        let at = now.monotonic.after(PINS_INTERVAL);
        out.push(Effect::SetTimer { timer: Timer::Pins, at });
    }

    /// Gives away what a pin says belongs elsewhere. Refusals are tried again the next time; only
    /// those worth an operator's attention leave a record.
    pub(super) fn on_pins_timer(&mut self, now: Now, out: &mut Effects) {
        self.set_pins_timer(now, out);
        let dirs: Vec<Ino> = self.own.namespace.pinned_dirs().collect();
        for dir in dirs {
            let (mut cx, migrator) = self.split_migrator(now, out);
            match belongs_elsewhere(dir, &cx) {
                Ok(Some(to)) if migrator.running() == 0 => {
                    let order = Order { dir, to, cause: MigrationCause::Pin };
                    match migrator.start(&order, &mut cx) {
                        Ok(Ok(id)) => {
                            tracing::info!(migration = %id, to = to.0, "pinned directory moves")
                        }
                        Ok(Err(
                            EndReason::Overlaps
                            | EndReason::ImporterNotActive
                            | EndReason::Degraded,
                        )) => {}
                        Ok(Err(reason)) => tracing::info!(%dir, %reason, "pinned directory stays"),
                        Err(stop) => fetch_for(stop, &mut cx),
                    }
                }
                Ok(_) => {}
                Err(stop) => fetch_for(stop, &mut cx),
            }
        }
        self.wake_thawed(now, out);
    }
}

fn fetch_for(stop: Stop, cx: &mut Cx<'_>) {
    if let Stop::Wait(crate::cx::Wait::Fetch(fetch)) = stop {
        cx.own.namespace.fetch(fetch, cx.out);
    }
}

/// The rank a directory of ours is pinned to, if it is another one that could take it.
fn belongs_elsewhere(dir: Ino, cx: &Cx<'_>) -> Step<Option<Rank>> {
    let Some(base) = cx.own.subtrees.base_of(dir, &cx.own.namespace)? else { return Ok(None) };
    let live = cx.own.subtrees.get(base).is_some_and(|subtree| {
        subtree.auth == DirAuth::Sole(cx.me()) && subtree.freeze == Freeze::Live
    });
    let pin = cx.own.namespace.dir(dir)?.and_then(|dir| dir.pin);
    Ok(pin.filter(|to| live && *to != cx.me()))
}

#[cfg(test)]
impl Mds {
    pub(crate) fn migrator_for_test(&self) -> &Migrator {
        &self.migrator
    }

    pub(crate) fn holdings_for_test(&mut self) -> &mut crate::holdings::Holdings {
        &mut self.own
    }
}
