//! Random workloads under random misfortune, by seed.

use tests::sim::random::{Seeds, run};
use tests::sim::world::Settings;

#[test]
fn one_rank_loses_power() {
    run("one_rank_loses_power", Seeds::from_environment(700), |seed| Settings {
        ranks: 1,
        clients: 1 + usize::try_from(seed % 3).expect("below 3"),
        processes: 2,
        actions: 80,
        deaths: 2,
        breaks: 2,
    });
}

#[test]
fn one_rank_at_peace() {
    run("one_rank_at_peace", Seeds::from_environment(300), |seed| Settings {
        ranks: 1,
        clients: 1 + usize::try_from(seed % 3).expect("below 3"),
        processes: 2,
        actions: 80,
        deaths: 0,
        breaks: 0,
    });
}

#[test]
fn connections_break() {
    run("connections_break", Seeds::from_environment(300), |seed| Settings {
        ranks: 1,
        clients: 1 + usize::try_from(seed % 3).expect("below 3"),
        processes: 2,
        actions: 80,
        deaths: 0,
        breaks: 4,
    });
}
