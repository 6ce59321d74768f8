//! Each invariant, broken by hand, is seen.

use std::collections::BTreeSet;

use common::id::{ClientId, DirFragId, Epoch, Ino, Nonce, Rank, TwoPhaseId};
use common::wire::admin::AdminRequest;
use common::wire::request::Op;

use super::Broken;
use crate::cluster_fixture::{Cluster, D0, D1, R0, R1, R2};
use crate::cx::Wait;
use crate::fixture::{A, name};
use crate::holdings::Holdings;
use crate::input::{AdminId, Input};
use crate::journal::entry::SubtreeClaim;
use crate::lock::{Lock, Operation};
use crate::subtree::{DirAuth, Freeze};

fn root() -> DirFragId {
    DirFragId::whole(Ino::ROOT)
}

/// What rank 0 says after something was done to it.
fn after(breaks: impl FnOnce(&mut Holdings)) -> Result<(), Broken> {
    let mut cluster = Cluster::new();
    cluster.assert_sound();
    breaks(cluster.at(R0).mds.holdings_for_test());
    cluster.ranks[&R0].mds.check()
}

#[test]
fn who_is_in_doubt_is_frozen() {
    let broken = after(|own| {
        let auth = DirAuth::Ambiguous { first: R1, second: R2 };
        own.subtrees.get_mut(DirFragId::whole(D1)).unwrap().auth = auth;
    });
    assert_eq!(broken, Err(Broken::DoubtNotFrozen(DirFragId::whole(D1))));
}

#[test]
fn what_is_frozen_is_moving() {
    let broken = after(|own| own.subtrees.get_mut(root()).unwrap().freeze = Freeze::Freezing);
    assert_eq!(broken, Err(Broken::FrozenForNobody(root())));
}

#[test]
fn auth_pins_and_locks_belong_to_operations() {
    let broken = after(|own| own.subtrees.auth_pin(D0));
    assert_eq!(broken, Err(Broken::AuthPins { held: 0, counted: 1 }));
    let lock = Lock::Inode(D0);
    let holder = Operation { coordinator: Rank(1), id: TwoPhaseId(1) };
    let broken = after(|own| own.locks.take(lock.clone(), holder));
    assert_eq!(broken, Err(Broken::LockedForNobody(lock)));
}

#[test]
fn nobody_replicates_what_is_its_own() {
    let broken = after(|own| {
        own.spine.register(D0, R0, common::id::Incarnation(1));
    });
    assert_eq!(broken, Err(Broken::OwnReplica(D0)));
}

#[test]
fn expires_are_kept_for_doubts_only() {
    let broken = after(|own| own.spine.in_doubt.keep(root(), R1, vec![(D0, Nonce(1))]));
    assert_eq!(broken, Err(Broken::KeptForNobody(root())));
}

#[test]
fn pins_are_of_sessions() {
    let stranger = ClientId(99);
    let broken = after(|own| own.pins.pin(Ino(0x77), None, stranger, common::id::RequestId(1)));
    assert_eq!(broken, Err(Broken::PinOfNobody { ino: Ino(0x77), client: stranger }));
}

#[test]
fn what_requests_wait_for_will_come() {
    let mut cluster = Cluster::new();
    cluster.freeze(R0, Ino::ROOT);
    let id = cluster.send(R0, A, Op::Lookup { dir: Ino::ROOT, name: name("r0") }).id;
    cluster.at(R0).mds.freeze_for_test(root(), Freeze::Live);
    let broken = Broken::WaitsForNothing { client: A, id, wait: Wait::Thaw(root()) };
    assert_eq!(cluster.ranks[&R0].mds.check(), Err(broken), "it was thawed, and nobody was woken");
}

#[test]
fn what_is_frozen_ends_where_it_did_when_it_was_frozen() {
    let mut cluster = Cluster::new();
    let dir = cluster.at(R1).mkdir(A, D1, "a");
    let below = cluster.at(R1).mkdir(A, dir, "b");
    let request = AdminRequest::Export { dir, to: R2 };
    cluster.at(R1).input(Input::Admin { id: AdminId(1), request });
    while cluster.ranks[&R1].mds.frozen_regions().next().is_none() {
        assert!(cluster.step(), "it is frozen some time");
    }
    cluster.assert_sound();
    let claim = SubtreeClaim { auth: R2, epoch: Epoch(9), parent: Some(dir) };
    let below = DirFragId::whole(below);
    cluster.at(R1).mds.holdings_for_test().subtrees.restore(below, &claim);
    let (base, known) = (DirFragId::whole(dir), [below].into());
    let broken = Broken::Bounds { base, frozen: BTreeSet::new(), known };
    assert_eq!(cluster.ranks[&R1].mds.check(), Err(broken));
}
