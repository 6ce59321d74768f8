//! The bytes of the messages, pinned: a change here is a change of the protocol.

use common::attr::{Attr, FileKind, Times};
use common::time::Timestamp;
use common::wire::request::Place;
use common::wire::{decode, encode};
use expect_test::{Expect, expect};

use super::*;

const ID: TwoPhaseId = TwoPhaseId(300);
const DIR: Ino = Ino(0x10);
const AT: Timestamp = Timestamp { secs: 1, nanos: 2 };
const A: ClientId = ClientId(9);

fn name() -> Name {
    Name::new(b"f").unwrap()
}

fn inode() -> Box<Inode> {
    let attr = Attr {
        ino: Ino(7),
        kind: FileKind::File,
        mode: 0o644,
        nlink: 2,
        uid: 1,
        gid: 2,
        rdev: 0,
        size: 3,
        times: Times::all(AT),
    };
    Box::new(Inode { attr, xattrs: BTreeMap::new(), symlink: Box::default(), moves: 0 })
}

#[track_caller]
fn check_bytes(msg: &TwoPhaseMsg, expected: Expect) {
    let bytes = encode(msg);
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    expected.assert_eq(&hex.join(" "));
    assert_eq!(decode::<TwoPhaseMsg>(&bytes).unwrap(), *msg);
}

#[track_caller]
fn check_act(act: Act, expected: Expect) {
    check_bytes(
        &TwoPhaseMsg::Prepare { id: ID, part: Part { client: ClientId(9), acts: vec![act] } },
        expected,
    );
}

#[test]
fn locking() {
    check_bytes(&TwoPhaseMsg::RenameLock { id: ID }, expect!["00 ac 02"]);
    check_bytes(&TwoPhaseMsg::RenameLocked { id: ID }, expect!["01 ac 02"]);
    check_bytes(&TwoPhaseMsg::RenameUnlock { id: ID }, expect!["0d ac 02"]);
    check_bytes(&TwoPhaseMsg::RenameHolds { ids: vec![ID] }, expect!["0e 01 ac 02"]);
}

#[test]
fn looking() {
    let entry = Item::Entry { dir: DIR, name: name() };
    let (home, victim) = (Item::Home { ino: Ino(7) }, Item::Victim { dir: DIR });
    let moving = Item::Moving { dir: DIR };
    let items = vec![entry.clone(), home.clone(), victim.clone(), moving.clone()];
    check_bytes(
        &TwoPhaseMsg::Look { id: ID, client: A, items },
        expect!["02 ac 02 09 04 00 10 01 66 01 07 02 10 03 10"],
    );
    let seen = Sight::Entry {
        linkage: Some(Linkage::Dir { ino: DIR }),
        holders: [(A, RequestId(1))].into(),
        locks: LocksOfFile::new(),
        child: Some(Rank(1)),
        completed: BTreeMap::new(),
    };
    let sights = vec![
        (entry, seen),
        (home, Sight::Home { inode: Some(inode()) }),
        (victim, Sight::Victim { entries: 2 }),
        (moving, Sight::Moving),
    ];
    check_bytes(
        &TwoPhaseMsg::Looked { id: ID, clock: Epoch(4), sights },
        expect![
            "03 ac 02 04 04 00 10 01 66 00 01 01 10 01 09 01 00 01 01 00 01 07 01 01 07 00 a4 03 02 01 02 00 03 02 02 02 02 02 02 00 00 00 02 10 02 02 03 10 03"
        ],
    );
    check_bytes(
        &TwoPhaseMsg::Elsewhere { id: ID, dir: DIR, rank: Some(Rank(2)) },
        expect!["04 ac 02 10 01 02"],
    );
    check_bytes(&TwoPhaseMsg::Busy { id: ID }, expect!["05 ac 02"]);
    check_bytes(&TwoPhaseMsg::Free { id: ID }, expect!["06 ac 02"]);
}

#[test]
fn deciding() {
    check_bytes(&TwoPhaseMsg::Prepared { id: ID }, expect!["08 ac 02"]);
    check_bytes(&TwoPhaseMsg::Commit { id: ID }, expect!["09 ac 02"]);
    check_bytes(&TwoPhaseMsg::Rollback { id: ID }, expect!["0a ac 02"]);
    check_bytes(&TwoPhaseMsg::Settled { id: ID }, expect!["0b ac 02"]);
    check_bytes(&TwoPhaseMsg::Query { id: ID }, expect!["0c ac 02"]);
}

#[test]
fn acts_on_names() {
    let linkage = Linkage::Remote { ino: Ino(7), kind: FileKind::File };
    check_act(
        Act::PutEntry { dir: DIR, name: name(), linkage },
        expect!["07 ac 02 09 01 00 10 01 66 02 07 00"],
    );
    check_act(Act::RemoveEntry { dir: DIR, name: name() }, expect!["07 ac 02 09 01 01 10 01 66"]);
    check_act(
        Act::Count { dir: DIR, entries: -1, subdirs: 1, at: AT },
        expect!["07 ac 02 09 01 02 10 01 02 02 02"],
    );
    check_act(Act::RemoveDir { dir: DIR }, expect!["07 ac 02 09 01 09 10"]);
    let parent = Parent { dir: DIR, name: name() };
    check_act(
        Act::Reparent { dir: DIR, parent, at: AT },
        expect!["07 ac 02 09 01 0a 10 10 01 66 02 02"],
    );
}

#[test]
fn acts_on_inodes() {
    check_act(
        Act::LetGo { inode: inode(), at: AT, requester: A },
        expect!["07 ac 02 09 01 03 07 00 a4 03 02 01 02 00 03 02 02 02 02 02 02 00 00 00 02 02 09"],
    );
    check_act(
        Act::OneNameLess { ino: Ino(7), at: AT, requester: A },
        expect!["07 ac 02 09 01 04 07 02 02 09"],
    );
    check_act(
        Act::PutHome { inode: inode() },
        expect!["07 ac 02 09 01 05 07 00 a4 03 02 01 02 00 03 02 02 02 02 02 02 00 00 00"],
    );
    let notice = Notice::Moved { ino: Ino(7), place: Place::Home, rank: Rank(1), moves: 3 };
    check_act(
        Act::Moved { notice: notice.clone(), requester: A },
        expect!["07 ac 02 09 01 06 00 07 02 01 03 09"],
    );
    let holders = [(A, RequestId(2))].into();
    check_act(
        Act::Arrived { notice, holders, locks: LocksOfFile::new() },
        expect!["07 ac 02 09 01 07 00 07 02 01 03 01 09 02 00"],
    );
    let request = RequestId(3);
    check_act(
        Act::Pin { ino: Ino(7), requester: A, request },
        expect!["07 ac 02 09 01 08 07 09 03"],
    );
}

#[test]
fn acts_on_authority() {
    let base = DirFragId::whole(DIR);
    let claim = SubtreeClaim { auth: Rank(1), epoch: Epoch(5), parent: Some(Ino::ROOT) };
    check_act(Act::PutBase { base, claim }, expect!["07 ac 02 09 01 0b 10 00 00 01 05 01 01"]);
    check_act(Act::DropBase { base }, expect!["07 ac 02 09 01 0c 10 00 00"]);
}
