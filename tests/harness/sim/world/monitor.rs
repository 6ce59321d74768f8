//! The world's part between the monitor and everybody else, and in which the monitor dies, stops and
//! comes back.

use std::sync::Arc;
use std::time::Duration;

use common::id::Rank;
use common::mds_map::{MdsMap, Switch};
use common::time::Monotonic;
use common::wire::monitor::{FromMonitor, MonitorError, ToMonitor};
use mds_core::monitor::{Asker, ConnId, Input, TICK};

use super::{Event, Violation, World};
use crate::sim::dice::Dice;
use crate::sim::monitor::{Caller, MonitorConn, Outcome};
use crate::sim::network::Lane;
use crate::sim::trace::Who;

/// What happens between the monitor and others.
#[derive(Clone, Debug)]
pub(in crate::sim) enum Post {
    MonitorStarts,
    Tick(u64),
    Dials(Caller),
    ToMonitor(MonitorConn, ToMonitor),
    /// The monitor hears that the caller is gone.
    CallerGone(MonitorConn),
    FromMonitor(MonitorConn, Box<FromMonitor>),
    /// The caller hears that the monitor is gone.
    MonitorGone(MonitorConn),
    TimesOut(MonitorConn),
}

const RETRY: Duration = Duration::from_millis(300);
/// Until an end hears that the other is gone, if it is not told.
const UNNOTICED: Duration = Duration::from_secs(1);
const MAP_LATE: Duration = Duration::from_secs(3);
/// A monitor is away for less than a session's lease leaves: ranks answer nobody without it.
const MONITOR_AWAY: Duration = Duration::from_secs(6);
const MONITOR_PAUSE: Duration = Duration::from_secs(6);
/// After so long without a sign of the other, an end gives a connection up, at the soonest and at the
/// latest.
const IDLE_MIN: Duration = Duration::from_secs(3);
const IDLE_MAX: Duration = Duration::from_secs(8);
/// An operator looks, and believes that something is wrong for good.
const LOOKS: Duration = Duration::from_secs(2);
const LOST_PATIENCE: Duration = Duration::from_secs(3);

impl Caller {
    fn who(self) -> Who {
        match self {
            Self::Daemon(pid) => Who::Daemon(pid.daemon),
            Self::Client(number) => Who::Client(number),
            Self::Operator => Who::World,
        }
    }
}

impl World {
    pub(super) fn post_begins(&mut self) {
        self.after(TICK, Event::Post(Post::Tick(self.monitor.life)));
        if self.settings.standbys_elsewhere > 0 {
            self.after(LOOKS, Event::OperatorLooks);
        }
    }

    pub(super) fn post(&mut self, post: Post) -> Result<(), Violation> {
        match post {
            Post::MonitorStarts => {
                self.trace.line(self.now, Who::Monitor, "start", String::new);
                self.monitor.start(self.now);
                self.after(TICK, Event::Post(Post::Tick(self.monitor.life)));
            }
            Post::Tick(life) if life == self.monitor.life && self.monitor.is_running() => {
                self.monitor_input(Input::Tick)?;
                self.after(TICK, Event::Post(Post::Tick(life)));
            }
            Post::Tick(_) => (),
            Post::Dials(caller) => self.dials(caller)?,
            Post::ToMonitor(conn, msg) => self.monitor_hears(conn, msg)?,
            Post::CallerGone(conn) => {
                if self.monitor.shut_up(conn) {
                    self.monitor_input(Input::Gone { conn: ConnId(conn.0) })?;
                }
            }
            Post::TimesOut(conn) => {
                self.monitor.time_out(conn);
                self.after(Duration::ZERO, Event::Post(Post::CallerGone(conn)));
                self.after(Duration::ZERO, Event::Post(Post::MonitorGone(conn)));
            }
            Post::FromMonitor(conn, msg) => {
                let line = self.monitor.line(conn);
                let line = line.filter(|line| line.down && !line.timed_out).copied();
                if let Some(line) = line {
                    self.caller_hears(conn, line.caller, *msg)?;
                }
            }
            Post::MonitorGone(conn) => {
                let Some(line) = self.monitor.line(conn).copied() else { return Ok(()) };
                if self.monitor.shut_down(conn) {
                    self.caller_loses(conn, line.caller);
                }
            }
        }
        Ok(())
    }

    /// Tries to reach the monitor, until it is there.
    fn dials(&mut self, caller: Caller) -> Result<(), Violation> {
        let who = caller.who();
        let healed =
            self.network.heals(who, Who::Monitor).max(self.network.heals(Who::Monitor, who));
        if let Caller::Daemon(pid) = caller
            && self.daemons[pid.daemon].running(pid).is_none()
        {
            return Ok(());
        }
        if healed > self.now || !self.monitor.is_running() {
            let later = self.now.after(RETRY).max(healed);
            self.at(later, Event::Post(Post::Dials(caller)));
            return Ok(());
        }
        let conn = self.monitor.connect(caller);
        match caller {
            Caller::Daemon(pid) => self.daemon_connected(pid, conn),
            Caller::Client(_) => {
                self.say(conn, ToMonitor::Subscribe);
                Ok(())
            }
            Caller::Operator => Ok(()),
        }
    }

    /// To the monitor, along a connection.
    pub(super) fn say(&mut self, conn: MonitorConn, msg: ToMonitor) {
        let Some(line) = self.monitor.line(conn).copied() else { return };
        let lane = Lane::ToMonitor(line.caller.who(), conn);
        self.along(lane, Event::Post(Post::ToMonitor(conn, msg)));
    }

    fn monitor_hears(&mut self, conn: MonitorConn, msg: ToMonitor) -> Result<(), Violation> {
        let line = self.monitor.line(conn).filter(|line| line.up && !line.timed_out);
        let Some(line) = line.copied() else { return Ok(()) };
        let asker = match line.caller {
            Caller::Daemon(pid) => Asker::Mds { name: self.daemons[pid.daemon].name() },
            Caller::Client(_) => Asker::Client,
            Caller::Operator => Asker::Admin,
        };
        self.monitor_input(Input::Message { from: ConnId(conn.0), asker, msg })
    }

    fn monitor_input(&mut self, input: Input) -> Result<(), Violation> {
        if self.trace.is_kept() && input != Input::Tick {
            self.trace.line(self.now, Who::Monitor, "in", || format!("{input:?}"));
        }
        let before = self.monitor.map().epoch;
        let mut sends = Vec::new();
        let outcome = self.monitor.handle(self.now, input, &mut sends);
        let outcome = outcome.map_err(Violation::Disagreement)?;
        if self.monitor.map().epoch > before {
            self.note_map();
        }
        for (conn, msg) in sends {
            let Some(line) = self.monitor.line(conn).copied() else { continue };
            let lane = Lane::FromMonitor(line.caller.who(), conn);
            self.along(lane, Event::Post(Post::FromMonitor(conn, Box::new(msg))));
        }
        if outcome == Outcome::Dies {
            let mut dice = Dice::new(self.dice.throw());
            self.monitor_dies(&mut dice);
        }
        Ok(())
    }

    fn note_map(&mut self) {
        let since = self.away_since.unwrap_or(self.now);
        self.away_since = if self.all_active() { None } else { Some(since) };
        let map = self.monitor.map();
        self.trace.line(self.now, Who::Monitor, "map", || {
            let ranks = map.ranks.iter();
            let ranks =
                ranks.map(|(rank, it)| format!(" {rank}={}.{}", it.state.name(), it.incarnation));
            format!("epoch {}{}", map.epoch, ranks.collect::<String>())
        });
    }

    fn caller_hears(
        &mut self,
        conn: MonitorConn,
        caller: Caller,
        msg: FromMonitor,
    ) -> Result<(), Violation> {
        match (caller, msg) {
            (Caller::Daemon(pid), msg) => self.daemon_hears(pid, conn, msg),
            (Caller::Client(_), FromMonitor::Map(map)) => {
                self.map_on_its_way(caller.who(), map, Duration::from_micros(1));
                Ok(())
            }
            // Somebody has come back meanwhile.
            (Caller::Operator, FromMonitor::Refused(MonitorError::NotDown { .. })) => Ok(()),
            (Caller::Operator, FromMonitor::Refused(error)) => {
                Err(Violation::Disagreement(format!("the operator hears: {error}")))
            }
            (Caller::Client(_) | Caller::Operator, _) => Ok(()),
        }
    }

    /// Whoever takes it may be slow, and then take the next one first.
    pub(super) fn map_on_its_way(&mut self, to: Who, map: MdsMap, longest: Duration) {
        let late = self.dice.percent(u64::from(self.settings.late_maps));
        self.soon(if late { MAP_LATE } else { longest }, Event::Map(to, Arc::new(map)));
    }

    fn caller_loses(&mut self, conn: MonitorConn, caller: Caller) {
        match caller {
            Caller::Daemon(pid) => {
                let Some(process) = self.daemons[pid.daemon].running_mut(pid) else { return };
                if process.conn == Some(conn) {
                    process.conn = None;
                    self.after(RETRY, Event::Post(Post::Dials(caller)));
                }
            }
            Caller::Client(_) => self.after(RETRY, Event::Post(Post::Dials(caller))),
            Caller::Operator => (),
        }
    }

    /// The caller ends a connection, or ends itself: what it has said may still arrive.
    pub(super) fn hang_up(&mut self, conn: MonitorConn) {
        let Some(line) = self.monitor.line(conn).copied() else { return };
        self.monitor.shut_down(conn);
        if self.dice.percent(50) {
            let lane = Lane::ToMonitor(line.caller.who(), conn);
            self.along(lane, Event::Post(Post::CallerGone(conn)));
        } else {
            self.soon(UNNOTICED, Event::Post(Post::CallerGone(conn)));
        }
    }

    /// It is killed, and comes back after a while with what it has stored.
    pub(super) fn monitor_dies(&mut self, dice: &mut Dice) {
        if !self.monitor.is_running() {
            return;
        }
        self.tally.monitor_deaths += 1;
        self.trace.line(self.now, Who::Monitor, "dies", String::new);
        for conn in self.monitor.die() {
            let Some(line) = self.monitor.line(conn).copied() else { continue };
            if dice.percent(50) {
                // What it has said still arrives.
                let lane = Lane::FromMonitor(line.caller.who(), conn);
                self.along(lane, Event::Post(Post::MonitorGone(conn)));
            } else if self.monitor.shut_down(conn) {
                self.caller_loses(conn, line.caller);
            }
        }
        let away = dice.wait(Duration::from_millis(50), MONITOR_AWAY);
        self.after(away, Event::Post(Post::MonitorStarts));
    }

    pub(super) fn kill_monitor(&mut self, dice: &mut Dice) {
        if dice.percent(50) {
            self.monitor_dies(dice);
        } else {
            self.monitor.dies_after_storing = true;
        }
    }

    /// `SIGSTOP`, and later `SIGCONT`.
    pub(super) fn pause_monitor(&mut self, dice: &mut Dice) {
        let until = self.now.after(dice.wait(Duration::from_millis(50), MONITOR_PAUSE));
        self.stop_monitor(until);
    }

    /// Nothing gets through between a daemon's process and the monitor until then: if that is too long,
    /// their connection ends.
    pub(super) fn nothing_until(&mut self, number: usize, until: Monotonic) {
        let conn = self.daemons[number].process.as_ref().and_then(|process| process.conn);
        let gives_up = self.now.after(self.dice.wait(IDLE_MIN, IDLE_MAX));
        if let Some(conn) = conn.filter(|_| until > gives_up) {
            self.at(gives_up, Event::Post(Post::TimesOut(conn)));
        }
    }

    /// An operator says something, if the monitor is there to hear it.
    pub(super) fn operator_says(&mut self, msg: ToMonitor) {
        if self.monitor.is_running() {
            let conn = self.monitor.connect(Caller::Operator);
            self.say(conn, msg);
        }
    }

    /// `grove balancer on`, or `off`.
    pub fn switch_balancer(&mut self, to: Switch) {
        self.operator_says(ToMonitor::SetBalancer { to });
    }

    /// Whoever held a rank that is down for long is cut off from the storage, which is then said.
    pub(super) fn operator_looks(&mut self) {
        self.after(LOOKS, Event::OperatorLooks);
        for rank in (0..self.settings.ranks).map(Rank) {
            let since = self.monitor.down_since(rank);
            if since.is_some_and(|since| self.now.since(since) > LOST_PATIENCE) {
                self.cut_off(rank);
                self.operator_says(ToMonitor::Fence { rank });
            }
        }
    }
}
