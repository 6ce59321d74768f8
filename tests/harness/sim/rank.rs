//! `RankHost`: what stands around one `Mds` in a daemon - inbox, turns, store thread, timers.
//!
//! A turn's batch is written while the core runs the next turn; its messages leave when that write
//! has returned. A killed daemon loses the turns not written, a machine without power also what was
//! not synced.

use std::collections::VecDeque;
use std::time::Duration;

use common::id::{Incarnation, MapEpoch, Rank, Seq};
use common::mds_map::MdsMap;
use common::time::{Monotonic, Now, Timestamp};
use mds_core::effect::Effect;
use mds_core::monitor::link::Leash;
use mds_core::timer::Timer;
use mds_core::timer::table::TimerTable;
use mds_core::{Effects, Input, Mds, Params};

use super::daemon::{Owner, Pid};
use super::disk::{Batch, Disk, Step};
use super::network::Life;
use crate::mistake;

/// What a rank's clocks show when the world's shows nothing: no two agree.
const MONOTONIC_APART: Duration = Duration::from_secs(1_000);
const WALL_START: i64 = 1_700_000_000;

/// A store, and whoever runs on it: the disk belongs to the rank, a process to one life of it.
#[derive(Clone, Debug)]
pub struct RankHost {
    pub rank: Rank,
    pub disk: Disk,
    /// Of the last process that has opened the store.
    pub incarnation: Incarnation,
    /// What `OWNER` says.
    pub owner: Option<Owner>,
    /// Of whoever holds the store.
    pub process: Option<Process>,
    /// Lives that were cut off from the store, and do not know it.
    pub cut_off: Vec<Process>,
    /// Its wall clock was set wrong by so many seconds.
    pub wall_ahead: i64,
    pub sync_slow_until: Monotonic,
    /// When it last lost what was not synced.
    pub power_lost: Monotonic,
}

/// The core and what is around it, while the daemon runs.
#[derive(Clone, Debug)]
pub struct Process {
    pub life: Life,
    pub pid: Pid,
    pub mds: Mds,
    pub inbox: Vec<Input>,
    /// A turn is due.
    pub turn_due: bool,
    /// How long it may go on without a word from the monitor.
    pub leash: Leash,
    /// Since when it has not, in its own time.
    held_since: Option<Monotonic>,
    /// Turns of the core.
    turns: u64,
    /// Turns whose batches are being written, in order.
    writing: VecDeque<Turn>,
    pub timers: TimerTable,
    /// What of old copies is due to be deleted waits until somebody lets it.
    pub sweeps: Sweeps,
    /// When it is to be woken up for them, in its own time.
    pub wakes_at: Option<Monotonic>,
    pub sync: Sync,
    /// Somebody waits for more than the running sync covers.
    pub sync_again: bool,
    /// What the transport knows.
    pub map: Option<MdsMap>,
    /// The newest map on its way to the core.
    pub map_newest: MapEpoch,
}

/// Whether what is due to be deleted is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweeps {
    Go,
    Held,
    /// Held, and there is something.
    Due,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    Idle,
    /// Will begin by itself.
    Due,
    /// Will begin at once.
    Soon,
    Running,
}

/// What the core did in one go.
#[derive(Clone, Debug)]
pub struct Turn {
    batch: Batch,
    /// The disk has it.
    pub written: bool,
    /// For the transport, before what follows.
    pub map: Option<MdsMap>,
    pub rest: Vec<Effect>,
}

impl Turn {
    /// Whether anything is to be written.
    #[must_use]
    pub fn writes(&self) -> bool {
        !self.batch.steps.is_empty()
    }
}

impl RankHost {
    #[must_use]
    pub fn new(rank: Rank, disk: Disk) -> Self {
        Self {
            rank,
            disk,
            incarnation: Incarnation(0),
            owner: None,
            process: None,
            cut_off: Vec::new(),
            wall_ahead: 0,
            sync_slow_until: Monotonic(0),
            power_lost: Monotonic(0),
        }
    }

    /// The clocks of a daemon that holds this rank.
    #[must_use]
    pub fn now(&self, world: Monotonic, daemon: usize) -> Now {
        let nanos = u32::try_from(world.0 % 1_000_000_000).expect("below 10^9");
        let secs = i64::try_from(world.0 / 1_000_000_000).expect("runs are short");
        let wall = Timestamp { secs: WALL_START + secs + self.wall_ahead, nanos };
        Now { monotonic: clock(world, daemon), wall }
    }

    /// The daemon has opened the store: one more life begins.
    pub fn open(&mut self) -> Life {
        self.disk.reopen();
        self.incarnation = Incarnation(self.incarnation.0 + 1);
        if let Some(owner) = &mut self.owner {
            owner.incarnation = Some(self.incarnation);
        }
        Life { rank: self.rank, incarnation: self.incarnation }
    }

    /// The monitor has given it the rank: the core begins on what the disk holds, with the first map
    /// that shows it.
    pub fn begin(&mut self, world: Monotonic, pid: Pid, params: Params, map: MdsMap) {
        let life = Life { rank: self.rank, incarnation: params.incarnation };
        let now = self.now(world, pid.daemon);
        let mut out = Effects::default();
        let mut mds = Mds::new(params, self.disk.restore(), now, &mut out);
        let map_newest = map.epoch;
        mds.handle(now, Input::Map(map.clone()), &mut out);
        let mut process = Process {
            life,
            pid,
            mds,
            inbox: Vec::new(),
            turn_due: false,
            leash: Leash::default(),
            held_since: None,
            turns: 0,
            writing: VecDeque::new(),
            timers: TimerTable::default(),
            sweeps: Sweeps::Go,
            wakes_at: None,
            sync: Sync::Idle,
            sync_again: false,
            map: Some(map),
            map_newest,
        };
        process.end_turn(None, out);
        self.process = Some(process);
    }

    /// The running process, if it is this life of the rank.
    pub fn alive(&mut self, life: Life) -> Option<&mut Process> {
        let mut all = self.process.iter_mut().chain(&mut self.cut_off);
        all.find(|process| process.life == life)
    }

    /// This life, if the store is not its any more.
    #[must_use]
    pub fn is_cut_off(&self, life: Life) -> bool {
        self.cut_off.iter().any(|process| process.life == life)
    }

    /// Runs what has come in. Returns how many batches are to be written.
    pub fn turn(&mut self, world: Monotonic, life: Life) -> usize {
        let Some(daemon) = self.alive(life).map(|process| process.pid.daemon) else { return 0 };
        let now = self.now(world, daemon);
        let Some(process) = self.alive(life) else { return 0 };
        if process.is_held(now.monotonic) { 0 } else { process.turn(now) }
    }

    /// The oldest batch has had its time: what is left to do of its turn. A life that is cut off
    /// writes nothing.
    pub fn written(&mut self, life: Life) -> Option<Turn> {
        let cut_off = self.is_cut_off(life);
        let mut turn = self.alive(life)?.writing.pop_front()?;
        if turn.writes() && !cut_off {
            turn.written = true;
            self.disk.write(std::mem::take(&mut turn.batch));
        }
        Some(turn)
    }
}

/// What a daemon's monotonic clock shows.
#[must_use]
pub fn clock(world: Monotonic, daemon: usize) -> Monotonic {
    world.after(apart(daemon))
}

/// When the world's clock shows what a daemon's does at `at`.
#[must_use]
pub fn in_world(at: Monotonic, daemon: usize) -> Monotonic {
    let since = at.since(Monotonic::default().after(apart(daemon)));
    Monotonic(since.as_nanos().try_into().unwrap_or(u64::MAX))
}

fn apart(daemon: usize) -> Duration {
    MONOTONIC_APART * u32::try_from(daemon).expect("there are few daemons")
}

impl Process {
    /// While the monitor does not acknowledge it, it does nothing; nor does anything fall due.
    fn is_held(&mut self, now: Monotonic) -> bool {
        if let Some(since) = self.leash.taut_since(now)
            && !mistake::ignores_leash()
        {
            self.held_since.get_or_insert(since);
            return true;
        }
        if let Some(since) = self.held_since.take() {
            self.timers.delay(now.since(since));
        }
        false
    }

    /// What the next beacon says: who waits for the monitor's word is not stuck.
    pub fn turns(&mut self) -> u64 {
        self.turns += u64::from(self.waits_for_monitor());
        self.turns
    }

    /// Whether it waits for the monitor's word.
    #[must_use]
    pub fn waits_for_monitor(&self) -> bool {
        self.held_since.is_some()
    }

    fn turn(&mut self, now: Now) -> usize {
        self.turn_due = false;
        self.wakes_at = None;
        let before = self.writing.len();
        let mut out = Effects::default();
        let mut map = None;
        while let Some(timer) = self.timers.pop_due(now.monotonic) {
            if timer == Timer::Sweep && self.sweeps != Sweeps::Go {
                self.sweeps = Sweeps::Due;
                continue;
            }
            self.mds.handle(now, Input::Timer(timer), &mut out);
        }
        for input in std::mem::take(&mut self.inbox) {
            if let Input::Map(newer) = &input {
                // What was asked for before is for those of the map before.
                self.end_turn(map.take(), std::mem::take(&mut out));
                map = Some(newer.clone());
            }
            self.mds.handle(now, input, &mut out);
        }
        self.turns += 1;
        self.end_turn(map, out);
        self.writing.len() - before
    }

    fn end_turn(&mut self, map: Option<MdsMap>, mut out: Effects) {
        let mut turn = Turn { batch: Batch::default(), written: false, map, rest: Vec::new() };
        for effect in out.drain() {
            match effect {
                Effect::Write(change) => turn.batch.steps.push(Step::Change(change)),
                Effect::Journal { seq, entry } => {
                    turn.batch.steps.push(Step::Journal(seq, entry));
                }
                Effect::TrimJournal { seqs } => turn.batch.steps.push(Step::TrimJournal(seqs)),
                Effect::SetTimer { timer, at } => self.timers.set(timer, at),
                Effect::StopTimer(timer) => self.timers.stop(timer),
                Effect::Send { .. }
                | Effect::SendBulk { .. }
                | Effect::Tell { .. }
                | Effect::CloseConnection { .. }
                | Effect::AnswerAdmin { .. }
                | Effect::Fetch(_)
                | Effect::Purge { .. }
                | Effect::SyncSoon
                | Effect::WantState(_)
                | Effect::Reached(_)
                | Effect::Abort { .. } => turn.rest.push(effect),
            }
        }
        turn.batch.applied = self.mds.seq();
        if turn.writes() || turn.map.is_some() || !turn.rest.is_empty() {
            self.writing.push_back(turn);
        }
    }

    /// Turns whose batches are not written yet.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        self.writing.len()
    }

    /// When the next timer falls due, if it was not to be woken up for that already.
    pub fn next_wake(&mut self) -> Option<Monotonic> {
        let next = self.timers.next()?;
        if self.wakes_at.is_some_and(|at| at <= next) {
            return None;
        }
        self.wakes_at = Some(next);
        Some(next)
    }

    #[must_use]
    pub fn applied(&self) -> Seq {
        self.mds.seq()
    }
}
