//! Does the checker see? Every mistake of [`Mutant`] is switched on, and must be found.

use mds_core::mutant::Mutant;
use strum::IntoEnumIterator;
use tests::explore::search::{Bound, explore};
use tests::explore::world::World;

use super::worlds::bound;

/// Where a mistake shows.
enum Shows {
    /// In one of these worlds, the first of which suffices if it is found there.
    Here(Vec<(World, Bound)>),
    /// Only with clients, which the simulator has.
    WithClients,
}

fn shows(mutant: Mutant) -> Shows {
    let plain = || vec![(World::two(), bound(1, 1, 1)), (World::three(), bound(1, 1, 1))];
    match mutant {
        Mutant::CompletedTableForgotten
        | Mutant::CompletedAsWatermark
        | Mutant::ReplayPerClient
        | Mutant::PinNotCarried
        | Mutant::DeltaForgotten
        | Mutant::CopyWithoutDeleteRange
        | Mutant::ImportedSessionsExpected => Shows::WithClients,
        Mutant::DiscoverAcceptedTwice => Shows::Here(vec![
            (World::two().and_again(), bound(0, 2, 0)),
            (World::three().and_again(), bound(1, 1, 1)),
        ]),
        Mutant::SweepIgnoresHeld => Shows::Here(vec![(World::two().and_back(), bound(0, 0, 0))]),
        Mutant::GrantWhileFrozen => {
            Shows::Here(vec![(World { asks: 1, ..World::three() }, bound(0, 0, 0))])
        }
        Mutant::CancelOfUnknownAsserts
        | Mutant::ReverseLooksAtNewState
        | Mutant::UnfreezeBeforeExportDurable
        | Mutant::AckBeforeImportStartDurable
        | Mutant::UndoAfterCommit
        | Mutant::ReleasedForgottenEarly
        | Mutant::ClaimsWhileCommitting
        | Mutant::RegistrationsNotCarried
        | Mutant::AnyAckCounts
        | Mutant::DeadBystanderAwaited
        | Mutant::DoubtForgotten
        | Mutant::DoubtSeized
        | Mutant::DoubtNotFrozen
        | Mutant::NotUnwarned => Shows::Here(plain()),
    }
}

#[test]
fn every_mistake_is_found() {
    let mut surviving = Vec::new();
    for mutant in Mutant::iter() {
        let name: &'static str = mutant.into();
        let Shows::Here(worlds) = shows(mutant) else {
            println!("{name:<34} left to the simulator");
            continue;
        };
        let mut states = 0;
        let mut caught = None;
        for (world, bound) in worlds {
            let report = explore(World { mutant: Some(mutant), ..world }, &bound);
            states += report.states;
            if let Some(found) = report.found {
                caught = Some(found);
                break;
            }
        }
        match caught {
            Some(found) => {
                println!("{name:<34} found after {states:>7} states: {}", found.violation);
                if std::env::var_os("EXPLORE_TELL").is_some() {
                    println!("{}", found.trace.join("\n"));
                }
            }
            None => {
                println!("{name:<34} SURVIVED {states} states");
                surviving.push(name);
            }
        }
    }
    assert!(surviving.is_empty(), "nobody notices: {surviving:?}");
}
