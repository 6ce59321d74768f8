//! `World`: ranks, clients, network, disks and a monitor on one thread, under one seed.
//!
//! Time jumps from one event to the next. Everything that is left open - how long a message takes, what
//! a process does next, who loses power when - is thrown with the world's dice, so a seed is a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use client_core::{CallId, InvalidationId, LinkId, Signal};
use common::id::{ClusterId, Ino, MigrationId, Rank, Seq};
use common::mds_map::{MdsMap, Switch};
use common::name::{Name, NameHashKey};
use common::time::Monotonic;
use common::wire::admin::AdminReply;
use common::wire::session::{ToClient, ToMds};
use mds_core::Input;
use mds_core::input::{AdminId, ConnId, Fetch};
use mds_core::message::PeerMsg;

use super::client::{ClientHost, Waiting};
use super::daemon::{Daemon, Pid};
use super::dice::Dice;
use super::disk::Disk;
use super::history::{History, Unexplained};
use super::lock_book::LockBook;
use super::monitor::MonitorHost;
use super::network::{Lane, Life, Network};
use super::operation::Outcome;
use super::rank::RankHost;
use super::tally::Tally;
use super::trace::{Trace, Who};

mod answers;
mod clients;
mod daemons;
pub mod deaths;
mod deletions;
mod faults;
mod lockers;
mod monitor;
mod mounts;
mod pauses;
mod plan;
pub mod points;
mod ranks;
pub mod reconnect;
mod rest;

pub use lockers::AsksForLock;
use plan::Planned;
pub use plan::Settings;

#[derive(Clone, Debug)]
pub struct World {
    pub settings: Settings,
    pub now: Monotonic,
    pub dice: Dice,
    pub trace: Trace,
    pub tally: Tally,
    pub ranks: Vec<RankHost>,
    pub(super) daemons: Vec<Daemon>,
    pub clients: Vec<ClientHost>,
    pub history: History,
    pub(super) network: Network,
    pub(super) monitor: MonitorHost,
    /// Nobody is stopped, or does not hear the monitor, after that.
    disturbed_until: Monotonic,
    /// What happens when; what happens at one time happens in the order in which it was planned.
    events: BTreeMap<(Monotonic, u64), Event>,
    event_last: u64,
    /// Messages of a life the receiver's map does not show yet, in order.
    early: BTreeMap<Life, Vec<(Life, PeerMsg)>>,
    actions_left: u32,
    pub(super) plan: Vec<Planned>,
    /// Moments named by the cores so far, and at which of them somebody dies.
    points_reached: u64,
    points: BTreeMap<u64, usize>,
    /// Of a scene: what is still to go wrong, who died, and how often somebody stopped.
    script: points::Script,
    pub met: Vec<points::Doom>,
    pub halted: u64,
    /// Of a hundred moves that an operator orders, how many are cancelled.
    cancelled_percent: u64,
    /// Faults that are still to come.
    pub(super) faults_left: u32,
    /// The last answer to an operation.
    last: Option<Outcome<Ino>>,
    /// When a rank was last not serving.
    away_since: Option<Monotonic>,
    admin_last: u64,
    pub(super) admin_replies: BTreeMap<AdminId, AdminReply>,
    /// Inodes whose data was written and not removed.
    pub(super) data: BTreeSet<Ino>,
    /// Nothing is deleted; of the data, what a life has asked for.
    deletions_held: bool,
    purges_held: Vec<(Life, Ino)>,
    gone: mounts::Gone,
    lock_book: LockBook,
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A process of a daemon begins.
    Start(usize),
    Daemon(Pid, daemons::Deed),
    /// By whoever takes its place.
    Killed(Pid),
    Post(monitor::Post),
    OperatorLooks,
    Turn(Life),
    Written(Life),
    SyncBegins(Life),
    SyncEnds(Life, Seq),
    RankInput(Life, Box<Input>),
    Fetched(Life, Fetch),
    RankTimer(Life),
    Connects {
        client: usize,
        link: LinkId,
        life: Life,
    },
    ToRank(ConnId, ToMds),
    ToRankEnds(ConnId),
    ToClient(ConnId, ToClient),
    ToClientEnds(ConnId),
    NoConnection {
        client: usize,
        link: LinkId,
    },
    Peer {
        from: Life,
        to: Life,
        msg: PeerMsg,
    },
    ClientTimer(usize, client_core::Timer, u64),
    Map(Who, Arc<MdsMap>),
    Invalidates {
        client: usize,
        id: InvalidationId,
        names: Option<(Ino, Vec<Name>)>,
        inodes: Vec<Ino>,
    },
    Process {
        client: usize,
        process: usize,
    },
    /// One of the plan.
    Fault(usize),
    Dies(Life, deaths::Death),
    Cancel(MigrationId),
    /// A client begins in the place of one that has died.
    Mounts,
    /// For a process that waits.
    Signal {
        client: usize,
        call: CallId,
        signal: Signal,
    },
}

/// What must not happen.
#[derive(Debug, thiserror::Error)]
pub enum Violation {
    #[error(transparent)]
    Unexplained(#[from] Box<Unexplained>),
    #[error("rank {rank} broke an invariant: {broken}")]
    Invariant { rank: Rank, broken: String },
    #[error("ranks disagree: {0}")]
    Disagreement(String),
    #[error("rank {rank} ended itself: {reason}")]
    Aborted { rank: Rank, reason: String },
    #[error("client {client} was sent away by a rank")]
    Evicted { client: usize },
    #[error("still waiting after a long time: {0}")]
    Hung(String),
    #[error("left over on rank {rank}: {left}")]
    LeftOver { rank: Rank, left: String },
    #[error("after everything was removed there is data of {0:?}")]
    DataLeft(Vec<Ino>),
    #[error("{names} names in {dirs} directories are stored; the model has {expected}")]
    Stored { dirs: u64, names: u64, expected: String },
    #[error("a question to rank {0} was not answered")]
    NoAnswer(Rank),
}

pub(super) const CLUSTER: ClusterId = ClusterId(0x6702);
pub(super) const HASH_KEY: NameHashKey = NameHashKey(0x1234_5678_9abc_def0, 42);

impl World {
    #[must_use]
    pub fn new(seed: u64, settings: Settings, trace: Trace) -> Self {
        let dice = Dice::new(seed);
        let ranks = (0..settings.ranks).map(|rank| {
            let disk = if rank == 0 { Self::root_disk() } else { Disk::default() };
            RankHost::new(Rank(rank), disk)
        });
        let daemons = Self::daemons_of(&settings);
        let homes = daemons.iter().filter(|daemon| daemon.home.is_some());
        let homes: Vec<String> = homes.map(Daemon::name).collect();
        let monitor = MonitorHost::new(CLUSTER, HASH_KEY, &homes, Monotonic(1));
        let mut world = Self {
            settings,
            now: Monotonic(1),
            dice,
            trace,
            tally: Tally::default(),
            ranks: ranks.collect(),
            daemons,
            clients: Vec::new(),
            history: History::default(),
            network: Network::default(),
            monitor,
            disturbed_until: Monotonic(0),
            events: BTreeMap::new(),
            event_last: 0,
            early: BTreeMap::new(),
            actions_left: settings.actions,
            plan: Vec::new(),
            points_reached: 0,
            points: BTreeMap::new(),
            script: points::Script::default(),
            met: Vec::new(),
            halted: 0,
            cancelled_percent: 20,
            faults_left: 0,
            last: None,
            away_since: Some(Monotonic(1)),
            admin_last: 0,
            admin_replies: BTreeMap::new(),
            data: BTreeSet::new(),
            deletions_held: settings.deletions_held,
            purges_held: Vec::new(),
            gone: mounts::Gone::default(),
            lock_book: LockBook::default(),
        };
        world.plan_beginning(seed);
        world
    }

    fn root_disk() -> Disk {
        let (rows, journal) = mds_core::mds::format_root(
            RankHost::new(Rank(0), Disk::default()).now(Monotonic(0), 0),
        );
        Disk::formatted(rows, journal)
    }

    fn plan_beginning(&mut self, seed: u64) {
        self.post_begins();
        if self.settings.balancer.is_some() {
            self.switch_balancer(Switch::On);
        }
        for daemon in 0..self.daemons.len() {
            self.soon(Duration::from_millis(1), Event::Start(daemon));
        }
        self.plan_faults(seed);
        for _ in 0..self.settings.clients {
            self.mounts(Duration::from_secs(1));
        }
    }

    /// Runs until nothing is under way, looks at everything, removes everything, looks again.
    ///
    /// # Errors
    /// The first thing that must not happen.
    pub fn run(&mut self) -> Result<(), Violation> {
        self.run_until_idle()?;
        self.stop_balancing()?;
        self.await_ends_of_sessions()?;
        self.walk()?;
        self.check_at_rest()?;
        if self.dice.percent(30) {
            self.power_cycle()?;
            self.walk()?;
        }
        self.remove_everything()?;
        self.check_empty()
    }

    pub(super) fn after(&mut self, wait: Duration, event: Event) {
        self.at(self.now.after(wait), event);
    }

    fn at(&mut self, at: Monotonic, event: Event) {
        self.event_last += 1;
        self.events.insert((at.max(self.now), self.event_last), event);
    }

    /// Along a lane: late, and after what went before.
    fn along(&mut self, lane: Lane, event: Event) {
        let at = self.network.arrival(lane, self.now, &mut self.dice);
        self.at(at, event);
    }

    fn soon(&mut self, longest: Duration, event: Event) {
        let wait = self.dice.wait(Duration::from_micros(1), longest);
        self.after(wait, event);
    }

    /// The next thing happens.
    ///
    /// # Errors
    /// What must not happen.
    pub fn step(&mut self) -> Result<(), Violation> {
        let Some(((at, number), event)) = self.events.pop_first() else {
            return Err(Violation::Hung(format!("nothing will ever happen; {}", self.waiting())));
        };
        self.now = at;
        if self.is_for_the_dead(&event) {
            return Ok(());
        }
        let Some(event) = self.unless_stopped(number, event) else { return Ok(()) };
        match event {
            Event::Start(daemon) => self.start(daemon),
            Event::Daemon(pid, deed) => self.deed(pid, deed)?,
            Event::Killed(pid) => self.killed(pid),
            Event::Post(post) => self.post(post)?,
            Event::OperatorLooks => self.operator_looks(),
            Event::Turn(life) => self.turn(life)?,
            Event::Written(life) => self.written(life)?,
            Event::SyncBegins(life) => self.sync_begins(life),
            Event::SyncEnds(life, through) => self.sync_ends(life, through),
            Event::RankInput(life, input) => self.rank_input(life, *input),
            Event::Fetched(life, fetch) => self.fetched(life, &fetch),
            Event::RankTimer(life) => self.rank_timer(life),
            Event::Connects { client, link, life } => self.connects(client, link, life)?,
            Event::ToRank(conn, msg) => self.rank_hears(conn, msg),
            Event::ToRankEnds(conn) => self.rank_loses(conn),
            Event::ToClient(conn, msg) => self.client_hears(conn, msg)?,
            Event::ToClientEnds(conn) => self.client_loses(conn)?,
            Event::NoConnection { client, link } => self.no_connection(client, link)?,
            Event::Peer { from, to, msg } => self.peer(from, to, msg),
            Event::ClientTimer(client, timer, number) => {
                self.client_timer(client, timer, number)?
            }
            Event::Map(to, map) => self.map_arrives(to, &map)?,
            Event::Invalidates { client, id, names, inodes } => {
                self.invalidates(client, id, names, &inodes)?;
            }
            Event::Process { client, process } => self.process(client, process)?,
            Event::Fault(number) => self.fault(number)?,
            Event::Dies(life, death) => {
                self.faults_left -= 1;
                self.die(life, death);
            }
            Event::Cancel(id) => self.cancel(id),
            Event::Mounts => self.another_mounts(),
            Event::Signal { client, call, signal } => self.signal(client, call, signal)?,
        }
        Ok(())
    }
}
