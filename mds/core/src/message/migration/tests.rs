//! The bytes of the messages, pinned: a change here is a change of the protocol.

use common::attr::{Attr, FileKind, Times};
use common::id::{Incarnation, RequestId};
use common::name::{Name, NameHash};
use common::time::Timestamp;
use common::wire::{decode, encode};
use expect_test::{Expect, expect};

use super::*;
use crate::file_lock::LocksOfFile;
use crate::row::Inode;

const DIR: Ino = Ino(0x10);
const ID: MigrationId = MigrationId { exporter: Rank(1), incarnation: Incarnation(2), number: 3 };
const AT: Timestamp = Timestamp { secs: 1, nanos: 2 };
const DOUBT: DirAuth = DirAuth::Ambiguous { first: Rank(1), second: Rank(2) };

fn name() -> Name {
    Name::new(b"f").unwrap()
}

fn key() -> EntryKey {
    EntryKey { dir: DIR, hash: NameHash(5), name: name() }
}

fn parent() -> Parent {
    Parent { dir: Ino::ROOT, name: name() }
}

fn base() -> DirFragId {
    DirFragId::whole(DIR)
}

#[track_caller]
fn check_bytes(step: Step, expected: Expect) {
    let msg = MigrationMsg { id: ID, base: base(), step };
    let bytes = encode(&msg);
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    expected.assert_eq(&hex.join(" "));
    assert_eq!(decode::<MigrationMsg>(&bytes).unwrap(), msg);
}

#[track_caller]
fn check_content(content: Content, expected: Expect) {
    check_bytes(Step::Rows { number: 1, content: vec![content] }, expected);
}

#[test]
fn discovering() {
    check_bytes(
        Step::Discover { parent: parent(), ask: [(DIR, Rank(1))].into() },
        expect!["01 02 03 10 00 00 00 01 01 66 01 10 01"],
    );
    check_bytes(Step::DiscoverAck, expect!["01 02 03 10 00 00 01"]);
    check_bytes(Step::Nack { reason: EndReason::ImporterBusy }, expect!["01 02 03 10 00 00 02 07"]);
}

#[test]
fn copying() {
    check_bytes(
        Step::Rows { number: 7, content: Vec::new() },
        expect!["01 02 03 10 00 00 03 07 00"],
    );
    check_bytes(Step::RowsAck { number: 7 }, expect!["01 02 03 10 00 00 04 07"]);
}

#[test]
fn preparing() {
    let claim = SubtreeClaim { auth: Rank(0), epoch: Epoch(5), parent: Some(DIR) };
    let bounds = [(DirFragId::whole(Ino(0x11)), claim)].into();
    let prep = Step::Prep { epoch: Epoch(6), bounds, bystanders: [Rank(0)].into() };
    check_bytes(prep, expect!["01 02 03 10 00 00 05 06 01 11 00 00 00 05 01 10 01 00"]);
    check_bytes(Step::PrepAck, expect!["01 02 03 10 00 00 06"]);
    check_bytes(
        Step::Notify { auth: DOUBT, epoch: Epoch(6), dirs: vec![Ino(0x10)] },
        expect!["01 02 03 10 00 00 07 01 01 02 06 01 10"],
    );
    check_bytes(
        Step::NotifyAck { auth: DirAuth::Sole(Rank(2)) },
        expect!["01 02 03 10 00 00 08 00 02"],
    );
}

#[test]
fn deciding() {
    check_bytes(Step::Export(Box::default()), expect!["01 02 03 10 00 00 09 00 00 00 00 00 00"]);
    let session = TravelSession {
        client: ClientId(9),
        ranges: Vec::new(),
        completed: [RequestId(4), RequestId(5)].into_iter().collect(),
        oldest: RequestId(4),
        exclusive: false,
    };
    let payload = Payload {
        delta: vec![Content::NoDir(base())],
        sessions: vec![session],
        registrations: [(
            DIR,
            [(Rank(0), Registration { nonce: Nonce(8), life: Incarnation(3) })].into(),
        )]
        .into(),
        cached: Cached {
            evicted: [ClientId(10)].into(),
            unheard: [(DIR, vec![(ClientId(9), None)])].into(),
            exclusive: [(DIR, ClientId(9))].into(),
        },
    };
    check_bytes(
        Step::Export(Box::new(payload)),
        expect![
            "01 02 03 10 00 00 09 01 03 10 00 00 01 09 00 01 04 05 04 00 01 10 01 00 08 03 01 0a 01 10 01 09 00 01 10 09"
        ],
    );
    check_bytes(Step::ExportAck, expect!["01 02 03 10 00 00 0a"]);
    check_bytes(Step::Serve, expect!["01 02 03 10 00 00 0b"]);
    check_bytes(Step::Finished, expect!["01 02 03 10 00 00 0c"]);
    check_bytes(Step::Over, expect!["01 02 03 10 00 00 0d"]);
}

#[test]
fn undoing_and_asking() {
    check_bytes(Step::Cancel, expect!["01 02 03 10 00 00 0e"]);
    check_bytes(Step::CancelAck, expect!["01 02 03 10 00 00 0f"]);
    check_bytes(Step::Ask, expect!["01 02 03 10 00 00 10"]);
    check_bytes(Step::Undecided, expect!["01 02 03 10 00 00 11"]);
}

#[test]
fn content() {
    let attr = Attr {
        ino: Ino(7),
        kind: FileKind::File,
        mode: 0o644,
        nlink: 1,
        uid: 1,
        gid: 2,
        rdev: 0,
        size: 3,
        times: Times::all(AT),
    };
    let inode = Inode { attr, xattrs: BTreeMap::new(), symlink: Box::default(), moves: 0 };
    check_content(
        Content::Entry(key(), Linkage::Primary(Box::new(inode))),
        expect![
            "01 02 03 10 00 00 03 01 01 00 10 05 01 66 00 07 00 a4 03 01 01 02 00 03 02 02 02 02 02 02 00 00 00"
        ],
    );
    check_content(
        Content::Entry(key(), Linkage::Dir { ino: DIR }),
        expect!["01 02 03 10 00 00 03 01 01 00 10 05 01 66 01 10"],
    );
    let remote = Linkage::Remote { ino: Ino(7), kind: FileKind::File };
    check_content(
        Content::Entry(key(), remote),
        expect!["01 02 03 10 00 00 03 01 01 00 10 05 01 66 02 07 00"],
    );
    check_content(Content::NoEntry(key()), expect!["01 02 03 10 00 00 03 01 01 01 10 05 01 66"]);
    let dir = Dir {
        mode: 0o755,
        uid: 1,
        gid: 2,
        times: Times::all(AT),
        entries: 1,
        subdirs: 0,
        parent: Some(parent()),
        xattrs: BTreeMap::new(),
        pin: Some(Rank(1)),
    };
    check_content(
        Content::Dir(base(), dir),
        expect![
            "01 02 03 10 00 00 03 01 01 02 10 00 00 ed 03 01 02 02 02 02 02 02 02 01 00 01 01 01 66 00 01 01"
        ],
    );
    check_content(Content::NoDir(base()), expect!["01 02 03 10 00 00 03 01 01 03 10 00 00"]);
    let holders = [(ClientId(9), RequestId(2))].into();
    check_content(
        Content::Pins { ino: Ino(7), dir: DIR, holders, locks: LocksOfFile::new() },
        expect!["01 02 03 10 00 00 03 01 01 04 07 10 01 09 02 00"],
    );
}
