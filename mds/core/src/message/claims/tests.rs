//! The bytes of the messages, pinned: a change here is a change of the protocol.

use common::id::Ino;
use common::wire::{decode, encode};
use expect_test::{Expect, expect};

use super::*;

#[track_caller]
fn check_bytes(msg: &ClaimsMsg, expected: Expect) {
    let bytes = encode(msg);
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    expected.assert_eq(&hex.join(" "));
    assert_eq!(decode::<ClaimsMsg>(&bytes).unwrap(), *msg);
}

#[test]
fn all_of_them() {
    let base = DirFragId::whole(Ino(0x10));
    let bases = vec![(base, Epoch(3))];
    check_bytes(&ClaimsMsg::Mine { bases: bases.clone() }, expect!["00 01 10 00 00 03"]);
    check_bytes(&ClaimsMsg::Near { bases }, expect!["01 01 10 00 00 03"]);
    check_bytes(&ClaimsMsg::Lower { base, epoch: Epoch(4) }, expect!["02 10 00 00 04"]);
}
