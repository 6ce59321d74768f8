//! A rank's store is destroyed: what concerned it is brought to an end; the test plays the ranks.

use common::attr::FileKind;
use common::wire::reply::{Answer, Found};

use super::*;
use crate::effect::Done;
use crate::fixture::{Fixture, R0, R1, dir_here, here, name, redirect};
use crate::input::Call;

fn unlink(dir: u64, text: &str) -> Call {
    Call::Unlink { dir: Ino(dir), name: name(text) }
}

fn done() -> Outcome {
    Outcome::Done(Answer::Done)
}

fn lose(world: &mut Fixture, rank: Rank) {
    world.kill(rank);
    world.change_map(|map| {
        map.ranks.remove(&rank);
        map.lost.insert(rank);
        for heir in map.slots.values_mut().filter(|heir| **heir == rank) {
            *heir = R0;
        }
    });
}

/// `/d` is rank 1's.
fn world() -> Fixture {
    let mut world = Fixture::new();
    world.look_up(1, "d", R0, dir_here(10, R0));
    let call = world.call(unlink(10, "x"));
    world.serve(R0, redirect(10, R1, 3));
    world.serve(R1, done());
    assert_eq!(world.answer(call), Ok(Done::Nothing));
    world
}

#[test]
fn what_waits_for_it_goes_to_whoever_holds_what_is_above() {
    let mut world = world();
    world.kill(R1);
    let call = world.call(Call::Readlink { ino: Ino(10) });
    let other = world.call(Call::Lookup { dir: Ino(10), name: name("f") });
    lose(&mut world, R1);
    world.serve(R0, Outcome::Refused(FsError::Invalid));
    world.serve(R0, Outcome::Refused(FsError::NotFound));
    assert_eq!(world.answer(call), Err(FsError::Invalid));
    assert_eq!(world.answer(other), Err(FsError::NotFound));
}

/// Nobody knows whether it was done.
#[test]
fn a_change_that_was_sent_there_is_in_doubt() {
    let mut world = world();
    let call = world.call(unlink(10, "f"));
    assert_eq!(world.request().0, R1);
    lose(&mut world, R1);
    assert_eq!(world.answer(call), Err(FsError::Io));
    let sync = world.call(Call::Sync);
    assert_eq!(world.answer(sync), Err(FsError::Io));
}

/// Its parent's rank has not heard yet, and sends there: the request rests, and asks again.
#[test]
fn a_redirect_to_it_is_not_followed() {
    let mut world = world();
    lose(&mut world, R1);
    let call = world.call(unlink(10, "f"));
    let id = world.serve(R0, redirect(10, R1, 3)).id;
    assert!(world.sent.is_empty());
    world.pass(std::time::Duration::from_secs(1));
    assert_eq!(world.serve(R0, done()).id, id);
    assert_eq!(world.answer(call), Ok(Done::Nothing));
}

/// Its attributes are refused by the heir of its home: it can be seen, and removed, all the same.
#[test]
fn a_lost_file_has_a_name_that_can_be_removed() {
    let mut world = world();
    lose(&mut world, R1);
    let remote = Found::Remote { ino: Ino(20), kind: FileKind::File, rank: R0, attr: None };
    let call = world.call(Call::Lookup { dir: Ino(1), name: name("f") });
    world.serve(R0, Outcome::Done(Answer::Found(remote)));
    world.serve(R0, Outcome::Refused(FsError::Io));
    match world.answer(call) {
        Ok(Done::Entry(attr)) => assert_eq!((attr.ino, attr.mode, attr.size), (Ino(20), 0, 0)),
        result => panic!("{result:?}"),
    }
    let call = world.call(Call::Getattr { ino: Ino(20) });
    world.serve(R0, Outcome::Refused(FsError::Io));
    assert_eq!(world.answer(call), Err(FsError::Io));
    let call = world.call(unlink(1, "f"));
    world.serve(R0, done());
    assert_eq!(world.answer(call), Ok(Done::Nothing));
}

/// What is not lost is no placeholder.
#[test]
fn a_refusal_is_one_where_nothing_is_lost() {
    let mut world = world();
    let remote = Found::Remote { ino: Ino(20), kind: FileKind::File, rank: R0, attr: None };
    let call = world.call(Call::Lookup { dir: Ino(1), name: name("f") });
    world.serve(R0, Outcome::Done(Answer::Found(remote)));
    world.serve(R0, Outcome::Refused(FsError::Io));
    assert_eq!(world.answer(call), Err(FsError::Io));
    world.look_up(1, "g", R0, here(21));
}
