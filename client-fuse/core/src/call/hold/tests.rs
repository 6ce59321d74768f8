//! A directory in which this mount makes changes becomes its own; the test plays the rank.

use common::attr::FileKind;
use common::error::FsError;
use common::id::{NoticeId, RequestId, Seq};
use common::wire::reply::{Answer, Contents, Found, Outcome, PageEntry, Promise};
use common::wire::request::{Op, Request};
use common::wire::session::{Notice, ToMds};

use super::*;
use crate::effect::Done;
use crate::fixture::{Fixture, R0, attr, create, file, name};

const DIR: u64 = 10;

/// A directory that was looked up, and in which two files were made.
fn asking() -> (Fixture, Request) {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, crate::fixture::dir_here(DIR, R0));
    for (number, text) in [(1, "a"), (2, "b")] {
        let call = world.call(create(DIR, text));
        let (_, request) = world.request();
        made(&mut world, &request, number);
        assert!(world.answer(call).is_ok());
    }
    let (_, request) = world.request();
    assert_eq!(request.op, Op::Hold { dir: Ino(DIR) });
    (world, request)
}

fn made(world: &mut Fixture, request: &Request, seq: u64) {
    let Op::Create(create) = &request.op else { panic!("{:?}", request.op) };
    let found = Found::Here(create.attr(0o644, (0, 0), request.at));
    world.reply(R0, request.id, Some(Seq(seq)), Outcome::Done(Answer::Found(found)));
}

fn granted() -> Outcome {
    let entry = |text, found| PageEntry { name: name(text), cookie: 0, found };
    let sub = Found::Dir { ino: Ino(21), rank: R0, attr: None };
    let entries = vec![entry("old", Found::Here(file(20))), entry("sub", sub)];
    let attr = common::attr::Attr { nlink: 3, size: 2, ..attr(DIR, FileKind::Dir) };
    Outcome::Done(Answer::Held(Contents { attr, entries }))
}

fn grant(world: &mut Fixture, id: RequestId) {
    world.promise = Promise::Exclusive;
    world.reply(R0, id, None, granted());
    world.promise = Promise::Shared;
}

fn look_up(text: &str) -> Call {
    Call::Lookup { dir: Ino(DIR), name: name(text) }
}

#[test]
fn what_was_found_becomes_ours_with_all_that_is_in_it() {
    cov_mark::check!(a_directory_that_was_found_is_held);
    let (mut world, asked) = asking();
    let early = world.call(create(DIR, "c"));
    world.assert_waiting(early);
    world.assert_nothing_sent();
    grant(&mut world, asked.id);
    assert!(matches!(world.answer(early), Ok(Done::Entry(_))), "it is known by now");
    let none = world.call(look_up("none"));
    assert_eq!(world.answer(none), Err(FsError::NotFound));
    let there = world.call(create(DIR, "old"));
    assert_eq!(world.answer(there), Err(FsError::Exists));
    let of_dir = world.call(Call::Getattr { ino: Ino(DIR) });
    let Ok(Done::Attr(attr)) = world.answer(of_dir) else { panic!("it is known") };
    assert_eq!((attr.nlink, attr.size), (3, 3));
    let gone = world.call(Call::Unlink { dir: Ino(DIR), name: name("old") });
    assert_eq!(world.answer(gone), Ok(Done::Nothing));
}

/// Nobody has told the rank that we refer to it.
#[test]
fn what_the_kernel_does_not_know_yet_is_asked_for() {
    let (mut world, asked) = asking();
    grant(&mut world, asked.id);
    world.sent.clear();
    let old = world.call(look_up("old"));
    world.serve(R0, Outcome::Done(Answer::Found(Found::Here(file(20)))));
    assert!(matches!(world.answer(old), Ok(Done::Entry(attr)) if attr.ino == Ino(20)));
    // From then on it is known.
    let call = world.call(Call::Wrote { ino: Ino(20), end: 9, kill_privileges: false });
    assert!(world.answer(call).is_ok());
    let call = world.call(Call::Getattr { ino: Ino(20) });
    assert!(matches!(world.answer(call), Ok(Done::Attr(attr)) if attr.size == 9));
}

#[test]
fn what_is_refused_is_shared_and_rests() {
    let (mut world, asked) = asking();
    let early = world.call(create(DIR, "c"));
    world.reply(R0, asked.id, None, Outcome::Done(Answer::NotHeld));
    world.assert_waiting(early);
    for (number, text) in [(3, "c"), (4, "d"), (5, "e")] {
        if text != "c" {
            world.call(create(DIR, text));
        }
        let (_, request) = world.request();
        made(&mut world, &request, number);
    }
    world.assert_nothing_sent();
}

/// The first answer was lost with the connection, and somebody else has asked since.
#[test]
fn what_is_recalled_before_it_is_granted_is_not_held() {
    cov_mark::check!(what_was_granted_is_not_wanted_any_more);
    let (mut world, asked) = asking();
    world.notice(R0, 9, Notice::Recall { dir: Ino(DIR) });
    let acked = ToMds::Acked(NoticeId(9));
    assert!(world.sent.iter().any(|(_, message)| *message == acked), "nothing is under way");
    world.sent.clear();
    grant(&mut world, asked.id);
    let call = world.call(create(DIR, "c"));
    world.assert_waiting(call);
}

/// It may be done before the directory is ours, or after that.
#[test]
fn what_is_under_way_comes_first() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, crate::fixture::dir_here(DIR, R0));
    for text in ["a", "b", "c"] {
        world.call(create(DIR, text));
    }
    let requests = [(); 3].map(|()| world.request().1);
    made(&mut world, &requests[0], 1);
    made(&mut world, &requests[1], 2);
    world.assert_nothing_sent();
    made(&mut world, &requests[2], 3);
    let (_, request) = world.request();
    assert_eq!(request.op, Op::Hold { dir: Ino(DIR) });
}
