//! The world's part that is unkind, and the operator's.

use std::time::Duration;

use client_core::Call;
use common::attr::FileKind;
use common::id::{Ino, MigrationId, Rank};
use common::mds_map::Switch;
use common::migration::{MigrationCause, MigrationRecord};
use common::wire::admin::{AdminReply, AdminRequest};
use common::wire::request::{XattrName, XattrSet, XattrValue};
use mds_core::Input;
use mds_core::input::{AdminId, ConnId};

use super::plan::Fault;
use super::{Event, Violation, World};
use crate::sim::dice::Dice;
use crate::sim::network::{Lane, Way};
use crate::sim::rank::RankHost;
use crate::sim::trace::Who;

/// Shorter than what a lease leaves when its renewal has just been missed, and a pause comes on top.
const CUT_MAX: Duration = Duration::from_secs(3);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// About as long as the monitor waits, or longer than a successor needs.
const LONG_PAUSE_MIN: Duration = Duration::from_secs(3);
const LONG_PAUSE_MAX: Duration = Duration::from_secs(14);
const MONITOR_CUT_MAX: Duration = Duration::from_secs(9);
/// After the balancer was switched off.
const MOVES_END: Duration = Duration::from_secs(1);
const SYNC_SLOW_FOR_MAX: Duration = Duration::from_secs(4);

impl World {
    pub(super) fn fault(&mut self, number: usize) -> Result<(), Violation> {
        self.faults_left -= 1;
        let fault = self.plan[number].fault;
        let mut dice = self.plan[number].dice.clone();
        self.trace.line(self.now, Who::World, "fault", || format!("{number} {fault:?}"));
        match fault {
            Fault::Death => self.some_rank_dies(&mut dice),
            Fault::HardDeath => self.some_rank_dies_hard(&mut dice),
            Fault::DeathAtPoint(_) => unreachable!("waits for its moment, not for a time"),
            Fault::Break => {
                let conns = self.network.open_conns();
                if let Some(conn) = dice.pick(&conns).copied() {
                    self.break_connection(conn, &mut dice);
                }
            }
            Fault::Cut => self.cut(&mut dice),
            Fault::Pause => self.pause_rank(Duration::from_millis(5), PAUSE_MAX, &mut dice),
            Fault::LongPause => self.pause_rank(LONG_PAUSE_MIN, LONG_PAUSE_MAX, &mut dice),
            Fault::KillMonitor => self.kill_monitor(&mut dice),
            Fault::PauseMonitor => self.pause_monitor(&mut dice),
            Fault::CutFromMonitor => self.cut_from_monitor(&mut dice),
            Fault::StandbyDeath => self.some_standby_dies(&mut dice),
            Fault::SlowSync => {
                let rank = dice.index(self.ranks.len());
                self.ranks[rank].sync_slow_until =
                    self.now.after(dice.wait(Duration::from_millis(50), SYNC_SLOW_FOR_MAX));
            }
            Fault::ClockStep => self.step_clock(&mut dice),
            Fault::ClientDeath => self.some_client_dies(&mut dice),
            Fault::Evict => self.evict_some_client(&mut dice),
            Fault::CutClient => self.cut_client_off(&mut dice),
            Fault::Export => self.export(&mut dice),
            Fault::Pin => self.pin(&mut dice)?,
        }
        Ok(())
    }

    /// Between two ranks, or a client and a rank. What is sent waits until the link heals.
    fn cut(&mut self, dice: &mut Dice) {
        let to = Rank(u16::try_from(dice.index(self.ranks.len())).expect("ranks have 16 bits"));
        let from = if self.ranks.len() > 1 && dice.percent(70) {
            Who::Rank(self.other_rank(to, dice))
        } else {
            let Some(client) = self.some_client(dice) else { return };
            Who::Client(client)
        };
        let to = Who::Rank(to);
        let heals = self.now.after(dice.wait(Duration::from_millis(5), CUT_MAX));
        let ways = dice.below(3);
        self.trace.line(self.now, Who::World, "cut", || format!("{from} {to} ways {ways}"));
        if ways != 0 {
            self.network.cut(from, to, heals);
        }
        if ways != 1 {
            self.network.cut(to, from, heals);
        }
    }

    /// `SIGSTOP`, and later `SIGCONT`.
    fn pause_rank(&mut self, shortest: Duration, longest: Duration, dice: &mut Dice) {
        let rank = dice.index(self.ranks.len());
        let until = self.now.after(dice.wait(shortest, longest));
        self.trace.line(self.now, Who::World, "pause", || format!("{rank} until {}", until.0));
        if let Some(pid) = self.ranks[rank].process.as_ref().map(|process| process.pid) {
            self.stop(pid, until);
        }
    }

    /// A rank and the monitor do not hear each other, one way or both.
    fn cut_from_monitor(&mut self, dice: &mut Dice) {
        let number = dice.index(self.daemons.len());
        let daemon = Who::Daemon(number);
        let heals = self.now.after(dice.wait(Duration::from_secs(1), MONITOR_CUT_MAX));
        self.disturbed_until = self.disturbed_until.max(heals);
        let ways = dice.below(3);
        self.trace.line(self.now, Who::World, "cut", || format!("{daemon} mon ways {ways}"));
        if ways != 0 {
            self.network.cut(daemon, Who::Monitor, heals);
        }
        if ways != 1 {
            self.network.cut(Who::Monitor, daemon, heals);
        }
        self.nothing_until(number, heals);
    }

    fn step_clock(&mut self, dice: &mut Dice) {
        let seconds = i64::try_from(dice.below(7200)).expect("below 7200") - 3600;
        if dice.percent(60) {
            let rank = dice.index(self.ranks.len());
            self.ranks[rank].wall_ahead = seconds;
        } else if let Some(client) = self.some_client(dice) {
            self.clients[client].wall_ahead = seconds;
        }
    }

    /// An operator moves a directory that some client knows; often one that is gone or cannot be moved.
    fn export(&mut self, dice: &mut Dice) {
        let Some(client) = self.some_client(dice) else { return };
        let dirs = self.clients[client].kernel.of_kind(|kind| kind == FileKind::Dir);
        let Some(dir) = dice.pick(&dirs).copied() else { return };
        let to = Rank(u16::try_from(dice.below(u64::from(self.settings.ranks))).unwrap_or(0));
        let holds = |host: &&RankHost| {
            let holdings = host.process.as_ref().map(|process| process.mds.holdings());
            let auth = holdings.map(|holdings| holdings.subtrees.rank_of(dir, &holdings.namespace));
            matches!(auth, Some(Ok(Some(rank))) if rank == host.rank)
        };
        let from = self.ranks.iter().find(holds).map_or(Rank::ROOT, |host| host.rank);
        self.order(from, AdminRequest::Export { dir, to });
    }

    /// Tells a rank to do something; its answer is for the trace.
    pub(super) fn order(&mut self, rank: Rank, request: AdminRequest) {
        self.admin_last += 1;
        let id = AdminId(self.admin_last);
        if let Some(life) = self.host(rank).process.as_ref().map(|process| process.life) {
            self.rank_input(life, Input::Admin { id, request });
        }
    }

    /// An operator changes his mind about some of what he ordered.
    pub(super) fn ordered(&mut self, reply: &AdminReply) {
        if let AdminReply::Exporting(id) = reply
            && self.dice.percent(self.cancelled_percent)
        {
            self.soon(Duration::from_millis(60), Event::Cancel(*id));
        }
        if let AdminReply::Migrations(records) = reply {
            self.seen(records);
        }
    }

    /// Somebody looks at what moves by itself.
    pub(super) fn watch_balancer(&mut self, rank: Rank) {
        let percent = self.settings.balancer.unwrap_or(0);
        if percent > 0 && self.dice.percent(u64::from(percent)) {
            self.order(rank, AdminRequest::Migrations);
        }
    }

    /// And stops it.
    fn seen(&mut self, records: &[MigrationRecord]) {
        let by_itself = |record: &&MigrationRecord| record.cause == MigrationCause::Balancer;
        for record in records.iter().filter(by_itself).filter(|record| !record.is_over()) {
            self.tally.balancer_cancels += 1;
            self.cancel(record.id);
        }
    }

    /// Nothing moves by itself any more. How much has?
    pub(super) fn stop_balancing(&mut self) -> Result<(), Violation> {
        if self.settings.balancer.is_none() {
            return Ok(());
        }
        self.switch_balancer(Switch::Off);
        self.run_for(MOVES_END)?;
        for rank in (0..self.settings.ranks).map(Rank) {
            if let AdminReply::Migrations(records) =
                self.question(rank, AdminRequest::Migrations)?
            {
                let moved = records.iter().filter(|it| it.cause == MigrationCause::Balancer);
                self.tally.balancer_moves += moved.count() as u64;
            }
        }
        Ok(())
    }

    pub(super) fn cancel(&mut self, id: MigrationId) {
        self.order(id.exporter, AdminRequest::CancelMigration { id });
    }

    /// Somebody pins a directory to a rank, or frees it: `setfattr --name grove.dir.pin`.
    fn pin(&mut self, dice: &mut Dice) -> Result<(), Violation> {
        let Some(client) = self.some_client(dice) else { return Ok(()) };
        let dirs = self.clients[client].kernel.of_kind(|kind| kind == FileKind::Dir);
        let Some(ino) = dice.pick(&dirs).copied().filter(|ino| *ino != Ino::ROOT) else {
            return Ok(());
        };
        let to = dice.below(u64::from(self.settings.ranks) + 1);
        let to = if to < u64::from(self.settings.ranks) { to.to_string() } else { "-1".to_owned() };
        let value = XattrValue(to.into_bytes().into());
        let name = XattrName(b"grove.dir.pin".as_slice().into());
        self.unchecked(client, Call::SetXattr { ino, name, value, mode: XattrSet::Any })
    }

    fn break_connection(&mut self, conn: ConnId, dice: &mut Dice) {
        self.trace.line(self.now, Who::World, "breaks", || format!("{conn:?}"));
        if dice.percent(50) {
            self.cut_to_client(conn, dice);
        } else {
            self.end_to_client(conn);
        }
        let Some(it) = self.network.conn(conn).copied() else { return };
        if dice.percent(50) {
            let (life, client) = (it.life, self.clients[it.client].id);
            let gone = Input::ClientGone { conn, client };
            self.network.shut(conn, Lane::ToRank(conn));
            self.soon(Duration::from_secs(1), Event::RankInput(life, Box::new(gone)));
        } else if it.to_rank == Way::Open {
            if let Some(it) = self.network.conn_mut(conn) {
                it.to_rank = Way::Ending;
            }
            self.along(Lane::ToRank(conn), Event::ToRankEnds(conn));
        }
    }

    /// What is under way to the client is lost; it hears of the end some time later.
    pub(super) fn cut_to_client(&mut self, conn: ConnId, dice: &mut Dice) {
        let Some(it) = self.network.conn(conn).copied() else { return };
        if it.to_client == Way::Shut {
            return;
        }
        self.network.shut(conn, Lane::ToClient(conn));
        let (client, link) = (it.client, it.link);
        let later = dice.wait(Duration::from_micros(1), Duration::from_secs(1));
        self.after(later, Event::NoConnection { client, link });
    }

    /// What is under way to the client arrives, then the end.
    pub(super) fn end_to_client(&mut self, conn: ConnId) {
        let Some(it) = self.network.conn_mut(conn) else { return };
        if it.to_client == Way::Open {
            it.to_client = Way::Ending;
            self.along(Lane::ToClient(conn), Event::ToClientEnds(conn));
        }
    }
}
