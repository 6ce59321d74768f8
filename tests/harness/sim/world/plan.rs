//! What is to go wrong, and when: thrown before the run begins. Each fault has dice of its own, so that
//! a fault that is left out changes nothing about the others: a failing run can be made smaller.

use std::time::Duration;

use common::id::Rank;

use super::{Event, World};
use crate::sim::dice::Dice;

/// What a run is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub ranks: u16,
    pub clients: usize,
    /// Processes of each client.
    pub processes: usize,
    /// What processes begin before they end.
    pub actions: u32,
    /// Of a hundred actions, how many lock something of a file, if there is one.
    pub locks: u64,
    /// Of a hundred actions, how many are of somebody who works by himself, and in a hurry.
    pub alone: u64,
    /// Of a hundred pauses, after how many nobody else has anything cached any more.
    pub away: u64,
    /// Whether mounts answer what nobody else can see before it is made.
    pub nowsync: bool,
    /// Deaths of ranks while all ranks serve: one at a time.
    pub deaths: u32,
    /// Deaths at any time: several ranks at once, and again while they come back.
    pub hard_deaths: u32,
    /// Deaths at the moments that the core itself names.
    pub deaths_at_points: u32,
    /// Connections that break.
    pub breaks: u32,
    /// Links that are cut one way or both, and heal.
    pub cuts: u32,
    /// Ranks that stop for a while, and go on.
    pub pauses: u32,
    /// Daemons without a rank: on the machine of all, and on another one, for which operators confirm
    /// that the dead are dead.
    pub standbys: u16,
    pub standbys_elsewhere: u16,
    /// Daemons without a rank that die.
    pub standby_deaths: u32,
    /// Ranks that stop for so long that somebody takes their place, and then go on.
    pub long_pauses: u32,
    /// Ranks, and those who stand by, that do not hear the monitor, or it them.
    pub monitor_cuts: u32,
    pub monitor_deaths: u32,
    pub monitor_pauses: u32,
    /// Times at which a disk takes seconds to sync.
    pub slow_syncs: u32,
    /// The rank whose disk always takes five seconds to sync.
    pub slow_disk: Option<Rank>,
    /// Rows that a rank keeps in memory, if not as many as it likes.
    pub cache_rows_max: Option<u64>,
    /// Old copies are not deleted, nor is data, until everything else has come to rest.
    pub deletions_held: bool,
    /// Clients that die; a new one comes in the place of each.
    pub client_deaths: u32,
    /// Clients whose sessions an operator ends, dead or not.
    pub evictions: u32,
    /// Clients that are cut off for about as long as a session lasts.
    pub client_cuts: u32,
    /// How long anybody to whom nothing has happened may wait, in times to live of a session.
    pub leases_waited_max: Option<u32>,
    /// Wall clocks that jump.
    pub clock_steps: u32,
    /// Of a hundred maps, how many come late or are skipped.
    pub late_maps: u8,
    /// Subtrees an operator moves, or tries to; some of these moves are cancelled.
    pub exports: u32,
    /// Rank 0 moves directories by itself; of a hundred moments of its moves, at how many an operator
    /// looks and cancels what is under way.
    pub balancer: Option<u8>,
    /// Directories that are pinned to a rank, or freed again.
    pub pins: u32,
    /// Faults of the plan that do not happen, by their place in it.
    pub without: u64,
}

impl Settings {
    /// Nothing goes wrong, and nothing moves.
    #[must_use]
    pub const fn peace() -> Self {
        Self {
            ranks: 1,
            clients: 1,
            processes: 2,
            actions: 120,
            locks: 6,
            alone: 0,
            away: 0,
            nowsync: true,
            deaths: 0,
            hard_deaths: 0,
            deaths_at_points: 0,
            breaks: 0,
            cuts: 0,
            pauses: 0,
            standbys: 0,
            standbys_elsewhere: 0,
            standby_deaths: 0,
            long_pauses: 0,
            monitor_cuts: 0,
            monitor_deaths: 0,
            monitor_pauses: 0,
            slow_syncs: 0,
            slow_disk: None,
            cache_rows_max: None,
            deletions_held: false,
            client_deaths: 0,
            evictions: 0,
            client_cuts: 0,
            leases_waited_max: None,
            clock_steps: 0,
            late_maps: 0,
            exports: 0,
            pins: 0,
            balancer: None,
            without: 0,
        }
    }

    /// Faults of the plan; at most 64, so that each has its bit in `without`.
    #[must_use]
    pub fn faults(&self) -> u32 {
        self.deaths
            + self.hard_deaths
            + self.deaths_at_points
            + self.breaks
            + self.cuts
            + self.pauses
            + self.standby_deaths
            + self.long_pauses
            + self.monitor_cuts
            + self.monitor_deaths
            + self.monitor_pauses
            + self.slow_syncs
            + self.clock_steps
            + self.client_deaths
            + self.evictions
            + self.client_cuts
            + self.exports
            + self.pins
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Fault {
    Death,
    HardDeath,
    /// When the cores have named that many moments.
    DeathAtPoint(u64),
    Break,
    Cut,
    Pause,
    StandbyDeath,
    LongPause,
    CutFromMonitor,
    KillMonitor,
    PauseMonitor,
    SlowSync,
    ClockStep,
    ClientDeath,
    Evict,
    CutClient,
    Export,
    Pin,
}

#[derive(Clone, Debug)]
pub(in crate::sim) struct Planned {
    pub(in crate::sim) fault: Fault,
    pub(in crate::sim) dice: Dice,
}

/// Faults begin within this, however much is done meanwhile.
const SPAN: Duration = Duration::from_millis(3400);
/// The same if clients rest for long.
const LONG_SPAN: Duration = Duration::from_secs(40);
/// After a move was ordered: by then it is over, if nothing went wrong.
const MOVE: Duration = Duration::from_millis(120);
/// Moments named in a run of this size with its moves, roughly.
const POINTS: u64 = 90;

impl World {
    pub(super) fn plan_faults(&mut self, seed: u64) {
        let mut dice = Dice::new(seed ^ 0x0fa0_1750_fa17_5eed);
        let span = if self.settings.away > 0 { LONG_SPAN } else { SPAN };
        let Settings { exports, pins, .. } = self.settings;
        let mut moves = Vec::new();
        for _ in 0..exports {
            // Some overlap.
            let near = moves.last().copied().filter(|_| dice.percent(35));
            let at = match near {
                Some(at) => at + within(MOVE, &mut dice),
                None => within(span, &mut dice),
            };
            moves.push(at);
            self.plan(at, Fault::Export, &mut dice);
        }
        for (fault, count) in self.settings.by_kind() {
            for _ in 0..count {
                let near = if dice.percent(60) { dice.pick(&moves).copied() } else { None };
                let at = match near {
                    Some(at) => at + within(MOVE, &mut dice),
                    None => within(span, &mut dice),
                };
                self.plan(at, fault, &mut dice);
            }
        }
        for _ in 0..pins {
            let at = within(span, &mut dice);
            self.plan(at, Fault::Pin, &mut dice);
        }
    }

    fn plan(&mut self, at: Duration, fault: Fault, dice: &mut Dice) {
        let number = self.plan.len();
        let mut own = Dice::new(dice.throw());
        let fault = match fault {
            Fault::DeathAtPoint(_) => Fault::DeathAtPoint(own.below(POINTS)),
            Fault::Death
            | Fault::HardDeath
            | Fault::Break
            | Fault::Cut
            | Fault::Pause
            | Fault::StandbyDeath
            | Fault::LongPause
            | Fault::CutFromMonitor
            | Fault::KillMonitor
            | Fault::PauseMonitor
            | Fault::SlowSync
            | Fault::ClockStep
            | Fault::ClientDeath
            | Fault::Evict
            | Fault::CutClient
            | Fault::Export
            | Fault::Pin => fault,
        };
        self.plan.push(Planned { fault, dice: own });
        if number < 64 && self.settings.without >> number & 1 == 1 {
            return;
        }
        if let Fault::DeathAtPoint(point) = fault {
            self.points.insert(point, number);
        } else {
            self.faults_left += 1;
            self.after(Duration::from_secs(1) + at, Event::Fault(number));
        }
    }

    /// What is told of the plan when a run has failed.
    #[must_use]
    pub fn planned(&self) -> Vec<String> {
        let faults = self.plan.iter().enumerate();
        faults.map(|(number, planned)| format!("{number}: {:?}", planned.fault)).collect()
    }

    pub(in crate::sim) fn other_rank(&self, than: Rank, dice: &mut Dice) -> Rank {
        let others: Vec<Rank> =
            self.ranks.iter().map(|host| host.rank).filter(|rank| *rank != than).collect();
        dice.pick(&others).copied().unwrap_or(than)
    }
}

impl Settings {
    fn by_kind(&self) -> [(Fault, u32); 16] {
        [
            (Fault::Death, self.deaths),
            (Fault::HardDeath, self.hard_deaths),
            (Fault::DeathAtPoint(0), self.deaths_at_points),
            (Fault::Break, self.breaks),
            (Fault::Cut, self.cuts),
            (Fault::Pause, self.pauses),
            (Fault::StandbyDeath, self.standby_deaths),
            (Fault::LongPause, self.long_pauses),
            (Fault::CutFromMonitor, self.monitor_cuts),
            (Fault::KillMonitor, self.monitor_deaths),
            (Fault::PauseMonitor, self.monitor_pauses),
            (Fault::SlowSync, self.slow_syncs),
            (Fault::ClockStep, self.clock_steps),
            (Fault::ClientDeath, self.client_deaths),
            (Fault::Evict, self.evictions),
            (Fault::CutClient, self.client_cuts),
        ]
    }
}

fn within(span: Duration, dice: &mut Dice) -> Duration {
    Duration::from_nanos(dice.below(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
}
