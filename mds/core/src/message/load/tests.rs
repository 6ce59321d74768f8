//! The bytes of the messages, pinned: a change here is a change of the protocol.

use common::wire::{decode, encode};
use expect_test::{Expect, expect};

use super::*;

#[track_caller]
fn check_bytes(msg: &LoadMsg, expected: Expect) {
    let bytes = encode(msg);
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    expected.assert_eq(&hex.join(" "));
    assert_eq!(decode::<LoadMsg>(&bytes).unwrap(), *msg);
}

#[test]
fn all_of_them() {
    let candidates = vec![Candidate { dir: Ino(0x10), load: 200 }];
    check_bytes(
        &LoadMsg::Heartbeat(Heartbeat { load: 300, candidates }),
        expect!["00 ac 02 01 10 c8 01"],
    );
    check_bytes(&LoadMsg::Export { dir: Ino(0x10), to: Rank(2) }, expect!["01 10 02"]);
}
