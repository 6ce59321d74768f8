//! The journal: the protocol's facts, in the same batch as the rows they speak of. Here: which of
//! them recovery may still need, so that the others can go.

use std::collections::{BTreeMap, BTreeSet};

use common::id::{DirFragId, MigrationId, Seq};
use common::limit::MIGRATION_RECORDS_MAX;
use common::migration::MigrationRecord;

use crate::effect::{Effect, Effects};

pub mod entry;

use entry::{ImportStart, Role, SubtreeClaim};

/// An import whose exporter's journal decides, as the store leaves it.
#[derive(Clone, Debug)]
pub struct InDoubt {
    pub start: ImportStart,
    /// Fragments that came with it.
    pub touched: BTreeSet<DirFragId>,
    /// What this rank took the base for before, as the neighbor that it may be.
    pub before: Option<SubtreeClaim>,
}

/// What a store leaves to do of migrations.
#[derive(Clone, Debug)]
pub struct Unsettled {
    /// Imports whose exporter's journal decides.
    pub in_doubt: Vec<InDoubt>,
    /// Imports that are done, of which the exporter may not have heard.
    pub imported: Vec<(MigrationId, DirFragId)>,
    /// Of this rank's exports, oldest first.
    pub recalled: Vec<Recalled>,
}

/// The record of a migration of an earlier life.
#[derive(Clone, Debug)]
pub struct Recalled {
    pub record: MigrationRecord,
    /// Its `Export` is on record: it happened.
    pub exported: bool,
}

/// Positions of entries, by what must be true before they may go.
#[derive(Clone, Debug, Default, Hash)]
pub struct Journal {
    /// The last transition of each half of a migration: for operators.
    steps: BTreeMap<Role, BTreeMap<MigrationId, Seq>>,
    /// Facts about a migration that is not settled.
    open: BTreeMap<MigrationId, BTreeSet<Seq>>,
    /// Exports whose fragments are still being deleted, and those of them that are settled else.
    sweeping: BTreeMap<MigrationId, Settled>,
    /// Facts that the next `SubtreeMap` will replace, the last one among them.
    settled: BTreeSet<Seq>,
    /// `SubtreeMap`s that are not yet known to be durable, and what each replaces. While there are ever
    /// new ones, those before become durable all the same.
    replaced: BTreeMap<Seq, BTreeSet<Seq>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Settled {
    NotYet,
    Yes,
}

impl Journal {
    /// A transition was written: it replaces the one before it, and the oldest migration's goes
    /// when there are too many.
    pub fn note_step(&mut self, (id, role): (MigrationId, Role), seq: Seq, out: &mut Effects) {
        let seqs = self.replace_step((id, role), seq);
        if !seqs.is_empty() {
            out.push(Effect::TrimJournal { seqs });
        }
    }

    fn replace_step(&mut self, (id, role): (MigrationId, Role), seq: Seq) -> Vec<Seq> {
        let steps = self.steps.entry(role).or_default();
        let mut stale: Vec<Seq> = steps.insert(id, seq).into_iter().collect();
        while steps.len() > MIGRATION_RECORDS_MAX {
            let oldest = steps.iter().min_by_key(|(_, seq)| **seq).map(|(id, _)| *id);
            stale.extend(oldest.and_then(|id| steps.remove(&id)));
        }
        stale
    }

    pub fn restore_step(&mut self, (id, role): (MigrationId, Role), seq: Seq) {
        let stale = self.replace_step((id, role), seq);
        debug_assert!(stale.is_empty(), "the journal held no more than this rank keeps");
    }

    /// A fact that recovery needs until the migration is settled.
    pub fn note_open(&mut self, id: MigrationId, seq: Seq) {
        self.open.entry(id).or_default().insert(seq);
    }

    /// The list of what the migration gave away counts only while its facts are there.
    pub fn await_sweep(&mut self, id: MigrationId) {
        self.sweeping.insert(id, Settled::NotYet);
    }

    pub fn sweep_over(&mut self, id: MigrationId) {
        if self.sweeping.remove(&id) == Some(Settled::Yes) {
            self.settle(id);
        }
    }

    /// Nobody will ask about the migration any more.
    pub fn settle(&mut self, id: MigrationId) {
        if let Some(settled) = self.sweeping.get_mut(&id) {
            *settled = Settled::Yes;
            return;
        }
        if let Some(seqs) = self.open.remove(&id) {
            self.settled.extend(seqs);
        }
    }

    /// A `SubtreeMap` was written at `seq`; it replaces what was settled before, and older ones.
    pub fn note_checkpoint(&mut self, seq: Seq) {
        self.replaced.insert(seq, std::mem::take(&mut self.settled));
        self.settled.insert(seq);
    }

    pub fn on_durable(&mut self, through: Seq, out: &mut Effects) {
        let later = self.replaced.split_off(&through.next());
        let seqs: Vec<Seq> =
            std::mem::replace(&mut self.replaced, later).into_values().flatten().collect();
        if !seqs.is_empty() {
            out.push(Effect::TrimJournal { seqs });
        }
    }
}

#[cfg(test)]
mod tests {
    use common::id::{Incarnation, Rank};

    use super::*;

    const ID: MigrationId =
        MigrationId { exporter: Rank(0), incarnation: Incarnation(1), number: 1 };

    fn trimmed(out: &mut Effects) -> Vec<Seq> {
        out.drain()
            .flat_map(|effect| match effect {
                Effect::TrimJournal { seqs } => seqs,
                effect => panic!("{effect:?}"),
            })
            .collect()
    }

    #[test]
    fn the_last_transition_of_each_half_is_kept_and_of_the_last_migrations_only() {
        let (mut journal, mut out) = (Journal::default(), Effects::default());
        journal.note_step((ID, Role::Exporter), Seq(1), &mut out);
        journal.note_step((ID, Role::Importer), Seq(2), &mut out);
        assert_eq!(trimmed(&mut out), [], "two halves");
        journal.note_step((ID, Role::Exporter), Seq(3), &mut out);
        assert_eq!(trimmed(&mut out), [Seq(1)], "replaced");
        let max = u32::try_from(MIGRATION_RECORDS_MAX).unwrap();
        for number in 2..=max {
            let id = MigrationId { number, ..ID };
            journal.note_step((id, Role::Exporter), Seq(100 + u64::from(number)), &mut out);
        }
        assert_eq!(trimmed(&mut out), [], "as many as are kept");
        let last = MigrationId { number: max + 1, ..ID };
        journal.note_step((last, Role::Exporter), Seq(9999), &mut out);
        assert_eq!(trimmed(&mut out), [Seq(3)], "the oldest goes");
    }

    /// A rank that never restarts, and whose borders change all the time.
    #[test]
    fn a_journal_stays_short_though_there_is_always_a_map_that_is_not_durable() {
        let (mut journal, mut out) = (Journal::default(), Effects::default());
        let mut kept = BTreeSet::new();
        for seq in 1..100 {
            journal.note_checkpoint(Seq(seq));
            kept.insert(Seq(seq));
            journal.on_durable(Seq(seq - 1), &mut out);
            for gone in trimmed(&mut out) {
                assert!(kept.remove(&gone));
            }
            assert!(kept.len() <= 3, "{kept:?}");
        }
    }

    #[test]
    fn facts_stay_until_they_are_settled_and_a_later_map_is_durable() {
        let (mut journal, mut out) = (Journal::default(), Effects::default());
        journal.note_checkpoint(Seq(1));
        journal.note_open(ID, Seq(2));
        journal.note_checkpoint(Seq(3));
        journal.on_durable(Seq(3), &mut out);
        assert_eq!(trimmed(&mut out), [Seq(1)], "the open fact stays");
        journal.settle(ID);
        journal.note_checkpoint(Seq(4));
        journal.on_durable(Seq(3), &mut out);
        assert_eq!(trimmed(&mut out), []);
        journal.on_durable(Seq(4), &mut out);
        assert_eq!(trimmed(&mut out), [Seq(2), Seq(3)]);
    }
}
