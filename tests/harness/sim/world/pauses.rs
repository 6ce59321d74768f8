//! The world's part in which processes are stopped, and go on: what is for them waits meanwhile, in order.

use std::time::Duration;

use common::time::Monotonic;

use super::monitor::Post;
use super::{Event, World};
use crate::sim::daemon::Pid;
use crate::sim::monitor::{Caller, MonitorConn};
use crate::sim::network::Life;
use crate::sim::trace::Who;

/// Who asks a stopped process for a connection soon hears that it was killed.
const ASKS_AGAIN: Duration = Duration::from_millis(200);

impl World {
    pub(super) fn stop(&mut self, pid: Pid, until: Monotonic) {
        self.disturbed_until = self.disturbed_until.max(until);
        if let Some(process) = self.daemons[pid.daemon].running_mut(pid) {
            process.paused_until = until.max(process.paused_until);
            self.nothing_until(pid.daemon, until);
        }
    }

    pub(super) fn stop_monitor(&mut self, until: Monotonic) {
        self.disturbed_until = self.disturbed_until.max(until);
        self.monitor.paused_until = until.max(self.monitor.paused_until);
    }

    /// The event, unless it is for a process that is stopped: then it happens later, in its turn among
    /// those that wait with it, however often the process is stopped once more.
    pub(super) fn unless_stopped(&mut self, number: u64, event: Event) -> Option<Event> {
        if self.disturbed_until <= self.now {
            return Some(event);
        }
        match self.stopped_until(&event).filter(|until| *until > self.now) {
            None => Some(event),
            Some(until) => {
                self.events.insert((until, number), event);
                None
            }
        }
    }

    fn stopped_until(&self, event: &Event) -> Option<Monotonic> {
        match event {
            Event::Turn(life)
            | Event::Written(life)
            | Event::SyncBegins(life)
            | Event::SyncEnds(life, _)
            | Event::RankInput(life, _)
            | Event::Fetched(life, _)
            | Event::RankTimer(life)
            | Event::Peer { to: life, .. } => self.life_stopped_until(*life),
            Event::Connects { life, .. } => {
                let until = self.life_stopped_until(*life)?;
                Some(until.min(self.now.after(ASKS_AGAIN)))
            }
            Event::ToRank(conn, _) | Event::ToRankEnds(conn) => {
                self.life_stopped_until(self.network.conn(*conn)?.life)
            }
            Event::Map(Who::Rank(rank), _) => {
                let host = &self.ranks[usize::from(rank.0)];
                self.pid_stopped_until(host.process.as_ref()?.pid)
            }
            Event::Daemon(pid, _) => self.pid_stopped_until(*pid),
            Event::Post(post) => self.post_stopped_until(post),
            Event::Start(_)
            | Event::Killed(_)
            | Event::OperatorLooks
            | Event::ToClient(..)
            | Event::ToClientEnds(_)
            | Event::NoConnection { .. }
            | Event::ClientTimer(..)
            | Event::Map(..)
            | Event::Invalidates { .. }
            | Event::Process { .. }
            | Event::Fault(_)
            | Event::Dies(..)
            | Event::Cancel(_)
            | Event::Signal { .. }
            | Event::Mounts => None,
        }
    }

    fn life_stopped_until(&self, life: Life) -> Option<Monotonic> {
        let host = &self.ranks[usize::from(life.rank.0)];
        let mut all = host.process.iter().chain(&host.cut_off);
        self.pid_stopped_until(all.find(|process| process.life == life)?.pid)
    }

    fn pid_stopped_until(&self, pid: Pid) -> Option<Monotonic> {
        self.daemons[pid.daemon].running(pid).map(|process| process.paused_until)
    }

    fn post_stopped_until(&self, post: &Post) -> Option<Monotonic> {
        let caller = |conn: &MonitorConn| self.monitor.line(*conn).map(|line| line.caller);
        let stopped = |caller| match caller {
            Caller::Daemon(pid) => self.pid_stopped_until(pid),
            Caller::Client(_) | Caller::Operator => None,
        };
        match post {
            Post::MonitorStarts | Post::TimesOut(_) => None,
            Post::Tick(_) | Post::ToMonitor(..) | Post::CallerGone(_) => {
                Some(self.monitor.paused_until)
            }
            Post::Dials(caller) => stopped(*caller).max(Some(self.monitor.paused_until)),
            Post::FromMonitor(conn, _) | Post::MonitorGone(conn) => stopped(caller(conn)?),
        }
    }
}
