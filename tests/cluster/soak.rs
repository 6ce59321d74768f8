//! Everything at once, for as long as one likes: two mounts under load that checks itself, while ranks,
//! those who stand by, the monitor and mounts are killed, stopped and cut off, and subtrees move.
//!
//! `scripts/soak` runs it: `SOAK_SECONDS`, `SOAK_SEED`; `SOAK_FAULTS=KillRank,CutLink` takes only those.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::Scope;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sched::{CloneFlags, unshare};
use tests::cluster::mount::Mount;
use tests::cluster::network::Network;
use tests::cluster::{Cluster, pass, say, wait_until};

use crate::load::{Dice, Presence, Progress, Worker, longest, wait_for_progress};
use fault::{FAULTS, Fault, Return, World};

mod fault;

const RANKS: u16 = 3;
const STANDBYS: u16 = 2;
const MOUNTS: [&str; 2] = ["one", "two"];
const WORKERS: usize = 6;
/// Directories that move, each with a directory for every worker.
const TREES: [&str; 3] = ["a", "b", "c"];
/// No fault lasts so long that a session would end by it.
const FAULT_MS: u64 = 6000;
/// Of ten faults so many are joined by another.
const JOINED: u64 = 3;
const MOVE_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Figures {
    faults: BTreeMap<Fault, u64>,
    overlapping: u64,
    /// From the death of a rank's daemon until the rank was active again.
    restarts: Vec<Duration>,
    take_overs: Vec<Duration>,
}

impl Figures {
    fn note(&mut self, returned: Return) {
        match returned {
            Return::Restarted(took) => self.restarts.push(took),
            Return::TakenOver(took) => self.take_overs.push(took),
        }
    }
}

/// Moves something every second, whatever else happens. What moves is refused, broken off or done: all
/// are fair.
fn move_things(cluster: &MoveOrders, seed: u64, stop: &AtomicBool, accepted: &AtomicU64) {
    let mut dice = Dice::new(seed ^ 0x6d6f_7665);
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let tree = TREES[usize::try_from(dice.below(TREES.len() as u64)).unwrap_or(0)];
        let path = match dice.below(3) {
            0 => format!("/{tree}"),
            _ => format!("/{tree}/w{}", dice.below(WORKERS as u64)),
        };
        let rank = dice.below(u64::from(RANKS)).to_string();
        if cluster.export(&path, &rank) {
            accepted.fetch_add(1, Ordering::Relaxed);
        }
        pass(MOVE_EVERY.saturating_sub(began.elapsed()));
    }
}

/// What another thread needs of the cluster to order moves.
struct MoveOrders {
    program: std::path::PathBuf,
    config: std::path::PathBuf,
}

impl MoveOrders {
    fn export(&self, path: &str, rank: &str) -> bool {
        // An operator gives up on a rank that does not answer.
        let mut order = std::process::Command::new("timeout");
        order.arg("5").arg(&self.program).args(["export", path, rank]);
        order.env("GROVE_CONFIG", &self.config);
        tests::cluster::run(&mut order).is_ok()
    }
}

/// One fault, perhaps joined by another; then everything is whole again, and work goes on.
fn go_wrong(
    world: &mut World<'_>,
    dice: &mut Dice,
    figures: &mut Figures,
    progress: &[Progress],
) -> anyhow::Result<()> {
    let (seats, among) = (world.seats()?, chosen());
    let count = if dice.below(10) < JOINED { 2 } else { 1 };
    let mut faults: Vec<Fault> = Vec::new();
    let mut begun = Vec::new();
    for _ in 0..count {
        let fault = among[usize::try_from(dice.below(among.len() as u64))?];
        if faults.contains(&fault) {
            continue;
        }
        *figures.faults.entry(fault).or_default() += 1;
        faults.push(fault);
        begun.push(world.begin(fault, &seats, dice).with_context(|| format!("{faults:?}"))?);
        pass(Duration::from_millis(dice.below(FAULT_MS / count)));
    }
    say(format_args!("{faults:?}"));
    figures.overlapping += u64::from(faults.len() > 1);
    let returns = world.end(begun, &seats).with_context(|| format!("after {faults:?}"))?;
    returns.into_iter().for_each(|returned| figures.note(returned));
    wait_for_progress(progress, 1).with_context(|| format!("after {faults:?}"))
}

fn chosen() -> Vec<Fault> {
    let names = std::env::var("SOAK_FAULTS").unwrap_or_default();
    let is_chosen = |fault: &Fault| names.split(',').any(|name| name == format!("{fault:?}"));
    let chosen: Vec<Fault> = FAULTS.into_iter().filter(is_chosen).collect();
    if chosen.is_empty() { FAULTS.to_vec() } else { chosen }
}

fn variable(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn start() -> anyhow::Result<(Cluster, Vec<Mount>)> {
    let cluster = Cluster::start_in(Some(Network::new()?), (RANKS, STANDBYS), "")?;
    // Whatever is complained of here has its reason; panics have not.
    for text in [" WARN ", " ERROR "] {
        cluster.expect_log(text);
    }
    let mounts = MOUNTS.iter().map(|name| cluster.mount(name)).collect::<anyhow::Result<_>>()?;
    Ok((cluster, mounts))
}

/// Each works through one of the mounts, in two of the trees that move, and looks through the other.
fn hire<'a>(mounts: &[Mount], presences: &'a [Presence], seed: u64) -> Vec<Worker<'a>> {
    (0..WORKERS)
        .map(|worker| {
            let (own, other) = (worker % MOUNTS.len(), (worker + 1) % MOUNTS.len());
            let trees = [TREES[worker % TREES.len()], TREES[(worker + 1) % TREES.len()]];
            let roots = |mount: usize| {
                trees.map(|tree| mounts[mount].path(&format!("{tree}/w{worker}"))).to_vec()
            };
            Worker::new(roots(own), &presences[own], seed + worker as u64)
                .seen_through(roots(other), &presences[other])
        })
        .collect()
}

/// Sends everybody to work. Each says how it ended.
fn employ<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    workers: &'env mut [Worker<'_>],
    progress: &'env [Progress],
    stop: &'env AtomicBool,
) -> Vec<std::thread::ScopedJoinHandle<'scope, anyhow::Result<()>>> {
    let apart = Arc::new(Barrier::new(workers.len() + 1));
    let employ = |(worker, progress): (&'env mut Worker<'_>, &'env Progress)| {
        let apart = Arc::clone(&apart);
        scope.spawn(move || {
            // Programs that the story starts would have this thread's files open as well for a moment,
            // close them, and wait for a mount that is stopped: its open files are its own. Nobody
            // opens others until all have parted.
            let parted = unshare(CloneFlags::CLONE_FILES);
            apart.wait();
            parted?;
            worker.work(stop, progress)
        })
    };
    let employed = workers.iter_mut().zip(progress).map(employ).collect();
    apart.wait();
    employed
}

/// The story's own mistake and those of the workers, whichever there are.
fn verdict(told: anyhow::Result<()>, worked: Vec<anyhow::Result<()>>) -> anyhow::Result<()> {
    let all = std::iter::once(told).chain(worked);
    let wrong: Vec<String> =
        all.filter_map(|one| one.err().map(|error| format!("{error:#}"))).collect();
    anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("\nand: "));
    Ok(())
}

fn median_and_longest(times: &mut [Duration]) -> String {
    times.sort_unstable();
    match (times.get(times.len() / 2), times.last()) {
        (Some(median), Some(longest)) => {
            format!("{} (median {median:.2?}, longest {longest:.2?})", times.len())
        }
        _ => "none".to_owned(),
    }
}

fn report(seed: u64, took: Duration, figures: &mut Figures, accepted: u64, progress: &[Progress]) {
    let sum = |of: fn(&Progress) -> &AtomicU64| -> u64 {
        progress.iter().map(|one| of(one).load(Ordering::Relaxed)).sum()
    };
    let faults: u64 = figures.faults.values().sum();
    say(format_args!("soak with seed {seed}: {took:.0?}"));
    say(format_args!(
        "  faults: {faults}, {} of them two at a time: {:?}",
        figures.overlapping, figures.faults
    ));
    say(format_args!("  migrations begun: {accepted}"));
    say(format_args!(
        "  operations: {} done, {} failed, longest call {:.2?}",
        sum(|one| &one.done),
        sum(|one| &one.failed),
        longest(progress)
    ));
    say(format_args!("  ranks restarted: {}", median_and_longest(&mut figures.restarts)));
    say(format_args!("  ranks taken over: {}", median_and_longest(&mut figures.take_overs)));
}

#[test]
fn soak() -> anyhow::Result<()> {
    let (seconds, seed) = (variable("SOAK_SECONDS", 10), variable("SOAK_SEED", 1));
    let (cluster, mounts) = start()?;
    for tree in TREES {
        for worker in 0..WORKERS {
            std::fs::create_dir_all(mounts[0].path(&format!("{tree}/w{worker}")))?;
        }
    }
    let presences: [Presence; MOUNTS.len()] = Default::default();
    let mut workers = hire(&mounts, &presences, seed);
    let progress: [Progress; WORKERS] = Default::default();
    let (stop, accepted) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut world = World { cluster: &cluster, mounts, presences: &presences };
    let mut figures = Figures::default();
    let orders = MoveOrders {
        program: tests::cluster::binary("grove")?,
        config: cluster.path("client.toml"),
    };
    let (began, mut dice) = (Instant::now(), Dice::new(seed));
    let end = began + Duration::from_secs(seconds);
    let ended = std::thread::scope(|scope| {
        let running = employ(scope, &mut workers, &progress, &stop);
        scope.spawn(|| move_things(&orders, seed, &stop, &accepted));
        let mut told = Ok(());
        while told.is_ok() && Instant::now() < end && running.iter().all(|it| !it.is_finished()) {
            told = go_wrong(&mut world, &mut dice, &mut figures, &progress);
        }
        if let Err(error) = &told {
            say(format_args!("{error:#}"));
            world.calm();
        }
        stop.store(true, Ordering::Relaxed);
        let worked = running.into_iter().map(|worker| {
            worker.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a worker panicked")))
        });
        verdict(told, worked.collect())
    });
    report(seed, began.elapsed(), &mut figures, accepted.into_inner(), &progress);
    ended?;
    for worker in &mut workers {
        worker.check()?;
        worker.clean()?;
    }
    for tree in TREES {
        std::fs::remove_dir_all(world.mounts[0].path(tree))?;
    }
    for mount in world.mounts {
        mount.unmount()?;
    }
    wait_until("nothing is left", || crate::migration::nothing_left(&cluster))?;
    cluster.end()
}
