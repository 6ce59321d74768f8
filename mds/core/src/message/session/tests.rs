use common::wire::encode;
use expect_test::expect;

use super::*;

#[test]
fn untold() {
    let bytes = encode(&SessionMsg::Untold { client: ClientId(9) });
    expect!["[0, 9]"].assert_eq(&format!("{bytes:?}"));
}

#[test]
fn unknown() {
    let bytes = encode(&SessionMsg::Unknown { client: ClientId(9) });
    expect!["[1, 9]"].assert_eq(&format!("{bytes:?}"));
}
