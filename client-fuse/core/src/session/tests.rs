//! Sessions from the first request to the last; the test plays the ranks.

use common::limit::LEASE;
use common::wire::session::ToClient;

use super::*;
use crate::fixture::{Fixture, R0, R1, create, here};
use crate::input::{Call, Input};
use common::error::FsError;
use common::id::{Ino, MapEpoch};
use common::wire::session::Notice;

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
fn a_session_that_was_ended_fails_what_needs_it() {
    let mut world = Fixture::new();
    let waiting = world.call(Call::Getattr { ino: Ino::ROOT });
    world.tell(R0, ToClient::Evicted);
    assert_eq!(world.answer(waiting), Err(FsError::Stale));
    let later = world.call(create(1, "f"));
    assert_eq!(world.answer(later), Err(FsError::Stale));
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
