//! The world's part that carries out what ranks ask for.

use std::sync::Arc;
use std::time::Duration;

use common::id::{Incarnation, Rank, Seq};
use common::mds_map::MdsMap;
use common::wire::session::ToMds;
use mds_core::input::{ConnId, Fetch};
use mds_core::message::PeerMsg;
use mds_core::{Effect, Input};

use super::deaths::Death;
use super::{Event, Violation, World};
use crate::sim::checker;
use crate::sim::network::{Lane, Life, Way};
use crate::sim::rank::{Process, RankHost, Sync, in_world};
use crate::sim::trace::Who;

const TURN: Duration = Duration::from_micros(60);
const WRITE: Duration = Duration::from_micros(400);
const SYNC_EVERY: Duration = Duration::from_millis(50);
const SYNC: Duration = Duration::from_millis(3);
/// A disk that has a bad time.
const SYNC_SLOW: Duration = Duration::from_secs(5);
const FETCH: Duration = Duration::from_millis(2);

impl World {
    pub(super) fn host(&mut self, rank: Rank) -> &mut RankHost {
        &mut self.ranks[usize::from(rank.0)]
    }

    pub(super) fn alive(&mut self, life: Life) -> Option<&mut Process> {
        self.host(life.rank).alive(life)
    }

    /// Something for the core.
    pub(super) fn rank_input(&mut self, life: Life, input: Input) {
        let Some(process) = self.alive(life) else { return };
        process.inbox.push(input);
        self.wake(life);
    }

    /// The core is to turn, whether anything has come in or not.
    pub(super) fn wake(&mut self, life: Life) {
        let Some(process) = self.alive(life) else { return };
        if !process.turn_due {
            process.turn_due = true;
            self.soon(TURN, Event::Turn(life));
        }
    }

    /// When its next timer falls due.
    pub(super) fn wake_later(&mut self, life: Life) {
        let Some(process) = self.alive(life) else { return };
        let daemon = process.pid.daemon;
        if let Some(at) = process.next_wake() {
            let late = self.dice.wait(Duration::ZERO, Duration::from_millis(3));
            self.at(in_world(at, daemon).after(late), Event::RankTimer(life));
        }
    }

    pub(super) fn turn(&mut self, life: Life) -> Result<(), Violation> {
        let now = self.now;
        if self.alive(life).is_none() {
            return Ok(());
        }
        if self.trace.is_kept() {
            let inputs = self.alive(life).map(|process| process.inbox.clone()).unwrap_or_default();
            for input in inputs {
                self.trace.line(now, Who::Rank(life.rank), "in", || format!("{input:?}"));
            }
        }
        let sessions = self.sessions_with(life);
        let batches = self.host(life.rank).turn(now, life);
        self.sessions_end(life, &sessions)?;
        if self.alive(life).is_some_and(|process| process.waits_for_monitor()) {
            self.tally.held += 1;
            self.trace.line(now, Who::Rank(life.rank), "held", String::new);
            return Ok(());
        }
        checker::check_succession(self.host(life.rank), life)?;
        checker::check_rank(self.host(life.rank))?;
        checker::check(&self.ranks)?;
        for _ in 0..batches {
            let at = self.now.after(self.dice.wait(Duration::from_micros(1), WRITE));
            // One store thread: batches are written in the order of their turns.
            let at = self.network.not_before(Lane::Store(life), at);
            self.at(at, Event::Written(life));
        }
        self.wake_later(life);
        Ok(())
    }

    pub(super) fn written(&mut self, life: Life) -> Result<(), Violation> {
        let Some(turn) = self.host(life.rank).written(life) else { return Ok(()) };
        if turn.writes() {
            // It could not be written, which is fatal.
            self.die(life, Death::Killed);
            return Ok(());
        }
        if turn.written {
            self.want_sync(life, Sync::Due);
        }
        if let Some(map) = turn.map {
            self.follow(life, map);
        }
        for effect in turn.rest {
            if self.alive(life).is_none() {
                break;
            }
            self.carry_out(life, effect)?;
        }
        Ok(())
    }

    /// The transport goes by a newer map.
    fn follow(&mut self, life: Life, map: MdsMap) {
        if let Some(process) = self.alive(life) {
            process.map = Some(map);
        }
        self.hear_early(life);
    }

    /// What came before this life could take it.
    pub(super) fn hear_early(&mut self, life: Life) {
        for (from, msg) in self.early.remove(&life).unwrap_or_default() {
            self.peer(from, life, msg);
        }
    }

    fn carry_out(&mut self, life: Life, effect: Effect) -> Result<(), Violation> {
        let who = Who::Rank(life.rank);
        self.trace.line(self.now, who, "out", || format!("{effect:?}"));
        match effect {
            Effect::Write(_)
            | Effect::Journal { .. }
            | Effect::TrimJournal { .. }
            | Effect::SetTimer { .. }
            | Effect::StopTimer(_) => unreachable!("the host has seen to these"),
            Effect::Send { to, msg } => self.send(life, to, msg, Lane::Peer),
            Effect::SendBulk { to, msg } => self.send(life, to, msg, Lane::Bulk),
            Effect::Tell { conn, msg } => {
                if self.network.conn(conn).is_some_and(|conn| conn.to_client == Way::Open) {
                    self.along(Lane::ToClient(conn), Event::ToClient(conn, msg));
                }
            }
            Effect::CloseConnection { conn } => self.close(conn),
            Effect::AnswerAdmin { id, reply } => {
                self.ordered(&reply);
                self.admin_replies.insert(id, reply);
            }
            // It cannot be read either, and that is as fatal.
            Effect::Fetch(_) if self.host(life.rank).is_cut_off(life) => {
                self.die(life, Death::Killed);
            }
            Effect::Fetch(fetch) => {
                // The reader may be early or late: it sees this turn's changes, perhaps later ones.
                if self.dice.percent(50) {
                    let found = self.host(life.rank).disk.fetch(&fetch);
                    self.soon(FETCH, Event::RankInput(life, Box::new(Input::Fetched(found))));
                } else {
                    self.soon(FETCH, Event::Fetched(life, fetch));
                }
            }
            Effect::Purge { ino } => self.purge(life, ino),
            Effect::SyncSoon => self.want_sync(life, Sync::Soon),
            Effect::WantState(state) => self.wants(life, state),
            Effect::Reached(point) => {
                self.watch_balancer(life.rank);
                self.reached(life, point);
            }
            Effect::Abort { reason } => {
                let reason = reason.to_string();
                return Err(Violation::Aborted { rank: life.rank, reason });
            }
        }
        Ok(())
    }

    fn send(&mut self, from: Life, to: Rank, msg: PeerMsg, lane: fn(Life, Life) -> Lane) {
        let map = self.alive(from).and_then(|process| process.map.as_ref());
        let Some(incarnation) = map.and_then(|map| map.incarnation(to)) else { return };
        let to = Life { rank: to, incarnation };
        self.along(lane(from, to), Event::Peer { from, to, msg });
    }

    /// A peer's message arrives: held while the map does not show the sender's life yet.
    pub(super) fn peer(&mut self, from: Life, to: Life, msg: PeerMsg) {
        if !self.network.arrives(from, self.now) {
            return;
        }
        let Some(process) = self.alive(to) else {
            // Its sender tries on until the core has begun.
            if self.is_about_to_begin(to) {
                self.early.entry(to).or_default().push((from, msg));
            }
            return;
        };
        let known = process.map.as_ref().and_then(|map| map.ranks.get(&from.rank));
        let known = known.map_or(Incarnation(0), |entry| entry.incarnation);
        if known < from.incarnation {
            self.early.entry(to).or_default().push((from, msg));
        } else if known == from.incarnation {
            let Life { rank, incarnation } = from;
            self.rank_input(to, Input::Peer { from: rank, incarnation, msg });
        }
    }

    pub(super) fn map_arrives(&mut self, to: Who, map: &Arc<MdsMap>) -> Result<(), Violation> {
        match to {
            Who::Rank(rank) => {
                let Some(process) = &mut self.host(rank).process else { return Ok(()) };
                if process.map_newest >= map.epoch {
                    return Ok(());
                }
                process.map_newest = map.epoch;
                let life = process.life;
                self.rank_input(life, Input::Map(MdsMap::clone(map)));
                Ok(())
            }
            Who::Client(client) => {
                if self.clients[client].is_news(map) {
                    self.client_input(client, client_core::Input::Map(MdsMap::clone(map)))?;
                }
                Ok(())
            }
            Who::World | Who::Monitor | Who::Daemon(_) => Ok(()),
        }
    }

    pub(super) fn fetched(&mut self, life: Life, fetch: &Fetch) {
        let found = self.host(life.rank).disk.fetch(fetch);
        self.rank_input(life, Input::Fetched(found));
    }

    pub(super) fn rank_timer(&mut self, life: Life) {
        let Some(process) = self.alive(life) else { return };
        process.wakes_at = None;
        let daemon = process.pid.daemon;
        if process.timers.next().is_some_and(|at| in_world(at, daemon) <= self.now) {
            self.wake(life);
        } else {
            self.wake_later(life);
        }
    }

    pub(super) fn rank_hears(&mut self, conn: ConnId, msg: ToMds) {
        let Some(it) = self.network.conn(conn).copied() else { return };
        if it.to_rank != Way::Shut {
            let client = self.clients[it.client].id;
            self.rank_input(it.life, Input::Client { conn, client, msg });
        }
    }

    pub(super) fn rank_loses(&mut self, conn: ConnId) {
        let Some(it) = self.network.conn(conn).copied() else { return };
        if it.to_rank != Way::Shut {
            let client = self.clients[it.client].id;
            self.rank_input(it.life, Input::ClientGone { conn, client });
            self.network.shut(conn, Lane::ToRank(conn));
        }
    }

    /// The rank ends a connection, after what it has said.
    fn close(&mut self, conn: ConnId) {
        let Some(it) = self.network.conn_mut(conn) else { return };
        if it.to_client == Way::Open {
            it.to_client = Way::Ending;
            self.along(Lane::ToClient(conn), Event::ToClientEnds(conn));
        }
        self.along(Lane::ToRank(conn), Event::ToRankEnds(conn));
    }

    /// A sync begins by itself a while after something was written, or at once if somebody waits.
    fn want_sync(&mut self, life: Life, wanted: Sync) {
        let Some(process) = self.alive(life) else { return };
        match (process.sync, wanted) {
            (Sync::Idle, Sync::Due) => {
                process.sync = Sync::Due;
                self.after(SYNC_EVERY, Event::SyncBegins(life));
            }
            (Sync::Idle | Sync::Due, Sync::Soon) => {
                process.sync = Sync::Soon;
                self.soon(Duration::from_micros(50), Event::SyncBegins(life));
            }
            (Sync::Running, Sync::Soon) => process.sync_again = true,
            (Sync::Idle | Sync::Due | Sync::Soon | Sync::Running, _) => (),
        }
    }

    pub(super) fn sync_begins(&mut self, life: Life) {
        if self.host(life.rank).is_cut_off(life) {
            return;
        }
        let written = self.host(life.rank).disk.written();
        let Some(process) = self.alive(life) else { return };
        match (process.sync, written) {
            (Sync::Due | Sync::Soon, Some(through)) => {
                process.sync = Sync::Running;
                let now = self.now;
                let slow = now < self.host(life.rank).sync_slow_until;
                let longest = if slow { SYNC_SLOW } else { SYNC };
                let ends = Event::SyncEnds(life, through);
                if self.settings.slow_disk == Some(life.rank) {
                    self.after(SYNC_SLOW, ends);
                } else {
                    self.soon(longest, ends);
                }
            }
            (Sync::Due | Sync::Soon, None) => process.sync = Sync::Idle,
            (Sync::Idle | Sync::Running, _) => (),
        }
    }

    pub(super) fn sync_ends(&mut self, life: Life, through: Seq) {
        if self.alive(life).is_none() || self.host(life.rank).is_cut_off(life) {
            return;
        }
        self.host(life.rank).disk.synced(through);
        self.is_safe(life, through);
        self.rank_input(life, Input::Durable { through });
        let more = self.host(life.rank).disk.written().is_some();
        let Some(process) = self.alive(life) else { return };
        process.sync = Sync::Idle;
        let again = std::mem::take(&mut process.sync_again);
        if more {
            self.want_sync(life, if again { Sync::Soon } else { Sync::Due });
        }
    }
}
