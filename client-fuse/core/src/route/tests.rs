//! Routes over `/a/b/c`.

use common::attr::FileKind;
use common::id::DirFragId;
use common::wire::request::Place;

use super::*;
use crate::fixture::{R0, R1, R2, name};

const A: Ino = Ino(10);
const B: Ino = Ino(11);
const C: Ino = Ino(12);

/// `/a/b/c`
fn tree() -> InodeTable {
    let mut inodes = InodeTable::default();
    for (dir, parent) in [(A, Ino::ROOT), (B, A), (C, B)] {
        inodes.meet(dir, FileKind::Dir, Place::Dir, (parent, name("x")), None);
    }
    inodes
}

fn route(base: Ino, rank: Rank, epoch: u64) -> Route {
    Route { base: DirFragId::whole(base), rank, epoch: Epoch(epoch) }
}

#[test]
fn what_is_unknown_is_with_the_root() {
    assert_eq!(RouteTable::default().rank(C, &tree()), R0);
    assert_eq!(RouteTable::default().rank(Ino(99), &tree()), R0);
}

#[test]
fn a_route_holds_for_everything_below() {
    let (mut routes, inodes) = (RouteTable::default(), tree());
    routes.learn(A, R1, &inodes);
    assert_eq!(routes.rank(C, &inodes), R1);
    assert_eq!(routes.rank(Ino::ROOT, &inodes), R0);
}

#[test]
fn what_the_parent_says_already_is_not_kept() {
    let (mut routes, inodes) = (RouteTable::default(), tree());
    routes.learn(A, R1, &inodes);
    routes.learn(B, R1, &inodes);
    assert!(!routes.is_known(B));
    routes.learn(B, R2, &inodes);
    assert_eq!(routes.rank(C, &inodes), R2);
    routes.learn(B, R1, &inodes);
    assert!(!routes.is_known(B));
}

#[test]
fn a_redirect_clears_what_led_astray() {
    let (mut routes, inodes) = (RouteTable::default(), tree());
    routes.learn(C, R2, &inodes);
    routes.redirected(C, route(A, R1, 5), &inodes);
    assert_eq!(routes.rank(C, &inodes), R1);
    assert_eq!(routes.rank(A, &inodes), R1);
}

#[test]
fn a_redirect_from_off_the_known_path_is_for_the_directory_alone() {
    let (mut routes, inodes) = (RouteTable::default(), tree());
    routes.redirected(B, route(Ino(77), R1, 5), &inodes);
    assert_eq!(routes.rank(C, &inodes), R1);
    assert_eq!(routes.rank(A, &inodes), R0);
}

#[test]
fn a_redirect_from_the_directory_itself_sets_it() {
    let (mut routes, inodes) = (RouteTable::default(), tree());
    routes.redirected(B, route(B, R1, 5), &inodes);
    assert_eq!(routes.rank(B, &inodes), R1);
    assert_eq!(routes.rank(A, &inodes), R0);
}

#[test]
fn of_two_notices_the_higher_epoch_wins() {
    let (mut routes, inodes) = (RouteTable::default(), tree());
    routes.told(route(A, R1, 5));
    routes.told(route(A, R2, 4));
    assert_eq!(routes.rank(A, &inodes), R1);
    routes.told(route(A, R2, 6));
    assert_eq!(routes.rank(A, &inodes), R2);
}

#[test]
fn a_circle_of_parents_ends() {
    let mut inodes = tree();
    inodes.renamed(A, (C, name("a")));
    assert_eq!(RouteTable::default().rank(B, &inodes), R0);
}

/// The root's rank is what is believed of it anyway, but not more than what somebody else has said.
#[test]
fn a_route_is_noted_if_no_way_up_is_known() {
    let (mut routes, inodes) = (RouteTable::default(), tree());
    routes.learn(A, R0, &inodes);
    assert!(!routes.is_known(A));
    routes.learn(Ino(99), R0, &inodes);
    assert!(routes.is_known(Ino(99)));
}
