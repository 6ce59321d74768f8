//! The world's part in which daemons begin, stand by, take stores over, hold ranks and end.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use common::id::{Rank, Slot};
use common::limit::BEACON;
use common::mds_map::{MdsMap, RankState};
use common::wire::monitor::{Appointment, FromMonitor, StandBy, StorePlace, ToMonitor};
use mds_core::Params;
use mds_core::monitor::link::{Ending, Heard, Link, Myself};
use mds_core::params::BalancerParams;

use super::deaths::Death;
use super::monitor::Post;
use super::{CLUSTER, Event, HASH_KEY, Violation, World};
use crate::mistake;
use crate::sim::daemon::{Daemon, Owner, Pid, Running, Task};
use crate::sim::monitor::{Caller, MonitorConn};
use crate::sim::network::{Lane, Life};
use crate::sim::rank::{Process, clock};
use crate::sim::trace::Who;

/// What a daemon does next by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Deed {
    /// Its sign of life is due, if it still has this connection.
    Beat(MonitorConn),
    /// Looks whether the store it is to take over is free.
    Looks,
    /// Has opened a store.
    Opened,
    /// Could not take over, and offers itself again.
    OffersAgain(Slot),
}

const OPENING: Duration = Duration::from_millis(60);
const DIAL: Duration = Duration::from_millis(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Until a killed process is gone: it may be in the middle of a write.
const DYING: Duration = Duration::from_millis(300);
const RETRY: Duration = Duration::from_millis(300);
/// Until a process that ended is started again by whoever looks after it.
const AGAIN: Duration = Duration::from_secs(1);
const SHARED: &str = "/shared";
pub(super) const HERE: &str = "here";
pub(super) const ELSEWHERE: &str = "elsewhere";

impl World {
    pub(super) fn daemons_of(settings: &super::Settings) -> Vec<Daemon> {
        let homes = (0..settings.ranks).map(|rank| (Some(Rank(rank)), HERE));
        let here = (0..settings.standbys).map(|_| (None, HERE));
        let elsewhere = (0..settings.standbys_elsewhere).map(|_| (None, ELSEWHERE));
        let all = homes.chain(here).chain(elsewhere).enumerate();
        all.map(|(number, (home, machine))| Daemon::new(number, home, machine)).collect()
    }

    fn running(&mut self, pid: Pid) -> Option<&mut Running> {
        self.daemons[pid.daemon].running_mut(pid)
    }

    /// The process that holds a store: it lives, and was not cut off.
    fn holder(&self, rank: Rank) -> Option<Owner> {
        let owner = self.ranks[usize::from(rank.0)].owner.filter(|owner| !owner.cut_off)?;
        self.daemons[owner.pid.daemon].running(owner.pid).map(|_| owner)
    }

    /// A process of a daemon begins: on its own store, unless somebody else has that.
    pub(super) fn start(&mut self, number: usize) {
        if self.daemons[number].process.is_some() {
            return;
        }
        let machine = self.daemons[number].machine;
        let own = self.daemons[number].home.filter(|rank| {
            let last = self.ranks[usize::from(rank.0)].owner;
            self.holder(*rank).is_none() && last.is_none_or(|owner| owner.machine == machine)
        });
        let task = match own {
            Some(rank) => Task::Opens { rank },
            None => Task::StandsBy { number: 0, failed: None },
        };
        self.trace.line(self.now, Who::Daemon(number), "start", || format!("{task:?}"));
        let pid = self.daemons[number].start(task);
        match own {
            Some(rank) => self.sign(pid, rank),
            None => self.soon(DIAL, Event::Post(Post::Dials(Caller::Daemon(pid)))),
        }
    }

    /// The store is its own from now on.
    fn sign(&mut self, pid: Pid, rank: Rank) {
        let machine = self.daemons[pid.daemon].machine;
        self.host(rank).owner = Some(Owner { pid, machine, incarnation: None, cut_off: false });
        self.soon(OPENING, Event::Daemon(pid, Deed::Opened));
    }

    pub(super) fn deed(&mut self, pid: Pid, deed: Deed) -> Result<(), Violation> {
        let Some(process) = self.running(pid) else { return Ok(()) };
        match deed {
            Deed::Beat(conn) if process.conn == Some(conn) => self.beat(pid, conn),
            Deed::Beat(_) => (),
            Deed::Looks => {
                if let Task::Seizes { order, killed } = &process.task {
                    let (order, killed) = (order.clone(), *killed);
                    self.seize(pid, &order, killed);
                }
            }
            Deed::Opened => self.opened(pid),
            Deed::OffersAgain(slot) => {
                process.task = Task::StandsBy { number: 0, failed: Some(slot) };
                self.soon(DIAL, Event::Post(Post::Dials(Caller::Daemon(pid))));
            }
        }
        Ok(())
    }

    fn opened(&mut self, pid: Pid) {
        let Some(Task::Opens { rank }) = self.running(pid).map(|process| process.task.clone())
        else {
            return;
        };
        // Whoever was cut off while it opened cannot record its life, and ends.
        if self.holder(rank).is_none_or(|owner| owner.pid != pid) {
            return self.daemon_ends(pid, AGAIN);
        }
        let life = self.host(rank).open();
        self.tally.take_overs += u64::from(self.daemons[pid.daemon].home != Some(rank));
        let Daemon { machine, number, .. } = self.daemons[pid.daemon];
        self.trace.line(self.now, Who::Rank(rank), "opened", || {
            format!("by daemon.{number}, incarnation {}", life.incarnation)
        });
        for entry in self.ranks[usize::from(rank.0)].disk.journal() {
            self.trace.line(self.now, Who::Rank(rank), "journal", || format!("{entry:?}"));
        }
        let port = 7000 + u16::try_from(number).expect("there are few daemons");
        let me = Myself {
            name: self.daemons[pid.daemon].name(),
            slot: Slot(rank.0),
            incarnation: life.incarnation,
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            place: StorePlace { machine: machine.to_owned(), path: format!("{SHARED}/{rank}") },
        };
        if let Some(process) = self.running(pid) {
            process.task = Task::Holds { life, link: Box::new(Link::new(me)) };
        }
        self.soon(DIAL, Event::Post(Post::Dials(Caller::Daemon(pid))));
    }

    pub(super) fn daemon_connected(
        &mut self,
        pid: Pid,
        conn: MonitorConn,
    ) -> Result<(), Violation> {
        let now = clock(self.now, pid.daemon);
        let Some(process) = self.running(pid) else { return Ok(()) };
        process.conn = Some(conn);
        let greeting = process.link().map(|link| link.greet(now));
        for word in greeting.into_iter().flatten() {
            self.say(conn, word);
        }
        self.beat(pid, conn);
        Ok(())
    }

    /// The sign of life that is due, and those after it.
    fn beat(&mut self, pid: Pid, conn: MonitorConn) {
        self.after(BEACON, Event::Daemon(pid, Deed::Beat(conn)));
        let life = self.running(pid).and_then(|process| process.life());
        if let Some(life) = life {
            // So that the core is seen to turn.
            self.wake(life);
            return self.beacon(pid);
        }
        let machine = self.daemons[pid.daemon].machine;
        let daemon = self.daemons[pid.daemon].name();
        let Some(Task::StandsBy { number, failed }) =
            self.running(pid).map(|process| &mut process.task)
        else {
            return;
        };
        *number += 1;
        let word = StandBy {
            daemon,
            machine: machine.to_owned(),
            reaches: vec![SHARED.to_owned()],
            failed: failed.take(),
            number: *number,
        };
        self.say(conn, ToMonitor::StandBy(word));
    }

    fn beacon(&mut self, pid: Pid) {
        let now = clock(self.now, pid.daemon);
        let Some(life) = self.running(pid).and_then(|process| process.life()) else { return };
        let turns = self.alive(life).map_or(0, Process::turns);
        let Some(process) = self.running(pid) else { return };
        let Some(conn) = process.conn else { return };
        if let Some(beacon) = process.link().map(|link| link.beacon(now, turns)) {
            self.say(conn, beacon);
        }
    }

    /// The core of a life asks for a stage.
    pub(super) fn wants(&mut self, life: Life, state: RankState) {
        let Some(pid) = self.alive(life).map(|process| process.pid) else { return };
        let link = self.running(pid).and_then(Running::link);
        if link.is_some_and(|link| link.want(state)) {
            self.beacon(pid);
        }
    }

    pub(super) fn daemon_hears(
        &mut self,
        pid: Pid,
        conn: MonitorConn,
        msg: FromMonitor,
    ) -> Result<(), Violation> {
        let Some(process) = self.running(pid).filter(|process| process.conn == Some(conn)) else {
            return Ok(());
        };
        match &mut process.task {
            Task::Holds { life, link } => {
                let (life, heard) = (*life, link.hear(msg));
                self.link_heard(pid, life, heard)
            }
            Task::StandsBy { .. } => match msg {
                FromMonitor::TakeOver(order) => {
                    process.conn = None;
                    process.task = Task::Seizes { order, killed: None };
                    self.hang_up(conn);
                    self.soon(DIAL, Event::Daemon(pid, Deed::Looks));
                    Ok(())
                }
                FromMonitor::Refused(error) => Err(Violation::Disagreement(format!(
                    "daemon {} stands by and is refused: {error}",
                    pid.daemon
                ))),
                FromMonitor::Map(_)
                | FromMonitor::BeaconAck { .. }
                | FromMonitor::Slot { .. }
                | FromMonitor::Done
                | FromMonitor::StandByAck { .. }
                | FromMonitor::Description(_) => Ok(()),
            },
            Task::Seizes { .. } | Task::Opens { .. } => Ok(()),
        }
    }

    fn link_heard(&mut self, pid: Pid, life: Life, heard: Heard) -> Result<(), Violation> {
        match heard {
            Heard::Nothing => (),
            Heard::Acknowledged(leash) => {
                if let Some(process) = self.alive(life) {
                    process.leash = leash;
                    if process.waits_for_monitor() {
                        self.soon(Duration::from_micros(50), Event::Turn(life));
                    }
                }
            }
            Heard::Stands { rank, map } => self.stands(pid, life, rank, map),
            Heard::Map(map) => {
                self.map_on_its_way(Who::Rank(life.rank), map, Duration::from_micros(50));
            }
            Heard::Ends(Ending::DeclaredDead) => {
                self.tally.declared_dead += 1;
                self.trace.line(self.now, Who::Rank(life.rank), "ends", || {
                    format!("life {} was declared dead", life.incarnation)
                });
                self.daemon_ends(pid, Duration::from_millis(50));
            }
            Heard::Ends(Ending::Refused(error)) => {
                self.tally.refused += 1;
                self.trace.line(self.now, Who::Rank(life.rank), "ends", || error.to_string());
                self.daemon_ends(pid, AGAIN);
            }
            Heard::Ends(ending @ (Ending::Unwelcome(_) | Ending::Left)) => {
                return Err(Violation::Disagreement(format!("rank {}: {ending:?}", life.rank)));
            }
        }
        Ok(())
    }

    /// The monitor has given it the rank of its store.
    fn stands(&mut self, pid: Pid, life: Life, rank: Rank, map: MdsMap) {
        assert_eq!(rank, life.rank, "slots have the numbers of their ranks");
        if self.holder(rank).is_none_or(|owner| owner.pid != pid) {
            return self.daemon_ends(pid, AGAIN);
        }
        let mut params = Params::new(rank, Slot(rank.0), life.incarnation, CLUSTER, HASH_KEY);
        params.cache_rows_max = self.settings.cache_rows_max.unwrap_or(params.cache_rows_max);
        if self.settings.balancer.is_some() {
            params.balancer = restless();
        }
        let params = mistake::perhaps(params);
        let now = self.now;
        let leash = self.running(pid).and_then(Running::link).map(|link| link.leash());
        self.host(rank).begin(now, pid, params, map);
        if let (Some(process), Some(leash)) = (self.alive(life), leash) {
            process.leash = leash;
        }
        self.hold_deletions(life);
        self.along(Lane::Store(life), Event::Written(life));
        self.wake_later(life);
        self.hear_early(life);
    }

    /// Whether this life has opened its store, and waits for the monitor's first word.
    pub(super) fn is_about_to_begin(&self, life: Life) -> bool {
        let mut all = self.daemons.iter().filter_map(|daemon| daemon.process.as_ref());
        all.any(|process| process.life() == Some(life))
    }

    /// Makes sure that nobody else has the store: kills whoever is to be dead and holds it.
    fn seize(&mut self, pid: Pid, order: &Appointment, killed: Option<Pid>) {
        let rank = Rank(order.slot.0);
        let machine = self.daemons[pid.daemon].machine;
        let last = self.host(rank).owner;
        match self.holder(rank) {
            None if order.fenced || last.is_none_or(|owner| owner.machine == machine) => {
                self.trace.line(self.now, Who::Daemon(pid.daemon), "takes", || {
                    format!("the store of rank {rank}")
                });
                if let Some(process) = self.running(pid) {
                    process.task = Task::Opens { rank };
                }
                self.sign(pid, rank);
            }
            Some(owner) if killed == Some(owner.pid) => {
                self.after(LOOK_EVERY, Event::Daemon(pid, Deed::Looks));
            }
            Some(owner) if owner.is_dead_by(order) && owner.machine == machine => {
                self.soon(DYING, Event::Killed(owner.pid));
                if let Some(process) = self.running(pid) {
                    process.task = Task::Seizes { order: order.clone(), killed: Some(owner.pid) };
                }
                self.after(LOOK_EVERY, Event::Daemon(pid, Deed::Looks));
            }
            None | Some(_) => {
                self.after(RETRY, Event::Daemon(pid, Deed::OffersAgain(order.slot)));
            }
        }
    }

    /// By a successor.
    pub(super) fn killed(&mut self, pid: Pid) {
        self.tally.killed += u64::from(self.running(pid).is_some());
        self.daemon_ends(pid, AGAIN);
    }

    /// A process ends, without a word to anybody; what it has written stays.
    fn daemon_ends(&mut self, pid: Pid, again: Duration) {
        let mut dice = crate::sim::dice::Dice::new(self.dice.throw());
        self.process_dies(pid, Death::Killed, &mut dice);
        self.soon(again, Event::Start(pid.daemon));
    }

    /// The storage forgets the machine of whoever holds this store: its lock is broken, and whatever it
    /// writes fails. It may live on.
    pub(super) fn cut_off(&mut self, rank: Rank) {
        let Some(owner) = self.holder(rank) else { return };
        self.trace.line(self.now, Who::World, "cuts off", || {
            format!("daemon.{} from the store of rank {rank}", owner.pid.daemon)
        });
        let host = self.host(rank);
        host.owner = Some(Owner { cut_off: true, ..owner });
        let old = host.process.take();
        host.cut_off.extend(old);
        self.tally.cut_off += 1;
    }
}

/// In a run of a few seconds, in which each rank does some dozens of operations per second.
fn restless() -> BalancerParams {
    BalancerParams {
        epoch: Duration::from_millis(400),
        rank_capacity: 10,
        cool_down: Duration::from_millis(600),
    }
}
