//! The bytes of the facts, pinned: a change here is a change of what a store may hold.

use common::id::{ClientId, Incarnation, RequestId};
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
    let part = Part { client: ClientId(9), acts: vec![Act::RemoveDir { dir: Ino(0x10) }] };
    let held = Held { ino: Ino(7), dir: None, holders: [(ClientId(9), RequestId(2))].into() };
    check_bytes(
        &Entry::PeerPrepare { id: ID, coordinator: Rank(1), part, held: vec![held] },
        expect!["06 ac 02 01 09 01 09 10 01 07 00 01 09 02"],
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

const MIGRATION: MigrationId =
    MigrationId { exporter: Rank(1), incarnation: Incarnation(2), number: 3 };

fn base() -> DirFragId {
    DirFragId::whole(Ino(0x10))
}

#[test]
fn a_map_of_subtrees_with_a_release() {
    let release = Release { base: base(), to: Rank(2), epoch: Epoch(6) };
    let released = [(MIGRATION, release)].into();
    check_bytes(
        &Entry::SubtreeMap(SubtreeSnapshot { subtrees: BTreeMap::new(), released }),
        expect!["00 00 01 01 02 03 10 00 00 02 06"],
    );
}

#[test]
fn facts_of_an_importer() {
    check_bytes(
        &Entry::ImportCopy { id: MIGRATION, base: base() },
        expect!["01 01 02 03 10 00 00"],
    );
    let claim = SubtreeClaim { auth: Rank(0), epoch: Epoch(5), parent: Some(Ino(0x10)) };
    let session = TravelSession {
        client: ClientId(9),
        ranges: Vec::new(),
        completed: [RequestId(4)].into_iter().collect(),
        oldest: RequestId(4),
        exclusive: false,
    };
    let start = ImportStart {
        id: MIGRATION,
        base: base(),
        from: Rank(1),
        epoch: Epoch(6),
        bounds: [(DirFragId::whole(Ino(0x11)), claim)].into(),
        parent: Some(Ino::ROOT),
        sessions: vec![session],
    };
    check_bytes(
        &Entry::ImportStart(start),
        expect!["02 01 02 03 10 00 00 01 06 01 11 00 00 00 05 01 10 01 01 01 09 00 01 04 04 04 00"],
    );
    for (outcome, expected) in [
        (ImportOutcome::Owned, expect!["04 01 02 03 10 00 00 00"]),
        (ImportOutcome::Foreign, expect!["04 01 02 03 10 00 00 01"]),
    ] {
        check_bytes(&Entry::ImportFinish { id: MIGRATION, base: base(), outcome }, expected);
    }
}

#[test]
fn facts_of_an_exporter() {
    check_bytes(
        &Entry::Export {
            id: MIGRATION,
            base: base(),
            parent: Some(Ino::ROOT),
            to: Rank(2),
            epoch: Epoch(6),
        },
        expect!["03 01 02 03 10 00 00 01 01 02 06"],
    );
    check_bytes(&Entry::Finished { id: MIGRATION }, expect!["05 01 02 03"]);
}

#[test]
fn a_transition() {
    for (role, expected) in [
        (Role::Exporter, expect!["0b 01 02 03 00 10 00 00 02 01 41 01 42 02 02 00"]),
        (Role::Importer, expect!["0b 01 02 03 01 10 00 00 02 01 41 01 42 02 02 00"]),
        (Role::Bystander, expect!["0b 01 02 03 02 10 00 00 02 01 41 01 42 02 02 00"]),
    ] {
        let step = Step {
            id: MIGRATION,
            role,
            base: base(),
            peer: Rank(2),
            from: "A".into(),
            to: "B".into(),
            at: Timestamp { secs: 1, nanos: 2 },
            record: None,
        };
        check_bytes(&Entry::Step(step), expected);
    }
}
