//! Pins given back and claimed; the test plays the ranks.

use std::time::Duration;

use common::error::FsError;
use common::id::Seq;
use common::wire::reply::{Answer, Found, Outcome};
use common::wire::session::{Notice, PinClaim, PinnedBy, ToClient, ToMds};

use super::*;
use crate::fixture::{Fixture, R0, R1, attr, create, dir_here, file, here, name};
use crate::input::{Call, References, Signal};

const SOON: Duration = Duration::from_millis(50);
const F: Ino = Ino(20);

fn at(dir: u64, text: &str) -> Target {
    Target { ino: F, place: Place::Entry { dir: Ino(dir), name: name(text) } }
}

fn forget() -> References {
    References::Forgotten { items: vec![(F, 1)] }
}

fn forget_in(dir: u64, below: u64) -> Forget {
    Forget { ino: F, dir: Some(Ino(dir)), below: RequestId(below) }
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
fn what_the_kernel_forgets_is_given_back() {
    let mut world = with_file();
    world.refer(forget());
    world.pass(SOON);
    let (rank, request) = world.request();
    assert_eq!(rank, R1);
    assert_eq!(items(request.op), [forget_in(10, 4)]);
}

#[test]
fn nothing_is_given_back_that_an_answer_may_name_once_more() {
    let mut world = with_file();
    let call = world.call(Call::Getattr { ino: F });
    let (_, getattr) = world.request();
    world.refer(forget());
    world.pass(SOON);
    world.assert_nothing_sent();
    world.reply(R1, getattr.id, None, Outcome::Done(Answer::Attr(file(F.0))));
    assert!(world.answer(call).is_ok());
    world.pass(SOON);
    let (_, forget) = world.request();
    assert_eq!(items(forget.op), [forget_in(10, 5)]);
}

#[test]
fn what_is_found_again_meanwhile_stays() {
    let mut world = with_file();
    let call = world.call(Call::Lookup { dir: Ino(10), name: name("f") });
    let (_, lookup) = world.request();
    world.refer(forget());
    world.reply(R1, lookup.id, None, here(F.0));
    assert!(world.answer(call).is_ok());
    world.pass(SOON);
    world.assert_nothing_sent();
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
    assert_eq!(items(request.op), [forget_in(1, 2)]);
}

#[test]
fn pins_follow_an_inode_that_is_elsewhere() {
    let mut world = with_file();
    world.refer(forget());
    world.pass(SOON);
    world.serve(R1, Outcome::Done(Answer::NotHere(vec![F])));
    let scout = world.serve(R1, crate::fixture::redirect(10, R0, 4));
    assert_eq!(scout.op, Op::Getattr { target: Target::dir(Ino(10)) });
    let scout = world.serve(R0, Outcome::Done(Answer::Attr(attr(10, common::attr::FileKind::Dir))));
    assert_eq!(scout.op, Op::Getattr { target: Target::dir(Ino(10)) });
    world.pass(SOON);
    let (rank, again) = world.request();
    assert_eq!(rank, R0);
    assert_eq!(items(again.op), [forget_in(10, 6)]);
}

/// Its directory is gone from the table, and no way leads to it (simulator, `everything_goes_wrong`
/// 30003247).
#[test]
fn what_no_way_leads_to_is_given_back_to_one_rank_after_another() {
    let mut world = with_file();
    world.refer(forget());
    world.notice(R1, 3, Notice::Unlinked { ino: F, rank: R1 });
    world.sent.clear();
    world.pass(SOON);
    world.serve(R1, Outcome::Done(Answer::NotHere(vec![F])));
    world.pass(SOON);
    let (rank, again) = world.request();
    assert_ne!(rank, R1);
    assert_eq!(items(again.op)[0].ino, F);
}

/// The way to its directory is known, and the directory's authority knows nothing of the pin: another rank
/// counts us (simulator, `clients_die` 53001159).
#[test]
fn a_pin_that_is_not_where_its_directory_is_is_given_back_elsewhere() {
    let mut world = with_file();
    world.refer(forget());
    for _ in 0..BY_DIR_MAX {
        world.pass(SOON);
        let asked = world.serve(R1, Outcome::Done(Answer::NotHere(vec![F])));
        assert_eq!(items(asked.op)[0].ino, F);
        let here = Outcome::Done(Answer::Attr(attr(10, common::attr::FileKind::Dir)));
        let scout = world.serve(R1, here);
        assert_eq!(scout.op, Op::Getattr { target: Target::dir(Ino(10)) });
    }
    world.pass(SOON);
    let (rank, again) = world.request();
    assert_ne!(rank, R1);
    assert_eq!(items(again.op)[0].ino, F);
}

#[test]
fn a_notice_about_what_is_on_its_way_back_redirects_it() {
    let mut world = with_file();
    world.refer(forget());
    world.notice(R1, 3, Notice::Unlinked { ino: F, rank: R0 });
    world.pass(SOON);
    let (rank, request) = world.request();
    assert_eq!(rank, R0);
    let home = Forget { dir: None, ..forget_in(10, 4) };
    assert_eq!(items(request.op), [home]);
}

/// An answer was lost with its connection, and the pin went to another rank with its region.
#[test]
fn a_pin_that_we_never_heard_of_is_given_back() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R1));
    world.look_up(10, "e", R1, dir_here(11, R1));
    world.sent.clear();
    world.notice(R1, 3, Notice::Pinned { inos: vec![(F, Ino(10))] });
    world.pass(SOON);
    let (rank, request) = world.request();
    assert_eq!((rank, items(request.op)), (R1, vec![forget_in(10, 3)]));
}

#[test]
fn a_pin_that_we_know_of_is_kept() {
    let mut world = with_file();
    world.notice(R1, 3, Notice::Pinned { inos: vec![(F, Ino(10))] });
    world.sent.clear();
    world.pass(SOON);
    world.assert_nothing_sent();
}

#[test]
fn claims_name_what_is_held_and_not_what_is_on_its_way_back() {
    let mut world = with_file();
    world.look_up(10, "g", R1, here(21));
    world.refer(forget());
    world.pass(SOON);
    let (_, lost) = world.request();
    world.break_link(R1);
    world.pass(SOON);
    let target = Target { ino: Ino(21), ..at(10, "g") };
    let claim =
        ToMds::Claim { pins: vec![PinClaim::new(target, PinnedBy::Answered(RequestId(4)))] };
    assert!(world.sent.contains(&(R1, claim)), "{:?}", world.sent);
    let (_, again) = world.request();
    assert_eq!((again.id, items(again.op)), (lost.id, items(lost.op)));
}

/// Our session there had ended, and somebody renamed it: it is claimed no more, unless it was found since.
#[test]
fn what_is_not_held_any_more_is_not_claimed_again() {
    for found_since in [false, true] {
        let mut world = with_file();
        let latest = RequestId(3);
        if found_since {
            world.look_up(10, "f", R1, here(20));
        }
        world.sent.clear();
        world.tell(R1, ToClient::NotHeld { target: at(10, "f"), latest });
        world.pass(SOON);
        let given_back = world
            .sent
            .iter()
            .any(|(_, it)| matches!(it, ToMds::Request(it) if matches!(it.op, Op::Forget { .. })));
        assert_eq!(given_back, !found_since);
        world.sent.clear();
        world.break_link(R1);
        world.pass(SOON);
        let claims = world.sent.iter().filter(|(_, it)| matches!(it, ToMds::Claim { .. }));
        assert_eq!(claims.count() > 0, found_since);
    }
}

/// Where a directory lies the rank knows better than who has not heard of a move.
#[test]
fn a_name_is_claimed_at_every_rank() {
    let mut world = with_file();
    world.break_link(R0);
    world.pass(SOON);
    let by = PinnedBy::Answered(RequestId(3));
    let claim = ToMds::Claim { pins: vec![PinClaim::new(at(10, "f"), by)] };
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
    let claim =
        ToMds::Claim { pins: vec![PinClaim::new(target, PinnedBy::Answered(RequestId(1)))] };
    assert!(world.sent.contains(&(R0, claim)), "{:?}", world.sent);
}

/// Its answer was lost; somebody has moved it since, which we were told before.
#[test]
fn what_we_may_have_made_is_claimed_where_it_is() {
    let mut world = Fixture::new();
    world.call(create(1, "f"));
    let (_, request) = world.request();
    let Op::Create(op) = &request.op else { panic!("{request:?}") };
    let (ino, by) = (op.ino, PinnedBy::Unanswered(request.id));
    for place in [at(1, "f").place, at(1, "g").place] {
        world.sent.clear();
        world.break_link(R0);
        world.pass(SOON);
        let target = Target { ino, place };
        let claim = ToMds::Claim { pins: vec![PinClaim::new(target, by)] };
        assert!(world.sent.contains(&(R0, claim)), "{:?}", world.sent);
        let place = at(1, "g").place;
        world.notice(R0, 1, Notice::Moved { ino, place, rank: R0, moves: 1 });
    }
}

/// It was made, and given back, and with another rank by then (simulator, a story of the mutants: it stayed
/// pinned there).
#[test]
fn what_is_only_made_once_more_is_not_claimed() {
    let mut world = with_file();
    world.call(create(1, "g"));
    let (_, request) = world.request();
    let Op::Create(op) = &request.op else { panic!("{request:?}") };
    let made = file(op.ino.0);
    world.reply(R0, request.id, Some(Seq(5)), Outcome::Done(Answer::Found(Found::Here(made))));
    world.refer(References::Forgotten { items: vec![(op.ino, 1)] });
    world.pass(SOON);
    world.kill(R0);
    world.restart(R0);
    let (rank, replayed) = world.request();
    assert_eq!((rank, replayed.id, replayed.replay), (R0, request.id, Some(Seq(5))));
    world.sent.clear();
    world.break_link(R1);
    world.pass(SOON);
    let claimed = world.sent.iter().filter_map(|(_, message)| match message {
        ToMds::Claim { pins } => Some(pins.iter().map(|pin| pin.target.ino)),
        _ => None,
    });
    assert_eq!(claimed.flatten().collect::<Vec<_>>(), [F]);
}
