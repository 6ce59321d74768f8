//! What the explorer leaves out leads nowhere else: worlds that can be seen whole, with and without.

use common::id::Rank;
use tests::explore::search::{Bound, explore};
use tests::explore::world::World;

use super::clients::{renamed, renamed_while_nothing_moves};
use super::worlds::{bound, tell};

/// The same rests are reached, and by the same states of each rank.
#[track_caller]
fn nothing_is_missed(story: &str, world: World, bound: &Bound) {
    let all = explore(world.clone(), &Bound { reduced: false, ..*bound });
    let enough = explore(world.clone(), &Bound { reduced: true, ..*bound });
    tell(&format!("{story}, all of it"), bound, &all);
    tell(&format!("{story}, what is enough"), bound, &enough);
    for report in [&all, &enough] {
        assert!(report.complete && report.found.is_none(), "{story}: {:?}", report.found);
    }
    assert!(all.states > enough.states, "{story}: something is left out");
    assert_eq!(all.at_rest, enough.at_rest, "{story}: states at rest");
    // Claims that come at once make an event concern several ranks, which are in other states halfway.
    if world.claims_late {
        assert_eq!(all.nodes, enough.nodes, "{story}: states of single ranks");
    }
}

fn late(world: World) -> World {
    World { claims_late: true, ..world }
}

#[test]
fn beside_deaths() {
    nothing_is_missed("two ranks", late(World::two()), &bound(2, 0, 0));
    nothing_is_missed("three ranks", late(World::three()), &bound(1, 0, 0));
    let mortal = vec![Rank(0)];
    nothing_is_missed("four ranks", late(World { mortal, ..World::four() }), &bound(1, 0, 0));
    let world = World { buried: vec![Rank(0)], mortal: vec![Rank(0)], ..late(World::three()) };
    nothing_is_missed("a bystander does not come back", world, &bound(1, 0, 0));
}

#[test]
fn beside_cancels_and_deadlines() {
    nothing_is_missed("two ranks", World::two(), &bound(1, 1, 1));
    nothing_is_missed("three ranks", World::three(), &bound(1, 0, 1));
}

/// With a second order, and with what is deleted while other things go on.
#[test]
fn beside_a_second_order() {
    nothing_is_missed("there and back", late(World::two().and_back()), &bound(1, 0, 0));
}

#[test]
fn beside_a_client() {
    let world = World { mortal: Vec::new(), ..renamed() };
    nothing_is_missed("a file is renamed", world, &bound(0, 0, 0));
    let world = World { mortal: vec![Rank(1)], ..renamed_while_nothing_moves() };
    nothing_is_missed("a file is renamed, nothing moves", world, &bound(1, 0, 0));
}
