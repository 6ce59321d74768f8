//! Ranks that die at named moments, every pair of them: exporter and importer, each with the bystander,
//! each again on its way back; and the ranks of an operation of two.

use std::collections::BTreeSet;
use std::time::Duration;

use common::id::Rank;
use mds_core::kill_point::KillPoint::{self, *};
use tests::sim::random::unless;
use tests::sim::trace::Trace;
use tests::sim::world::World;
use tests::sim::world::deaths::Death;
use tests::sim::world::points::{BYSTANDER, Doom, EXPORTER, Halt, IMPORTER, Scene, Script};

const OF_EXPORTER: [KillPoint; 9] = [
    DiscoverSent,
    Frozen,
    PrepSent,
    WarningsSent,
    ExportSent,
    ExportSubmitted,
    ExportDurable,
    FinishSent,
    LastFinishSent,
];
const OF_IMPORTER: [KillPoint; 8] = [
    DiscoverAckSent,
    CopyBegun,
    PrepAckSent,
    ImportStartSubmitted,
    ImportStartDurable,
    ExportAckSent,
    ImportFinishSubmitted,
    ImportFinishDurable,
];
const OF_CANCELLING: [KillPoint; 2] = [Unwarned, CancelSent];
const OF_REVERSING: [KillPoint; 3] = [CancelAckSent, AbortBegun, AskSent];
const OF_RECOVERY: [KillPoint; 4] = [ResolveBegun, ReconnectBegun, RejoinBegun, ActiveBegun];
const OF_TWO_PHASE: [KillPoint; 6] =
    [PrepareDurable, PreparedSent, DecisionSubmitted, DecisionDurable, CommitSent, CommitApplied];
const DEATHS: [Death; 2] = [Death::PowerLost, Death::Killed];

fn exporter(point: KillPoint, death: Death) -> Doom {
    Doom { rank: EXPORTER, point, death }
}

fn importer(point: KillPoint, death: Death) -> Doom {
    Doom { rank: IMPORTER, point, death }
}

fn bystander(death: Death) -> Doom {
    Doom { rank: BYSTANDER, point: NotifyAckSent, death }
}

/// Plays the scene for each list of dooms; all that goes wrong is told at the end. Returns the moments
/// at which somebody died.
fn play_all(scene: Scene, all: impl IntoIterator<Item = Vec<Doom>>) -> BTreeSet<KillPoint> {
    let (mut wrong, mut met) = (Vec::new(), BTreeSet::new());
    for dooms in all {
        let run = || {
            let script = Script { dooms: dooms.clone(), ..Script::default() };
            let (world, outcome) = World::play(scene, script, Trace::default());
            outcome.map(|()| world.met)
        };
        match unless(run) {
            Ok(deaths) => met.extend(deaths.into_iter().map(|doom| doom.point)),
            Err(why) => wrong.push(format!("{dooms:?}: {why}")),
        }
    }
    if let Some(first) = wrong.first() {
        panic!(
            "{} of the pairs went wrong, first {first}\nall:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    }
    met
}

#[track_caller]
fn assert_met(met: &BTreeSet<KillPoint>, wanted: impl IntoIterator<Item = KillPoint>) {
    let missed: Vec<KillPoint> = wanted.into_iter().filter(|point| !met.contains(point)).collect();
    assert!(missed.is_empty(), "nobody died at {missed:?}");
}

#[test]
fn undisturbed() {
    for scene in [Scene::Migration, Scene::CancelledMigration, Scene::ThereAndBack, Scene::TwoPhase]
    {
        World::play(scene, Script::default(), Trace::default()).1.expect("nothing goes wrong");
    }
}

#[test]
fn every_moment_by_itself() {
    let ours = OF_EXPORTER.into_iter().chain(OF_CANCELLING);
    let theirs = OF_IMPORTER.into_iter().chain(OF_REVERSING);
    let mut met = BTreeSet::new();
    for scene in [Scene::Migration, Scene::CancelledMigration] {
        let singles = DEATHS.into_iter().flat_map(|death| {
            let ours = ours.clone().map(move |point| vec![exporter(point, death)]);
            let theirs = theirs.clone().map(move |point| vec![importer(point, death)]);
            ours.chain(theirs).chain([vec![bystander(death)]])
        });
        met.extend(play_all(scene, singles));
    }
    assert_met(
        &met,
        OF_EXPORTER.into_iter().chain(OF_IMPORTER).chain([
            CancelSent,
            CancelAckSent,
            NotifyAckSent,
        ]),
    );
}

#[test]
fn every_moment_of_the_exporter_with_every_one_of_the_importer() {
    let ours = || OF_EXPORTER.into_iter().chain(OF_CANCELLING);
    let theirs = || OF_IMPORTER.into_iter().chain(OF_REVERSING);
    let mut met = BTreeSet::new();
    for scene in [Scene::Migration, Scene::CancelledMigration] {
        let mut pairs = Vec::new();
        for (ours, theirs) in ours().flat_map(|ours| theirs().map(move |theirs| (ours, theirs))) {
            for (first, second) in DEATHS.into_iter().flat_map(|it| DEATHS.map(|with| (it, with))) {
                pairs.push(vec![exporter(ours, first), importer(theirs, second)]);
            }
        }
        met.extend(play_all(scene, pairs));
    }
    assert_met(&met, ours().chain(theirs()));
}

#[test]
fn every_moment_with_the_bystander() {
    let mut pairs = Vec::new();
    for (first, second) in DEATHS.into_iter().flat_map(|it| DEATHS.map(|with| (it, with))) {
        for point in OF_EXPORTER {
            pairs.push(vec![exporter(point, first), bystander(second)]);
        }
        for point in OF_IMPORTER {
            pairs.push(vec![importer(point, first), bystander(second)]);
        }
    }
    assert_met(&play_all(Scene::Migration, pairs), [NotifyAckSent]);
}

#[test]
fn every_moment_and_again_on_the_way_back() {
    let mut pairs = Vec::new();
    for (again, death) in OF_RECOVERY.into_iter().flat_map(|it| DEATHS.map(|with| (it, with))) {
        for point in OF_EXPORTER {
            pairs.push(vec![exporter(point, death), exporter(again, death)]);
        }
        for point in OF_IMPORTER {
            pairs.push(vec![importer(point, death), importer(again, death)]);
        }
    }
    assert_met(&play_all(Scene::Migration, pairs), OF_RECOVERY);
}

#[test]
fn every_moment_of_an_operation_of_two_ranks() {
    let dooms = |point, death| [exporter(point, death), importer(point, death)];
    let mut all = Vec::new();
    for first in OF_TWO_PHASE.into_iter().flat_map(|it| DEATHS.map(|with| dooms(it, with))) {
        all.extend(first.map(|doom| vec![doom]));
        for second in OF_TWO_PHASE.into_iter().flat_map(|it| DEATHS.map(|with| dooms(it, with))) {
            all.push(vec![first[0], second[1]]);
        }
    }
    assert_met(&play_all(Scene::TwoPhase, all), OF_TWO_PHASE);
}

/// What is in the way is what rank 0 has not deleted yet; here rank 1 gives away.
#[test]
fn every_moment_of_the_way_back() {
    let ours = || OF_EXPORTER.into_iter().chain(OF_RECOVERY);
    let theirs = || OF_IMPORTER.into_iter().chain(OF_RECOVERY);
    let mut all = Vec::new();
    for (first, second) in DEATHS.into_iter().flat_map(|it| DEATHS.map(|with| (it, with))) {
        for point in OF_EXPORTER {
            all.push(vec![importer(point, first)]);
            all.extend(
                theirs().map(|theirs| vec![importer(point, first), exporter(theirs, second)]),
            );
        }
        for point in OF_IMPORTER {
            all.push(vec![exporter(point, first)]);
            all.extend(ours().map(|ours| vec![exporter(point, first), importer(ours, second)]));
        }
    }
    let met = play_all(Scene::ThereAndBack, all);
    assert_met(&met, OF_EXPORTER.into_iter().chain(OF_IMPORTER));
}

/// The bystander does not hear what has become of the subtree: it goes on soon, when it is almost taken
/// for dead, or long after it was declared so; one of the two others dies meanwhile, or neither.
#[test]
fn the_bystander_stops_at_every_moment() {
    let spans = [Duration::from_millis(50), Duration::from_secs(3), Duration::from_secs(20)];
    let moments = OF_EXPORTER.map(|point| (EXPORTER, point)).into_iter();
    let moments = moments.chain(OF_IMPORTER.map(|point| (IMPORTER, point)));
    let moments: Vec<(Rank, KillPoint)> = moments.collect();
    let (mut wrong, mut halted) = (Vec::new(), 0);
    for (number, (rank, point)) in moments.iter().copied().enumerate() {
        let later = moments.iter().skip(number).map(|(rank, point)| {
            vec![Doom { rank: *rank, point: *point, death: Death::PowerLost }]
        });
        for dooms in [Vec::new()].into_iter().chain(later) {
            for span in spans {
                let halt = Halt { rank, point, stopped: BYSTANDER, span };
                let script = Script { dooms: dooms.clone(), halts: vec![halt] };
                let run = || {
                    let (world, outcome) = World::play(Scene::Migration, script, Trace::default());
                    outcome.map(|()| world.halted)
                };
                match unless(run) {
                    Ok(count) => halted += count,
                    Err(why) => wrong.push(format!("{halt:?} {dooms:?}: {why}")),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} went wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(halted >= 300, "it stopped only {halted} times");
}
