use common::file_lock::LockOwner;
use common::wire::encode;
use expect_test::expect;

use super::*;

#[test]
fn probe_and_found() {
    let waits_for = [(ClientId(3), LockOwner(4))].into();
    let probe = Probe { owner: (ClientId(1), LockOwner(2)), request: RequestId(9), waits_for };
    let bytes = encode(&DeadlockMsg::Probe { asked_by: Rank(5), probes: vec![probe] });
    expect!["[0, 5, 1, 1, 2, 9, 1, 3, 4]"].assert_eq(&format!("{bytes:?}"));
    let bytes = encode(&DeadlockMsg::Found { client: ClientId(1), request: RequestId(9) });
    expect!["[1, 1, 9]"].assert_eq(&format!("{bytes:?}"));
}
