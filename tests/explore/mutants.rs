//! Does the checker see? Every mistake of [`Mutant`] is switched on, and must be found.

use std::panic::catch_unwind;

use common::id::Rank;
use mds_core::mutant::Mutant;
use strum::IntoEnumIterator;
use tests::explore::search::{Bound, explore};
use tests::explore::world::World;
use tests::mistake;
use tests::sim::trace::Trace;
use tests::sim::world::{self, Settings};

use super::clients::renamed_while_nothing_moves;
use super::worlds::bound;

/// Seeds the simulator may try before a mistake has survived.
const SEEDS_MAX: u64 = 5_000;

/// Where a mistake shows.
enum Shows {
    /// In one of these worlds.
    Explored(Vec<(World, Bound)>),
    /// Only with clients: in a story of the simulator.
    Simulated(fn(u64) -> Settings),
}

impl Shows {
    fn is_simulated(&self) -> bool {
        matches!(self, Self::Simulated(_))
    }
}

fn shows(mutant: Mutant) -> Shows {
    let plain = || vec![(World::two(), bound(1, 1, 1)), (World::three(), bound(1, 1, 1))];
    Shows::Explored(match mutant {
        Mutant::CompletedAsWatermark
        | Mutant::DeltaForgotten
        | Mutant::AnsweredBeforeHeard
        | Mutant::SeenBeforeHeard
        | Mutant::LockedTwice => return Shows::Simulated(moves),
        Mutant::CompletedTableForgotten | Mutant::PinNotCarried => {
            return Shows::Simulated(many_moves);
        }
        Mutant::ImportedSessionsExpected => return Shows::Simulated(importers_die),
        Mutant::ClaimDropped | Mutant::ClaimForGood | Mutant::ForgetTakesAll => {
            return Shows::Simulated(breaks);
        }
        Mutant::NobodySuspected | Mutant::ExclusiveNotCarried => {
            return Shows::Simulated(alone_and_moved);
        }
        Mutant::ExclusiveIgnored | Mutant::ExclusiveUnclaimed | Mutant::RecallNotAwaited => {
            return Shows::Simulated(alone);
        }
        Mutant::LeashIgnored => return Shows::Simulated(takeovers),
        Mutant::CopyWithoutDeleteRange => {
            let world = World { leftovers: true, sweeps_early: true, ..World::two() };
            vec![(world, bound(0, 0, 0))]
        }
        Mutant::ReplayPerClient => return Shows::Simulated(deaths),
        Mutant::DiscoverAcceptedTwice => vec![
            (World::two().and_again(), bound(0, 2, 0)),
            (World::three().and_again(), bound(1, 1, 0)),
        ],
        Mutant::SweepIgnoresHeld => vec![(World::two().and_back(), bound(0, 0, 0))],
        Mutant::DeadBystanderAwaited => {
            let buried = vec![Rank(0)];
            // It never comes to rest: that shows wherever one stops and follows what was not looked at.
            let bound = Bound { states_max: 50_000, ..bound(1, 0, 0) };
            vec![(World { buried, mortal: vec![Rank(0)], ..World::three() }, bound)]
        }
        Mutant::ExpireOfUnknownAsserts | Mutant::ExpireAppliedTwice => vec![
            (World { asks: 2, trims: 2, ..World::three() }, bound(0, 1, 0)),
            (World { asks: 2, trims: 2, ..World::three() }.and_again(), bound(1, 1, 0)),
        ],
        Mutant::PreparedBeforeDurable | Mutant::DecisionDenied => {
            vec![(renamed_while_nothing_moves(), bound(1, 0, 0))]
        }
        Mutant::GrantWhileFrozen => vec![(World { asks: 1, ..World::three() }, bound(0, 0, 0))],
        Mutant::CancelOfUnknownAsserts
        | Mutant::ResolveAwaitsMigrations
        | Mutant::ReverseLooksAtNewState
        | Mutant::UnfreezeBeforeExportDurable
        | Mutant::AckBeforeImportStartDurable
        | Mutant::UndoAfterCommit
        | Mutant::ReleasedForgottenEarly
        | Mutant::ClaimsWhileCommitting
        | Mutant::RegistrationsNotCarried
        | Mutant::DoubtForgotten
        | Mutant::DoubtSeized
        | Mutant::DoubtNotFrozen
        | Mutant::NotUnwarned => plain(),
    })
}

fn moves(_: u64) -> Settings {
    Settings { ranks: 2, clients: 2, exports: 10, breaks: 4, ..Settings::peace() }
}

fn many_moves(seed: u64) -> Settings {
    Settings { clients: 3, exports: 40, breaks: 12, actions: 240, ..moves(seed) }
}

/// Mounts answer by themselves, and their directories move and their ranks die meanwhile.
fn alone(_: u64) -> Settings {
    Settings { alone: 90, actions: 400, hard_deaths: 3, exports: 20, ..moves(0) }
}

/// Everything moves all the time, and what is said meanwhile comes late.
fn alone_and_moved(_: u64) -> Settings {
    Settings { exports: 60, cuts: 60, breaks: 10, hard_deaths: 0, ..alone(0) }
}

fn breaks(_: u64) -> Settings {
    Settings { clients: 2, breaks: 6, ..Settings::peace() }
}

/// Clients die and so do ranks; to whom nothing happens waits no longer than a session lasts.
fn importers_die(_: u64) -> Settings {
    Settings {
        clients: 3,
        client_deaths: 2,
        deaths_at_points: 4,
        exports: 14,
        leases_waited_max: Some(1),
        ..moves(0)
    }
}

/// The successors are on another machine: they cannot kill whom they succeed.
fn takeovers(_: u64) -> Settings {
    Settings { standbys_elsewhere: 2, long_pauses: 3, monitor_cuts: 3, ..moves(0) }
}

/// While the disk is slow, much of what was answered is lost with the power, and is to be done again.
fn deaths(_: u64) -> Settings {
    Settings { clients: 3, deaths: 4, slow_disk: Some(Rank(0)), ..Settings::peace() }
}

/// What was found, and after how much.
type Caught = Result<(u64, String), u64>;

fn look(mutant: Mutant, reduced: bool) -> (&'static str, Caught) {
    match shows(mutant) {
        Shows::Explored(worlds) => ("states", in_worlds(mutant, reduced, worlds)),
        Shows::Simulated(story) => ("seeds", in_story(mutant, story)),
    }
}

fn in_worlds(mutant: Mutant, reduced: bool, worlds: Vec<(World, Bound)>) -> Caught {
    let mut states = 0;
    for (world, bound) in worlds {
        let bound = Bound { reduced, ..bound };
        let report = mistake::with(mutant, || explore(world, &bound));
        states += u64::try_from(report.states).unwrap_or(u64::MAX);
        if let Some(found) = report.found {
            if std::env::var_os("EXPLORE_TELL").is_some() {
                println!("{}", found.trace.join("\n"));
            }
            return Ok((states, found.violation.to_string()));
        }
    }
    Err(states)
}

fn in_story(mutant: Mutant, story: fn(u64) -> Settings) -> Caught {
    for seed in 1..=SEEDS_MAX {
        let run = || world::World::new(seed, story(seed), Trace::default()).run();
        let violation = match mistake::with(mutant, || catch_unwind(run)) {
            Ok(Ok(())) => continue,
            Ok(Err(violation)) => violation.to_string(),
            Err(_) => "a core panicked".to_owned(),
        };
        // A seed that goes wrong without the mistake says nothing about it.
        if matches!(catch_unwind(run), Ok(Ok(()))) {
            return Ok((seed, violation));
        }
    }
    Err(SEEDS_MAX)
}

/// In parts, for two cores.
#[test]
fn every_mistake_is_found() {
    all_are_found(true, |shows| !shows.is_simulated());
}

/// What the explorer leaves out hides none of them.
#[test]
fn every_mistake_is_found_if_nothing_is_left_out() {
    all_are_found(false, |shows| !shows.is_simulated());
}

#[test]
fn every_mistake_is_found_by_the_simulator() {
    all_are_found(true, Shows::is_simulated);
}

#[track_caller]
fn all_are_found(reduced: bool, part: fn(&Shows) -> bool) {
    let mut surviving = Vec::new();
    let only = std::env::var("EXPLORE_MUTANT").ok();
    for mutant in Mutant::iter().filter(|mutant| part(&shows(*mutant))) {
        let name: &'static str = mutant.into();
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        match look(mutant, reduced) {
            (unit, Ok((count, violation))) => {
                let violation: String = violation.chars().take(120).collect();
                println!("{name:<32} found after {count:>7} {unit}: {violation}");
            }
            (unit, Err(count)) => {
                println!("{name:<32} SURVIVED {count} {unit}");
                surviving.push(name);
            }
        }
    }
    assert!(surviving.is_empty(), "nobody notices: {surviving:?}");
}
