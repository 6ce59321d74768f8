//! Seeds, one after the other; a failing one is run again to be told as a story.

use super::trace::Trace;
use super::world::{Settings, Violation, World};

/// Lines of the story that are printed; the whole is in a file.
const TAIL_LINES: usize = 80;

/// What the environment asks for: `SIM_SEED` runs one, `SIM_SEEDS` says how many, `SIM_FIRST` where
/// to begin.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    pub first: u64,
    pub count: u64,
    /// Print the story even if nothing goes wrong.
    pub told: bool,
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
        match number("SIM_SEED") {
            Some(seed) => Self { first: seed, count: 1, told: true },
            None => Self {
                first: number("SIM_FIRST").unwrap_or(1),
                count: number("SIM_SEEDS").unwrap_or(count),
                told: false,
            },
        }
    }
}

/// Runs a story of that name under each seed.
///
/// # Panics
/// At the first violation, with the command that repeats it.
pub fn run(name: &str, seeds: Seeds, settings: impl Fn(u64) -> Settings) {
    for seed in seeds.first..seeds.first + seeds.count {
        let settings = settings(seed);
        let trace = if seeds.told { Trace::kept() } else { Trace::default() };
        if let Err(violation) = World::new(seed, settings, trace).run() {
            tell(name, seed, settings, &violation);
        } else if seeds.told {
            tell_all(name, seed, settings);
        }
    }
}

fn tell(name: &str, seed: u64, settings: Settings, violation: &Violation) -> ! {
    let story = tell_all(name, seed, settings);
    panic!(
        "{story}\nseed {seed} ({settings:?}): {violation}\n\
         repeat: SIM_SEED={seed} cargo test --profile sim -p tests --test sim {name}\n"
    );
}

/// Runs a seed again with its trace, which goes to a file; returns the end of it.
fn tell_all(name: &str, seed: u64, settings: Settings) -> String {
    let mut world = World::new(seed, settings, Trace::kept());
    let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
    let path = std::env::temp_dir().join(format!("grovefs-{name}-{seed}.trace"));
    let written = std::fs::write(&path, world.trace.tail(usize::MAX));
    let place = written.map_or_else(|error| error.to_string(), |()| path.display().to_string());
    format!("{}\nwhole trace: {place} ({again:?})", world.trace.tail(TAIL_LINES))
}
