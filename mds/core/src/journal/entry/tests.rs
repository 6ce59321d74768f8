//! The bytes of the facts, pinned: a change here is a change of what a store may hold.

use common::wire::{decode, encode};
use expect_test::{Expect, expect};

use super::*;
use crate::message::two_phase::Act;

const ID: TwoPhaseId = TwoPhaseId(300);

#[track_caller]
fn check_bytes(entry: &Entry, expected: Expect) {
    let bytes = encode(entry);
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    expected.assert_eq(&hex.join(" "));
    assert_eq!(decode::<Entry>(&bytes).unwrap(), *entry);
}

#[test]
fn facts_of_a_participant() {
    let part = Part { acts: vec![Act::RemoveDir { dir: Ino(0x10) }] };
    check_bytes(
        &Entry::PeerPrepare { id: ID, coordinator: Rank(1), part },
        expect!["06 ac 02 01 01 09 10"],
    );
    check_bytes(&Entry::PeerCommit { id: ID, coordinator: Rank(1) }, expect!["07 ac 02 01"]);
    check_bytes(&Entry::PeerRollback { id: ID, coordinator: Rank(1) }, expect!["08 ac 02 01"]);
}

#[test]
fn facts_of_a_coordinator() {
    check_bytes(
        &Entry::Decision { id: ID, participants: vec![Rank(1), Rank(2)] },
        expect!["09 ac 02 02 01 02"],
    );
    check_bytes(&Entry::Committed { id: ID }, expect!["0a ac 02"]);
}

#[test]
fn a_map_of_subtrees() {
    let claim = SubtreeClaim { auth: Rank(1), epoch: Epoch(5), parent: Some(Ino::ROOT) };
    let subtrees = [(DirFragId::whole(Ino(0x10)), claim)].into();
    let snapshot = SubtreeSnapshot { subtrees, released: BTreeMap::new() };
    check_bytes(&Entry::SubtreeMap(snapshot), expect!["00 01 10 00 00 01 05 01 01 00"]);
}
