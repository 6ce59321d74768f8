//! What concerns several parts at once.

use common::wire::request::Place;
use common::wire::session::{Notice, ToMds};

use super::*;
use crate::effect::Done;
use crate::fixture::{Fixture, R0, R1, R2, dir_here, file, here, name};
use crate::input::{Call, References};
use common::id::{DirFragId, Epoch, NoticeId};
use common::wire::reply::{Outcome, Route};

#[test]
fn notices_are_acknowledged_after_they_took_effect() {
    let mut world = Fixture::new();
    world.look_up(1, "f", R0, here(20));
    world.notice(R0, 5, Notice::Unlinked { ino: Ino(20), rank: R0 });
    assert_eq!(world.sent, [(R0, ToMds::Acked(NoticeId(5)))]);
    assert_eq!(world.dropped, [(Ino(1), name("f"))]);
    world.sent.clear();
    world.call(Call::Getattr { ino: Ino(20) });
    let (_, request) = world.request();
    let target = Target { ino: Ino(20), place: Place::Orphan { rank: R0 } };
    assert_eq!(request.op, Op::Getattr { target });
}

#[test]
fn an_open_file_is_found_after_we_unlink_it() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R2));
    world.look_up(10, "f", R2, here(20));
    world.refer(References::Opened { ino: Ino(20) });
    let unlink = world.call(Call::Unlink { dir: Ino(10), name: name("f") });
    let notice = Notice::Unlinked { ino: Ino(20), rank: R2 };
    world.notice(R2, 1, notice);
    world.serve(R2, Outcome::Done(Answer::Done));
    assert_eq!(world.answer(unlink), Ok(Done::Nothing));
    let call = world.call(Call::Getattr { ino: Ino(20) });
    let asked = world.serve(R2, Outcome::Done(Answer::Attr(file(20))));
    let target = Target { ino: Ino(20), place: Place::Orphan { rank: R2 } };
    assert_eq!(asked.op, Op::Getattr { target });
    assert!(world.answer(call).is_ok());
}

/// What others did is told when it is durable, what we did at once: also the next life of a rank may tell
/// first what was last (simulator, `everything_goes_wrong` 1795917760242736).
#[test]
fn what_is_told_late_does_not_undo_what_was_told_before() {
    cov_mark::check!(a_notice_comes_after_what_was_told_later);
    let mut world = Fixture::new();
    world.look_up(1, "f", R0, here(20));
    let orphan = Place::Orphan { rank: R0 };
    world.notice(R0, 7, Notice::Unlinked { ino: Ino(20), rank: R0 });
    world.kill(R0);
    world.restart(R0);
    let place = Place::Entry { dir: Ino::ROOT, name: name("g") };
    world.notice(R0, 5, Notice::Moved { ino: Ino(20), place, rank: R0, moves: 1 });
    world.sent.clear();
    world.call(Call::Getattr { ino: Ino(20) });
    let target = Target { ino: Ino(20), place: orphan };
    assert_eq!(world.request().1.op, Op::Getattr { target });
}

#[test]
fn a_route_told_unasked_is_followed() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R0));
    let route = Route { base: DirFragId::whole(Ino(10)), rank: R1, epoch: Epoch(4) };
    world.tell(R0, ToClient::Route(route));
    world.call(Call::Getattr { ino: Ino(10) });
    assert_eq!(world.request().0, R1);
}

/// A file that we hold open came to that rank without us, and it gives up what nobody renews.
#[test]
fn where_something_of_ours_is_a_session_begins() {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R0));
    world.sent.clear();
    let route = Route { base: DirFragId::whole(Ino(10)), rank: R1, epoch: Epoch(4) };
    world.tell(R0, ToClient::Route(route));
    let opens =
        |(rank, message): &(Rank, ToMds)| *rank == R1 && matches!(message, ToMds::Open { .. });
    assert!(world.sent.iter().any(opens));
}

#[test]
fn an_older_map_is_ignored() {
    let mut world = Fixture::new();
    let mut old = world.map.clone();
    world.change_map(|_| {});
    old.ranks.clear();
    world.input(Input::Map(old));
    assert_eq!(world.core.map(), Some(&world.map));
}

/// The simulator relies on it.
#[test]
fn the_same_inputs_make_the_same_state_and_effects() {
    let run = || {
        let mut world = Fixture::new();
        world.look_up(1, "d", R0, dir_here(10, R1));
        world.make("f", 20, 1);
        world.call(Call::Getattr { ino: Ino(10) });
        (world.core.clone(), world.sent.clone())
    };
    assert_eq!(run(), run());
}
