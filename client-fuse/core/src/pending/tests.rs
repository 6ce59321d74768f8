//! Requests that go astray, break off, are replayed and withdrawn; the test plays the ranks.

use std::time::Duration;

use common::attr::FileKind;
use common::id::{DirFragId, Epoch, Incarnation};
use common::wire::reply::{Answer, Found, Moved, Page, PageEnd, PageEntry, Renamed, Route};
use common::wire::request::{Place, Rename, RenameMode, Target};
use common::wire::session::{Notice, ToClient};

use super::*;
use crate::effect::Done;
use crate::fixture::{
    Fixture, R0, R1, R2, attr, create, dir_here, file, here, lent, name, redirect,
};
use crate::input::{Call, References, Signal};

const SOON: Duration = Duration::from_millis(100);

fn unlink(dir: u64, text: &str) -> Call {
    Call::Unlink { dir: Ino(dir), name: name(text) }
}

fn gone(ino: u64) -> Outcome {
    Outcome::Gone { ino: Ino(ino) }
}

fn done() -> Outcome {
    Outcome::Done(Answer::Done)
}

#[test]
fn a_redirect_is_followed_under_the_same_id() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R0));
    let call = world.call(unlink(10, "f"));
    let first = world.serve(R0, redirect(10, R1, 3));
    let second = world.serve(R1, done());
    assert_eq!(second.id, first.id);
    assert_eq!(world.answer(call), Ok(Done::Nothing));
    world.call(unlink(10, "g"));
    assert_eq!(world.request().0, R1);
}

#[test]
fn what_is_made_elsewhere_gets_a_number_from_there() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R0));
    world.call(create(10, "f"));
    let first = world.serve(R0, redirect(10, R1, 3));
    let (rank, second) = world.request();
    let (Op::Create(first), Op::Create(second)) = (first.op, second.op) else { panic!() };
    assert_eq!(rank, R1);
    assert!(lent(R0).contains(first.ino) && lent(R1).contains(second.ino));
    // The number that was turned away is used for the next.
    world.call(create(1, "g"));
    let (_, third) = world.request();
    let Op::Create(third) = third.op else { panic!() };
    assert_eq!(third.ino, first.ino);
}

#[test]
fn a_number_that_may_be_in_use_is_not_used_again() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R0));
    world.call(create(10, "f"));
    let (_, lost) = world.request();
    world.break_link(R0);
    world.pass(SOON);
    let again = world.serve(R0, redirect(10, R1, 3));
    assert_eq!(again.op, lost.op);
    world.sent.clear();
    world.call(create(1, "g"));
    let (_, next) = world.request();
    let (Op::Create(lost), Op::Create(next)) = (lost.op, next.op) else { panic!() };
    assert_ne!(lost.ino, next.ino);
}

#[test]
fn a_redirect_to_where_it_came_from_is_not_followed_at_once() {
    let mut world = Fixture::new();
    let call = world.call(unlink(1, "f"));
    world.serve(R0, redirect(1, R0, 3));
    world.assert_nothing_sent_but_session();
    world.pass(SOON);
    world.serve(R0, done());
    assert_eq!(world.answer(call), Ok(Done::Nothing));
}

#[test]
fn ranks_that_disagree_for_long_are_asked_slowly() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R0));
    let call = world.call(unlink(10, "f"));
    let mut asked = 0;
    for turn in 0..40_u64 {
        if world.sent.iter().all(|(_, message)| !matches!(message, ToMds::Request(_))) {
            world.pass(SOON);
        }
        let (rank, request) = world.request();
        let other = if rank == R1 { R2 } else { R1 };
        world.reply(rank, request.id, None, redirect(10, other, turn));
        asked += 1;
    }
    assert_eq!(asked, 40);
    world.assert_waiting(call);
    world.pass(SOON);
    let (rank, request) = world.request();
    world.reply(rank, request.id, None, done());
    assert_eq!(world.answer(call), Ok(Done::Nothing));
}

#[test]
fn a_directory_that_is_gone_is_looked_for_under_its_name() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R0));
    let call = world.call(unlink(10, "f"));
    let first = world.serve(R0, gone(10));
    let lookup = world.serve(R0, dir_elsewhere(10, R2));
    assert_eq!(lookup.op, Op::Lookup { dir: Ino::ROOT, name: name("d") });
    let second = world.serve(R2, done());
    assert_eq!(second.id, first.id);
    assert_eq!(world.answer(call), Ok(Done::Nothing));
}

#[test]
fn a_directory_whose_name_stands_for_another_is_no_more() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R0));
    let call = world.call(unlink(10, "f"));
    world.serve(R0, gone(10));
    world.serve(R0, dir_here(11, R0));
    for rank in [R0, R1, R2] {
        world.serve(rank, gone(10));
    }
    assert_eq!(world.answer(call), Err(FsError::NotFound));
}

/// Somebody renamed it, and gave it away with its new parent: no name we know leads to it.
#[test]
fn a_directory_no_name_leads_to_is_found_at_whoever_has_it() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R0));
    let call = world.call(unlink(10, "f"));
    world.serve(R0, gone(10));
    world.serve(R0, Outcome::Refused(FsError::NotFound));
    world.serve(R0, gone(10));
    world.serve(R1, Outcome::Done(Answer::Attr(attr(10, FileKind::Dir))));
    world.serve(R1, done());
    assert_eq!(world.answer(call), Ok(Done::Nothing));
}

/// It went to a rank that had been asked, while another one was still to be (simulator,
/// `ranks_die_during_moves` 52002459).
#[test]
fn who_did_not_have_a_directory_is_asked_again_when_something_moved() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R0));
    let call = world.call(unlink(10, "f"));
    world.serve(R0, gone(10));
    world.serve(R0, Outcome::Refused(FsError::NotFound));
    world.serve(R0, gone(10));
    let route = Route { base: DirFragId::whole(Ino(99)), rank: R0, epoch: Epoch(4) };
    world.tell(R1, ToClient::Route(route));
    world.serve(R1, gone(10));
    world.serve(R0, Outcome::Done(Answer::Attr(attr(10, FileKind::Dir))));
    world.serve(R0, done());
    assert_eq!(world.answer(call), Ok(Done::Nothing));
}

/// Others have renamed both, and each is what was last known to be in the other: nobody who looks for the one
/// by way of the other comes to an end (simulator, `links_are_cut_during_moves` 63005114).
#[test]
fn directories_that_are_known_to_be_in_each_other_are_looked_for_everywhere() {
    cov_mark::check!(names_lead_in_a_circle);
    let mut world = Fixture::new();
    world.look_up(1, "a", R0, dir_here(10, R0));
    world.look_up(10, "d", R0, dir_here(11, R0));
    world.look_up(11, "d", R0, dir_here(10, R0));
    let call = world.call(unlink(11, "f"));
    // R1 has the one, and the other is no more.
    let mut asked = 0;
    loop {
        asked += 1;
        assert!(asked < 100, "nobody goes in circles");
        let (rank, request) = world.request();
        let dir = request.op.dir().expect("each is about a directory");
        let outcome = match request.op {
            Op::Getattr { .. } if (rank, dir) == (R1, Ino(11)) => {
                Outcome::Done(Answer::Attr(attr(11, FileKind::Dir)))
            }
            Op::Lookup { .. } if (rank, dir) == (R1, Ino(11)) => {
                Outcome::Refused(FsError::NotFound)
            }
            Op::Unlink { .. } if rank == R1 => break world.reply(rank, request.id, None, done()),
            _ => gone(dir.0),
        };
        world.reply(rank, request.id, None, outcome);
    }
    assert_eq!(world.answer(call), Ok(Done::Nothing));
}

/// What is gone is the directory in which it was when it was asked for.
#[test]
fn a_file_unlinked_while_it_was_asked_for_is_asked_for_as_an_orphan() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R0));
    world.look_up(10, "f", R0, here(20));
    let call = world.call(Call::Getattr { ino: Ino(20) });
    world.notice(R0, 1, Notice::Unlinked { ino: Ino(20), rank: R0 });
    world.serve(R0, gone(10));
    let asked = world.serve(R0, Outcome::Done(Answer::Attr(attr(20, FileKind::File))));
    let target = Target { ino: Ino(20), place: Place::Orphan { rank: R0 } };
    assert_eq!(asked.op, Op::Getattr { target });
    assert!(world.answer(call).is_ok());
}

/// Another call has found it under its new name (simulator, `ranks_die_during_moves` 3053).
#[test]
fn a_file_that_is_found_elsewhere_while_its_old_name_is_looked_up_is_asked_for_there() {
    let mut world = Fixture::new();
    world.look_up(1, "f", R0, here(20));
    let call = world.call(Call::Getattr { ino: Ino(20) });
    world.serve(R0, gone(20));
    world.notice(
        R0,
        1,
        Notice::Moved {
            ino: Ino(20),
            place: Place::Entry { dir: Ino::ROOT, name: name("g") },
            rank: R0,
            moves: 1,
        },
    );
    world.serve(R0, Outcome::Refused(FsError::NotFound));
    world.serve(R0, Outcome::Done(Answer::Attr(file(20))));
    assert!(world.answer(call).is_ok());
}

/// We know that directory from the notice alone (simulator, `links_are_cut_during_moves` 1682).
#[test]
fn a_directory_a_file_was_moved_to_is_found_at_whoever_has_it() {
    let mut world = Fixture::new();
    world.look_up(1, "f", R0, here(20));
    let place = Place::Entry { dir: Ino(10), name: name("g") };
    world.notice(R0, 1, Notice::Moved { ino: Ino(20), place, rank: R0, moves: 1 });
    let call = world.call(Call::Getattr { ino: Ino(20) });
    world.serve(R0, gone(10));
    world.serve(R0, gone(10));
    world.serve(R1, Outcome::Done(Answer::Attr(attr(10, FileKind::Dir))));
    world.serve(R1, Outcome::Done(Answer::Attr(file(20))));
    assert!(world.answer(call).is_ok());
}

#[test]
fn a_file_that_was_moved_meanwhile_is_asked_for_where_it_went() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R1));
    world.look_up(1, "f", R0, here(20));
    let call = world.call(Call::Getattr { ino: Ino(20) });
    let place = Place::Entry { dir: Ino(10), name: name("g") };
    let moved = Notice::Moved { ino: Ino(20), place, rank: R1, moves: 1 };
    world.notice(R0, 1, moved);
    world.serve(R0, gone(20));
    world.serve(R1, Outcome::Done(Answer::Attr(file(20))));
    assert_eq!(world.answer(call), Ok(Done::Attr(file(20))));
}

#[test]
fn a_file_that_is_nowhere_is_stale() {
    let mut world = Fixture::new();
    world.look_up(1, "f", R0, here(20));
    let call = world.call(Call::Getattr { ino: Ino(20) });
    world.serve(R0, gone(20));
    world.serve(R0, Outcome::Refused(FsError::NotFound));
    let asked = world.serve(R0, gone(20));
    let target = Target { ino: Ino(20), place: Place::Orphan { rank: R0 } };
    assert_eq!(asked.op, Op::Getattr { target });
    assert_eq!(world.answer(call), Err(FsError::Stale));
}

/// Somebody has moved and removed it, and has died; its rank has lost that with its power (simulator,
/// `everything_goes_wrong` 99306836).
#[test]
fn what_was_moved_by_nobody_after_all_is_found_where_it_was() {
    cov_mark::check!(it_is_found_under_another_name);
    let mut world = Fixture::new();
    world.look_up(1, "b", R0, here(20));
    world.notice(R0, 7, Notice::Unlinked { ino: Ino(20), rank: R0 });
    world.sent.clear();
    let call = world.call(Call::Getattr { ino: Ino(20) });
    let page = loop {
        let (_, request) = world.request();
        if let Op::Readdir { dir: Ino(1), cookie: 0, .. } = request.op {
            break request;
        }
        let is_named = matches!(request.op, Op::Lookup { .. });
        let outcome = if is_named { Outcome::Refused(FsError::NotFound) } else { gone(20) };
        world.reply(R0, request.id, None, outcome);
        world.pass(SOON);
    };
    let entry = PageEntry { name: name("c"), cookie: 1, found: Found::Here(file(20)) };
    let contents = Page { entries: vec![entry], end: PageEnd::Last };
    world.reply(R0, page.id, None, Outcome::Done(Answer::Page(contents)));
    let request = world.serve(R0, Outcome::Done(Answer::Attr(file(20))));
    let place = Place::Entry { dir: Ino(1), name: name("c") };
    assert_eq!(request.op, Op::Getattr { target: Target { ino: Ino(20), place } });
    assert_eq!(world.answer(call), Ok(Done::Attr(file(20))));
}

/// It was moved to a rank that we cannot reach, lost its name there, and its directory came back (simulator,
/// `mounts_work_alone` 1795957369894021).
#[test]
fn a_file_is_not_given_up_before_every_rank_was_heard() {
    let mut world = Fixture::new();
    world.look_up(1, "other", R0, dir_here(10, R1));
    world.look_up(1, "f", R0, here(20));
    world.call(Call::Getattr { ino: Ino(10) });
    world.serve(R1, Outcome::Done(Answer::Attr(attr(10, FileKind::Dir))));
    world.sent.clear();
    world.break_link(R1);
    let call = world.call(Call::Getattr { ino: Ino(20) });
    world.serve(R0, gone(20));
    world.serve(R0, Outcome::Refused(FsError::NotFound));
    world.serve(R0, gone(20));
    world.assert_waiting(call);
    world.pass(SOON);
    world.notice(R1, 7, Notice::Unlinked { ino: Ino(20), rank: R1 });
    let mut orphan = file(20);
    orphan.nlink = 0;
    for _asked_whether_it_knows_and_then_for_the_file in 0..2 {
        let request = world.serve(R1, Outcome::Done(Answer::Attr(orphan.clone())));
        let target = Target { ino: Ino(20), place: Place::Orphan { rank: R1 } };
        assert_eq!(request.op, Op::Getattr { target });
    }
    assert_eq!(world.answer(call), Ok(Done::Attr(orphan)));
}

#[test]
fn a_request_whose_connection_broke_is_sent_again_under_the_same_id() {
    let mut world = Fixture::new();
    let call = world.call(unlink(1, "f"));
    let (_, first) = world.request();
    world.break_link(R0);
    world.assert_waiting(call);
    world.pass(SOON);
    let (_, second) = world.request();
    assert_eq!(second, first);
}

#[test]
fn changes_that_are_not_durable_are_replayed_in_their_order_before_all_else() {
    let mut world = Fixture::new();
    let first = world.make("a", 0x1000, 5);
    let durable = world.make("b", 0x1001, 3);
    let third = world.make("c", 0x1002, 6);
    world.tell(R0, ToClient::Durable { through: Seq(4) });
    let waiting = world.call(unlink(1, "a"));
    world.kill(R0);
    world.restart(R0);

    let (_, replayed) = world.request();
    assert_eq!((replayed.id, replayed.replay), (first.id, Some(Seq(5))));
    let (_, replayed) = world.request();
    assert_eq!((replayed.id, replayed.replay), (third.id, Some(Seq(6))));
    assert_eq!(replayed.oldest, first.id);
    assert!(replayed.oldest < durable.id);
    let done_at = world.sent.iter().position(|(_, m)| *m == ToMds::ReplayDone).unwrap();
    let new_at = world.sent.iter().position(|(_, m)| matches!(m, ToMds::Request(_))).unwrap();
    assert!(done_at < new_at);
    world.serve(R0, done());
    assert_eq!(world.answer(waiting), Ok(Done::Nothing));
}

#[test]
fn a_replay_is_durable_only_when_its_new_life_says_so() {
    let mut world = Fixture::new();
    let made = world.make("a", 0x1000, 5);
    world.kill(R0);
    world.restart(R0);
    let new_life = Seq::first_of(Incarnation(2));
    world.tell(R0, ToClient::Durable { through: new_life });
    // The reply to the replay got lost: it is sent once more.
    world.break_link(R0);
    world.pass(SOON);
    let (_, replayed) = world.request();
    assert_eq!((replayed.id, replayed.replay), (made.id, Some(Seq(5))));
    world.reply(R0, replayed.id, Some(new_life.next()), here(0x1000));
    world.tell(R0, ToClient::Durable { through: new_life.next() });
    world.sent.clear();
    world.break_link(R0);
    world.pass(SOON);
    world.assert_nothing_sent_but_session();
}

/// The rank lost power again when it had repeated the first of two, which the second may rest on (simulator,
/// `clients_and_ranks_die` 61003219).
#[test]
fn what_is_repeated_keeps_its_place() {
    let mut world = Fixture::new();
    let made = [world.make("a", 0x1000, 5), world.make("b", 0x1001, 6)];
    world.kill(R0);
    world.restart(R0);
    world.reply(R0, made[0].id, Some(Seq::first_of(Incarnation(2)).next()), here(0x1000));
    world.sent.clear();
    world.kill(R0);
    world.restart(R0);
    let again = [world.request().1, world.request().1].map(|it| (it.id, it.replay));
    assert_eq!(again, [(made[0].id, Some(Seq(5))), (made[1].id, Some(Seq(6)))]);
}

/// Of two ranks one has moved it already, and the other's answer, which says where to, is on its way.
#[test]
fn what_our_own_rename_is_moving_is_waited_for() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R1));
    world.look_up(10, "f", R1, here(20));
    let rename = world.call(Call::Rename(Rename {
        from_dir: Ino(10),
        from: name("f"),
        to_dir: Ino(1),
        to: name("g"),
        mode: RenameMode::Replace,
        from_rank: R0,
    }));
    let (_, renaming) = world.request();
    let stat = world.call(Call::Getattr { ino: Ino(20) });
    world.serve(R1, gone(20));
    world.serve(R1, Outcome::Refused(FsError::NotFound));
    world.assert_waiting(stat);
    let moved = Moved { ino: Ino(20), kind: FileKind::File, rank: R0 };
    let renamed = Answer::Renamed(Renamed { moved, exchanged: None });
    world.reply(R0, renaming.id, Some(Seq(5)), Outcome::Done(renamed));
    assert_eq!(world.answer(rename), Ok(Done::Nothing));
    world.pass(SOON);
    world.serve(R0, Outcome::Done(Answer::Attr(file(20))));
    assert_eq!(world.answer(stat), Ok(Done::Attr(file(20))));
}

/// Of its first copy no answer ever came: that does not make it wait for itself.
#[test]
fn a_link_to_what_is_gone_does_not_wait_for_itself() {
    let mut world = Fixture::new();
    world.look_up(1, "f", R0, here(20));
    let link = world.call(Call::Link { ino: Ino(20), dir: Ino(1), name: name("g") });
    world.request();
    world.break_link(R0);
    world.pass(SOON);
    world.serve(R0, gone(20));
    world.serve(R0, Outcome::Refused(FsError::NotFound));
    world.serve(R0, gone(20));
    assert_eq!(world.answer(link), Err(FsError::Stale));
}

#[test]
fn a_replay_follows_a_redirect() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R0));
    let call = world.call(unlink(10, "f"));
    world.apply(R0, 5, done());
    assert_eq!(world.answer(call), Ok(Done::Nothing));
    world.kill(R0);
    world.restart(R0);
    let replayed = world.serve(R0, redirect(10, R1, 9));
    let again = world.serve(R1, done());
    assert_eq!((again.id, again.replay), (replayed.id, None));
}

/// Its number is in use, whoever lent it: another one must not stand for the same file, nor may it
/// be taken for the next.
#[test]
fn a_replay_that_is_redirected_keeps_its_number() {
    let mut world = Fixture::new();
    let made = world.make("a", 0x1000, 5);
    world.kill(R0);
    world.restart(R0);
    world.serve(R0, redirect(1, R1, 9));
    let again = world.serve(R1, here(0x1000));
    assert_eq!((again.id, again.op), (made.id, made.op));
}

#[test]
fn creation_waits_for_numbers() {
    let mut world = Fixture::new();
    let mut used = 0;
    while world.core_has_numbers(used) {
        used += 1;
    }
    world.sent.clear();
    let call = world.call(create(1, "last"));
    world.assert_waiting(call);
    assert!(world.sent.iter().all(|(_, message)| !matches!(message, ToMds::Request(_))));
    let more = Some(common::id::InoRange { first: Ino(0x9000), last: Ino(0x9001) });
    world.tell(R0, ToClient::Renewed { map_epoch: world.map.epoch, more });
    let (_, request) = world.request();
    let Op::Create(request) = request.op else { panic!() };
    assert_eq!(request.ino, Ino(0x9000));
}

#[test]
fn what_was_never_sent_is_withdrawn_without_a_trace() {
    let mut world = Fixture::new();
    world.kill(R0);
    let call = world.call(unlink(1, "f"));
    world.cancel(call, Signal::Handled);
    assert_eq!(world.answer(call), Err(FsError::Interrupted));
    world.restart(R0);
    assert!(world.sent.iter().all(|(_, message)| !matches!(message, ToMds::Request(_))));
}

#[test]
fn a_change_under_way_is_not_withdrawn_for_a_signal_that_is_handled() {
    let mut world = Fixture::new();
    let call = world.call(unlink(1, "f"));
    world.cancel(call, Signal::Handled);
    world.assert_waiting(call);
    world.serve(R0, done());
    assert_eq!(world.answer(call), Ok(Done::Nothing));
}

#[test]
fn a_killed_process_is_let_go_and_its_change_brought_to_an_end() {
    let mut world = Fixture::new();
    let call = world.call(unlink(1, "f"));
    let (_, first) = world.request();
    world.kill(R0);
    world.cancel(call, Signal::Fatal);
    assert_eq!(world.answer(call), Err(FsError::Interrupted));
    world.restart(R0);
    let (_, second) = world.request();
    assert_eq!(second.id, first.id);
}

fn dir_elsewhere(ino: u64, rank: Rank) -> Outcome {
    Outcome::Done(Answer::Found(Found::Dir { ino: Ino(ino), rank, attr: None }))
}

impl Fixture {
    #[track_caller]
    fn assert_nothing_sent_but_session(&self) {
        let requests = self.sent.iter().filter(|(_, m)| matches!(m, ToMds::Request(_)));
        assert_eq!(requests.count(), 0);
    }

    /// Takes one more number from rank 0, if it has lent one.
    fn core_has_numbers(&mut self, used: u64) -> bool {
        self.call(create(1, &format!("n{used}")));
        let sent = self.sent.iter().any(|(_, message)| matches!(message, ToMds::Request(_)));
        if sent {
            let (_, request) = self.request();
            self.reply(R0, request.id, None, Outcome::Refused(FsError::Exists));
        }
        sent
    }
}

#[test]
fn directories_are_not_pinned_by_their_attributes() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R0));
    let call = world.call(Call::Getattr { ino: Ino(10) });
    world.serve(R0, Outcome::Done(Answer::Attr(attr(10, FileKind::Dir))));
    assert!(world.answer(call).is_ok());
    world.refer(References::Forgotten { items: vec![(Ino(10), 1)] });
    world.pass(SOON);
    world.assert_nothing_sent_but_session();
}

/// A look-up of which rank 0 has two copies, since its connection broke.
fn asked_again() -> (Fixture, CallId, RequestId) {
    let mut world = Fixture::new();
    let call = world.call(Call::Lookup { dir: Ino(1), name: name("f") });
    let (_, first) = world.request();
    world.break_link(R0);
    world.pass(SOON);
    let (_, again) = world.request();
    assert_eq!(again.id, first.id);
    (world, call, first.id)
}

#[track_caller]
fn assert_given_back(world: &mut Fixture) {
    world.pass(SOON);
    let (_, forget) = world.request();
    let Op::Forget { items } = forget.op else { panic!("{forget:?}") };
    assert_eq!(items.iter().map(|item| item.ino).collect::<Vec<_>>(), [Ino(20)]);
}

/// A rank answers first, then rank 0 what it had before the connection broke.
#[track_caller]
fn assert_both_answers_are_given_back(
    world: &mut Fixture,
    call: CallId,
    (first, id): (Rank, RequestId),
) {
    world.reply(first, id, None, here(20));
    assert!(world.answer(call).is_ok());
    world.refer(References::Forgotten { items: vec![(Ino(20), 1)] });
    assert_given_back(world);
    world.reply(R0, id, None, here(20));
    assert_given_back(world);
}

/// The rank had it before the connection broke, answered that on the new one, and then the copy.
#[test]
fn a_second_answer_pins_what_it_names() {
    cov_mark::check!(a_second_answer_pins);
    let (mut world, call, id) = asked_again();
    assert_both_answers_are_given_back(&mut world, call, (R0, id));
}

/// One rank did it and could not say so yet when the connection broke; meanwhile the directory went to another
/// one, which answers what is sent again. The first answers on its new connection, and has pinned it.
#[test]
fn an_answer_that_was_withheld_pins_what_it_names_whoever_has_answered_since() {
    let (mut world, call, id) = asked_again();
    world.reply(R0, id, None, redirect(1, R1, 9));
    let (at, moved) = world.request();
    assert_eq!((at, moved.id), (R1, id));
    assert_both_answers_are_given_back(&mut world, call, (R1, id));
}

/// It may have been carried out before the directory was removed (simulator, `ranks_die_during_moves`
/// 20262072).
#[test]
fn what_is_in_a_forgotten_directory_is_asked_for_again_where_it_was() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R1));
    world.call(unlink(10, "a"));
    assert_eq!(world.request().0, R1);
    world.call(Call::Rmdir { dir: Ino(1), name: name("d") });
    world.serve(R0, Outcome::Done(Answer::Done));
    world.refer(References::Forgotten { items: vec![(Ino(10), 1)] });
    world.break_link(R1);
    world.pass(SOON);
    assert_eq!(world.request().0, R1);
}

/// A file whose making was not answered before the connection broke, and its directory is rank 1's since.
fn made_before_it_moved() -> (Fixture, CallId, Ino) {
    let mut world = Fixture::new();
    world.look_up(1, "e", R0, dir_here(11, R1));
    world.look_up(11, "x", R1, dir_here(12, R1));
    let made = world.call(create(1, "f"));
    let (_, first) = world.request();
    let Op::Create(op) = &first.op else { panic!("{first:?}") };
    let ino = op.ino;
    world.break_link(R0);
    world.pass(SOON);
    world.request();
    world.reply(R0, first.id, None, redirect(1, R1, 9));
    (world, made, ino)
}

/// Rank 0 may have made it, and given it away with its directory (simulator, `links_are_cut_during_moves`
/// 922429).
#[test]
fn what_may_have_been_made_keeps_its_number() {
    let (mut world, made, ino) = made_before_it_moved();
    let (rank, again) = world.request();
    let Op::Create(op) = &again.op else { panic!("{again:?}") };
    assert_eq!((rank, op.ino), (R1, ino));
    world.reply(R1, again.id, None, here(ino.0));
    assert!(world.answer(made).is_ok());
}

#[test]
fn what_was_not_made_by_a_number_that_nobody_knows_gets_another() {
    cov_mark::check!(nothing_was_made_by_that_number);
    let (mut world, made, ino) = made_before_it_moved();
    world.serve(R1, Outcome::Refused(FsError::Stale));
    let (rank, again) = world.request();
    let Op::Create(op) = &again.op else { panic!("{again:?}") };
    assert!(rank == R1 && lent(R1).contains(op.ino) && op.ino != ino, "{op:?}");
    let now = op.ino;
    world.reply(R1, again.id, None, here(now.0));
    assert!(world.answer(made).is_ok());
}

/// The connection broke before we were told that it was made; somebody has renamed it since.
#[test]
fn what_we_made_may_be_elsewhere_before_we_are_told() {
    cov_mark::check!(a_notice_overtakes_the_answer);
    let mut world = Fixture::new();
    let made = world.call(create(1, "f"));
    let (_, request) = world.request();
    let Op::Create(op) = &request.op else { panic!("{request:?}") };
    let (ino, place) = (op.ino, Place::Entry { dir: Ino(1), name: name("g") });
    world.break_link(R0);
    world.pass(SOON);
    world.notice(R0, 1, Notice::Moved { ino, place: place.clone(), rank: R0, moves: 1 });
    world.apply(R0, 7, here(ino.0));
    assert!(world.answer(made).is_ok());
    world.sent.clear();

    world.call(Call::Getattr { ino });
    let (_, asked) = world.request();
    let Op::Getattr { target } = asked.op else { panic!("{asked:?}") };
    assert_eq!(target.place, place);
}

/// It was withheld until others knew of something; meanwhile one of them has renamed the file.
#[test]
fn what_was_carried_out_before_a_move_does_not_undo_it() {
    cov_mark::check!(a_notice_overtakes_the_answer);
    let mut world = Fixture::new();
    let found = world.call(Call::Lookup { dir: Ino(1), name: name("f") });
    let place = Place::Entry { dir: Ino(1), name: name("g") };
    let moved = Notice::Moved { ino: Ino(20), place: place.clone(), rank: R0, moves: 1 };
    world.notice(R0, 1, moved);
    world.carried_out_after = NoticeId(0);
    world.sent.retain(|(_, message)| matches!(message, ToMds::Request(_)));
    world.serve(R0, here(20));
    assert!(world.answer(found).is_ok());
    world.sent.clear();

    world.call(Call::Getattr { ino: Ino(20) });
    let (_, asked) = world.request();
    let Op::Getattr { target } = asked.op else { panic!("{asked:?}") };
    assert_eq!(target.place, place);
}

/// It was told, and then lost with its rank's power.
#[test]
fn a_move_may_be_undone() {
    cov_mark::check!(a_move_was_lost);
    let mut world = Fixture::new();
    world.look_up(1, "f", R0, here(20));
    world.notice(R0, 1, Notice::Unlinked { ino: Ino(20), rank: R0 });
    let call = world.call(Call::Getattr { ino: Ino(20) });
    world.serve(R0, gone(20));
    it_is_where_it_was(&mut world, call);
}

/// It was found by the other name, and then lost with its rank's power (simulator, `everything_goes_wrong`
/// 49000834).
#[test]
fn a_link_may_be_undone() {
    let mut world = Fixture::new();
    world.look_up(1, "f", R0, here(20));
    let other =
        Found::Remote { ino: Ino(20), kind: FileKind::File, rank: R0, attr: Some(file(20)) };
    world.look_up(1, "g", R0, Outcome::Done(Answer::Found(other)));
    let call = world.call(Call::Getattr { ino: Ino(20) });
    world.serve(R0, gone(20));
    let lookup = world.serve(R0, Outcome::Refused(FsError::NotFound));
    assert_eq!(lookup.op, Op::Lookup { dir: Ino(1), name: name("g") });
    it_is_where_it_was(&mut world, call);
}

/// What it did was told before it was answered, and lost with its rank's power (simulator,
/// `everything_goes_wrong` 57009460).
#[test]
fn a_change_is_sent_again_as_it_was() {
    let mut world = Fixture::new();
    world.look_up(1, "f", R0, here(20));
    world.call(Call::Link { ino: Ino(20), dir: Ino(1), name: name("g") });
    let (_, first) = world.request();
    world.notice(R0, 1, Notice::Moved { ino: Ino(20), place: Place::Home, rank: R0, moves: 1 });
    world.sent.clear();
    world.kill(R0);
    world.restart(R0);
    world.sent.retain(|(_, message)| matches!(message, ToMds::Request(_)));
    let (_, again) = world.request();
    assert_eq!(again.op, first.op);
    world.reply(R0, again.id, None, gone(20));
    let (_, elsewhere) = world.request();
    let Op::Link { target, .. } = elsewhere.op else { panic!("{elsewhere:?}") };
    assert_eq!(target.place, Place::Home, "if it was not lost");
}

#[track_caller]
fn it_is_where_it_was(world: &mut Fixture, call: CallId) {
    world.pass(SOON);
    let again = world.serve(R0, Outcome::Done(Answer::Attr(file(20))));
    let Op::Getattr { target } = again.op else { panic!("{again:?}") };
    assert_eq!(target.place, Place::Entry { dir: Ino(1), name: name("f") });
    assert_eq!(world.answer(call), Ok(Done::Attr(file(20))));
}
