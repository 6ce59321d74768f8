//! What a rank that comes back does about migrations, and what others do about those of such a rank.

use common::id::{MigrationId, Rank};

use super::importer::Importer;
use super::{Event, Migrator, record};
use crate::cx::Cx;
use crate::journal::Unsettled;
use crate::kill_point::KillPoint;
use crate::message::migration::{MigrationMsg, Step};
use crate::mutant::mutated;

impl Migrator {
    /// Imports that the store leaves in doubt go on where they were: waiting for the exporter's word.
    /// What operators knew of earlier attempts, they know still.
    #[must_use]
    pub fn restore(left: Unsettled, cx: &mut Cx<'_>) -> Self {
        let Unsettled { in_doubt, imported, recalled } = left;
        for doubt in &in_doubt {
            if mutated!(cx.params, ImportedSessionsExpected) {
                for session in &doubt.start.sessions {
                    if cx.own.sessions.get(session.client).is_none() {
                        cx.own.sessions.expect(session.client, cx.own.seq, cx.out);
                    }
                }
            }
            cx.own.spine.watch.begin(doubt.start.id, doubt.start.base.ino);
        }
        let imports =
            in_doubt.into_iter().map(|doubt| (doubt.start.id, Importer::restore(doubt))).collect();
        Self { imports, imported, ended: record::restore(recalled, cx), ..Self::default() }
    }

    /// The rank serves: whoever is in doubt asks, and who may be in doubt about us is told.
    pub fn on_active(&mut self, cx: &mut Cx<'_>) {
        for (id, release) in &cx.own.released {
            let msg = MigrationMsg { id: *id, base: release.base, step: Step::Serve };
            cx.out.send(release.to, msg);
        }
        for (id, base) in std::mem::take(&mut self.imported) {
            cov_mark::hit!(importer_returns_and_has_finished);
            cx.out.send(id.exporter, MigrationMsg { id, base, step: Step::Finished });
            cx.own.journal.settle(id);
            cx.own.checkpoint(cx.out);
        }
        self.tell_all_imports(&Event::Deadline, cx);
    }

    /// Its journal decides what it had begun to give away: whoever is in doubt about that asks.
    pub fn on_rank_returned(&mut self, rank: Rank, cx: &mut Cx<'_>) {
        for (id, doubt) in self.doubts.iter().filter(|(id, _)| id.exporter == rank) {
            if cx.map.incarnation(rank) != Some(id.incarnation) {
                cx.out.send(rank, MigrationMsg { id: *id, base: doubt.base, step: Step::Ask });
                cx.out.reached(KillPoint::AskSent);
            }
        }
        let of_it = |import: &Importer| import.is_exporter(rank) && import.is_in_doubt();
        let imports = self.imports.iter().filter(|(_, import)| of_it(import));
        let imports: Vec<MigrationId> = imports.map(|(id, _)| *id).collect();
        for id in imports {
            self.step_import(id, Event::Deadline, cx);
        }
    }
}
