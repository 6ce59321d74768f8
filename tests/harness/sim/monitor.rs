//! `MonitorHost`: what stands around the real monitor in its daemon: a store that outlives it, and its
//! connections.

use std::collections::BTreeMap;

use common::id::{ClusterId, Rank};
use common::limit::BEACON_GRACE;
use common::mds_map::{MdsMap, RankState};
use common::name::NameHashKey;
use common::time::Monotonic;
use common::wire::monitor::{FromMonitor, ToMonitor};
use mds_core::monitor::{Asker, ConnId, Effect, Input, Monitor, Params, Stored};

use super::daemon::Pid;

/// One connection to one life of the monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonitorConn(pub u64);

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    Daemon(Pid),
    Client(usize),
    Operator,
}

/// Each end is told by itself that the other is gone.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub caller: Caller,
    /// The life of the monitor that it leads to.
    pub life: u64,
    /// What the caller has said arrives.
    pub up: bool,
    /// What the monitor has said arrives.
    pub down: bool,
    /// Nothing came through for so long that both ends have given it up, or will when they wake up.
    pub timed_out: bool,
}

#[derive(Clone, Debug)]
pub struct MonitorHost {
    params: Params,
    /// What a monitor that starts finds.
    stored: Stored,
    monitor: Option<Monitor>,
    /// Of the last process.
    pub life: u64,
    pub paused_until: Monotonic,
    /// It dies when it has stored something the next time, before it has told anybody.
    pub dies_after_storing: bool,
    lines: BTreeMap<MonitorConn, Line>,
    conn_last: u64,
    /// Since when ranks are down, as far as the stored map says.
    down_since: BTreeMap<Rank, Monotonic>,
}

/// What came of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Lives,
    Dies,
}

impl MonitorHost {
    /// A cluster of daemons that have formatted their stores, and nothing more.
    #[must_use]
    pub fn new(cluster: ClusterId, key: NameHashKey, ranks: &[String], now: Monotonic) -> Self {
        let ranks_wanted = u16::try_from(ranks.len()).expect("ranks have 16 bits");
        let params = Params { ranks_wanted, grace: BEACON_GRACE };
        let mut host = Self {
            params,
            stored: Stored::format(cluster, key),
            monitor: None,
            life: 0,
            paused_until: Monotonic(0),
            dies_after_storing: false,
            lines: BTreeMap::new(),
            conn_last: 0,
            down_since: BTreeMap::new(),
        };
        host.start(now);
        for daemon in ranks {
            let asker = Asker::Mds { name: daemon.clone() };
            let msg = ToMonitor::AllocateSlot { daemon: daemon.clone() };
            let input = Input::Message { from: ConnId(0), asker, msg };
            let mut sends = Vec::new();
            host.handle(now, input, &mut sends).expect("the first maps are in order");
        }
        host
    }

    /// # Panics
    /// If it begins with telling somebody something: nobody can have connected.
    pub fn start(&mut self, now: Monotonic) {
        self.life += 1;
        self.paused_until = Monotonic(0);
        self.dies_after_storing = false;
        let mut out = Vec::new();
        let monitor = Monitor::new(self.params.clone(), self.stored.clone(), now, &mut out);
        assert!(out.is_empty(), "all slots have their ranks: {out:?}");
        self.monitor = Some(monitor);
    }

    /// Returns the connections that have to learn of it.
    pub fn die(&mut self) -> Vec<MonitorConn> {
        self.monitor = None;
        let lines = self.lines.iter_mut();
        lines
            .map(|(conn, line)| {
                line.up = false;
                *conn
            })
            .collect()
    }

    #[must_use]
    pub fn is_running(&self) -> bool {
        self.monitor.is_some()
    }

    /// The newest map that anybody can have seen.
    #[must_use]
    pub fn map(&self) -> &MdsMap {
        &self.stored.map
    }

    /// Since when a rank that had a holder has none.
    #[must_use]
    pub fn down_since(&self, rank: Rank) -> Option<Monotonic> {
        self.down_since.get(&rank).copied()
    }

    /// # Errors
    /// The map it stored must not follow the one before.
    pub fn handle(
        &mut self,
        now: Monotonic,
        input: Input,
        sends: &mut Vec<(MonitorConn, FromMonitor)>,
    ) -> Result<Outcome, String> {
        let Some(monitor) = &mut self.monitor else { return Ok(Outcome::Lives) };
        let mut out = Vec::new();
        monitor.handle(now, input, &mut out);
        for effect in out {
            match effect {
                Effect::Persist(stored) => {
                    follows(&self.stored.map, &stored.map)?;
                    self.stored = stored;
                    self.note_deaths(now);
                    if self.dies_after_storing {
                        return Ok(Outcome::Dies);
                    }
                }
                Effect::Send { to, msg } => {
                    if let FromMonitor::Map(map) = &msg
                        && *map != self.stored.map
                    {
                        return Err(format!("map {} is told and not stored", map.epoch));
                    }
                    sends.push((MonitorConn(to.0), msg));
                }
            }
        }
        Ok(Outcome::Lives)
    }

    fn note_deaths(&mut self, now: Monotonic) {
        for (rank, entry) in &self.stored.map.ranks {
            if entry.state == RankState::Down {
                self.down_since.entry(*rank).or_insert(now);
            } else {
                self.down_since.remove(rank);
            }
        }
    }

    pub fn connect(&mut self, caller: Caller) -> MonitorConn {
        self.conn_last += 1;
        let conn = MonitorConn(self.conn_last);
        self.lines
            .insert(conn, Line { caller, life: self.life, up: true, down: true, timed_out: false });
        conn
    }

    #[must_use]
    pub fn line(&self, conn: MonitorConn) -> Option<&Line> {
        self.lines.get(&conn)
    }

    #[must_use]
    pub fn lines_of(&self, caller: Caller) -> Vec<MonitorConn> {
        let lines = self.lines.iter().filter(|(_, line)| line.caller == caller);
        lines.map(|(conn, _)| *conn).collect()
    }

    pub fn time_out(&mut self, conn: MonitorConn) {
        if let Some(line) = self.lines.get_mut(&conn) {
            line.timed_out = true;
        }
    }

    /// The monitor is not to hear this caller any more. Tells whether it still did.
    pub fn shut_up(&mut self, conn: MonitorConn) -> bool {
        let heard = self.lines.get_mut(&conn).map(|line| std::mem::take(&mut line.up));
        self.forget(conn);
        heard == Some(true)
    }

    /// The caller is not to hear the monitor any more. Tells whether it still did.
    pub fn shut_down(&mut self, conn: MonitorConn) -> bool {
        let heard = self.lines.get_mut(&conn).map(|line| std::mem::take(&mut line.down));
        self.forget(conn);
        heard == Some(true)
    }

    fn forget(&mut self, conn: MonitorConn) {
        if self.lines.get(&conn).is_some_and(|line| !line.up && !line.down) {
            self.lines.remove(&conn);
        }
    }
}

/// M1 and M2, and that lives go their way: what may come after a map.
fn follows(old: &MdsMap, new: &MdsMap) -> Result<(), String> {
    if new == old {
        return Ok(());
    }
    if new.epoch <= old.epoch {
        return Err(format!("map {} after map {}", new.epoch, old.epoch));
    }
    for (rank, entry) in &old.ranks {
        let Some(then) = new.ranks.get(rank) else { continue };
        let (before, after) = (entry.state, then.state);
        let goes_on = after == RankState::Down || (before != RankState::Down && after >= before);
        if then.incarnation < entry.incarnation
            || (then.incarnation == entry.incarnation && !goes_on)
        {
            let (old, new) = (entry.incarnation, then.incarnation);
            return Err(format!(
                "rank {rank}: {} of life {old}, then {} of life {new}",
                before.name(),
                after.name()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> MonitorHost {
        let daemons = ["mds.0".to_owned(), "mds.1".to_owned()];
        MonitorHost::new(ClusterId(1), NameHashKey(1, 2), &daemons, Monotonic(1))
    }

    #[test]
    fn it_goes_on_from_what_it_has_stored() {
        let mut host = host();
        let map = host.map().clone();
        assert_eq!(map.slots.len(), 2);
        host.die();
        assert!(!host.is_running());
        host.start(Monotonic(5));
        assert_eq!((host.life, host.map()), (2, &map));
    }

    #[test]
    fn the_dead_do_not_come_back_and_epochs_grow() {
        let old = host().map().clone();
        let state = |incarnation, state| {
            let mut map = old.clone();
            map.epoch.0 += incarnation;
            let entry = common::mds_map::RankEntry {
                daemon: String::new(),
                incarnation: common::id::Incarnation(incarnation),
                addr: std::net::SocketAddr::from(([127, 0, 0, 1], 7000)),
                state,
            };
            map.ranks.insert(Rank(0), entry);
            map
        };
        let dead = state(1, RankState::Down);
        let mut undead = state(1, RankState::Active);
        undead.epoch.0 += 1;
        assert!(follows(&dead, &undead).is_err());
        assert!(follows(&dead, &state(2, RankState::Replay)).is_ok());
        assert!(follows(&state(2, RankState::Replay), &dead).is_err());
    }
}
