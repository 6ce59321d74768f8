//! What the store says, made into a state to begin with.

use std::collections::{BTreeMap, BTreeSet};

use common::id::{ClientId, DirFragId, Epoch, Ino, MigrationId, Rank, Seq};
use common::migration::MigrationRecord;

use crate::capability::CapabilityTable;
use crate::holdings::{Holdings, Repeated};
use crate::ino_table::InoTable;
use crate::input::Restored;
use crate::journal::entry::{
    Entry, ImportOutcome, ImportStart, Release, SubtreeClaim, SubtreeSnapshot,
};
use crate::journal::{InDoubt, Journal, Recalled, Unsettled};
use crate::lock::LockTable;
use crate::namespace::Namespace;
use crate::params::Params;
use crate::pin::PinTable;
use crate::recovery::contradiction;
use crate::row::Row;
use crate::session::SessionTable;
use crate::spine::Spine;
use crate::subtree::{DirAuth, Freeze, Subtree, SubtreeMap};
use crate::sweep::SweepList;

/// A rank as its store leaves it, and what it cannot decide alone.
#[derive(Clone, Debug)]
pub struct Replayed {
    pub own: Holdings,
    pub migrations: Unsettled,
    /// They may go on by themselves.
    pub evicted: BTreeSet<ClientId>,
}

/// Rows of the small tables, and the facts of the journal in order.
#[must_use]
pub fn replay(params: &Params, restored: Restored) -> Replayed {
    let seq = Seq::first_of(params.incarnation);
    let own = Holdings {
        namespace: Namespace::new(params.name_hash_key),
        subtrees: SubtreeMap::new(params.me),
        sessions: SessionTable::new(seq),
        pins: PinTable::default(),
        spine: Spine::default(),
        locks: LockTable::default(),
        inos: InoTable::new(params.slot, Ino::FIRST_COUNTER),
        journal: Journal::default(),
        released: BTreeMap::new(),
        held: BTreeMap::new(),
        damage: Vec::new(),
        repeated: Repeated::NotYet,
        capabilities: CapabilityTable::default(),
        imports: 0,
        sweep: SweepList::default(),
        seq,
        durable: seq,
    };
    let mut replay = Replay {
        own,
        me: params.me,
        open: BTreeMap::new(),
        undone: BTreeSet::new(),
        exported: BTreeSet::new(),
        finished: Vec::new(),
        imported: Vec::new(),
        lists: Lists::default(),
        records: BTreeMap::new(),
        evicted: BTreeSet::new(),
        began: false,
    };
    replay.rows(params, restored.rows);
    for (seq, entry) in restored.journal {
        replay.apply(seq, entry);
    }
    replay.finish()
}

struct Replay {
    own: Holdings,
    me: Rank,
    /// `ImportStart` without `ImportFinish`.
    open: BTreeMap<MigrationId, ImportStart>,
    /// Imports that never began to count, or were undone, unless they are open.
    undone: BTreeSet<MigrationId>,
    exported: BTreeSet<MigrationId>,
    /// Of those, the ones of which the importer knows everything.
    finished: Vec<MigrationId>,
    /// Imports that are done.
    imported: Vec<(MigrationId, DirFragId)>,
    lists: Lists,
    records: BTreeMap<Seq, MigrationRecord>,
    evicted: BTreeSet<ClientId>,
    /// A `SubtreeMap` was found: from there on what is known is complete.
    began: bool,
}

/// The rows that say which fragments may have to go.
#[derive(Default)]
struct Lists {
    copied: BTreeMap<MigrationId, Vec<DirFragId>>,
    dropped: BTreeMap<MigrationId, Vec<(DirFragId, Option<MigrationId>)>>,
}

impl Replay {
    fn rows(&mut self, params: &Params, rows: Vec<Row>) {
        let own = &mut self.own;
        let (mut completed, mut notices) = (Vec::new(), Vec::new());
        let mut orphans = Vec::new();
        for row in rows {
            match row {
                Row::Session(client, stored) => own.sessions.restore(client, stored),
                Row::Completed(client, id) => completed.push((client, id)),
                Row::Notice(client, id, notice) => notices.push((client, id, notice)),
                Row::Evicted(client) => {
                    self.evicted.insert(client);
                }
                Row::Orphan(ino, orphan) => orphans.push((ino, orphan)),
                Row::Held(frag, id) => {
                    own.held.insert(frag, id);
                }
                Row::Copied(id, frag) => self.lists.copied.entry(id).or_default().push(frag),
                Row::Drop(id, frag, held) => {
                    self.lists.dropped.entry(id).or_default().push((frag, held))
                }
                Row::InoReserved(used) => own.inos = InoTable::new(params.slot, used),
                Row::Clock(epoch) => own.subtrees.see_epoch(epoch),
                Row::Entry(..) | Row::Dir(..) | Row::Inode(..) => {}
            }
        }
        for (client, id) in completed {
            own.sessions.restore_completed(client, id);
        }
        for (client, id, notice) in notices {
            own.sessions.restore_notice(client, id, notice);
        }
        for (ino, mut orphan) in orphans {
            // Those who have left since do not come to give back what they held. The others hold it until
            // they claim again, or have had their time to.
            orphan.holders.retain(|client, _| own.sessions.get(*client).is_some());
            own.pins.assume(ino, None, &orphan.holders);
            own.namespace.restore_orphan(ino, orphan);
        }
    }

    /// Applying a fact to a state that already holds it changes nothing.
    fn apply(&mut self, seq: Seq, entry: Entry) {
        let own = &mut self.own;
        match entry {
            Entry::SubtreeMap(snapshot) => {
                if self.began {
                    for damage in contradiction::between(self.me, own, &snapshot) {
                        own.note_damage(damage);
                    }
                }
                self.began = true;
                let bases: Vec<DirFragId> = own.subtrees.iter().map(|(base, _)| base).collect();
                for base in bases {
                    own.subtrees.remove(base);
                }
                for (base, claim) in &snapshot.subtrees {
                    own.subtrees.restore(*base, claim);
                }
                own.released = snapshot.released;
                self.exported.extend(own.released.keys().copied());
                own.journal.note_checkpoint(seq);
            }
            Entry::ImportCopy { id, .. } => {
                own.journal.note_open(id, seq);
                self.undone.insert(id);
            }
            Entry::ImportStart(start) => {
                own.journal.note_open(start.id, seq);
                self.open.insert(start.id, start);
            }
            Entry::ImportFinish { id, outcome, .. } => {
                own.journal.note_open(id, seq);
                let start = self.open.remove(&id);
                match outcome {
                    ImportOutcome::Owned => {
                        self.undone.remove(&id);
                        if let Some(start) = start {
                            restore_import(own, &start, DirAuth::Sole(self.me), Freeze::Live);
                            self.imported.push((id, start.base));
                        }
                    }
                    ImportOutcome::Foreign => {
                        self.undone.insert(id);
                    }
                }
            }
            Entry::Export { id, base, parent, to, epoch } => {
                own.journal.note_open(id, seq);
                self.exported.insert(id);
                own.released.insert(id, Release { base, to, epoch });
                own.subtrees.restore(base, &SubtreeClaim { auth: to, epoch, parent });
            }
            Entry::Finished { id } => {
                own.released.remove(&id);
                own.journal.note_open(id, seq);
                self.finished.push(id);
            }
            Entry::Step(step) => {
                own.journal.restore_step((step.id, step.role), seq);
                self.records.extend(step.record.map(|record| (seq, *record)));
            }
            Entry::PeerPrepare { .. }
            | Entry::PeerCommit { .. }
            | Entry::PeerRollback { .. }
            | Entry::Decision { .. }
            | Entry::Committed { .. } => {}
        }
    }

    /// What was copied and never began to count is swept; what was given away is deleted.
    fn finish(mut self) -> Replayed {
        let mut in_doubt = Vec::new();
        for (id, frags) in self.lists.copied {
            match self.open.get(&id) {
                Some(start) => {
                    let touched = frags.into_iter().collect();
                    let before = self.own.subtrees.claims().remove(&start.base);
                    in_doubt.push(InDoubt { start: start.clone(), touched, before });
                }
                None => self.own.sweep.add_copied(id, frags),
            }
        }
        for (id, frags) in self.lists.dropped {
            if self.exported.contains(&id) {
                self.own.journal.await_sweep(id);
                self.own.sweep.add_dropped(id, frags);
            } else {
                self.own.sweep.add_void(id, frags.into_iter().map(|(frag, _)| frag));
            }
        }
        // Not before it is known which of them wait for their fragments to be deleted.
        let undone = self.undone.into_iter().filter(|id| !self.open.contains_key(id));
        for id in self.finished.into_iter().chain(undone) {
            self.own.journal.settle(id);
        }
        for start in self.open.values() {
            let doubt = DirAuth::Ambiguous { first: self.me, second: start.from };
            restore_import(&mut self.own, start, doubt, Freeze::Frozen);
        }
        let recalled = self.records.into_values().map(|record| {
            let exported = self.exported.contains(&record.id);
            Recalled { record, exported }
        });
        let recalled = recalled.collect();
        let migrations = Unsettled { in_doubt, imported: self.imported, recalled };
        Replayed { own: self.own, migrations, evicted: self.evicted }
    }
}

fn restore_import(own: &mut Holdings, start: &ImportStart, auth: DirAuth, freeze: Freeze) {
    let ImportStart { base, epoch, parent, .. } = start;
    let apart = freeze != Freeze::Live;
    own.subtrees.insert(*base, Subtree { auth, epoch: *epoch, parent: *parent, freeze, apart });
    for (bound, claim) in &start.bounds {
        // What is on record of it may be older: bystanders do not write down what they are told.
        if own.subtrees.get(*bound).is_none_or(|known| known.epoch < claim.epoch) {
            own.subtrees.restore(*bound, claim);
        }
    }
}

/// The claims of the rank that holds the root and nothing else.
#[must_use]
pub fn root_claims(me: Rank) -> SubtreeSnapshot {
    let claim = SubtreeClaim { auth: me, epoch: Epoch(1), parent: None };
    SubtreeSnapshot {
        subtrees: [(DirFragId::whole(Ino::ROOT), claim)].into(),
        released: BTreeMap::new(),
    }
}
