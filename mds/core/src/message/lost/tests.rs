//! The bytes of the messages, pinned: a change here is a change of the protocol.

use common::wire::{decode, encode};
use expect_test::{Expect, expect};

use super::*;

const DIR: Ino = Ino(0x10);

#[track_caller]
fn check_bytes(msg: &LostMsg, expected: Expect) {
    let bytes = encode(msg);
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    expected.assert_eq(&hex.join(" "));
    assert_eq!(decode::<LostMsg>(&bytes).unwrap(), *msg);
}

#[test]
fn all_of_them() {
    let name = Name::new(b"d").unwrap();
    check_bytes(&LostMsg::Whose { dir: DIR, names: None, round: 7 }, expect!["00 10 00 07"]);
    let names = Some((name.clone(), Ino(0x11)));
    check_bytes(&LostMsg::Whose { dir: DIR, names, round: 7 }, expect!["00 10 01 01 64 11 07"]);
    for (standing, expected) in [
        (Standing::No, expect!["01 10 07 00 01"]),
        (Standing::Here { epoch: Epoch(3) }, expect!["01 10 07 01 03 01"]),
        (Standing::Undecided, expect!["01 10 07 02 01"]),
    ] {
        check_bytes(&LostMsg::Standing { dir: DIR, round: 7, standing, imports: 1 }, expected);
    }
    check_bytes(
        &LostMsg::Attach { dir: DIR, name: name.clone(), epoch: Epoch(3) },
        expect!["02 10 01 64 03"],
    );
    let parent = Parent { dir: Ino::ROOT, name };
    check_bytes(&LostMsg::Attached { dir: DIR, parent }, expect!["03 10 01 01 64"]);
}
