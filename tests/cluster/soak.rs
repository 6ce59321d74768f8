//! Everything at once, for as long as one likes: two mounts under load that checks itself, while ranks,
//! those who stand by, the monitor and mounts are killed, stopped and cut off, and subtrees move.
//!
//! `scripts/soak` runs it: `SOAK_SECONDS`, `SOAK_SEED`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::Signal;
use tests::cluster::mount::Mount;
use tests::cluster::network::Network;
use tests::cluster::{Cluster, pass, say, wait_until};

use crate::load::{Dice, Presence, Progress, Worker, longest, wait_for_progress};

const RANKS: u16 = 3;
const STANDBYS: u16 = 2;
const MOUNTS: [&str; 2] = ["one", "two"];
const WORKERS: usize = 6;
/// Directories that move, each with a directory for every worker.
const TREES: [&str; 3] = ["a", "b", "c"];
/// No fault lasts so long that a session would end by it.
const FAULT_MS: u64 = 6000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    KillRank,
    StopRank,
    KillStandby,
    KillMonitor,
    StopMonitor,
    CutLink,
    CutOneWay,
    CutOff,
    KillMount,
    StopMount,
}

const FAULTS: [Fault; 10] = [
    Fault::KillRank,
    Fault::StopRank,
    Fault::KillStandby,
    Fault::KillMonitor,
    Fault::StopMonitor,
    Fault::CutLink,
    Fault::CutOneWay,
    Fault::CutOff,
    Fault::KillMount,
    Fault::StopMount,
];

struct Soak<'a> {
    cluster: &'a Cluster,
    mounts: Vec<Mount>,
    presences: &'a [Presence],
    dice: Dice,
    faults: BTreeMap<Fault, u64>,
    moves: u64,
    /// From the death of a rank's daemon until the rank was active again.
    recoveries: Vec<Duration>,
}

impl Soak<'_> {
    fn daemons() -> Vec<String> {
        (0..RANKS + STANDBYS).map(|number| format!("mds-{number}")).collect()
    }

    fn pause(&mut self) {
        pass(Duration::from_millis(self.dice.below(FAULT_MS)));
    }

    fn any<T: Clone>(&mut self, from: &[T]) -> T {
        let index = self.dice.below(from.len() as u64);
        from[usize::try_from(index).expect("a small list")].clone()
    }

    /// Whatever moves is refused, broken off or done: all are fair.
    fn move_something(&mut self) {
        let tree = self.any(&TREES);
        let path = match self.dice.below(3) {
            0 => format!("/{tree}"),
            _ => format!("/{tree}/w{}", self.dice.below(WORKERS as u64)),
        };
        let rank = self.dice.below(u64::from(RANKS)).to_string();
        if self.cluster.grove(&["export", &path, &rank]).is_ok() {
            self.moves += 1;
        }
    }

    fn go_wrong(&mut self) -> anyhow::Result<()> {
        let fault = self.any(&FAULTS);
        say(format_args!("{fault:?}"));
        *self.faults.entry(fault).or_default() += 1;
        match fault {
            Fault::KillRank => self.kill_rank()?,
            Fault::StopRank => {
                let rank = u16::try_from(self.dice.below(u64::from(RANKS)))?;
                let name = self.cluster.holder(rank)?;
                self.cluster.signal_daemon(&name, Signal::STOP)?;
                self.pause();
                // Whoever was replaced is dead.
                self.cluster.signal_daemon(&name, Signal::CONT).ok();
            }
            Fault::KillStandby => {
                let status = self.cluster.grove_json(&["status", "--brief"])?;
                let name = status["standbys"][0]["daemon"].as_str().map(str::to_owned);
                if let Some(name) = name {
                    self.cluster.kill_daemon(&name)?;
                }
            }
            Fault::KillMonitor => {
                self.cluster.kill_daemon("mon")?;
                self.pause();
                self.cluster.start_daemon("mon")?;
            }
            Fault::StopMonitor => {
                self.cluster.signal_daemon("mon", Signal::STOP)?;
                self.pause();
                self.cluster.signal_daemon("mon", Signal::CONT)?;
            }
            Fault::CutLink | Fault::CutOneWay | Fault::CutOff => self.cut(fault)?,
            Fault::KillMount => self.kill_mount()?,
            Fault::StopMount => {
                let mount = usize::try_from(self.dice.below(MOUNTS.len() as u64))?;
                self.mounts[mount].signal(Signal::STOP)?;
                self.pause();
                self.mounts[mount].signal(Signal::CONT)?;
            }
        }
        self.recover()
    }

    fn kill_rank(&mut self) -> anyhow::Result<()> {
        let rank = u16::try_from(self.dice.below(u64::from(RANKS)))?;
        let (name, before) = (self.cluster.holder(rank)?, self.cluster.incarnation(rank)?);
        self.cluster.kill_daemon(&name)?;
        let died = Instant::now();
        if self.dice.below(2) == 0 {
            // It comes back before anybody has noticed, or just as somebody takes its place.
            self.pause();
            self.cluster.start_daemon(&name)?;
        }
        wait_until("the rank is back", || {
            let status = self.cluster.grove_json(&["status", "--brief"])?;
            let rank = &status["ranks"][usize::from(rank)];
            Ok(rank["state"] == "active" && rank["incarnation"].as_u64() > Some(before))
        })?;
        self.recoveries.push(died.elapsed());
        Ok(())
    }

    fn cut(&mut self, fault: Fault) -> anyhow::Result<()> {
        let network = self.cluster.network().context("a network")?;
        let mut all = Self::daemons();
        all.push("mon".to_owned());
        all.extend(MOUNTS.map(str::to_owned));
        let one = self.any(&all);
        all.retain(|name| *name != one);
        let others = if fault == Fault::CutOff { all } else { vec![self.any(&all)] };
        for other in &others {
            network.cut(&one, other)?;
            if fault != Fault::CutOneWay {
                network.cut(other, &one)?;
            }
        }
        self.pause();
        for other in &others {
            network.heal(&one, other)?;
            if fault != Fault::CutOneWay {
                network.heal(other, &one)?;
            }
        }
        Ok(())
    }

    fn kill_mount(&mut self) -> anyhow::Result<()> {
        let index = usize::try_from(self.dice.below(MOUNTS.len() as u64))?;
        self.presences[index].goes();
        self.mounts.remove(index).kill()?;
        let mount = self.cluster.mount(MOUNTS[index])?;
        self.mounts.insert(index, mount);
        self.presences[index].is_back();
        Ok(())
    }

    /// Everybody who died is started again, and every rank becomes active.
    fn recover(&self) -> anyhow::Result<()> {
        for name in Self::daemons() {
            if !self.cluster.runs(&name) {
                self.cluster.start_daemon(&name)?;
            }
        }
        self.cluster.wait_active()
    }

    fn report(&self, seed: u64, took: Duration, progress: &[Progress]) {
        let done: u64 = progress.iter().map(|one| one.done.load(Ordering::Relaxed)).sum();
        let mut recoveries = self.recoveries.clone();
        recoveries.sort_unstable();
        let median = recoveries.get(recoveries.len() / 2);
        let faults: u64 = self.faults.values().sum();
        say(format_args!("soak with seed {seed}: {took:.0?}, {faults} faults {:?}", self.faults));
        say(format_args!("  migrations begun: {}", self.moves));
        say(format_args!("  operations: {done}, longest call: {:?}", longest(progress)));
        say(format_args!(
            "  ranks killed: {}, active again after (median, longest): {median:?}, {:?}",
            recoveries.len(),
            recoveries.last()
        ));
    }
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

/// Each works through one of the mounts, in two of the trees that move.
fn hire(mounts: &[Mount], seed: u64) -> Vec<Worker> {
    (0..WORKERS)
        .map(|worker| {
            let mount = &mounts[worker % MOUNTS.len()];
            let trees = [TREES[worker % TREES.len()], TREES[(worker + 1) % TREES.len()]];
            let roots = trees.map(|tree| mount.path(&format!("{tree}/w{worker}")));
            Worker::new(roots.to_vec(), seed + worker as u64)
        })
        .collect()
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
    let mut workers = hire(&mounts, seed);
    let presences: [Presence; MOUNTS.len()] = Default::default();
    let progress: [Progress; WORKERS] = Default::default();
    let stop = AtomicBool::new(false);
    let mut soak = Soak {
        cluster: &cluster,
        mounts,
        presences: &presences,
        dice: Dice::new(seed),
        faults: BTreeMap::new(),
        moves: 0,
        recoveries: Vec::new(),
    };
    let began = Instant::now();
    let end = began + Duration::from_secs(seconds);
    let failed = AtomicBool::new(false);
    let told = std::thread::scope(|scope| -> anyhow::Result<()> {
        let running: Vec<_> = workers
            .iter_mut()
            .enumerate()
            .map(|(index, worker)| {
                let (progress, presence) = (&progress[index], &presences[index % MOUNTS.len()]);
                let (stop, failed) = (&stop, &failed);
                scope.spawn(move || {
                    let worked = worker.work(stop, progress, presence);
                    failed.fetch_or(worked.is_err(), Ordering::Relaxed);
                    worked
                })
            })
            .collect();
        let mut told = Ok(());
        while told.is_ok() && Instant::now() < end && !failed.load(Ordering::Relaxed) {
            for _ in 0..2 {
                soak.move_something();
                pass(Duration::from_millis(900));
            }
            told = soak.go_wrong().and_then(|()| wait_for_progress(&progress, 1));
        }
        stop.store(true, Ordering::Relaxed);
        for worker in running {
            worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
        }
        told
    });
    soak.report(seed, began.elapsed(), &progress);
    told?;
    for worker in &workers {
        worker.check()?;
        worker.clean()?;
    }
    for tree in TREES {
        std::fs::remove_dir_all(soak.mounts[0].path(tree))?;
    }
    for mount in soak.mounts {
        mount.unmount()?;
    }
    wait_until("nothing is left", || crate::migration::nothing_left(&cluster))?;
    ensure!(!failed.load(Ordering::Relaxed));
    cluster.end()
}
