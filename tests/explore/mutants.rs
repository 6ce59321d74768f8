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

use super::worlds::bound;

/// Seeds the simulator may try before a mistake has survived.
const SEEDS_MAX: u64 = 2_000;

/// Where a mistake shows.
enum Shows {
    /// In one of these worlds.
    Explored(Vec<(World, Bound)>),
    /// Only with clients: in a story of the simulator.
    Simulated(fn(u64) -> Settings),
}

fn shows(mutant: Mutant) -> Shows {
    let plain = || vec![(World::two(), bound(1, 1, 1)), (World::three(), bound(1, 1, 1))];
    Shows::Explored(match mutant {
        Mutant::CompletedTableForgotten
        | Mutant::CompletedAsWatermark
        | Mutant::DeltaForgotten
        | Mutant::PinNotCarried
        | Mutant::CopyWithoutDeleteRange => return Shows::Simulated(moves),
        Mutant::ImportedSessionsExpected => return Shows::Simulated(deaths_during_moves),
        Mutant::ReplayPerClient => return Shows::Simulated(deaths),
        Mutant::DiscoverAcceptedTwice => vec![
            (World::two().and_again(), bound(0, 2, 0)),
            (World::three().and_again(), bound(1, 1, 1)),
        ],
        Mutant::SweepIgnoresHeld => vec![(World::two().and_back(), bound(0, 0, 0))],
        Mutant::DeadBystanderAwaited => {
            let buried = vec![Rank(0)];
            vec![(World { buried, mortal: vec![Rank(0)], ..World::three() }, bound(1, 1, 0))]
        }
        Mutant::GrantWhileFrozen => vec![(World { asks: 1, ..World::three() }, bound(0, 0, 0))],
        Mutant::CancelOfUnknownAsserts
        | Mutant::ReverseLooksAtNewState
        | Mutant::UnfreezeBeforeExportDurable
        | Mutant::AckBeforeImportStartDurable
        | Mutant::UndoAfterCommit
        | Mutant::ReleasedForgottenEarly
        | Mutant::ClaimsWhileCommitting
        | Mutant::RegistrationsNotCarried
        | Mutant::AnyAckCounts
        | Mutant::DoubtForgotten
        | Mutant::DoubtSeized
        | Mutant::DoubtNotFrozen
        | Mutant::NotUnwarned => plain(),
    })
}

fn moves(_: u64) -> Settings {
    Settings { ranks: 2, clients: 2, exports: 10, breaks: 4, ..Settings::peace() }
}

fn deaths_during_moves(seed: u64) -> Settings {
    Settings { hard_deaths: 2, deaths_at_points: 2, late_maps: 20, ..moves(seed) }
}

fn deaths(_: u64) -> Settings {
    Settings { clients: 3, deaths: 3, breaks: 2, ..Settings::peace() }
}

/// What was found, and after how much.
type Caught = Result<(u64, String), u64>;

fn look(mutant: Mutant) -> (&'static str, Caught) {
    match shows(mutant) {
        Shows::Explored(worlds) => ("states", in_worlds(mutant, worlds)),
        Shows::Simulated(story) => ("seeds", in_story(mutant, story)),
    }
}

fn in_worlds(mutant: Mutant, worlds: Vec<(World, Bound)>) -> Caught {
    let mut states = 0;
    for (world, bound) in worlds {
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

#[test]
fn every_mistake_is_found() {
    let mut surviving = Vec::new();
    for mutant in Mutant::iter() {
        let name: &'static str = mutant.into();
        match look(mutant) {
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
