//! The bytes of the messages, pinned: a change here is a change of the protocol.

use std::time::Duration;

use expect_test::{Expect, expect};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::attr::SetAttr;
use crate::id::{ClientId, ClusterId, Ino, InoRange, MapEpoch, NoticeId, Rank, RequestId, Seq};
use crate::name::Name;
use crate::time::Timestamp;
use crate::wire::hello::{Hello, Identity};
use crate::wire::reply::{Answer, Outcome, Promise, Reply};
use crate::wire::request::{Caller, Create, IfExists, Node, Op, Place, Request, Target};
use crate::wire::session::{Notice, Opened, SessionAge, ToClient, ToMds};
use crate::wire::{decode, encode};

#[track_caller]
fn check_bytes<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    value: T,
    expected: Expect,
) {
    let bytes = encode(&value);
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    expected.assert_eq(&hex.join(" "));
    assert_eq!(decode::<T>(&bytes).unwrap(), value);
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn request(op: Op) -> ToMds {
    ToMds::Request(Request {
        id: RequestId(300),
        oldest: RequestId(7),
        caller: Caller { uid: 1000, gid: 100 },
        at: Timestamp { secs: 1, nanos: 2 },
        replay: None,
        op,
    })
}

#[test]
fn hello_bytes() {
    check_bytes(
        Hello::new(ClusterId(5), Identity::Client(ClientId(9)), None),
        expect!["47 72 6f 76 65 46 53 00 04 05 00 09 00"],
    );
}

#[test]
fn open_bytes() {
    check_bytes(ToMds::Open { client: ClientId(9), oldest: RequestId(1) }, expect!["00 09 01"]);
}

#[test]
fn lookup_bytes() {
    check_bytes(
        request(Op::Lookup { dir: Ino::ROOT, name: name("a") }),
        expect!["04 ac 02 07 e8 07 64 02 02 00 00 01 01 61"],
    );
}

#[test]
fn create_bytes() {
    let create = Create {
        dir: Ino::ROOT,
        name: name("a"),
        ino: Ino(0x100),
        node: Node::Symlink(b"b"[..].into()),
        mode: 0o777,
        umask: 0o22,
        existing: IfExists::Refuse,
    };
    check_bytes(
        request(Op::Create(create)),
        expect!["04 ac 02 07 e8 07 64 02 02 00 05 01 01 61 80 02 01 01 62 ff 03 12 00"],
    );
}

#[test]
fn setattr_bytes() {
    let target =
        Target { ino: Ino(0x100), place: Place::Entry { dir: Ino::ROOT, name: name("a") } };
    check_bytes(
        request(Op::Setattr { target, set: SetAttr { size: Some(0), ..SetAttr::default() } }),
        expect!["04 ac 02 07 e8 07 64 02 02 00 02 80 02 01 01 01 61 00 00 00 01 00 00 00 00"],
    );
}

#[test]
fn sync_is_the_last_operation() {
    check_bytes(request(Op::Sync), expect!["04 ac 02 07 e8 07 64 02 02 00 12"]);
}

#[test]
fn opened_bytes() {
    let opened = Opened {
        session: SessionAge::New,
        begun: Seq(5),
        lease: Duration::from_secs(10),
        ranges: vec![InoRange { first: Ino(0x100), last: Ino(0x1ff) }],
        durable: Seq(3),
        map_epoch: MapEpoch(4),
    };
    check_bytes(ToClient::Opened(opened), expect!["00 00 05 0a 00 01 80 02 ff 03 03 04"]);
}

#[test]
fn reply_bytes() {
    let reply = Reply {
        id: RequestId(300),
        applied: Some(Seq(5)),
        map_epoch: MapEpoch(4),
        outcome: Outcome::Done(Answer::Done),
        promise: Promise::None,
        after: NoticeId(6),
    };
    check_bytes(ToClient::Reply(reply), expect!["01 ac 02 01 05 04 00 00 00 06"]);
}

#[test]
fn notice_bytes() {
    let notice = Notice::Unlinked { ino: Ino(0x100), rank: Rank(2) };
    check_bytes(ToClient::Notice { id: NoticeId(1), notice }, expect!["03 01 01 80 02 02"]);
}

#[test]
fn not_held_bytes() {
    let place = Place::Entry { dir: Ino::ROOT, name: name("a") };
    let target = Target { ino: Ino(0x100), place };
    check_bytes(
        ToClient::NotHeld { target, latest: RequestId(3) },
        expect!["07 80 02 01 01 01 61 03"],
    );
}

#[test]
fn changed_bytes() {
    let names = vec![(name("a"), Some(Ino(0x100))), (name("b"), None)];
    let notice = Notice::Changed { dir: Ino::ROOT, names };
    check_bytes(
        ToClient::Notice { id: NoticeId(1), notice },
        expect!["03 01 04 01 02 01 61 01 80 02 01 62 00"],
    );
    let notice = Notice::ChangedAtHome { ino: Ino(0x100) };
    check_bytes(ToClient::Notice { id: NoticeId(1), notice }, expect!["03 01 05 80 02"]);
}
