//! Everything at once, for as long as one likes: two mounts under load that checks itself, while ranks,
//! those who stand by, the monitor and mounts are killed, stopped and cut off, and subtrees move.
//!
//! `scripts/soak` runs it: `SOAK_SECONDS`, `SOAK_SEED`; `SOAK_FAULTS=KillRank,CutLink` takes only those.

use std::collections::BTreeMap;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use tests::cluster::mount::Mount;
use tests::cluster::network::Network;
use tests::cluster::{Cluster, pass, say, wait_until};

use crate::load::{
    Dice, Presence, Progress, Worker, anybody_failed, longest, total, wait_for_progress,
    while_working,
};
use fault::{FAULTS, Fault, Return, World};
use witness::{Operator, Witness};

mod fault;
mod witness;

const RANKS: u16 = 3;
const STANDBYS: u16 = 2;
const MOUNTS: [&str; 2] = ["one", "two"];
/// How each is mounted. Only the first is killed: with it goes nothing that it has answered, while the other
/// would lose what it has answered in the last milliseconds.
const OPTIONS: [&[&str]; 2] = [&["-o", "wsync"], &["-o", "nowsync"]];
const KILLED: usize = 0;
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
    /// From the start of a rank's daemon until the rank was active again.
    restarts: Vec<Duration>,
    /// From the death or the stop of its daemon on.
    take_overs: Vec<Duration>,
    /// How migrations have ended, by their ids.
    ends: BTreeMap<String, String>,
}

impl Figures {
    /// The ranks remember the last ones only.
    fn note_migrations(&mut self, cluster: &Cluster) -> anyhow::Result<()> {
        let records = cluster.grove_json(&["migrations"])?;
        for record in records.as_array().context("a list of migrations")? {
            let id = record["id"].as_str().context("a migration has an id")?;
            if let Some(outcome) = record["outcome"].as_str() {
                self.ends.insert(id.to_owned(), outcome.to_owned());
            }
        }
        Ok(())
    }

    fn note(&mut self, returned: Return) {
        match returned {
            Return::Restarted(took) => self.restarts.push(took),
            Return::TakenOver(took) => self.take_overs.push(took),
        }
    }
}

#[derive(Debug, Default)]
struct Moves {
    ordered: u64,
    accepted: u64,
}

/// Moves something every second, whatever else happens. What moves is refused, broken off or done: all
/// are fair.
fn move_things(operator: &Operator, seed: u64, stop: &AtomicBool) -> anyhow::Result<Moves> {
    let mut dice = Dice::new(seed ^ 0x6d6f_7665);
    let mut under_way: Vec<Child> = Vec::new();
    let mut moves = Moves::default();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let tree = TREES[usize::try_from(dice.below(TREES.len() as u64))?];
        let path = match dice.below(3) {
            0 => format!("/{tree}"),
            _ => format!("/{tree}/w{}", dice.below(WORKERS as u64)),
        };
        let rank = dice.below(u64::from(RANKS)).to_string();
        under_way.push(operator.order(&path, &rank).context("order a move")?);
        moves.ordered += 1;
        let mut left = Vec::new();
        for mut order in under_way.drain(..) {
            match order.try_wait()? {
                Some(status) => moves.accepted += u64::from(status.success()),
                None => left.push(order),
            }
        }
        under_way = left;
        pass(MOVE_EVERY.saturating_sub(began.elapsed()));
    }
    for mut order in under_way {
        moves.accepted += u64::from(order.wait()?.success());
    }
    Ok(moves)
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
    // A rank that hears the monitor again only now answers nobody until then.
    wait_until("ranks tell of migrations", || {
        figures.note_migrations(world.cluster).map(|()| true)
    })?;
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
    let mounts = MOUNTS.iter().zip(OPTIONS);
    let mounts = mounts.map(|(name, options)| cluster.mount_with(name, options));
    let mounts = mounts.collect::<anyhow::Result<_>>()?;
    Ok((cluster, mounts))
}

/// Each works in two of the trees that move, through both mounts.
fn hire<'a>(mounts: &[Mount], presences: &'a [Presence], seed: u64) -> Vec<Worker<'a>> {
    (0..WORKERS)
        .map(|worker| {
            let (one, other) = (worker % MOUNTS.len(), (worker + 1) % MOUNTS.len());
            let trees = [TREES[worker % TREES.len()], TREES[(worker + 1) % TREES.len()]];
            let roots = |mount: usize| {
                trees.map(|tree| mounts[mount].path(&format!("{tree}/w{worker}"))).to_vec()
            };
            Worker::new(roots(one), &presences[one], seed + worker as u64)
                .also_through(roots(other), &presences[other])
        })
        .collect()
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

fn report(
    (seed, took): (u64, Duration),
    figures: &mut Figures,
    moves: &Moves,
    progress: &[Progress],
) {
    let faults: u64 = figures.faults.values().sum();
    say(format_args!("soak with seed {seed}: {took:.0?}"));
    say(format_args!(
        "  faults: {faults}, {} of them two at a time: {:?}",
        figures.overlapping, figures.faults
    ));
    let ended = |how: &str| figures.ends.values().filter(|end| *end == how).count();
    say(format_args!(
        "  migrations: {} ordered, {} accepted, {} done, {} cancelled",
        moves.ordered,
        moves.accepted,
        ended("moved"),
        ended("cancelled")
    ));
    say(format_args!(
        "  operations: {} done, {} failed, longest {:.2?}",
        total(progress, |one| &one.done),
        total(progress, |one| &one.failed),
        longest(progress)
    ));
    say(format_args!("  ranks restarted: {}", median_and_longest(&mut figures.restarts)));
    say(format_args!("  ranks taken over: {}", median_and_longest(&mut figures.take_overs)));
}

/// Faults until the time is over, while things move.
fn misfortune(
    world: &mut World<'_>,
    operator: &Operator,
    (seed, end): (u64, Instant),
    figures: &mut Figures,
    progress: &[Progress],
) -> (anyhow::Result<()>, Moves) {
    let stop = AtomicBool::new(false);
    let witness = world.witness;
    let mut dice = Dice::new(seed);
    std::thread::scope(|scope| {
        scope.spawn(|| witness.look(&stop));
        let moving = scope.spawn(|| move_things(operator, seed, &stop));
        let mut told = Ok(());
        while told.is_ok() && Instant::now() < end && !anybody_failed(progress) {
            told = go_wrong(world, &mut dice, figures, progress);
        }
        if let Err(error) = &told {
            say(format_args!("{error:#}"));
            world.calm();
        }
        stop.store(true, Ordering::Relaxed);
        let moved = moving.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the mover panicked")));
        match moved {
            Ok(moves) => (told, moves),
            Err(error) => (told.and(Err(error)), Moves::default()),
        }
    })
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
    let (operator, witness) = (Operator::new(&cluster)?, Witness::new(Operator::new(&cluster)?));
    let mut world = World::new(&cluster, mounts, (&presences, &witness));
    let (mut figures, mut moves) = (Figures::default(), Moves::default());
    let began = Instant::now();
    let end = began + Duration::from_secs(seconds);
    let ended = while_working(&mut workers, &progress, || {
        let (told, moved) = misfortune(&mut world, &operator, (seed, end), &mut figures, &progress);
        moves = moved;
        told
    });
    report((seed, began.elapsed()), &mut figures, &moves, &progress);
    ended?;
    for worker in &mut workers {
        worker.check()?;
    }
    // With everything that was made still there.
    crate::fsck::is_clean(&cluster)?;
    for worker in &workers {
        worker.clean()?;
    }
    for tree in TREES {
        std::fs::remove_dir_all(world.mounts[0].path(tree))?;
    }
    for mount in world.mounts {
        mount.unmount()?;
    }
    wait_until("nothing is left", || crate::migration::nothing_left(&cluster))?;
    crate::fsck::is_clean(&cluster)?;
    cluster.end()?;
    say("  verdict: clean");
    Ok(())
}
