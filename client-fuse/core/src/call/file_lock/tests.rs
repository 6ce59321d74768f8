use std::time::Duration;

use common::attr::FileKind;
use common::file_lock::{FileLocks, LockKind};
use common::wire::reply::{Answer, Outcome};
use common::wire::session::ToMds;

use super::*;
use crate::fixture::{Fixture, R0, R1, attr, dir_here, here};
use crate::input::References;

const INO: Ino = Ino(20);
const P: LockOwner = LockOwner(7);
const LOCKED: Outcome = Outcome::Done(Answer::Locked(INO));
const REFUSED: Outcome = Outcome::Done(Answer::NotLocked(FsError::WouldBlock));
const NOT_LONG: Duration = Duration::from_millis(100);

fn set(kind: Option<LockKind>, on_conflict: OnConflict) -> Call {
    let range = ByteRange { first: 0, last: 9 };
    let set = SetLock { owner: P, pid: 1, range, kind, on_conflict };
    Call::SetLock { ino: INO, set, handle: Handle(3) }
}

fn with_file() -> Fixture {
    let mut world = Fixture::new();
    world.look_up(1, "f", R0, here(INO.0));
    world
}

fn with_lock() -> Fixture {
    let mut world = with_file();
    let call = world.call(set(Some(LockKind::Write), OnConflict::Refuse));
    world.serve(R0, LOCKED);
    assert_eq!(world.answer(call), Ok(Done::Nothing));
    world.sent.clear();
    world
}

fn asked(op: &Op) -> SetLock {
    match op {
        Op::SetLock { set, .. } => *set,
        op => panic!("{op:?}"),
    }
}

fn close(world: &mut Fixture) -> CallId {
    world.call(Call::Flush { ino: INO, owner: P })
}

/// What was claimed of the file when the rank was there again.
fn claimed(world: &mut Fixture) -> FileLocks {
    world.break_link(R0);
    world.pass(NOT_LONG);
    let claims = world.sent.iter().filter_map(|(_, message)| match message {
        ToMds::Claim { pins } => Some(pins),
        _ => None,
    });
    let pin = claims.flatten().find(|pin| pin.target.ino == INO);
    pin.expect("it is pinned").locks.clone()
}

/// The file went to another rank with what was locked. That rank heard what we have locked before we had the
/// answer, and so forgot it (simulator, mounts_work_alone 96000297: two had it).
#[test]
fn what_another_rank_has_been_told_of_too_early_is_asked_for_once_more() {
    cov_mark::check!(a_lock_is_asked_for_where_its_file_has_gone);
    let mut world = with_file();
    world.look_up(1, "d", R0, dir_here(10, R1));
    let call = world.call(set(Some(LockKind::Read), OnConflict::Wait));
    let (_, request) = world.request();
    let opens = world.call(Call::Getattr { ino: Ino(10) });
    let (rank, about_dir) = world.request();
    assert_eq!(rank, R1);
    world.reply(R0, request.id, None, LOCKED);
    world.assert_waiting(call);
    let (_, again) = world.request();
    assert_eq!((again.id, asked(&again.op)), (request.id, asked(&request.op)));
    world.reply(R0, request.id, None, LOCKED);
    assert_eq!(world.answer(call), Ok(Done::Nothing));
    world.assert_waiting(opens);
    let attr = attr(10, FileKind::Dir);
    world.reply(R1, about_dir.id, None, Outcome::Done(Answer::Attr(attr)));
}

#[test]
fn a_close_asks_nobody_if_nothing_is_locked() {
    let mut world = with_file();
    let call = close(&mut world);
    assert_eq!(world.answer(call), Ok(Done::Nothing));
    world.assert_nothing_sent();
}

#[test]
fn a_close_waits_until_everything_is_unlocked() {
    let mut world = with_lock();
    let call = close(&mut world);
    world.assert_waiting(call);
    let unlock = asked(&world.serve(R0, LOCKED).op);
    assert_eq!((unlock.owner, unlock.range, unlock.kind), (P, ByteRange::WHOLE, None));
    assert_eq!(world.answer(call), Ok(Done::Nothing));
    let again = close(&mut world);
    assert_eq!(world.answer(again), Ok(Done::Nothing));
}

#[test]
fn a_close_does_not_wait_for_a_rank_that_is_not_there() {
    cov_mark::check!(a_close_does_not_wait_for_a_dead_rank);
    let mut world = with_lock();
    let waits = close(&mut world);
    world.kill(R0);
    assert_eq!(world.answer(waits), Ok(Done::Nothing));
    let late = close(&mut world);
    assert_eq!(world.answer(late), Ok(Done::Nothing));
}

#[test]
fn a_signal_ends_the_wait_unless_it_is_over() {
    for (outcome, expected) in [(REFUSED, Err(FsError::Interrupted)), (LOCKED, Ok(Done::Nothing))] {
        let mut world = with_file();
        let call = world.call(set(Some(LockKind::Write), OnConflict::Wait));
        let (_, first) = world.request();
        world.cancel(call, Signal::Handled);
        world.cancel(call, Signal::Handled);
        world.assert_waiting(call);
        let again = world.serve(R0, outcome);
        assert_eq!(again.id, first.id);
        assert_eq!(asked(&again.op).on_conflict, OnConflict::Refuse);
        world.assert_nothing_sent();
        assert_eq!(world.answer(call), expected);
    }
}

#[test]
fn whoever_is_killed_has_nothing_locked() {
    cov_mark::check!(a_lock_that_nobody_waits_for_is_given_back);
    let mut world = with_file();
    let call = world.call(set(Some(LockKind::Write), OnConflict::Wait));
    world.request();
    world.cancel(call, Signal::Fatal);
    assert_eq!(world.answer(call), Err(FsError::Interrupted));
    world.serve(R0, LOCKED);
    assert_eq!(asked(&world.serve(R0, LOCKED).op).kind, None);
    world.assert_nothing_sent();
}

/// The kernel forgets the file before the answer comes (simulator, `ranks_die_during_moves` 86005379).
#[test]
fn whoever_is_killed_has_nothing_locked_in_a_forgotten_file() {
    let mut world = with_file();
    let call = world.call(set(Some(LockKind::Write), OnConflict::Wait));
    let (_, locks) = world.request();
    world.cancel(call, Signal::Fatal);
    world.refer(References::Forgotten { items: vec![(INO, 1)] });
    world.serve(R0, LOCKED);
    let unlocks = world.serve(R0, LOCKED);
    assert_eq!(asked(&unlocks.op).kind, None);
    assert_eq!(unlocks.op.subject(), locks.op.subject(), "where it is");
}

#[test]
fn what_was_answered_is_claimed_and_what_may_be_gone_is_not() {
    let mut world = with_lock();
    assert_eq!(claimed(&mut world).count(), 1);
    world.call(set(None, OnConflict::Refuse));
    assert_eq!(claimed(&mut world), FileLocks::default());

    let mut world = with_file();
    world.call(set(Some(LockKind::Read), OnConflict::Wait));
    assert_eq!(claimed(&mut world), FileLocks::default());
}

/// An owner that is an open file itself says nothing when that is closed.
#[test]
fn an_open_file_takes_its_locks_with_it() {
    let mut world = with_lock();
    world.refer(References::Released { ino: INO, handle: Handle(4) });
    world.assert_nothing_sent();
    world.refer(References::Released { ino: INO, handle: Handle(3) });
    assert_eq!(asked(&world.serve(R0, LOCKED).op).kind, None);
}

#[test]
fn whoever_waits_holds_up_nothing_else() {
    let mut world = with_file();
    world.call(set(Some(LockKind::Write), OnConflict::Wait));
    let (_, waits) = world.request();
    world.call(Call::Getattr { ino: INO });
    let (_, later) = world.request();
    assert!(later.id > waits.id && later.oldest == later.id);
}
