//! Seeds, one after the other; a failing one is made smaller, and run again to be told as a story.

use std::time::{Duration, Instant};

use super::history::NOT_JUDGED;
use super::shrink::shrink;
use super::tally::{Costs, Tally};
use super::trace::Trace;
use super::world::{Settings, Violation, World};

/// Of so many seeds one may overlap too much to be judged.
const NOT_JUDGED_ONE_IN: u64 = 500;
/// Lines of the story that are printed; the whole is in a file.
const TAIL_LINES: usize = 60;

/// What the environment asks for: `SIM_SEED` runs one, `SIM_SEEDS` says how many, `SIM_FIRST` where
/// to begin, `SIM_ALL` goes on after a violation and makes nothing smaller. `SIM_ACTIONS`,
/// `SIM_CLIENTS`, `SIM_PROCESSES`, `SIM_RANKS` and `SIM_WITHOUT` make a run smaller by hand.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    pub first: u64,
    pub count: u64,
    /// Write the story down even if nothing goes wrong.
    pub told: bool,
    /// Try all before the first violation is told.
    pub all: bool,
}

/// A number in the environment.
///
/// # Panics
/// If it is no number: whoever set it is there to read that.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

impl Seeds {
    #[must_use]
    pub fn from_environment(count: u64) -> Self {
        let all = std::env::var_os("SIM_ALL").is_some();
        match number("SIM_SEED") {
            Some(seed) => Self { first: seed, count: 1, told: true, all },
            None => Self {
                first: number("SIM_FIRST").unwrap_or(1),
                count: number("SIM_SEEDS").unwrap_or(count),
                told: false,
                all,
            },
        }
    }
}

/// The settings of a story, but for what the environment makes smaller.
fn by_hand(settings: Settings) -> Settings {
    let small = |name: &str| number(name).map(|it| usize::try_from(it).unwrap_or(usize::MAX));
    Settings {
        actions: number("SIM_ACTIONS")
            .map_or(settings.actions, |it| u32::try_from(it).unwrap_or(u32::MAX)),
        ranks: number("SIM_RANKS")
            .map_or(settings.ranks, |it| u16::try_from(it).unwrap_or(u16::MAX)),
        clients: small("SIM_CLIENTS").unwrap_or(settings.clients),
        processes: small("SIM_PROCESSES").unwrap_or(settings.processes),
        without: number("SIM_WITHOUT").unwrap_or(settings.without),
        ..settings
    }
}

/// Runs a story of that name under each seed. Returns what has happened in all of them together.
///
/// # Panics
/// At the first violation, with the command that repeats it.
pub fn run(name: &str, seeds: Seeds, settings: impl Fn(u64) -> Settings) -> Tally {
    let nowsync = |seed| seed % 4 > 0;
    let settings = |seed| by_hand(Settings { nowsync: nowsync(seed), ..settings(seed) });
    let mut wrong = Vec::new();
    let (mut happened, mut costs, mut not_judged) = (Tally::default(), Costs::default(), 0);
    for seed in seeds.first..seeds.first + seeds.count {
        let began = Instant::now();
        match attempt(seed, settings(seed)) {
            Err(why) if why.contains(NOT_JUDGED) && !seeds.told => not_judged += 1,
            Err(why) => wrong.push((seed, why)),
            Ok(tally) => happened += tally,
        }
        costs.add(began.elapsed());
        if wrong.is_empty() && seeds.told {
            drop(tell(name, seed, settings(seed)));
        }
        if !wrong.is_empty() && !seeds.all {
            break;
        }
    }
    let Some((seed, why)) = wrong.first() else {
        report(name, (seeds.count, not_judged), &happened, &costs);
        assert!(not_judged <= 1 + seeds.count / NOT_JUDGED_ONE_IN, "{not_judged}: {NOT_JUDGED}");
        return happened;
    };
    let (seed, from) = (*seed, settings(*seed));
    let smallest = if seeds.all { from } else { shrink(from, |it| attempt(seed, it).is_err()) };
    let story = tell(name, seed, smallest);
    let all: String = wrong.iter().map(|(seed, why)| format!("seed {seed}: {why}\n")).collect();
    panic!(
        "{story}\n{all}first: {why}\n{smallest:?}\nrepeat: {} cargo test --profile sim -p tests --test \
         sim {name}\n",
        command(seed, from, smallest)
    );
}

#[expect(clippy::print_stdout, reason = "what a story has come to is for whoever runs it")]
fn report(name: &str, (seeds, not_judged): (u64, u64), happened: &Tally, costs: &Costs) {
    let millis = |cost: Duration| cost.as_secs_f64() * 1000.0;
    let (median, longest) = (millis(costs.median()), millis(costs.longest()));
    let wait = happened.longest_wait.as_secs_f64();
    println!(
        "{name}: {seeds} seeds ({not_judged} not judged), median {median:.2} ms, longest {longest:.1} ms; longest wait {wait:.1} s; {happened}"
    );
}

/// What to set for a run that was made smaller.
fn command(seed: u64, from: Settings, smallest: Settings) -> String {
    let mut text = format!("SIM_SEED={seed}");
    let small = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    for (name, before, now) in [
        ("SIM_ACTIONS", u64::from(from.actions), u64::from(smallest.actions)),
        ("SIM_RANKS", u64::from(from.ranks), u64::from(smallest.ranks)),
        ("SIM_CLIENTS", small(from.clients), small(smallest.clients)),
        ("SIM_PROCESSES", small(from.processes), small(smallest.processes)),
        ("SIM_WITHOUT", from.without, smallest.without),
    ] {
        if before != now {
            text.push_str(&format!(" {name}={now}"));
        }
    }
    text
}

fn attempt(seed: u64, settings: Settings) -> Result<Tally, String> {
    unless(|| {
        let mut world = World::new(seed, settings, Trace::default());
        world.run().map(|()| world.tally)
    })
}

/// Runs something; a panic of a core is a violation like others.
///
/// # Errors
/// Says what went wrong.
pub fn unless<T>(run: impl FnOnce() -> Result<T, Violation>) -> Result<T, String> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(Ok(it)) => Ok(it),
        Ok(Err(violation)) => Err(violation.to_string()),
        Err(panic) => Err(message(panic.as_ref())),
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panic: {}", text.unwrap_or("without a message"))
}

/// Runs a seed again with its trace, which goes to a file; returns the end of it.
fn tell(name: &str, seed: u64, settings: Settings) -> String {
    let mut world = World::new(seed, settings, Trace::kept());
    let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
    let path = std::env::temp_dir().join(format!("grovefs-{name}-{seed}.trace"));
    let written = std::fs::write(&path, world.trace.tail(usize::MAX));
    let place = written.map_or_else(|error| error.to_string(), |()| path.display().to_string());
    format!("{}\nwhole trace: {place} ({again:?})", world.trace.tail(TAIL_LINES))
}
