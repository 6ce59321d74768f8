use common::id::{Epoch, Ino, Rank};
use common::name::{Name, NameHashKey};
use common::time::Timestamp;

use super::*;
use crate::effect::Effects;
use crate::row::Parent;

const ME: Rank = Rank(1);
const OTHER: Rank = Rank(2);
const A: Ino = Ino(0x100);
const B: Ino = Ino(0x101);
const C: Ino = Ino(0x102);

/// `/a/b/c`, all of it known here.
fn tree() -> Namespace {
    let (mut namespace, mut out) = (Namespace::new(NameHashKey(1, 2)), Effects::default());
    namespace.make_dir(Ino::ROOT, Namespace::root(Timestamp::default()), &mut out);
    for (ino, parent) in [(A, Ino::ROOT), (B, A), (C, B)] {
        let mut dir = Namespace::root(Timestamp::default());
        dir.parent = Some(Parent { dir: parent, name: Name::new(b"x").unwrap() });
        namespace.make_dir(ino, dir, &mut out);
    }
    namespace
}

fn subtree(auth: DirAuth, parent: Option<Ino>) -> Subtree {
    Subtree { auth, epoch: Epoch(1), parent, freeze: Freeze::Live, apart: false }
}

fn map() -> SubtreeMap {
    let mut map = SubtreeMap::new(ME);
    map.insert(DirFragId::whole(Ino::ROOT), subtree(DirAuth::Sole(ME), None));
    map.insert(DirFragId::whole(B), subtree(DirAuth::Sole(OTHER), Some(A)));
    map
}

#[test]
fn authority_is_inherited_from_the_nearest_base() {
    let (map, tree) = (map(), tree());
    let granted = Access::Granted { base: DirFragId::whole(Ino::ROOT) };
    assert_eq!(map.access(A, Intent::Change, &tree), Ok(granted));
    let Ok(Access::Elsewhere(route)) = map.access(C, Intent::Read, &tree) else {
        panic!("/a/b is another rank's");
    };
    assert_eq!((route.base, route.rank), (DirFragId::whole(B), OTHER));
}

#[test]
fn a_directory_nobody_told_us_of_is_unknown() {
    let (map, mut tree) = (map(), tree());
    tree.remove_dir(Ino(0x999), &mut Effects::default());
    assert_eq!(map.access(Ino(0x999), Intent::Read, &tree), Ok(Access::Unknown));
}

#[test]
fn a_freeze_stops_changes_first_and_reads_last() {
    let (mut map, tree) = (map(), tree());
    let base = DirFragId::whole(Ino::ROOT);
    for (freeze, read, change) in [
        (Freeze::Live, true, true),
        (Freeze::Freezing, true, false),
        (Freeze::ReadOnly, true, false),
        (Freeze::Frozen, false, false),
    ] {
        map.get_mut(base).unwrap().freeze = freeze;
        let granted = |intent| map.access(A, intent, &tree) == Ok(Access::Granted { base });
        assert_eq!((granted(Intent::Read), granted(Intent::Change)), (read, change), "{freeze:?}");
    }
}

#[test]
fn bounds_are_the_next_bases_below() {
    let (mut map, tree) = (map(), tree());
    map.insert(DirFragId::whole(C), subtree(DirAuth::Sole(ME), Some(B)));
    let root = DirFragId::whole(Ino::ROOT);
    assert_eq!(map.bounds(root, &tree), Ok([DirFragId::whole(B)].into()));
    assert_eq!(map.bounds(DirFragId::whole(B), &tree), Ok([DirFragId::whole(C)].into()));
}

#[test]
fn a_split_that_nothing_keeps_apart_merges_again() {
    let (mut map, tree) = (map(), tree());
    let (root, a) = (DirFragId::whole(Ino::ROOT), DirFragId::whole(A));
    map.split(a, root, Some(Ino::ROOT));
    assert_eq!(map.merge(a, &tree), Ok(false));
    assert!(map.get(a).is_some(), "it is kept apart until somebody says otherwise");
    map.get_mut(a).unwrap().apart = false;
    assert_eq!(map.merge(a, &tree), Ok(true));
    assert!(map.get(a).is_none());
    assert_eq!(map.bounds(root, &tree), Ok([DirFragId::whole(B)].into()));
}

/// It borders on another authority, and is about to move: what is around it may come here first.
#[test]
fn a_split_of_what_is_a_base_keeps_it_apart() {
    let (mut map, tree) = (map(), tree());
    let (root, a) = (DirFragId::whole(Ino::ROOT), DirFragId::whole(A));
    map.insert(a, subtree(DirAuth::Sole(ME), Some(Ino::ROOT)));
    map.split(a, a, Some(Ino::ROOT));
    assert_eq!(map.merge(a, &tree), Ok(false));
    assert!(map.get(a).is_some(), "{:?}", map.get(root));
}

/// What is being given away was copied in part: nothing is to be its own that was not when the copy began.
#[test]
fn nothing_merges_into_what_is_being_given_away() {
    let (mut map, tree) = (map(), tree());
    let (a, b) = (DirFragId::whole(A), DirFragId::whole(B));
    map.split(a, DirFragId::whole(Ino::ROOT), Some(Ino::ROOT));
    map.insert(b, subtree(DirAuth::Sole(ME), Some(A)));
    assert_eq!(map.merge(b, &tree), Ok(false));
    assert!(map.get(b).is_some());
    map.get_mut(a).unwrap().apart = false;
    assert_eq!(map.merge(b, &tree), Ok(true));
    assert!(map.get(b).is_none());
}

#[test]
fn auth_pins_count_for_the_region_they_are_in() {
    let (mut map, tree) = (map(), tree());
    map.auth_pin(A);
    map.auth_pin(A);
    map.auth_unpin(A);
    assert_eq!(map.has_auth_pins(DirFragId::whole(Ino::ROOT), &tree), Ok(true));
    assert_eq!(map.has_auth_pins(DirFragId::whole(B), &tree), Ok(false));
    map.auth_unpin(A);
    assert_eq!(map.has_auth_pins(DirFragId::whole(Ino::ROOT), &tree), Ok(false));
}

#[test]
fn the_clock_never_goes_back() {
    let mut map = map();
    map.see_epoch(Epoch(9));
    assert_eq!(map.stamp(), Epoch(10));
    map.see_epoch(Epoch(3));
    assert_eq!(map.clock(), Epoch(10));
}
