//! Worlds without mistakes: nothing is found.

use std::time::Duration;

use common::id::Rank;
use tests::explore::search::{Bound, Report, explore};
use tests::explore::world::World;

/// A bound as a test states it, or as the environment does.
pub(crate) fn bound(crashes: u8, cancels: u8, deadlines: u8) -> Bound {
    let number = |name: &str| -> Option<u64> {
        let text = std::env::var(format!("EXPLORE_{name}")).ok()?;
        Some(text.parse().unwrap_or_else(|_| panic!("EXPLORE_{name}={text} is no number")))
    };
    let few = |name: &str, stated: u8| {
        number(name).map_or(stated, |it| u8::try_from(it).unwrap_or(u8::MAX))
    };
    Bound {
        crashes: few("CRASHES", crashes),
        cancels: few("CANCELS", cancels),
        deadlines: few("DEADLINES", deadlines),
        states_max: number("STATES")
            .map_or(3_000_000, |it| usize::try_from(it).unwrap_or(usize::MAX)),
        reduced: std::env::var_os("EXPLORE_ALL").is_none(),
        census: std::env::var_os("EXPLORE_CENSUS").is_some(),
        time_max: Duration::from_secs(number("SECONDS").unwrap_or(100)),
    }
}

/// Shown to people, and the whole story if something was found.
pub(crate) fn tell(story: &str, bound: &Bound, report: &Report) {
    println!(
        "{story} ({} deaths, {} cancels, {} early deadlines): {} states ({}), {} transitions, depth \
         {}, {} ends, {} states of single ranks, {:.1} s",
        bound.crashes,
        bound.cancels,
        bound.deadlines,
        report.states,
        if report.complete { "all" } else { "cut" },
        report.transitions,
        report.depth,
        report.ends,
        report.nodes,
        report.took.as_secs_f64(),
    );
    for line in &report.census {
        println!("{line}");
    }
}

#[track_caller]
pub(crate) fn nothing_is_found(story: &str, world: World, bound: &Bound) {
    let report = explore(world, bound);
    tell(story, bound, &report);
    if let Some(found) = &report.found {
        panic!("{story}: {}\n{}\n", found.violation, found.trace.join("\n"));
    }
}

#[test]
fn two_ranks() {
    nothing_is_found("two ranks", World::two(), &bound(2, 1, 1));
}

#[test]
fn three_ranks() {
    nothing_is_found("three ranks", World::three(), &bound(2, 0, 0));
}

#[test]
fn three_ranks_are_interrupted() {
    nothing_is_found("three ranks, interrupted", World::three(), &bound(1, 1, 1));
}

#[test]
fn claims_are_late() {
    let world = |world| World { claims_late: true, ..world };
    nothing_is_found("two ranks, late claims", world(World::two()), &bound(2, 0, 0));
    nothing_is_found("three ranks, late claims", world(World::three()), &bound(1, 0, 0));
}

#[test]
fn four_ranks() {
    nothing_is_found("four ranks", World::four(), &bound(1, 0, 0));
}

#[test]
fn four_ranks_are_interrupted() {
    nothing_is_found("four ranks, interrupted", World::four(), &bound(0, 1, 2));
}

#[test]
fn there_and_back() {
    nothing_is_found("there and back", World::two().and_back(), &bound(1, 0, 0));
    nothing_is_found("there and back, looked at", World::three().and_back(), &bound(1, 0, 0));
}

#[test]
fn ordered_again() {
    nothing_is_found("ordered again", World::three().and_again(), &bound(1, 1, 0));
}

#[test]
fn an_older_life_of_the_region_is_still_there() {
    let world = World { leftovers: true, sweeps_early: true, ..World::two() };
    nothing_is_found("an older life is still there", world, &bound(1, 1, 0));
}

#[test]
fn a_neighbor_looks_on() {
    nothing_is_found("a neighbor looks on", World::neighbor(), &bound(1, 1, 1));
}

#[test]
fn a_bystander_does_not_come_back() {
    let world = World { buried: vec![Rank(0)], mortal: vec![Rank(0)], ..World::three() };
    nothing_is_found("a bystander does not come back", world, &bound(1, 1, 1));
}

/// Replicas are asked for and given back while the region moves.
#[test]
fn replicas_come_and_go() {
    let world = World { asks: 2, trims: 2, ..World::three() };
    nothing_is_found("replicas come and go", world, &bound(0, 1, 0));
    let mortal = vec![Rank(1), Rank(2)];
    let world = World { asks: 1, trims: 1, mortal, ..World::three() };
    nothing_is_found("replicas come and go, and ranks", world, &bound(1, 0, 0));
    // A life of the bystander's that began during the migration is registered with the exporter.
    let world = World { asks: 1, mortal: vec![Rank(0)], ..World::three() };
    nothing_is_found("replicas come and go, and who holds them", world, &bound(1, 0, 0));
}
