//! The world's part that is unkind.

use std::time::Duration;

use client_core::Call;
use common::attr::FileKind;
use common::id::{Ino, Rank};
use common::limit::BEACON_GRACE;
use common::wire::admin::{AdminReply, AdminRequest};
use common::wire::request::{XattrName, XattrSet, XattrValue};
use mds_core::Input;
use mds_core::input::{AdminId, ConnId};

use super::{Event, Fault, Violation, World};
use crate::sim::network::{Lane, Life, Way};
use crate::sim::rank::RankHost;
use crate::sim::trace::Who;

/// How a rank dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// `kill -9`: what was written is found again.
    Killed,
    /// What was not synced is gone.
    PowerLost,
}

impl World {
    pub(super) fn fault(&mut self, fault: Fault) -> Result<(), Violation> {
        match fault {
            Fault::Cancel(_) => (),
            Fault::Death | Fault::Break | Fault::Export | Fault::Pin => self.faults_left -= 1,
        }
        match fault {
            Fault::Death => self.some_rank_dies(),
            Fault::Break => {
                let conns = self.network.open_conns();
                if let Some(conn) = self.dice.pick(&conns).copied() {
                    self.break_connection(conn);
                }
            }
            Fault::Export => self.export(),
            Fault::Cancel(id) => self.order(id.exporter, AdminRequest::CancelMigration { id }),
            Fault::Pin => self.pin()?,
        }
        Ok(())
    }

    /// One at a time, and while nobody is on the way back.
    fn some_rank_dies(&mut self) {
        if !self.all_active() {
            return;
        }
        let rank = self.dice.index(self.ranks.len());
        if let Some(life) = self.ranks[rank].process.as_ref().map(|process| process.life) {
            let power = self.dice.percent(60);
            self.die(life, if power { Death::PowerLost } else { Death::Killed });
        }
    }

    /// An operator moves a directory that some client knows; often one that is gone or cannot be moved.
    fn export(&mut self) {
        let client = self.dice.index(self.clients.len());
        let dirs = self.clients[client].kernel.of_kind(|kind| kind == FileKind::Dir);
        let Some(dir) = self.dice.pick(&dirs).copied() else { return };
        let to = Rank(u16::try_from(self.dice.below(u64::from(self.settings.ranks))).unwrap_or(0));
        let holds = |host: &&RankHost| {
            let holdings = host.process.as_ref().map(|process| process.mds.holdings());
            let auth = holdings.map(|holdings| holdings.subtrees.rank_of(dir, &holdings.namespace));
            matches!(auth, Some(Ok(Some(rank))) if rank == host.rank)
        };
        let from = self.ranks.iter().find(holds).map_or(Rank::ROOT, |host| host.rank);
        self.order(from, AdminRequest::Export { dir, to });
    }

    /// Tells a rank to do something; its answer is for the trace.
    fn order(&mut self, rank: Rank, request: AdminRequest) {
        self.admin_last += 1;
        let id = AdminId(self.admin_last);
        if let Some(life) = self.host(rank).process.as_ref().map(|process| process.life) {
            self.rank_input(life, Input::Admin { id, request });
        }
    }

    /// An operator changes his mind about some of what he ordered.
    pub(super) fn ordered(&mut self, reply: &AdminReply) {
        if let AdminReply::Exporting(id) = reply
            && self.dice.percent(20)
        {
            self.soon(Duration::from_millis(60), Event::Fault(Fault::Cancel(*id)));
        }
    }

    /// Somebody pins a directory to a rank, or frees it: `setfattr --name grove.dir.pin`.
    fn pin(&mut self) -> Result<(), Violation> {
        let client = self.dice.index(self.clients.len());
        let dirs = self.clients[client].kernel.of_kind(|kind| kind == FileKind::Dir);
        let Some(ino) = self.dice.pick(&dirs).copied().filter(|ino| *ino != Ino::ROOT) else {
            return Ok(());
        };
        let to = self.dice.below(u64::from(self.settings.ranks) + 1);
        let to = if to < u64::from(self.settings.ranks) { to.to_string() } else { "-1".to_owned() };
        let value = XattrValue(to.into_bytes().into());
        let name = XattrName(b"grove.dir.pin".as_slice().into());
        self.unchecked(client, Call::SetXattr { ino, name, value, mode: XattrSet::Any })
    }

    /// A rank dies, and comes back after a while: sometimes before anybody noticed.
    pub fn die(&mut self, life: Life, death: Death) {
        if self.alive(life).is_none() {
            return;
        }
        self.trace.line(self.now, Who::Rank(life.rank), "dies", || format!("{death:?}"));
        let host = &mut self.ranks[usize::from(life.rank.0)];
        host.process = None;
        if death == Death::PowerLost {
            host.disk.lose_power(&mut self.dice);
            self.history.lose_power();
        }
        self.early.remove(&life);
        self.network.died(life, self.now, &mut self.dice);
        for conn in self.network.conns_to(life) {
            self.network.shut(conn, Lane::ToRank(conn));
            if self.dice.percent(50) {
                self.cut_to_client(conn);
            } else {
                self.end_to_client(conn);
            }
        }
        self.after(BEACON_GRACE, Event::GraceOver(life));
        let away = self.dice.wait(Duration::from_millis(200), Duration::from_secs(7));
        self.after(away, Event::Start(life.rank));
    }

    fn break_connection(&mut self, conn: ConnId) {
        self.trace.line(self.now, Who::World, "breaks", || format!("{conn:?}"));
        if self.dice.percent(50) {
            self.cut_to_client(conn);
        } else {
            self.end_to_client(conn);
        }
        let Some(it) = self.network.conn(conn).copied() else { return };
        if self.dice.percent(50) {
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
    fn cut_to_client(&mut self, conn: ConnId) {
        let Some(it) = self.network.conn(conn).copied() else { return };
        if it.to_client == Way::Shut {
            return;
        }
        self.network.shut(conn, Lane::ToClient(conn));
        let (client, link) = (it.client, it.link);
        self.soon(Duration::from_secs(1), Event::NoConnection { client, link });
    }

    /// What is under way to the client arrives, then the end.
    fn end_to_client(&mut self, conn: ConnId) {
        let Some(it) = self.network.conn_mut(conn) else { return };
        if it.to_client == Way::Open {
            it.to_client = Way::Ending;
            self.along(Lane::ToClient(conn), Event::ToClientEnds(conn));
        }
    }
}
