//! Sessions from the first request to the last; the test plays the ranks.

use common::attr::FileKind;
use common::limit::LEASE;
use common::wire::reply::{Answer, Outcome};
use common::wire::session::ToClient;

use super::*;
use crate::effect::Done;
use crate::fixture::{Fixture, R0, R1, attr, dir_here, here, name, redirect};
use crate::input::{Call, Input};
use common::error::FsError;
use common::id::{Ino, MapEpoch};
use common::wire::session::Notice;
use common::wire::session::SessionAge;

fn renewals(world: &Fixture) -> usize {
    world.sent.iter().filter(|(_, message)| matches!(message, ToMds::Renew { .. })).count()
}

#[test]
fn a_session_begins_with_the_first_request_and_claims_before_it() {
    let mut world = Fixture::new();
    assert!(world.sent.is_empty());
    world.call(Call::Getattr { ino: Ino::ROOT });
    let kinds: Vec<_> = world.sent.iter().map(|(rank, message)| (*rank, message.clone())).collect();
    let open = ToMds::Open { client: ClientId(9), oldest: RequestId(1) };
    assert_eq!(kinds[0], (R0, open));
    assert_eq!(kinds[1], (R0, ToMds::ClaimsDone));
    assert_eq!(kinds[2], (R0, ToMds::ReplayDone));
    assert!(matches!(kinds[3], (R0, ToMds::Request(_))));
}

#[test]
fn the_lease_is_renewed() {
    let mut world = Fixture::new();
    world.call(Call::Getattr { ino: Ino::ROOT });
    world.pass(LEASE_RENEW);
    assert_eq!(renewals(&world), 1);
    world.tell(R0, ToClient::Renewed { map_epoch: MapEpoch(1), more: None });
    world.pass(LEASE_RENEW);
    assert_eq!(renewals(&world), 2);
}

#[test]
fn after_a_lease_of_silence_another_connection_is_tried() {
    let mut world = Fixture::new();
    world.call(Call::Getattr { ino: Ino::ROOT });
    let before = world.link[&R0];
    world.pass(LEASE + RECONNECT_FIRST);
    assert_ne!(world.link[&R0], before);
}

#[test]
fn what_comes_over_an_old_connection_is_ignored() {
    let mut world = Fixture::new();
    let call = world.call(Call::Getattr { ino: Ino::ROOT });
    let before = world.link[&R0];
    let (_, request) = world.request();
    world.break_link(R0);
    world.pass(RECONNECT_FIRST);
    let reply = common::wire::reply::Reply {
        id: request.id,
        applied: None,
        map_epoch: MapEpoch(1),
        outcome: here(5),
        promise: common::wire::reply::Promise::None,
        after: NoticeId(0),
    };
    world.input(Input::FromMds { link: before, message: ToClient::Reply(reply) });
    world.assert_waiting(call);
}

#[test]
fn a_rank_that_is_down_is_waited_for() {
    let mut world = Fixture::new();
    world.kill(R0);
    let call = world.call(Call::Getattr { ino: Ino::ROOT });
    world.pass(LEASE * 10);
    world.assert_waiting(call);
    world.assert_nothing_sent();
    world.restart(R0);
    assert_eq!(world.request().0, R0);
}

#[test]
fn an_expected_rank_is_met_before_the_notice_is_acknowledged() {
    let mut world = Fixture::new();
    world.call(Call::Getattr { ino: Ino::ROOT });
    world.kill(R1);
    world.sent.clear();
    world.notice(R0, 7, Notice::Expect { rank: R1 });
    world.assert_nothing_sent();
    world.restart(R1);
    assert!(world.sent.contains(&(R0, ToMds::Acked(NoticeId(7)))));
}

#[test]
fn after_a_session_was_ended_another_one_begins_and_nothing_is_done_twice() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R0));
    let asks = world.call(Call::Getattr { ino: Ino(10) });
    let removes = world.call(Call::Unlink { dir: Ino(10), name: name("f") });
    world.sent.clear();
    world.tell(R0, ToClient::Evicted);
    assert_eq!(world.answer(removes), Err(FsError::Io), "nobody knows whether it was done");
    world.assert_waiting(asks);
    world.pass(RECONNECT_FIRST);
    let sent = |world: &Fixture, wanted: fn(&ToMds) -> bool| {
        world.sent.iter().filter(|(rank, message)| *rank == R0 && wanted(message)).count()
    };
    assert_eq!(sent(&world, |message| matches!(message, ToMds::Open { .. })), 1);
    assert_eq!(sent(&world, |message| matches!(message, ToMds::Request(_))), 1);
    // It is said once that something may be lost.
    let sync = world.call(Call::Sync);
    assert_eq!(world.answer(sync), Err(FsError::Io));
    let sync = world.call(Call::Sync);
    assert_eq!(world.answer(sync), Ok(Done::Nothing));
}

/// Rank 0 has done it, and rank 1 knew: the directory has become its own since.
#[test]
fn what_another_rank_may_have_done_is_not_done_again_by_one_that_ended_the_session() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R0));
    world.look_up(1, "e", R0, dir_here(11, R1));
    let asks = world.call(Call::Getattr { ino: Ino(11) });
    world.serve(R1, Outcome::Done(Answer::Attr(attr(11, FileKind::Dir))));
    assert!(world.answer(asks).is_ok());
    let removes = world.call(Call::Unlink { dir: Ino(10), name: name("f") });
    world.tell(R1, ToClient::Evicted);
    world.pass(RECONNECT_FIRST);
    world.assert_waiting(removes);
    world.serve(R0, redirect(10, R1, 3));
    assert_eq!(world.answer(removes), Err(FsError::Io), "nobody knows whether it was done");
    let removes = world.call(Call::Unlink { dir: Ino(10), name: name("g") });
    world.serve(R1, Outcome::Done(Answer::Done));
    assert_eq!(world.answer(removes), Ok(Done::Nothing), "this one was not sent before");
}

#[test]
fn a_rank_that_does_not_know_a_session_it_had_has_ended_it() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R0));
    let removes = world.call(Call::Unlink { dir: Ino(10), name: name("f") });
    world.break_link(R0);
    (world.session_age, world.begun) = (SessionAge::New, Seq(7));
    world.pass(RECONNECT_FIRST);
    assert_eq!(world.answer(removes), Err(FsError::Io));
}

/// Sessions survive power loss: it came back, and ended this one before we did.
#[test]
fn a_rank_that_comes_back_without_a_session_it_had_has_ended_it() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R0));
    let removes = world.call(Call::Unlink { dir: Ino(10), name: name("f") });
    world.kill(R0);
    (world.session_age, world.begun) = (SessionAge::New, Seq(7));
    world.restart(R0);
    assert_eq!(world.answer(removes), Err(FsError::Io), "nobody knows whether it was done");
}

/// It had ended ours, and then a region came to it with what we had done elsewhere (simulator,
/// mounts_work_alone 89004754: what it had done for us was done again).
#[test]
fn a_session_that_has_come_in_the_place_of_ours_is_another_one() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R0));
    let removes = world.call(Call::Unlink { dir: Ino(10), name: name("f") });
    world.break_link(R0);
    (world.session_age, world.begun) = (SessionAge::Resumed, Seq(7));
    world.pass(RECONNECT_FIRST);
    assert_eq!(world.answer(removes), Err(FsError::Io), "nobody knows whether it was done");
}

#[test]
fn closing_says_so_to_every_rank() {
    let mut world = Fixture::new();
    world.call(Call::Getattr { ino: Ino::ROOT });
    world.sent.clear();
    world.input(Input::Close);
    assert_eq!(world.sent, [(R0, ToMds::Close)]);
    assert!(!world.is_set(Timer::Renew(R0)));
}
