//! `Daemon`: one installed `grove-mds`, and the process it is now: without a rank, on the way to one, or
//! holding one.
//!
//! A process holds a store as long as it lives and the store is within its reach: whoever wants the
//! store kills it first, by what the store's `OWNER` says, or has an operator cut it off.

use common::id::{Incarnation, Rank, Slot};
use common::time::Monotonic;
use common::wire::monitor::Appointment;
use mds_core::monitor::link::Link;

use super::monitor::MonitorConn;
use super::network::Life;

#[derive(Clone, Debug)]
pub struct Daemon {
    pub number: usize,
    /// Whose store its configuration names.
    pub home: Option<Rank>,
    pub machine: &'static str,
    pub process: Option<Running>,
    started: u64,
}

/// One process, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid {
    pub daemon: usize,
    number: u64,
}

#[derive(Clone, Debug)]
pub struct Running {
    pub pid: Pid,
    /// It is stopped until then.
    pub paused_until: Monotonic,
    /// To the monitor.
    pub conn: Option<MonitorConn>,
    pub task: Task,
}

#[derive(Clone, Debug)]
pub enum Task {
    /// Has no rank, and says so.
    StandsBy { number: u64, failed: Option<Slot> },
    /// Was told whose place to take, and makes sure that nobody else holds the store.
    Seizes { order: Appointment, killed: Option<Pid> },
    /// Has locked a store and reads it.
    Opens { rank: Rank },
    /// Has a store, and perhaps a rank.
    Holds { life: Life, link: Box<Link> },
}

/// What a store's `OWNER` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub pid: Pid,
    pub machine: &'static str,
    /// `None` until it is recorded in the store.
    pub incarnation: Option<Incarnation>,
    /// The storage does not know its machine any more: what it writes fails, its lock is gone.
    pub cut_off: bool,
}

impl Daemon {
    #[must_use]
    pub fn new(number: usize, home: Option<Rank>, machine: &'static str) -> Self {
        Self { number, home, machine, process: None, started: 0 }
    }

    #[must_use]
    pub fn name(&self) -> String {
        format!("mds.{}", self.number)
    }

    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        self.process.as_ref().map(|process| process.pid)
    }

    /// A process begins; the one before has ended.
    pub fn start(&mut self, task: Task) -> Pid {
        self.started += 1;
        let pid = Pid { daemon: self.number, number: self.started };
        self.process = Some(Running { pid, paused_until: Monotonic(0), conn: None, task });
        pid
    }

    /// This process, while it runs.
    #[must_use]
    pub fn running(&self, pid: Pid) -> Option<&Running> {
        self.process.as_ref().filter(|process| process.pid == pid)
    }

    pub fn running_mut(&mut self, pid: Pid) -> Option<&mut Running> {
        self.process.as_mut().filter(|process| process.pid == pid)
    }
}

impl Running {
    /// The life it holds, if it holds one.
    #[must_use]
    pub fn life(&self) -> Option<Life> {
        match &self.task {
            Task::Holds { life, .. } => Some(*life),
            Task::StandsBy { .. } | Task::Seizes { .. } | Task::Opens { .. } => None,
        }
    }

    pub fn link(&mut self) -> Option<&mut Link> {
        match &mut self.task {
            Task::Holds { link, .. } => Some(link),
            Task::StandsBy { .. } | Task::Seizes { .. } | Task::Opens { .. } => None,
        }
    }
}

impl Owner {
    /// Whether it was to be dead, so that whoever has this order may kill it. One that has not
    /// recorded its life yet has just begun.
    #[must_use]
    pub fn is_dead_by(&self, order: &Appointment) -> bool {
        self.incarnation.is_some_and(|incarnation| incarnation <= order.dead)
    }
}
