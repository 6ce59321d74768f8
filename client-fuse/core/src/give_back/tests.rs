//! Pins counted, given back and claimed; the test plays the ranks.

use std::time::Duration;

use common::error::FsError;
use common::wire::reply::{Answer, Found, Outcome};
use common::wire::session::{Notice, ToMds};

use super::*;
use crate::fixture::{Fixture, R0, R1, dir_here, file, here, name};
use crate::input::{Call, References, Signal};

const SOON: Duration = Duration::from_millis(50);
const F: Ino = Ino(20);

fn at(dir: u64, text: &str) -> Target {
    Target { ino: F, place: Place::Entry { dir: Ino(dir), name: name(text) } }
}

fn forget(count: u64) -> References {
    References::Forgotten { items: vec![(F, count)] }
}

fn items(op: Op) -> Vec<Forget> {
    let Op::Forget { items } = op else { panic!("{op:?}") };
    items
}

/// `/d/f`, where `/d` is with rank 1, found and stat'ed once.
fn with_file() -> Fixture {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R1));
    world.look_up(10, "f", R1, here(F.0));
    world.call(Call::Getattr { ino: F });
    world.serve(R1, Outcome::Done(Answer::Attr(file(F.0))));
    world.sent.clear();
    world
}

#[test]
fn every_reply_counts_and_all_are_given_back_at_once() {
    let mut world = with_file();
    world.refer(forget(1));
    world.pass(SOON);
    let (rank, request) = world.request();
    assert_eq!(rank, R1);
    assert_eq!(items(request.op), [Forget { target: at(10, "f"), count: 2 }]);
}

#[test]
fn a_reply_for_what_was_forgotten_is_given_back() {
    let mut world = with_file();
    let call = world.call(Call::Getattr { ino: F });
    let (_, getattr) = world.request();
    world.refer(forget(1));
    world.pass(SOON);
    let (_, first) = world.request();
    assert_eq!(items(first.op)[0].count, 2);
    world.reply(R1, getattr.id, None, Outcome::Done(Answer::Attr(file(F.0))));
    assert!(world.answer(call).is_ok());
    world.pass(SOON);
    let (_, second) = world.request();
    assert_eq!(items(second.op), [Forget { target: at(10, "f"), count: 1 }]);
}

#[test]
fn a_lookup_whose_caller_was_killed_leaves_no_pin() {
    let mut world = Fixture::new();
    let call = world.call(Call::Lookup { dir: Ino(1), name: name("f") });
    world.cancel(call, Signal::Fatal);
    assert_eq!(world.answer(call), Err(FsError::Interrupted));
    world.serve(R0, here(F.0));
    world.pass(SOON);
    let (_, request) = world.request();
    assert_eq!(items(request.op), [Forget { target: at(1, "f"), count: 1 }]);
}

#[test]
fn pins_follow_an_inode_that_is_elsewhere() {
    let mut world = with_file();
    world.refer(forget(1));
    world.pass(SOON);
    world.serve(R1, Outcome::Done(Answer::NotHere(vec![at(10, "f")])));
    let scout = world.serve(R1, crate::fixture::redirect(10, R0, 4));
    assert_eq!(scout.op, Op::Getattr { target: Target::dir(Ino(10)) });
    world.pass(SOON);
    world.sent.retain(|(_, message)| {
        matches!(message, ToMds::Request(request) if matches!(request.op, Op::Forget { .. }))
    });
    let (rank, again) = world.request();
    assert_eq!(rank, R0);
    assert_eq!(items(again.op), [Forget { target: at(10, "f"), count: 2 }]);
}

#[test]
fn a_notice_about_what_is_on_its_way_back_redirects_it() {
    let mut world = with_file();
    world.refer(forget(1));
    world.notice(R1, 3, Notice::Unlinked { ino: F, rank: R0 });
    world.pass(SOON);
    let (rank, request) = world.request();
    assert_eq!(rank, R0);
    assert_eq!(items(request.op)[0].target.place, Place::Orphan { rank: R0 });
}

#[test]
fn claims_count_what_is_held_and_what_is_on_its_way_back() {
    let mut world = with_file();
    world.refer(forget(1));
    world.pass(SOON);
    let (_, lost) = world.request();
    world.look_up(10, "f", R1, here(F.0));
    world.break_link(R1);
    world.pass(SOON);
    let claim = ToMds::Claim { pins: vec![PinClaim { target: at(10, "f"), count: 3 }] };
    assert!(world.sent.contains(&(R1, claim)), "{:?}", world.sent);
    let (_, again) = world.request();
    assert_eq!((again.id, items(again.op)), (lost.id, items(lost.op)));
}

/// Where a directory lies the rank knows better than who has not heard of a move.
#[test]
fn a_name_is_claimed_at_every_rank() {
    let mut world = with_file();
    world.break_link(R0);
    world.pass(SOON);
    let claim = ToMds::Claim { pins: vec![PinClaim { target: at(10, "f"), count: 2 }] };
    assert!(world.sent.contains(&(R0, claim)), "{:?}", world.sent);
}

#[test]
fn a_hard_link_is_claimed_at_its_home() {
    let mut world = Fixture::new();
    let found = Found::Remote { ino: F, kind: file(1).kind, rank: R0, attr: Some(file(F.0)) };
    world.look_up(1, "f", R0, Outcome::Done(Answer::Found(found)));
    world.break_link(R0);
    world.pass(SOON);
    let target = Target { ino: F, place: Place::Home };
    let claim = ToMds::Claim { pins: vec![PinClaim { target, count: 1 }] };
    assert!(world.sent.contains(&(R0, claim)), "{:?}", world.sent);
}
