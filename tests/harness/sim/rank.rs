//! `RankHost`: what stands around one `Mds` in a daemon - inbox, turns, store thread, timers.
//!
//! A turn's batch is written while the core runs the next turn; its messages leave when that write
//! has returned. A killed daemon loses the turns not written, a machine without power also what was
//! not synced.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use common::id::{Incarnation, Rank, Seq};
use common::mds_map::MdsMap;
use common::time::{Monotonic, Now, Timestamp};
use mds_core::effect::Effect;
use mds_core::timer::Timer;
use mds_core::{Effects, Input, Mds, Params};

use super::disk::{Batch, Disk, Step};
use super::network::Life;

/// What a rank's clocks show when the world's shows nothing: no two agree.
const MONOTONIC_APART: Duration = Duration::from_secs(1_000);
const WALL_START: i64 = 1_700_000_000;

#[derive(Clone, Debug)]
pub struct RankHost {
    pub rank: Rank,
    pub disk: Disk,
    /// Of the last process.
    pub incarnation: Incarnation,
    pub process: Option<Process>,
    /// Its wall clock was set wrong by so many seconds.
    pub wall_ahead: i64,
    pub sync_slow_until: Monotonic,
}

/// The daemon while it runs.
#[derive(Clone, Debug)]
pub struct Process {
    pub life: Life,
    pub mds: Mds,
    pub inbox: Vec<Input>,
    /// A turn is due.
    pub turn_due: bool,
    /// It is stopped until then.
    pub paused_until: Monotonic,
    /// Turns whose batches are being written, in order.
    writing: VecDeque<Turn>,
    /// When each timer that is set goes off; a moved one is known by its number.
    timers: BTreeMap<Timer, u64>,
    timer_last: u64,
    pub sync: Sync,
    /// Somebody waits for more than the running sync covers.
    pub sync_again: bool,
    /// What the transport knows.
    pub map: Option<MdsMap>,
    pub wanted: common::mds_map::RankState,
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

#[derive(Clone, Debug)]
struct Turn {
    batch: Batch,
    rest: Vec<Effect>,
}

impl RankHost {
    #[must_use]
    pub fn new(rank: Rank, disk: Disk) -> Self {
        Self {
            rank,
            disk,
            incarnation: Incarnation(0),
            process: None,
            wall_ahead: 0,
            sync_slow_until: Monotonic(0),
        }
    }

    /// The daemon's clocks.
    #[must_use]
    pub fn now(&self, world: Monotonic) -> Now {
        let apart = MONOTONIC_APART * u32::from(self.rank.0);
        let nanos = u32::try_from(world.0 % 1_000_000_000).expect("below 10^9");
        let secs = i64::try_from(world.0 / 1_000_000_000).expect("runs are short");
        let wall = Timestamp { secs: WALL_START + secs + self.wall_ahead, nanos };
        Now { monotonic: world.after(apart), wall }
    }

    /// When the world's clock shows what the daemon's does at `at`.
    #[must_use]
    pub fn in_world(&self, at: Monotonic) -> Monotonic {
        let apart = MONOTONIC_APART * u32::from(self.rank.0);
        Monotonic(
            at.since(Monotonic::default().after(apart)).as_nanos().try_into().unwrap_or(u64::MAX),
        )
    }

    /// The daemon starts on what its disk holds.
    pub fn start(&mut self, world: Monotonic, params: Params) -> Life {
        self.incarnation = params.incarnation;
        self.disk.reopen();
        let life = Life { rank: self.rank, incarnation: params.incarnation };
        let mut out = Effects::default();
        let mds = Mds::new(params, self.disk.restore(), self.now(world), &mut out);
        let mut process = Process {
            life,
            mds,
            inbox: Vec::new(),
            turn_due: false,
            paused_until: Monotonic(0),
            writing: VecDeque::new(),
            timers: BTreeMap::new(),
            timer_last: 0,
            sync: Sync::Idle,
            sync_again: false,
            map: None,
            wanted: common::mds_map::RankState::Replay,
        };
        process.end_turn(out);
        self.process = Some(process);
        life
    }

    /// The running process, if it is this life of the rank.
    pub fn alive(&mut self, life: Life) -> Option<&mut Process> {
        self.process.as_mut().filter(|process| process.life == life)
    }

    /// Runs what has come in. Tells how much that was.
    pub fn turn(&mut self, world: Monotonic) -> usize {
        let now = self.now(world);
        let Some(process) = &mut self.process else { return 0 };
        process.turn_due = false;
        let mut out = Effects::default();
        let inputs = std::mem::take(&mut process.inbox);
        let count = inputs.len();
        for input in inputs {
            process.mds.handle(now, input, &mut out);
        }
        process.end_turn(out);
        count
    }

    /// The oldest batch is written: what is left to do of its turn.
    pub fn written(&mut self) -> Vec<Effect> {
        let Some(turn) = self.process.as_mut().and_then(|process| process.writing.pop_front())
        else {
            return Vec::new();
        };
        if !turn.batch.steps.is_empty() {
            self.disk.write(turn.batch);
        }
        turn.rest
    }
}

impl Process {
    fn end_turn(&mut self, mut out: Effects) {
        let mut turn = Turn { batch: Batch::default(), rest: Vec::new() };
        for effect in out.drain() {
            match effect {
                Effect::Write(change) => turn.batch.steps.push(Step::Change(change)),
                Effect::Journal { seq, entry } => {
                    turn.batch.steps.push(Step::Journal(seq, entry));
                }
                Effect::TrimJournal { seqs } => turn.batch.steps.push(Step::TrimJournal(seqs)),
                Effect::Send { .. }
                | Effect::SendBulk { .. }
                | Effect::Tell { .. }
                | Effect::CloseConnection { .. }
                | Effect::AnswerAdmin { .. }
                | Effect::Fetch(_)
                | Effect::Purge { .. }
                | Effect::SetTimer { .. }
                | Effect::StopTimer(_)
                | Effect::SyncSoon
                | Effect::WantState(_)
                | Effect::Reached(_)
                | Effect::Abort { .. } => turn.rest.push(effect),
            }
        }
        turn.batch.applied = self.mds.seq();
        self.writing.push_back(turn);
    }

    /// Turns whose batches are not written yet.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        self.writing.len()
    }

    /// Sets a timer; the number tells whether it is still this one when it goes off.
    pub fn set_timer(&mut self, timer: Timer) -> u64 {
        self.timer_last += 1;
        self.timers.insert(timer, self.timer_last);
        self.timer_last
    }

    pub fn stop_timer(&mut self, timer: Timer) {
        self.timers.remove(&timer);
    }

    /// Whether a timer that was set under this number is to go off.
    pub fn goes_off(&mut self, timer: Timer, number: u64) -> bool {
        let due = self.timers.get(&timer) == Some(&number);
        if due {
            self.timers.remove(&timer);
        }
        due
    }

    #[must_use]
    pub fn applied(&self) -> Seq {
        self.mds.seq()
    }
}
