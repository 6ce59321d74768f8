//! The bytes of the messages, pinned: a change here is a change of the protocol.

use common::name::Name;
use common::wire::{decode, encode};
use expect_test::{Expect, expect};

use super::*;

const DIR: Ino = Ino(0x10);
const NONCE: Nonce = Nonce(3);

#[track_caller]
fn check_bytes(msg: &ReplicaMsg, expected: Expect) {
    let bytes = encode(msg);
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    expected.assert_eq(&hex.join(" "));
    assert_eq!(decode::<ReplicaMsg>(&bytes).unwrap(), *msg);
}

#[test]
fn all_of_them() {
    let parent = Parent { dir: Ino::ROOT, name: Name::new(b"d").unwrap() };
    check_bytes(&ReplicaMsg::Discover { dir: DIR }, expect!["00 10"]);
    let discovered = ReplicaMsg::Discovered {
        dir: DIR,
        parent: Some(parent.clone()),
        nonce: NONCE,
        epoch: Epoch(4),
    };
    check_bytes(&discovered, expect!["01 10 01 01 01 64 03 04"]);
    check_bytes(&ReplicaMsg::NotHere { dir: DIR, ask: Some(Rank(1)) }, expect!["02 10 01 01"]);
    for (region, expected) in [
        (None, expect!["03 01 10 03 00"]),
        (Some(DirFragId::whole(DIR)), expect!["03 01 10 03 01 10 00 00"]),
    ] {
        check_bytes(&ReplicaMsg::Expire { dirs: vec![(DIR, NONCE)], region }, expected);
    }
    check_bytes(
        &ReplicaMsg::Moved { dir: DIR, parent, nonce: NONCE },
        expect!["04 10 01 01 64 03"],
    );
    check_bytes(&ReplicaMsg::MovedAcked { dir: DIR, nonce: NONCE }, expect!["05 10 03"]);
}
