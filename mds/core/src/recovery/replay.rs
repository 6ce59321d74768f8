//! What the store says, made into a state to begin with.

use std::collections::BTreeMap;

use common::id::{DirFragId, Ino, Seq};

use crate::holdings::Holdings;
use crate::ino_table::InoTable;
use crate::input::Restored;
use crate::journal::entry::{Entry, SubtreeSnapshot};
use crate::lock::LockTable;
use crate::namespace::Namespace;
use crate::params::Params;
use crate::pin::PinTable;
use crate::row::Row;
use crate::session::SessionTable;
use crate::spine::Spine;
use crate::subtree::SubtreeMap;

/// Rows of the small tables, and the facts of the journal in order.
#[must_use]
pub fn replay(params: &Params, restored: Restored) -> Holdings {
    let seq = Seq::first_of(params.incarnation);
    let mut own = Holdings {
        namespace: Namespace::new(params.name_hash_key),
        subtrees: SubtreeMap::new(params.me),
        sessions: SessionTable::default(),
        pins: PinTable::default(),
        spine: Spine::default(),
        locks: LockTable::default(),
        inos: InoTable::new(params.slot, Ino::FIRST_COUNTER),
        seq,
        durable: seq,
    };
    restore_rows(&mut own, params, restored.rows);
    for (_, entry) in restored.journal {
        apply(&mut own, entry);
    }
    own
}

fn restore_rows(own: &mut Holdings, params: &Params, rows: Vec<Row>) {
    let mut completed = Vec::new();
    for row in rows {
        match row {
            Row::Session(client, stored) => own.sessions.restore(client, stored),
            Row::Completed(client, id) => completed.push((client, id)),
            Row::Orphan(ino, orphan) => {
                // Until their holders claim again, or have had their time to.
                own.pins.add(ino, None, &orphan.holders);
                own.namespace.restore_orphan(ino, orphan);
            }
            Row::InoReserved(used) => own.inos = InoTable::new(params.slot, used),
            Row::Clock(epoch) => own.subtrees.see_epoch(epoch),
            Row::Entry(..)
            | Row::Dir(..)
            | Row::Inode(..)
            | Row::Held(..)
            | Row::Copied(..)
            | Row::Drop(..) => {}
        }
    }
    for (client, id) in completed {
        own.sessions.restore_completed(client, id);
    }
}

/// Applying a fact to a state that already holds it changes nothing.
fn apply(own: &mut Holdings, entry: Entry) {
    match entry {
        Entry::SubtreeMap(snapshot) => {
            let bases: Vec<DirFragId> = own.subtrees.iter().map(|(base, _)| base).collect();
            for base in bases {
                own.subtrees.remove(base);
            }
            for (base, claim) in snapshot.subtrees {
                own.subtrees.restore(base, &claim);
            }
        }
        Entry::ImportCopy { .. }
        | Entry::ImportStart(_)
        | Entry::Export { .. }
        | Entry::ImportFinish { .. }
        | Entry::Finished { .. }
        | Entry::PeerPrepare { .. }
        | Entry::PeerCommit { .. }
        | Entry::PeerRollback { .. }
        | Entry::Decision { .. }
        | Entry::Committed { .. }
        | Entry::Step(_) => {}
    }
}

/// The claims of the rank that holds the root and nothing else.
#[must_use]
pub fn root_claims(me: common::id::Rank) -> SubtreeSnapshot {
    let claim =
        crate::journal::entry::SubtreeClaim { auth: me, epoch: common::id::Epoch(1), parent: None };
    SubtreeSnapshot {
        subtrees: [(DirFragId::whole(Ino::ROOT), claim)].into(),
        released: BTreeMap::new(),
    }
}
