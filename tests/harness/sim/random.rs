//! Seeds, one after the other; a failing one is run again to be told as a story.

use super::trace::Trace;
use super::world::{Settings, World};

/// Lines of the story that are printed; the whole is in a file.
const TAIL_LINES: usize = 80;

/// What the environment asks for: `SIM_SEED` runs one, `SIM_SEEDS` says how many, `SIM_FIRST` where
/// to begin, `SIM_ALL` goes on after a violation.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    pub first: u64,
    pub count: u64,
    /// Write the story down even if nothing goes wrong.
    pub told: bool,
    /// Try all before the first violation is told.
    pub all: bool,
}

impl Seeds {
    /// # Panics
    /// If a variable is no number: whoever set it is there to read that.
    #[must_use]
    pub fn from_environment(count: u64) -> Self {
        let number = |name: &str| {
            let text = std::env::var(name).ok()?;
            Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name}={text} is no number")))
        };
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

/// Runs a story of that name under each seed.
///
/// # Panics
/// At the first violation, with the command that repeats it.
pub fn run(name: &str, seeds: Seeds, settings: impl Fn(u64) -> Settings) {
    let mut wrong = Vec::new();
    for seed in seeds.first..seeds.first + seeds.count {
        match attempt(seed, settings(seed)) {
            Err(why) => wrong.push((seed, why)),
            Ok(()) if seeds.told => drop(tell(name, seed, settings(seed))),
            Ok(()) => (),
        }
        if !wrong.is_empty() && !seeds.all {
            break;
        }
    }
    let Some((seed, _)) = wrong.first() else { return };
    let story = tell(name, *seed, settings(*seed));
    let all: String = wrong.iter().map(|(seed, why)| format!("seed {seed}: {why}\n")).collect();
    panic!(
        "{story}\n{all}{:?}\n\
         repeat: SIM_SEED={seed} cargo test --profile sim -p tests --test sim {name}\n",
        settings(*seed)
    );
}

/// A run without a trace; a panic of a core is a violation like others.
fn attempt(seed: u64, settings: Settings) -> Result<(), String> {
    let run = || World::new(seed, settings, Trace::default()).run();
    match std::panic::catch_unwind(run) {
        Ok(Ok(())) => Ok(()),
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
