//! `Migrator`: the migrations this rank takes part in; routes messages and events to them.
//!
//! The protocol is in `migration/README.md`. Forward steps are in [`exporter`], [`importer`] and
//! [`bystander`]; what they do when somebody dies in the `failure.rs` of each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use common::id::{DirFragId, Ino, MigrationId, Rank, Seq};
use common::limit::MIGRATION_RECORDS_MAX;
use common::migration::{EndReason, MigrationCause, MigrationRecord};
use common::wire::admin::Settlement;

use crate::cx::{Cx, Step as Attempt, Wait};
use crate::effect::Effect;
use crate::journal::entry::{Entry, SubtreeClaim};
use crate::message::migration::{MigrationMsg, Step};
use crate::migration::bystander::Doubt;
use crate::migration::copy::Changes;
use crate::migration::exporter::Exporter;
use crate::migration::importer::Importer;
use crate::mutant::mutated;
use crate::replica;
use crate::replica::trim::Relied;
use crate::subtree::{DirAuth, Freeze};

pub mod bystander;
mod comeback;
pub mod copy;
pub mod exporter;
#[cfg(test)]
mod failure_matrix_tests;
#[cfg(test)]
mod fixture;
pub mod importer;
mod lost;
#[cfg(test)]
mod random_tests;
pub mod record;
#[cfg(test)]
mod replica_tests;
pub mod sweep;

#[derive(Clone, Debug, Default, Hash)]
pub struct Migrator {
    exports: BTreeMap<MigrationId, Exporter>,
    imports: BTreeMap<MigrationId, Importer>,
    /// Migrations of others of which this rank was told that authority is in doubt.
    doubts: BTreeMap<MigrationId, Doubt>,
    /// Imports that an earlier life has finished: the exporter may not have heard of it.
    imported: Vec<(MigrationId, DirFragId)>,
    ended: VecDeque<MigrationRecord>,
    last_number: u32,
    /// Bases whose waiting requests are to be tried anew: their freeze ended in this turn.
    thawed: BTreeSet<DirFragId>,
}

/// An order to move a subtree.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    pub dir: Ino,
    pub to: Rank,
    pub cause: MigrationCause,
}

/// One half of a migration under way, and how its base must look here, if that is its doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Half {
    pub id: MigrationId,
    pub base: DirFragId,
    pub state: &'static str,
    pub expected: Option<(DirAuth, Freeze)>,
}

/// What one migration has frozen.
#[derive(Clone, Copy, Debug)]
pub struct Region<'a> {
    pub id: MigrationId,
    pub base: DirFragId,
    pub bounds: &'a BTreeMap<DirFragId, SubtreeClaim>,
}

/// Something that happened to a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Anything may have changed that it waits for inside this rank.
    Poke,
    Message(Step),
    /// Everything up to here is durable.
    Durable(Seq),
    /// Its state has lasted as long as it may.
    Deadline,
    Cancel(EndReason),
    RankDown(Rank),
}

impl Migrator {
    /// Begins a migration, if nothing speaks against it at once. Refused attempts leave a record.
    ///
    /// # Errors
    /// Why not.
    pub fn start(
        &mut self,
        order: &Order,
        cx: &mut Cx<'_>,
    ) -> Attempt<Result<MigrationId, EndReason>> {
        let id = MigrationId {
            exporter: cx.me(),
            incarnation: cx.params.incarnation,
            number: self.last_number + 1,
        };
        let path = cx.path_of(order.dir)?;
        let mut record = record::begin(id, order, path, cx);
        let refusal = match exporter::check(order, cx)? {
            Err(reason) => Some(reason),
            Ok(()) => self.overlap(order.dir, cx)?,
        };
        self.last_number += 1;
        if let Some(reason) = refusal {
            record::end(&mut record, Err(reason), cx);
            if !self.ended.iter().any(|ended| record::is_repeated(ended, &record)) {
                record::step(&record, ("Locking", "Over"), cx);
                self.remember(record);
            }
            return Ok(Err(reason));
        }
        let exporter = Exporter::start(id, order, record, cx)?;
        self.exports.insert(id, exporter);
        cx.own.namespace.watch_changes();
        cx.own.pins.watch_changes();
        self.step_export(id, Event::Poke, cx);
        Ok(Ok(id))
    }

    /// Whether a region overlaps one that is under way here.
    fn overlap(&self, dir: Ino, cx: &Cx<'_>) -> Attempt<Option<EndReason>> {
        let mut on_path: BTreeSet<Ino> = [dir].into();
        let mut here = dir;
        while let Some(parent) = cx.parent_of(here)? {
            here = parent.dir;
            if !on_path.insert(here) {
                break;
            }
        }
        let busy = self.bases().any(|base| on_path.contains(&base.ino));
        if busy {
            return Ok(Some(EndReason::Overlaps));
        }
        for base in self.bases() {
            // Of a base that is not here the way up begins with what the subtree map knows of it.
            let parent = cx.own.subtrees.get(base).and_then(|subtree| subtree.parent);
            let mut above = parent.or_else(|| self.imports.values().find_map(|it| it.above(base)));
            let mut seen = BTreeSet::new();
            while let Some(here) = above.filter(|here| seen.insert(*here)) {
                if here == dir {
                    return Ok(Some(EndReason::Overlaps));
                }
                above = cx.parent_of(here)?.map(|parent| parent.dir);
            }
        }
        Ok(None)
    }

    fn bases(&self) -> impl Iterator<Item = DirFragId> + '_ {
        let exports = self.exports.values().map(Exporter::base);
        exports.chain(self.imports.values().map(Importer::base))
    }

    pub fn on_message(&mut self, from: Rank, msg: MigrationMsg, cx: &mut Cx<'_>) {
        let MigrationMsg { id, base, step } = msg;
        match step {
            Step::Discover { parent, ask } => self.on_discover((from, id, base), parent, ask, cx),
            Step::Notify { auth, epoch, dirs } => {
                let thawed = bystander::on_notify((from, id, base), (auth, epoch), &dirs, cx);
                self.thawed.extend(thawed);
                self.doubts.retain(|_, doubt| doubt.base != base);
                self.doubts.extend(Doubt::left(base, auth, epoch, cx).map(|doubt| (id, doubt)));
            }
            Step::Ask => self.on_ask(from, id, base, cx),
            Step::DiscoverAck
            | Step::Nack { .. }
            | Step::RowsAck { .. }
            | Step::PrepAck
            | Step::ExportAck
            | Step::Finished
            | Step::CancelAck => {
                if self.exports.get(&id).is_some_and(|export| export.is_importer(from)) {
                    self.step_export(id, Event::Message(step), cx);
                } else if step == Step::Finished {
                    Self::close_release((from, id, base), cx);
                }
            }
            Step::NotifyAck { .. } => self.on_notify_ack(from, id, step, cx),
            Step::Rows { .. } | Step::Prep { .. } | Step::Over | Step::Undecided => {
                self.step_import_of(from, id, step, cx);
            }
            Step::Serve | Step::Cancel if self.doubts.contains_key(&id) => {
                if let Some(doubt) = self.doubts.remove(&id) {
                    let owner = if step == Step::Serve { doubt.importer } else { from };
                    self.thawed.extend(doubt.settle(owner, cx));
                }
            }
            Step::Serve => {
                if !self.step_import_of(from, id, step, cx) {
                    // There was an `ImportStart`, or there would be no `Export`; and it is not open.
                    cx.out.send(from, MigrationMsg { id, base, step: Step::Finished });
                }
            }
            Step::Export(_) | Step::Cancel => {
                if mutated!(cx.params, CancelOfUnknownAsserts) {
                    assert!(self.imports.contains_key(&id), "cancel of what is not there");
                }
                if !self.step_import_of(from, id, step, cx) {
                    // Nothing of it is here: it is undone.
                    cx.out.send(from, MigrationMsg { id, base, step: Step::CancelAck });
                }
            }
        }
    }

    /// An importer that is not what the exporter believes, or is of no use to it, says so.
    fn on_discover(
        &mut self,
        (from, id, base): (Rank, MigrationId, DirFragId),
        parent: crate::row::Parent,
        ask: BTreeMap<Ino, Rank>,
        cx: &mut Cx<'_>,
    ) {
        let overlaps = !mutated!(cx.params, DiscoverAcceptedTwice)
            && self.bases().any(|other| other == base || ask.contains_key(&other.ino));
        // What is in doubt is one of our migrations', and overlaps.
        let known = cx.own.subtrees.get(base).map(|subtree| subtree.auth);
        let own = known == Some(DirAuth::Sole(cx.me()));
        if overlaps || own || self.imports.contains_key(&id) {
            let step = Step::Nack { reason: EndReason::ImporterBusy };
            cx.out.send(from, MigrationMsg { id, base, step });
            return;
        }
        if cx.own.is_read_only() {
            let step = Step::Nack { reason: EndReason::ReadOnly };
            cx.out.send(from, MigrationMsg { id, base, step });
            return;
        }
        let importer = Importer::start((from, id, base), parent, ask, cx);
        self.imports.insert(id, importer);
        self.step_import(id, Event::Poke, cx);
    }

    fn on_ask(&self, from: Rank, id: MigrationId, base: DirFragId, cx: &mut Cx<'_>) {
        let step = match self.exports.get(&id) {
            Some(_) if mutated!(cx.params, ClaimsWhileCommitting) => Step::Cancel,
            Some(export) => export.verdict(),
            // Of an earlier life of this rank: what is durable decides.
            None if cx.own.released.contains_key(&id) => Step::Serve,
            None => Step::Cancel,
        };
        cx.out.send(from, MigrationMsg { id, base, step });
    }

    /// The importer of an export of an earlier life has finished.
    fn close_release((from, id, base): (Rank, MigrationId, DirFragId), cx: &mut Cx<'_>) {
        if cx.own.released.get(&id).is_some_and(|release| release.to == from) {
            cx.own.released.remove(&id);
            let seq = cx.own.advance();
            cx.out.push(Effect::Journal { seq, entry: Entry::Finished { id } });
            cx.own.journal.note_open(id, seq);
            cx.own.journal.settle(id);
            cx.own.checkpoint(cx.out);
        }
        cx.out.send(from, MigrationMsg { id, base, step: Step::Over });
    }

    fn on_notify_ack(&mut self, from: Rank, id: MigrationId, step: Step, cx: &mut Cx<'_>) {
        let Step::NotifyAck { auth } = step else { return };
        if self.exports.contains_key(&id) {
            self.step_notified(from, id, auth, cx);
        } else if let Some(import) = self.imports.get_mut(&id) {
            import.on_notify_ack(from, auth, cx);
            self.tidy_import(id, cx);
        }
    }

    fn step_notified(&mut self, from: Rank, id: MigrationId, auth: DirAuth, cx: &mut Cx<'_>) {
        if let Some(export) = self.exports.get_mut(&id) {
            export.on_notify_ack(from, auth, cx);
            self.tidy_export(id, cx);
        }
    }

    fn step_import_of(&mut self, from: Rank, id: MigrationId, step: Step, cx: &mut Cx<'_>) -> bool {
        let known = self.imports.get(&id).is_some_and(|import| import.is_exporter(from));
        if known {
            self.step_import(id, Event::Message(step), cx);
        }
        known
    }

    fn step_export(&mut self, id: MigrationId, event: Event, cx: &mut Cx<'_>) {
        if let Some(export) = self.exports.get_mut(&id) {
            export.step(event, cx);
            self.tidy_export(id, cx);
        }
    }

    fn step_import(&mut self, id: MigrationId, event: Event, cx: &mut Cx<'_>) {
        if let Some(import) = self.imports.get_mut(&id) {
            import.step(event, cx);
            self.tidy_import(id, cx);
        }
    }

    fn tidy_export(&mut self, id: MigrationId, cx: &mut Cx<'_>) {
        let Some(export) = self.exports.get_mut(&id) else { return };
        self.thawed.extend(export.take_thawed());
        if !export.is_over() {
            return;
        }
        replica::end_watch(cx, id);
        if let Some(export) = self.exports.remove(&id) {
            self.remember(export.into_record());
        }
        if self.exports.values().all(|export| !export.is_copying()) {
            cx.own.namespace.stop_watching();
            cx.own.pins.stop_watching();
        }
    }

    fn tidy_import(&mut self, id: MigrationId, cx: &mut Cx<'_>) {
        let Some(import) = self.imports.get_mut(&id) else { return };
        self.thawed.extend(import.take_thawed());
        if import.is_over() {
            self.imports.remove(&id);
            replica::end_watch(cx, id);
        }
    }

    /// At the end of each input: hands out what changed, and lets everybody look again.
    pub fn poke(&mut self, cx: &mut Cx<'_>) {
        if self.exports.is_empty() && self.imports.is_empty() {
            return;
        }
        let changes =
            Changes { keys: cx.own.namespace.take_changes(), pins: cx.own.pins.take_changes() };
        for export in self.exports.values_mut() {
            export.note(&changes, cx);
        }
        self.tell_all(&Event::Poke, cx);
    }

    pub fn on_durable(&mut self, through: Seq, cx: &mut Cx<'_>) {
        self.tell_all(&Event::Durable(through), cx);
    }

    pub fn on_rank_down(&mut self, rank: Rank, cx: &mut Cx<'_>) {
        self.tell_all(&Event::RankDown(rank), cx);
    }

    fn tell_all(&mut self, event: &Event, cx: &mut Cx<'_>) {
        let exports: Vec<MigrationId> = self.exports.keys().copied().collect();
        for id in exports {
            self.step_export(id, event.clone(), cx);
        }
        self.tell_all_imports(event, cx);
    }

    fn tell_all_imports(&mut self, event: &Event, cx: &mut Cx<'_>) {
        let imports: Vec<MigrationId> = self.imports.keys().copied().collect();
        for id in imports {
            self.step_import(id, event.clone(), cx);
        }
    }

    pub fn on_export_deadline(&mut self, id: MigrationId, cx: &mut Cx<'_>) {
        self.step_export(id, Event::Deadline, cx);
    }

    pub fn on_import_deadline(&mut self, id: MigrationId, cx: &mut Cx<'_>) {
        self.step_import(id, Event::Deadline, cx);
    }

    /// `None`: no such export is under way here. `Some(false)`: it is past its point of no return.
    pub fn cancel(&mut self, id: MigrationId, cx: &mut Cx<'_>) -> Option<bool> {
        let can = self.exports.get(&id)?.can_cancel();
        if can {
            self.step_export(id, Event::Cancel(EndReason::Operator), cx);
        }
        Some(can)
    }

    /// An operator says what a lost exporter cannot. False: no such import is in doubt here.
    pub fn settle(&mut self, id: MigrationId, verdict: Settlement, cx: &mut Cx<'_>) -> bool {
        if !self.imports.get(&id).is_some_and(Importer::is_in_doubt) {
            return false;
        }
        let step = match verdict {
            Settlement::Mine => Step::Serve,
            Settlement::Theirs => Step::Cancel,
        };
        tracing::warn!(migration = %id, ?verdict, "settled by an operator");
        self.step_import(id, Event::Message(step), cx);
        // Nobody will hear that it is settled, nor say that everybody knows.
        self.step_import(id, Event::RankDown(id.exporter), cx);
        true
    }

    /// What requests wait for that has come in this turn.
    pub fn take_thawed(&mut self) -> Vec<Wait> {
        std::mem::take(&mut self.thawed).into_iter().map(Wait::Thaw).collect()
    }

    pub fn halves(&self, me: Rank) -> impl Iterator<Item = Half> + '_ {
        let imports = self.imports.values().map(move |import| import.half(me));
        self.exports.values().map(Exporter::half).chain(imports)
    }

    /// Regions that are frozen for a migration, and where this rank believes that they end.
    pub fn frozen_regions(&self) -> impl Iterator<Item = Region<'_>> {
        let exports = self.exports.iter().map(|(id, it)| (*id, it.base(), it.bounds()));
        let imports = self.imports.iter().map(|(id, it)| (*id, it.base(), it.bounds()));
        exports
            .chain(imports)
            .filter_map(|(id, base, bounds)| bounds.map(|bounds| Region { id, base, bounds }))
    }

    /// Replicas that must not be given back.
    #[must_use]
    pub fn relied(&self) -> Relied {
        let exports = self.exports.values().flat_map(Exporter::paths);
        let imports = self.imports.values().flat_map(Importer::paths);
        Relied {
            paths: exports.chain(imports).collect(),
            regions: self.imports.values().map(|import| import.base().ino).collect(),
        }
    }

    fn remember(&mut self, record: MigrationRecord) {
        if self.ended.len() == MIGRATION_RECORDS_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(record);
    }

    /// Those ended, then those under way.
    #[must_use]
    pub fn records(&self) -> Vec<MigrationRecord> {
        let running = self.exports.values().map(Exporter::record);
        self.ended.iter().cloned().chain(running).collect()
    }

    /// Whether a region that this rank is about to get comes with its pins.
    #[must_use]
    pub fn brings_pins(&self, base: DirFragId) -> bool {
        self.imports.values().any(|import| import.base() == base && import.brings_pins())
    }

    #[must_use]
    pub fn running(&self) -> u64 {
        (self.exports.len() + self.imports.len()) as u64
    }
}
