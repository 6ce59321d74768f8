//! Journals that contradict themselves, and journals that only look so.

use std::collections::BTreeMap;

use common::error::FsError;
use common::id::{DirFragId, Epoch, Incarnation, Ino, MigrationId, Seq};
use common::wire::admin::{AdminReply, AdminRequest};
use common::wire::reply::Outcome;
use common::wire::request::{Op, RenameMode};

use super::*;
use crate::cluster_fixture::{Cluster, D1, R0, R1, R2};
use crate::fixture::{A, name, rename_op};
use crate::input::{AdminId, Input};
use crate::journal::entry::{Entry, Release, SubtreeClaim};

const ID: MigrationId = MigrationId { exporter: R1, incarnation: Incarnation(1), number: 9 };

fn map(auth: Rank, epoch: u64) -> SubtreeSnapshot {
    let claim = SubtreeClaim { auth, epoch: Epoch(epoch), parent: Some(Ino::ROOT) };
    let subtrees = [(DirFragId::whole(D1), claim)].into();
    SubtreeSnapshot { subtrees, released: BTreeMap::new() }
}

fn export(epoch: u64) -> Entry {
    let (base, parent) = (DirFragId::whole(D1), Some(Ino::ROOT));
    Entry::Export { id: ID, base, parent, to: R2, epoch: Epoch(epoch) }
}

/// What rank 1 has against a journal.
fn damage(journal: Vec<Entry>) -> usize {
    let params = crate::params::Params::new(
        R1,
        common::id::Slot(1),
        Incarnation(2),
        common::id::ClusterId(7),
        common::name::NameHashKey(1, 2),
    );
    let journal = (0..).map(Seq).zip(journal).collect();
    let restored = crate::input::Restored { rows: Vec::new(), journal };
    crate::recovery::replay::replay(&params, restored).own.damage.len()
}

#[test]
fn authority_is_gained_and_lost_by_facts_alone() {
    let own = || Entry::SubtreeMap(map(R1, 3));
    assert_eq!(damage(vec![own(), own()]), 0);
    assert_eq!(damage(vec![own(), Entry::SubtreeMap(map(R1, 2))]), 1, "claims never sink");
    assert_eq!(damage(vec![own(), Entry::SubtreeMap(map(R2, 2))]), 1);
    assert_eq!(
        damage(vec![own(), Entry::SubtreeMap(map(R2, 4))]),
        0,
        "a rename has moved a border"
    );
    assert_eq!(damage(vec![own(), export(4), own()]), 1, "given away");
    let mut known = map(R2, 4);
    let release = Release { base: DirFragId::whole(D1), to: R2, epoch: Epoch(4) };
    known.released.insert(ID, release);
    assert_eq!(damage(vec![own(), export(4), Entry::SubtreeMap(known.clone())]), 0);
    assert_eq!(damage(vec![own(), Entry::SubtreeMap(known)]), 1, "no Export says so");
    // Of a neighbour this rank is told by messages.
    assert_eq!(damage(vec![Entry::SubtreeMap(map(R2, 4)), Entry::SubtreeMap(map(R0, 2))]), 0);
}

#[test]
fn a_damaged_rank_can_be_read_and_says_so() {
    let mut cluster = Cluster::new();
    let file = cluster.at(R1).create(A, D1, "f");
    cluster.at(R1).mds.holdings_for_test().note_damage("as a test has it".to_owned());
    assert_eq!(cluster.lookup(R1, D1, "f"), Some((file, 1)));
    let read_only = Outcome::Refused(FsError::ReadOnly);
    assert_eq!(cluster.ask(R1, A, Op::Unlink { dir: D1, name: name("f") }), read_only);
    // Also by way of another rank.
    let rename = match rename_op((D1, "f"), (Ino::ROOT, "g"), RenameMode::Replace) {
        Op::Rename(rename) => Op::Rename(common::wire::request::Rename { from_rank: R1, ..rename }),
        op => op,
    };
    assert_eq!(cluster.ask(R0, A, rename), read_only);
    cluster.assert_at_rest();
    let mut admin = |rank, request| {
        cluster.at(rank).input(Input::Admin { id: AdminId(1), request });
        cluster.at(rank).answers.pop()
    };
    let export = admin(R1, AdminRequest::Export { dir: D1, to: R2 });
    assert!(matches!(export, Some(AdminReply::Refused(_))), "{export:?}");
    match admin(R1, AdminRequest::Status) {
        Some(AdminReply::Status(status)) => assert_eq!(status.damage, ["as a test has it"]),
        reply => panic!("{reply:?}"),
    }
}
