//! What goes wrong in the soak: each fault begins, lasts a while, and ends.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::Signal;
use tests::cluster::mount::Mount;
use tests::cluster::{Cluster, wait_until};

use super::witness::Witness;
use super::{KILLED, MOUNTS, OPTIONS, RANKS, STANDBYS};
use crate::load::{Dice, Presence};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    KillRank,
    StopRank,
    KillStandby,
    StopStandby,
    KillMonitor,
    StopMonitor,
    CutLink,
    CutOneWay,
    CutOff,
    KillMount,
    StopMount,
}

pub(super) const FAULTS: [Fault; 11] = [
    Fault::KillRank,
    Fault::StopRank,
    Fault::KillStandby,
    Fault::StopStandby,
    Fault::KillMonitor,
    Fault::StopMonitor,
    Fault::CutLink,
    Fault::CutOneWay,
    Fault::CutOff,
    Fault::KillMount,
    Fault::StopMount,
];

/// Who was what before anything went wrong.
#[derive(Clone, Debug)]
pub(super) struct Seats {
    /// Of each rank: who holds it, in which life.
    ranks: Vec<(String, u64)>,
    standbys: Vec<String>,
}

/// What ends a fault.
#[derive(Debug)]
enum End {
    StartMonitor,
    Continue(String),
    Heal(Vec<(String, String)>),
    MountAgain(usize),
    ContinueMount(usize),
    /// A rank's holder was stopped; somebody may have taken its place.
    ContinueRank(u16),
    /// A rank has lost its holder, which is started again at once, or not.
    Return {
        rank: u16,
        at_once: bool,
    },
    Nothing,
}

/// How a rank came back, and how long that took.
#[derive(Clone, Copy, Debug)]
pub(super) enum Return {
    Restarted(Duration),
    TakenOver(Duration),
}

/// Everything that may be broken.
pub(super) struct World<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) mounts: Vec<Mount>,
    presences: &'a [Presence],
    pub(super) witness: &'a Witness,
    /// When each daemon was started last.
    started: BTreeMap<String, Instant>,
}

/// A fault that has begun.
#[derive(Debug)]
pub(super) struct Begun {
    at: Instant,
    end: End,
}

pub(super) fn daemons() -> Vec<String> {
    (0..RANKS + STANDBYS).map(|number| format!("mds-{number}")).collect()
}

fn any<T: Clone>(from: &[T], dice: &mut Dice) -> T {
    let index = dice.below(from.len() as u64);
    from[usize::try_from(index).expect("a small list")].clone()
}

impl<'a> World<'a> {
    pub(super) fn new(
        cluster: &'a Cluster,
        mounts: Vec<Mount>,
        (presences, witness): (&'a [Presence], &'a Witness),
    ) -> Self {
        Self { cluster, mounts, presences, witness, started: BTreeMap::new() }
    }

    fn start(&mut self, daemon: &str) -> anyhow::Result<()> {
        self.started.insert(daemon.to_owned(), Instant::now());
        self.cluster.start_daemon(daemon)
    }

    pub(super) fn seats(&self) -> anyhow::Result<Seats> {
        let status = self.cluster.grove_json(&["status", "--brief"])?;
        let rank = |number: u16| {
            let rank = &status["ranks"][usize::from(number)];
            let daemon = rank["daemon"].as_str().context("a rank has a daemon")?;
            let life = rank["incarnation"].as_u64().context("a rank has an incarnation")?;
            Ok((daemon.to_owned(), life))
        };
        let standbys = status["standbys"].as_array().context("a list of standbys")?;
        let standbys = standbys.iter().filter_map(|it| it["daemon"].as_str().map(str::to_owned));
        Ok(Seats {
            ranks: (0..RANKS).map(rank).collect::<anyhow::Result<_>>()?,
            standbys: standbys.collect(),
        })
    }

    /// Two faults may be about the same thing: what the other has done already is nobody's mistake.
    pub(super) fn begin(
        &mut self,
        fault: Fault,
        seats: &Seats,
        dice: &mut Dice,
    ) -> anyhow::Result<Begun> {
        let at = Instant::now();
        let rank = u16::try_from(dice.below(u64::from(RANKS)))?;
        let holder = &seats.ranks[usize::from(rank)].0;
        let mount = usize::try_from(dice.below(MOUNTS.len() as u64))?;
        let end = match fault {
            Fault::KillRank => {
                self.cluster.kill_daemon(holder).ok();
                End::Return { rank, at_once: dice.below(2) == 0 }
            }
            Fault::StopRank if self.stops(holder) => End::ContinueRank(rank),
            Fault::StopRank => End::Nothing,
            Fault::KillStandby | Fault::StopStandby if seats.standbys.is_empty() => End::Nothing,
            Fault::KillStandby => {
                self.cluster.kill_daemon(&any(&seats.standbys, dice)).ok();
                End::Nothing
            }
            Fault::StopStandby => self.stop(&any(&seats.standbys, dice)),
            Fault::KillMonitor => {
                self.cluster.kill_daemon("mon").ok();
                End::StartMonitor
            }
            Fault::StopMonitor => self.stop("mon"),
            Fault::CutLink | Fault::CutOneWay | Fault::CutOff => self.cut(fault, dice)?,
            Fault::KillMount => {
                self.presences[KILLED].goes();
                self.mounts[KILLED].kill_process()?;
                End::MountAgain(KILLED)
            }
            Fault::StopMount => {
                self.mounts[mount].signal(Signal::STOP).ok();
                End::ContinueMount(mount)
            }
        };
        Ok(Begun { at, end })
    }

    /// False: another fault has done more already.
    fn stops(&self, daemon: &str) -> bool {
        self.cluster.signal_daemon(daemon, Signal::STOP).is_ok()
    }

    fn stop(&self, daemon: &str) -> End {
        if self.stops(daemon) { End::Continue(daemon.to_owned()) } else { End::Nothing }
    }

    fn cut(&self, fault: Fault, dice: &mut Dice) -> anyhow::Result<End> {
        let network = self.cluster.network().context("a network")?;
        let mut all = daemons();
        all.push("mon".to_owned());
        all.extend(MOUNTS.map(str::to_owned));
        let one = any(&all, dice);
        all.retain(|name| *name != one);
        let others = if fault == Fault::CutOff { all } else { vec![any(&all, dice)] };
        let mut links = Vec::new();
        for other in others {
            if fault != Fault::CutOneWay {
                links.push((other.clone(), one.clone()));
            }
            links.push((one.clone(), other));
        }
        for (from, to) in &links {
            network.cut(from, to)?;
        }
        Ok(End::Heal(links))
    }

    /// Ends a fault. The monitor's come first: without it nobody can be started.
    pub(super) fn end(
        &mut self,
        mut begun: Vec<Begun>,
        seats: &Seats,
    ) -> anyhow::Result<Vec<Return>> {
        begun.sort_by_key(|it| !matches!(&it.end, End::StartMonitor) && !it.continues("mon"));
        for it in &begun {
            self.end_one(&it.end, seats)?;
        }
        let mut returns = Vec::new();
        for it in &begun {
            if let End::Return { rank, .. } = it.end {
                returns.extend(self.wait_for_return(rank, seats, it.at)?);
            }
        }
        // Everybody who died is started again, and every rank becomes active.
        for name in daemons() {
            if !self.cluster.runs(&name) {
                self.start(&name)?;
            }
        }
        self.cluster.wait_active()?;
        for it in &begun {
            if let End::ContinueRank(rank) = it.end {
                returns.extend(self.returned(rank, seats, it.at)?);
            }
        }
        for it in &begun {
            if let End::MountAgain(mount) = it.end {
                let (name, options) = (MOUNTS[mount], OPTIONS[mount]);
                self.mounts[mount] = self.cluster.mount_with(name, options)?;
                self.presences[mount].is_back();
            }
        }
        Ok(returns)
    }

    /// After a mistake of the story: whoever waits for somebody who was stopped or cut off goes on.
    pub(super) fn calm(&self) {
        for mount in &self.mounts {
            mount.signal(Signal::CONT).ok();
        }
        for name in daemons().iter().map(String::as_str).chain(["mon"]) {
            self.cluster.signal_daemon(name, Signal::CONT).ok();
            if !self.cluster.runs(name) {
                self.cluster.start_daemon(name).ok();
            }
        }
        if let Some(network) = self.cluster.network() {
            network.heal_all();
        }
    }

    fn end_one(&mut self, end: &End, seats: &Seats) -> anyhow::Result<()> {
        match end {
            End::StartMonitor => {
                if !self.cluster.runs("mon") {
                    self.start("mon")?;
                }
            }
            End::ContinueRank(rank) => {
                let name = &seats.ranks[usize::from(*rank)].0;
                self.cluster.signal_daemon(name, Signal::CONT).ok();
            }
            // Whoever was replaced is dead.
            End::Continue(name) => {
                self.cluster.signal_daemon(name, Signal::CONT).ok();
            }
            End::Heal(links) => {
                let network = self.cluster.network().context("a network")?;
                for (from, to) in links {
                    // Another fault may have had the same link, and ended.
                    network.heal(from, to).ok();
                }
            }
            End::ContinueMount(mount) => {
                self.mounts[*mount].signal(Signal::CONT).ok();
            }
            End::Return { rank, at_once } => {
                let name = &seats.ranks[usize::from(*rank)].0;
                if *at_once && !self.cluster.runs(name) {
                    // Before anybody has noticed, or just as somebody takes its place.
                    self.start(name)?;
                }
            }
            End::MountAgain(_) | End::Nothing => {}
        }
        Ok(())
    }

    fn wait_for_return(
        &mut self,
        rank: u16,
        seats: &Seats,
        at: Instant,
    ) -> anyhow::Result<Option<Return>> {
        let (before, life) = &seats.ranks[usize::from(rank)];
        wait_until("the rank is back", || {
            let status = self.cluster.grove_json(&["status", "--brief"])?;
            let rank = &status["ranks"][usize::from(rank)];
            let is_new = rank["incarnation"].as_u64() > Some(*life);
            // Nobody may be there to take over: then the dead one is wanted.
            if !is_new && !self.cluster.runs(before) && rank["state"] == "down" {
                self.start(before)?;
            }
            Ok(rank["state"] == "active" && is_new)
        })?;
        self.returned(rank, seats, at)
    }

    /// How a rank came to its first life after the one it had, if it has another one.
    fn returned(&self, rank: u16, seats: &Seats, at: Instant) -> anyhow::Result<Option<Return>> {
        let (before, life) = &seats.ranks[usize::from(rank)];
        if self.cluster.incarnation(rank)? == *life {
            return Ok(None);
        }
        let mut active = at;
        wait_until("the rank was seen active", || {
            let seen = self.witness.active_after(rank, *life);
            active = seen.unwrap_or(at);
            Ok(seen.is_some())
        })?;
        if self.cluster.holder(rank)? != *before {
            return Ok(Some(Return::TakenOver(active.saturating_duration_since(at))));
        }
        // One that was stopped for long has begun anew by itself: that takes as long as it was stopped.
        let started = self.started.get(before).filter(|started| **started > at);
        Ok(started.map(|it| Return::Restarted(active.saturating_duration_since(*it))))
    }
}

impl Begun {
    fn continues(&self, daemon: &str) -> bool {
        matches!(&self.end, End::Continue(name) if name == daemon)
    }
}
