//! What becomes of migrations whose other half is a lost rank's.

use common::id::{DirFragId, MigrationId, Rank};

use super::exporter::Exporter;
use super::{Event, Migrator};
use crate::cx::Cx;
use crate::message::migration::Step;

impl Migrator {
    /// A lost importer will never say that it has finished: what was given to it is lost with it.
    pub fn settle_lost(&mut self, cx: &mut Cx<'_>) {
        let to_lost = |export: &Exporter| cx.map.lost.iter().any(|rank| export.is_importer(*rank));
        let exports: Vec<MigrationId> =
            self.exports.iter().filter(|(_, it)| to_lost(it)).map(|(id, _)| *id).collect();
        for id in exports {
            if self.exports.get(&id).is_some_and(|it| it.verdict() == Step::Serve) {
                self.step_export(id, Event::Message(Step::Finished), cx);
            }
        }
        let releases: Vec<(MigrationId, Rank, DirFragId)> = cx
            .own
            .released
            .iter()
            .filter(|(id, release)| {
                cx.map.lost.contains(&release.to) && !self.exports.contains_key(id)
            })
            .map(|(id, release)| (*id, release.to, release.base))
            .collect();
        for (id, to, base) in releases {
            Self::close_release((to, id, base), cx);
        }
    }

    /// What nobody but an operator can decide.
    pub fn warn_of_lost(&self, cx: &Cx<'_>) {
        for (id, import) in &self.imports {
            if import.is_in_doubt() && cx.map.lost.contains(&id.exporter) {
                let at = cx.params.me.0;
                tracing::warn!(
                    "the import {id} is in doubt for ever, for its exporter is lost: \
                     `grove migrations settle --at {at} {id} mine|theirs` decides whose it is"
                );
            }
        }
    }
}
