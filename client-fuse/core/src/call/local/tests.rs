//! What is answered here is made there; the test plays the ranks.

use std::time::Duration;

use common::id::{DirFragId, Epoch, NoticeId, RequestId};
use common::limit::CAPABILITY_TIME;
use common::wire::reply::{Outcome, Promise, Route};
use common::wire::request::Request;
use common::wire::session::{Notice, ToClient, ToMds};

use super::*;
use crate::fixture::{Fixture, R0, R1, create, lent, name};
use crate::input::Signal;
use crate::timer::Timer;

/// A directory that this mount holds, under the root.
fn held(world: &mut Fixture) -> Ino {
    let dir = held_by(world, R0);
    world.sent.clear();
    dir
}

/// The same of another rank: the directory above it is there.
fn held_by(world: &mut Fixture, rank: Rank) -> Ino {
    let found = Found::Dir { ino: Ino(2), rank, attr: None };
    let above = if rank == R0 { 1 } else { 2 };
    if rank != R0 {
        let call = world.call(Call::Lookup { dir: Ino(1), name: name("above") });
        world.serve(R0, Outcome::Done(Answer::Found(found)));
        let attr = Attr { nlink: 2, ..crate::fixture::attr(2, FileKind::Dir) };
        world.serve(rank, Outcome::Done(Answer::Attr(attr)));
        assert!(world.answer(call).is_ok());
        world.sent.clear();
    }
    let call = world.call(mkdir(above, "d"));
    let (_, request) = world.request();
    let Op::Mkdir { ino, exclusive: true, .. } = request.op else { panic!("{:?}", request.op) };
    world.promise = Promise::Exclusive;
    let attr = Attr { nlink: 2, ..crate::fixture::attr(ino.0, FileKind::Dir) };
    let found = Found::Dir { ino, rank, attr: Some(attr) };
    world.reply(rank, request.id, Some(common::id::Seq(1)), Outcome::Done(Answer::Found(found)));
    assert!(world.answer(call).is_ok());
    world.promise = Promise::Shared;
    world.sent.clear();
    ino
}

fn mkdir(dir: u64, text: &str) -> Call {
    Call::Mkdir { dir: Ino(dir), name: name(text), mode: 0o777, umask: 0o022 }
}

/// Answered at once.
#[track_caller]
fn at_once(world: &mut Fixture, call: Call) -> Result<Done, FsError> {
    let call = world.call(call);
    world.answer(call)
}

#[track_caller]
fn entry(done: Result<Done, FsError>) -> Attr {
    match done {
        Ok(Done::Entry(attr)) => attr,
        other => panic!("{other:?} is no entry"),
    }
}

/// The rank does what it was asked.
fn make(world: &mut Fixture, request: &Request) {
    make_at(world, R0, request);
}

fn make_at(world: &mut Fixture, rank: Rank, request: &Request) {
    let answer = match &request.op {
        Op::Create(create) => Answer::Found(Found::Here(create.attr(0o644, (0, 0), request.at))),
        Op::Setattr { target, .. } | Op::Wrote { target, .. } => {
            Answer::Attr(crate::fixture::attr(target.ino.0, FileKind::File))
        }
        Op::Mkdir { ino, .. } => Answer::Found(Found::Dir { ino: *ino, rank, attr: None }),
        _ => Answer::Done,
    };
    let applied = request.op.is_change().then_some(common::id::Seq(request.id.0 + 10));
    world.reply(rank, request.id, applied, Outcome::Done(answer));
}

#[test]
fn whatever_happens_in_a_held_directory_is_answered_at_once() {
    let mut world = Fixture::new();
    let dir = held(&mut world);
    let look_up = |text| Call::Lookup { dir, name: name(text) };
    assert_eq!(at_once(&mut world, look_up("f")), Err(FsError::NotFound));
    let made = entry(at_once(&mut world, create(dir.0, "f")));
    assert_eq!((made.mode, made.nlink, made.times.mtime), (0o644, 1, world.now.wall));
    assert_eq!(entry(at_once(&mut world, look_up("f"))), made);
    assert_eq!(at_once(&mut world, create(dir.0, "f")), Err(FsError::Exists));
    let wrote = Call::Wrote { ino: made.ino, end: 7, kill_privileges: true };
    assert!(at_once(&mut world, wrote).is_ok());
    let grown = Attr { size: 7, ..made.clone() };
    assert_eq!(at_once(&mut world, Call::Getattr { ino: made.ino }), Ok(Done::Attr(grown)));
    let sub = entry(at_once(&mut world, mkdir(dir.0, "sub")));
    let of_dir = at_once(&mut world, Call::Getattr { ino: dir });
    assert!(matches!(of_dir, Ok(Done::Attr(attr)) if (attr.nlink, attr.size) == (3, 2)));
    entry(at_once(&mut world, create(sub.ino.0, "g")));
    let rmdir = Call::Rmdir { dir, name: name("sub") };
    assert_eq!(at_once(&mut world, rmdir.clone()), Err(FsError::NotEmpty));
    let unlink = |dir, text| Call::Unlink { dir, name: name(text) };
    assert_eq!(at_once(&mut world, unlink(dir, "sub")), Err(FsError::IsDirectory));
    assert_eq!(at_once(&mut world, unlink(sub.ino, "g")), Ok(Done::Nothing));
    assert_eq!(at_once(&mut world, rmdir), Ok(Done::Nothing));
    assert_eq!(at_once(&mut world, look_up("sub")), Err(FsError::NotFound));
}

/// Each goes to the rank when what it rests on has been made.
/// Somebody has renamed a directory above, and it did not go along with what it was in: where we look for it
/// is not where it is (simulator, a story with more renames).
#[test]
fn what_is_made_has_a_number_of_the_rank_where_it_is() {
    let mut world = Fixture::new();
    let dir = held(&mut world);
    let base = DirFragId::whole(Ino::ROOT);
    let route = Route { base, rank: R1, epoch: Epoch(9) };
    world.tell(R0, ToClient::Route(route));
    let made = entry(at_once(&mut world, create(dir.0, "f"))).ino;
    assert!(lent(R0).contains(made), "{made}");
}

/// It went to another rank with its directory, which heard what we hold before we had the answer.
#[test]
fn what_another_rank_was_not_told_of_is_not_held() {
    let mut world = Fixture::new();
    world.look_up(1, "other", R0, crate::fixture::dir_here(10, R1));
    let call = world.call(mkdir(1, "d"));
    let (_, request) = world.request();
    let Op::Mkdir { ino, .. } = request.op else { panic!("{:?}", request.op) };
    world.call(Call::Getattr { ino: Ino(10) });
    world.promise = Promise::Exclusive;
    let attr = Attr { nlink: 2, ..crate::fixture::attr(ino.0, FileKind::Dir) };
    let found = Found::Dir { ino, rank: R0, attr: Some(attr) };
    world.reply(R0, request.id, None, Outcome::Done(Answer::Found(found)));
    assert!(world.answer(call).is_ok());
    let call = world.call(create(ino.0, "f"));
    world.assert_waiting(call);
}

fn rename(from: (Ino, &str), to: (Ino, &str), mode: RenameMode) -> Call {
    let (from_dir, to_dir, from_rank) = (from.0, to.0, R0);
    let (from, to) = (name(from.1), name(to.1));
    Call::Rename(Rename { from_dir, from, to_dir, to, mode, from_rank })
}

#[test]
fn a_file_gets_another_name_at_once() {
    let mut world = Fixture::new();
    let dir = held(&mut world);
    let sub = entry(at_once(&mut world, mkdir(dir.0, "sub"))).ino;
    let look_up = |dir, text| Call::Lookup { dir, name: name(text) };
    let [moved, replaced] = ["f", "g"].map(|text| entry(at_once(&mut world, create(dir.0, text))));
    let over = |mode| rename((dir, "f"), (dir, "g"), mode);
    assert_eq!(at_once(&mut world, over(RenameMode::NoReplace)), Err(FsError::Exists));
    assert_eq!(at_once(&mut world, over(RenameMode::Replace)), Ok(Done::Nothing));
    let away = rename((dir, "g"), (sub, "h"), RenameMode::Replace);
    assert_eq!(at_once(&mut world, away.clone()), Ok(Done::Nothing));
    assert_eq!(at_once(&mut world, away), Err(FsError::NotFound));
    for text in ["f", "g"] {
        assert_eq!(at_once(&mut world, look_up(dir, text)), Err(FsError::NotFound));
    }
    assert_eq!(entry(at_once(&mut world, look_up(sub, "h"))).ino, moved.ino);
    let of_dir = at_once(&mut world, Call::Getattr { ino: dir });
    assert!(matches!(of_dir, Ok(Done::Attr(attr)) if attr.size == 1));
    assert_ne!(moved.ino, replaced.ino);
}

/// Its rank tells of each name, and the file has the next one by then.
#[test]
fn what_a_rank_says_of_an_earlier_name_is_old() {
    let mut world = Fixture::new();
    let dir = held(&mut world);
    let made = entry(at_once(&mut world, create(dir.0, "f")));
    let (_, request) = world.request();
    make(&mut world, &request);
    for (from, to) in [("f", "g"), ("g", "h")] {
        let call = rename((dir, from), (dir, to), RenameMode::Replace);
        assert_eq!(at_once(&mut world, call), Ok(Done::Nothing));
    }
    let place = Place::Entry { dir, name: name("g") };
    world.notice(R0, 1, Notice::Moved { ino: made.ino, place, rank: R0, moves: 1 });
    let (_, first) = world.request();
    assert!(matches!(&first.op, Op::Rename(it) if it.to == name("g")), "{first:?}");
    make(&mut world, &first);
    let (_, second) = world.request();
    assert!(matches!(&second.op, Op::Rename(it) if it.to == name("h")), "the other comes after it");
    let wrote = Call::Wrote { ino: made.ino, end: 7, kill_privileges: false };
    assert!(at_once(&mut world, wrote).is_ok());
    make(&mut world, &second);
    let (_, third) = world.request();
    let Op::Wrote { target, .. } = &third.op else { panic!("{third:?}") };
    assert_eq!(target.place, Place::Entry { dir, name: name("h") });
}

#[test]
fn where_a_directory_goes_its_rank_is_asked() {
    let mut world = Fixture::new();
    let dir = held(&mut world);
    let sub = entry(at_once(&mut world, mkdir(dir.0, "sub"))).ino;
    let call = world.call(rename((dir, "sub"), (dir, "other"), RenameMode::Replace));
    world.assert_waiting(call);
    let (_, made) = world.request();
    make(&mut world, &made);
    let (_, asked) = world.request();
    assert!(matches!(&asked.op, Op::Rename(_)), "{asked:?}");
    let moved = Moved { ino: sub, kind: FileKind::Dir, rank: R0 };
    let answer = Answer::Renamed(Renamed { moved, exchanged: None });
    world.reply(R0, asked.id, None, Outcome::Done(answer));
    assert_eq!(world.answer(call), Ok(Done::Nothing));
}

#[test]
fn what_rests_on_a_change_is_sent_after_it() {
    let mut world = Fixture::new();
    let dir = held(&mut world);
    let made = entry(at_once(&mut world, create(dir.0, "f")));
    let sub = entry(at_once(&mut world, mkdir(dir.0, "sub")));
    at_once(&mut world, Call::Wrote { ino: made.ino, end: 7, kill_privileges: false }).unwrap();
    entry(at_once(&mut world, create(sub.ino.0, "g")));
    let listing = world.call(Call::Readdir {
        dir,
        cookie: 0,
        entries_max: 9,
        detail: crate::input::ListDetail::Names,
    });
    let (_, of_file) = world.request();
    let (_, of_sub) = world.request();
    world.assert_nothing_sent();
    make(&mut world, &of_sub);
    let (_, inner) = world.request();
    assert!(matches!(&inner.op, Op::Create(it) if it.dir == sub.ino), "{:?}", inner.op);
    make(&mut world, &of_file);
    let (_, wrote) = world.request();
    assert!(matches!(wrote.op, Op::Wrote { .. }), "{:?}", wrote.op);
    world.assert_nothing_sent();
    make(&mut world, &wrote);
    assert!(matches!(world.request().1.op, Op::Readdir { .. }));
    world.assert_waiting(listing);
}

#[test]
fn a_recall_is_acknowledged_when_everything_is_made() {
    let mut world = Fixture::new();
    let dir = held(&mut world);
    entry(at_once(&mut world, create(dir.0, "f")));
    let (_, request) = world.request();
    world.notice(R0, 1, Notice::Recall { dir });
    world.assert_nothing_sent();
    let waits = world.call(create(dir.0, "g"));
    world.assert_waiting(waits);
    make(&mut world, &request);
    assert!(world.sent.contains(&(R0, ToMds::Acked(NoticeId(1)))), "{:?}", world.sent);
    assert!(matches!(world.request().1.op, Op::Create(_)));
}

#[test]
fn what_is_answered_is_durable_after_it_is_made() {
    cov_mark::check!(what_is_answered_is_made_before_it_is_durable);
    let mut world = Fixture::new();
    let dir = held(&mut world);
    entry(at_once(&mut world, create(dir.0, "f")));
    let synced = world.call(Call::Sync);
    let (_, request) = world.request();
    world.assert_nothing_sent();
    make(&mut world, &request);
    assert_eq!(world.request().1.op, Op::Sync);
    world.assert_waiting(synced);
    let given_up = world.call(create(dir.0, "g"));
    world.answer(given_up).unwrap();
    let synced = world.call(Call::Sync);
    world.cancel(synced, Signal::Handled);
    assert_eq!(world.answer(synced), Err(FsError::Interrupted));
}

/// Nobody can be told any more, but those who ask whether it is durable.
#[test]
fn what_cannot_be_made_is_lost() {
    let mut world = Fixture::new();
    let dir = held(&mut world);
    entry(at_once(&mut world, create(dir.0, "f")));
    let (_, request) = world.request();
    world.reply(R0, request.id, None, Outcome::Refused(FsError::NoSpace));
    assert_eq!(world.lost, [request.id]);
    assert_eq!(at_once(&mut world, Call::Sync), Err(FsError::Io));
    let asks = world.call(Call::Lookup { dir, name: name("f") });
    world.assert_waiting(asks);
}

/// The rank may have ended the session by now.
#[test]
fn nothing_is_answered_when_no_rank_has_heard_of_us_lately() {
    cov_mark::check!(what_is_known_waits_for_its_rank);
    let mut world = Fixture::new();
    let dir = held(&mut world);
    world.timers.remove(&Timer::Lease(R0));
    world.pass(CAPABILITY_TIME + Duration::from_millis(1));
    let made = world.call(create(dir.0, "f"));
    world.assert_waiting(made);
    let asks = world.call(Call::Lookup { dir, name: name("g") });
    world.assert_waiting(asks);
    world.cancel(made, Signal::Handled);
    world.assert_waiting(made);
}

/// Its rank does not know the other name yet (simulator, `mounts_work_alone` 355).
#[test]
fn what_was_changed_before_a_rename_is_made_before_it() {
    let mut world = Fixture::new();
    let dir = held(&mut world);
    let file = entry(at_once(&mut world, create(dir.0, "a"))).ino;
    let set = SetAttr { mode: Some(0o600), ..SetAttr::default() };
    assert!(at_once(&mut world, Call::Setattr { ino: file, set }).is_ok());
    let (from, to, mode) = (name("a"), name("e"), RenameMode::Replace);
    let rename = Rename { from_dir: dir, from, to_dir: dir, to, mode, from_rank: R0 };
    assert!(at_once(&mut world, Call::Rename(rename)).is_ok());
    let (_, request) = world.request();
    make(&mut world, &request);
    let (_, request) = world.request();
    let place = Place::Entry { dir, name: name("a") };
    assert_eq!(request.op, Op::Setattr { target: Target { ino: file, place }, set });
}

/// Its directory has gone to a rank where our session has ended, and with it the numbers that others lent us
/// (simulator, `mounts_work_alone` 99505905).
#[test]
fn what_nobody_was_told_of_gets_another_number() {
    cov_mark::check!(nothing_was_made_by_that_number);
    let mut world = Fixture::new();
    let dir = held(&mut world);
    world.look_up(1, "other", R0, crate::fixture::dir_here(10, R1));
    let other = world.call(Call::Getattr { ino: Ino(10) });
    world.serve(R1, Outcome::Done(Answer::Attr(crate::fixture::attr(10, FileKind::Dir))));
    assert!(world.answer(other).is_ok());
    world.timers.remove(&Timer::Lease(R0));
    world.pass(CAPABILITY_TIME + Duration::from_millis(1));
    let made = world.call(create(dir.0, "f"));
    world.serve(R0, crate::fixture::redirect(dir.0, R1, 9));
    world.serve(R1, Outcome::Refused(FsError::Stale));
    let (rank, request) = world.request();
    let Op::Create(create) = &request.op else { panic!("{:?}", request.op) };
    assert!(rank == R1 && lent(R1).contains(create.ino), "{:?}", request.op);
    let attr = create.attr(0o644, (0, 0), request.at);
    let found = Outcome::Done(Answer::Found(Found::Here(attr.clone())));
    world.reply(R1, request.id, Some(common::id::Seq(9)), found);
    assert_eq!(entry(world.answer(made)), attr);
}

#[test]
fn what_is_held_is_claimed() {
    let mut world = Fixture::new();
    let dir = held(&mut world);
    let sub = entry(at_once(&mut world, mkdir(dir.0, "sub")));
    world.kill(R0);
    world.restart(R0);
    let dirs = vec![dir, sub.ino];
    assert!(world.sent.contains(&(R0, ToMds::ClaimExclusive { dirs })), "{:?}", world.sent);
    let (_, replayed) = world.request();
    assert_eq!(replayed.id, RequestId(1));
}

/// Its rank hears of that when the lease is renewed.
#[test]
fn what_the_kernel_forgets_is_let_go() {
    let mut world = Fixture::new();
    let dir = held(&mut world);
    world.refer(crate::input::References::Forgotten { items: vec![(dir, 1)] });
    world.input(crate::input::Input::Timer(Timer::Renew(R0)));
    assert!(world.sent.contains(&(R0, ToMds::LetGo { dirs: vec![dir] })), "{:?}", world.sent);
}

/// What comes of a rename, and of a second name, only ranks know.
#[test]
fn what_is_not_known_beforehand_ends_the_knowledge() {
    let mut world = Fixture::new();
    let dir = held(&mut world);
    let made = entry(at_once(&mut world, create(dir.0, "f")));
    let (_, request) = world.request();
    make(&mut world, &request);
    world.call(Call::Link { ino: made.ino, dir: Ino(1), name: name("g") });
    world.sent.clear();
    let asks = world.call(create(dir.0, "h"));
    world.assert_waiting(asks);
}

/// What may never be leaves nothing behind.
#[test]
fn nothing_is_stored_of_a_file_before_it_is_made() {
    let mut world = Fixture::new();
    let dir = held(&mut world);
    let (one, other) =
        (at_once(&mut world, create(dir.0, "f")), at_once(&mut world, create(dir.0, "g")));
    let waits = world.call(Call::Made { ino: entry(one).ino });
    let in_vain = world.call(Call::Made { ino: entry(other).ino });
    world.assert_waiting(waits);
    let (_, request) = world.request();
    make(&mut world, &request);
    assert_eq!(world.answer(waits), Ok(Done::Nothing));
    world.assert_waiting(in_vain);
    let (_, request) = world.request();
    world.reply(R0, request.id, None, Outcome::Refused(FsError::NoSpace));
    assert_eq!(world.answer(in_vain), Err(FsError::Io));
}

/// Nobody expects `chmod` to be interrupted (stress-ng, `access`).
#[test]
fn what_waits_for_what_was_answered_is_not_interrupted() {
    let mut world = Fixture::new();
    let dir = held(&mut world);
    let made = entry(at_once(&mut world, create(dir.0, "f")));
    let waits = world.call(Call::Link { ino: made.ino, dir: Ino(1), name: name("g") });
    world.cancel(waits, Signal::Handled);
    world.assert_waiting(waits);
    world.cancel(waits, Signal::Fatal);
    assert_eq!(world.answer(waits), Err(FsError::Interrupted));
}

/// Two names of it are removed before it is (pjdfstest, nested directories).
#[test]
fn a_directory_is_removed_after_everything_in_it() {
    let mut world = Fixture::new();
    let dir = held(&mut world);
    let sub = entry(at_once(&mut world, mkdir(dir.0, "sub"))).ino;
    for text in ["f", "g"] {
        entry(at_once(&mut world, create(sub.0, text)));
        at_once(&mut world, Call::Unlink { dir: sub, name: name(text) }).unwrap();
    }
    at_once(&mut world, Call::Rmdir { dir, name: name("sub") }).unwrap();
    let mut asked = Vec::new();
    while !world.sent.is_empty() {
        let (_, request) = world.request();
        make(&mut world, &request);
        asked.push(request.op);
    }
    assert!(matches!(asked.last(), Some(Op::Rmdir { .. })), "{asked:?}");
    let removals = asked.iter().filter(|op| matches!(op, Op::Unlink { .. } | Op::Rmdir { .. }));
    assert_eq!(removals.count(), 3);
}

/// No name leads any more to the inner one of two directories that are removed one after the other
/// (pjdfstest, nested directories of another rank).
#[test]
fn what_is_removed_in_a_removed_directory_goes_to_its_rank() {
    cov_mark::check!(no_name_leads_to_it_any_more);
    let mut world = Fixture::new();
    let dir = held_by(&mut world, R1);
    let sub = entry(at_once(&mut world, mkdir(dir.0, "sub"))).ino;
    let inner = entry(at_once(&mut world, mkdir(sub.0, "inner"))).ino;
    entry(at_once(&mut world, create(inner.0, "f")));
    at_once(&mut world, Call::Unlink { dir: inner, name: name("f") }).unwrap();
    at_once(&mut world, Call::Rmdir { dir: sub, name: name("inner") }).unwrap();
    at_once(&mut world, Call::Rmdir { dir, name: name("sub") }).unwrap();
    while !world.sent.is_empty() {
        let (rank, request) = world.request();
        assert_eq!(rank, R1, "{request:?}");
        make_at(&mut world, R1, &request);
    }
}

/// And its rank has given it away meanwhile, and forgotten to whom.
#[test]
fn what_is_removed_in_a_removed_directory_is_sought() {
    let mut world = Fixture::new();
    let dir = held(&mut world);
    let sub = entry(at_once(&mut world, mkdir(dir.0, "sub"))).ino;
    let (_, made) = world.request();
    make(&mut world, &made);
    entry(at_once(&mut world, create(sub.0, "f")));
    let (_, made) = world.request();
    make(&mut world, &made);
    at_once(&mut world, Call::Unlink { dir: sub, name: name("f") }).unwrap();
    at_once(&mut world, Call::Rmdir { dir, name: name("sub") }).unwrap();
    world.refer(crate::input::References::Forgotten { items: vec![(sub, 1)] });
    let gone = || Outcome::Gone { ino: sub };
    let unlink = world.serve(R0, gone());
    world.sent.retain(|(_, sent)| matches!(sent, ToMds::Request(_)));
    let not_here = world.serve(R0, gone());
    assert_eq!(not_here.op, Op::Getattr { target: Target::dir(sub) });
    let attr = crate::fixture::attr(sub.0, FileKind::Dir);
    world.serve(R1, Outcome::Done(Answer::Attr(attr)));
    let (rank, again) = world.request();
    assert_eq!((rank, again.id), (R1, unlink.id));
}
