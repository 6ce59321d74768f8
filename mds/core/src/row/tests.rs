//! The bytes of what is stored, pinned: a change here is a change of what a store may hold.

use std::collections::BTreeMap;

use common::id::{Incarnation, Slot};
use common::time::Timestamp;
use common::wire::{decode, encode};
use expect_test::{Expect, expect};

use super::*;

const DIR: Ino = Ino(0x10);
const ID: MigrationId = MigrationId { exporter: Rank(1), incarnation: Incarnation(2), number: 3 };
const AT: Timestamp = Timestamp { secs: 1, nanos: 2 };
const A: ClientId = ClientId(9);

fn hex(bytes: &[u8]) -> String {
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.join(" ")
}

/// The row, and its key.
fn frag() -> DirFragId {
    DirFragId::whole(DIR)
}

#[track_caller]
fn check_bytes(row: &Row, expected: Expect, expected_key: Expect) {
    let bytes = encode(row);
    expected.assert_eq(&hex(&bytes));
    assert_eq!(decode::<Row>(&bytes).unwrap(), *row);
    let bytes = encode(&row.key());
    expected_key.assert_eq(&hex(&bytes));
    assert_eq!(decode::<Key>(&bytes).unwrap(), row.key());
}

fn name() -> Name {
    Name::new(b"f").unwrap()
}

fn inode() -> Inode {
    let attr = Attr {
        ino: Ino(7),
        kind: FileKind::Symlink,
        mode: 0o777,
        nlink: 1,
        uid: 1,
        gid: 2,
        rdev: 0,
        size: 1,
        times: Times::all(AT),
    };
    Inode { attr, xattrs: BTreeMap::new(), symlink: Box::from(*b"t"), moves: 0 }
}

#[test]
fn entries() {
    let key = EntryKey { dir: DIR, hash: NameHash(5), name: name() };
    let primary = Linkage::Primary(Box::new(inode()));
    check_bytes(
        &Row::Entry(key.clone(), primary),
        expect!["00 10 05 01 66 00 07 02 ff 03 01 01 02 00 01 02 02 02 02 02 02 00 01 74 00"],
        expect!["00 10 05 01 66"],
    );
    check_bytes(
        &Row::Entry(key.clone(), Linkage::Dir { ino: DIR }),
        expect!["00 10 05 01 66 01 10"],
        expect!["00 10 05 01 66"],
    );
    let remote = Linkage::Remote { ino: Ino(7), kind: FileKind::File };
    check_bytes(
        &Row::Entry(key, remote),
        expect!["00 10 05 01 66 02 07 00"],
        expect!["00 10 05 01 66"],
    );
}

#[test]
fn objects() {
    let dir = Dir {
        mode: 0o755,
        uid: 1,
        gid: 2,
        times: Times::all(AT),
        entries: 1,
        subdirs: 1,
        parent: Some(Parent { dir: Ino::ROOT, name: name() }),
        xattrs: BTreeMap::new(),
        pin: Some(Rank(1)),
    };
    check_bytes(
        &Row::Dir(frag(), dir),
        expect!["01 10 00 00 ed 03 01 02 02 02 02 02 02 02 01 01 01 01 01 66 00 01 01"],
        expect!["01 10 00 00"],
    );
    check_bytes(
        &Row::Inode(Ino(7), inode()),
        expect!["02 07 07 02 ff 03 01 01 02 00 01 02 02 02 02 02 02 00 01 74 00"],
        expect!["02 07"],
    );
    let orphan = Orphan { inode: inode(), holders: [(A, RequestId(2))].into() };
    check_bytes(
        &Row::Orphan(Ino(7), orphan),
        expect!["03 07 07 02 ff 03 01 01 02 00 01 02 02 02 02 02 02 00 01 74 00 01 09 02"],
        expect!["03 07"],
    );
}

#[test]
fn clients() {
    let stored = StoredSession {
        begun: Seq(3),
        ranges: vec![InoRange { first: Ino::new(Slot(1), 0x100), last: Ino::new(Slot(1), 0x10f) }],
        oldest: RequestId(4),
        untold: true,
        exclusive: false,
    };
    check_bytes(
        &Row::Session(A, stored),
        expect!["04 09 03 01 80 82 80 80 80 80 20 8f 82 80 80 80 80 20 04 01 00"],
        expect!["04 09"],
    );
    check_bytes(&Row::Completed(A, RequestId(5)), expect!["05 09 05"], expect!["05 09 05"]);
    let notice = Notice::Unlinked { ino: Ino(7), rank: Rank(1) };
    check_bytes(
        &Row::Notice(A, NoticeId(5), notice),
        expect!["0b 09 05 01 07 01"],
        expect!["0b 09 05"],
    );
    check_bytes(&Row::Evicted(A), expect!["0c 09"], expect!["0c 09"]);
}

#[test]
fn lists_of_migrations() {
    check_bytes(&Row::Held(frag(), ID), expect!["06 10 00 00 01 02 03"], expect!["06 10 00 00"]);
    check_bytes(
        &Row::Copied(ID, frag()),
        expect!["07 01 02 03 10 00 00"],
        expect!["07 01 02 03 10 00 00"],
    );
    check_bytes(
        &Row::Drop(ID, frag(), None),
        expect!["08 01 02 03 10 00 00 00"],
        expect!["08 01 02 03 10 00 00"],
    );
    check_bytes(
        &Row::Drop(ID, frag(), Some(ID)),
        expect!["08 01 02 03 10 00 00 01 01 02 03"],
        expect!["08 01 02 03 10 00 00"],
    );
}

#[test]
fn counters() {
    check_bytes(&Row::InoReserved(300), expect!["09 ac 02"], expect!["09"]);
    check_bytes(&Row::Clock(Epoch(6)), expect!["0a 06"], expect!["0a"]);
}
