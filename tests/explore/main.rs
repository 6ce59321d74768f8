//! The explorer's tests: every order of events in small worlds, within a bound.

use std::time::Duration;

use tests::explore::search::{Bound, Report, explore};
use tests::explore::world::World;

fn look(story: &str, world: World, bound: &Bound) -> Report {
    let report = explore(world, bound);
    println!(
        "{story}: {} states, {} transitions, depth {}, {} ends, {} states of single ranks, {}, {:.1} s",
        report.states,
        report.transitions,
        report.depth,
        report.ends,
        report.nodes,
        if report.complete { "complete" } else { "cut" },
        report.took.as_secs_f64(),
    );
    if let Some(found) = &report.found {
        for line in &found.trace {
            println!("{line}");
        }
        println!("{}", found.violation);
    }
    report
}

fn bound(crashes: u8, cancels: u8, deadlines: u8) -> Bound {
    Bound { crashes, cancels, deadlines, states_max: 3_000_000, time_max: Duration::from_secs(60) }
}

#[test]
fn try_it() {
    let number = |name: &str| std::env::var(name).ok().and_then(|it| it.parse().ok());
    let world = match number("RANKS").unwrap_or(2) {
        2 => World::two(),
        3 => World::three(),
        _ => World::four(),
    };
    let crashes = number("CRASHES").unwrap_or(0);
    let report = look(
        "try",
        world,
        &bound(crashes, number("CANCELS").unwrap_or(0), number("DEADLINES").unwrap_or(0)),
    );
    assert!(report.found.is_none());
}
