//! The world's part that is unkind.

use std::time::Duration;

use common::limit::BEACON_GRACE;
use common::mds_map::RankState;

use super::{Event, Fault, World};
use crate::sim::network::{Lane, Life, Way};
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
    pub(super) fn fault(&mut self, fault: Fault) {
        self.faults_left -= 1;
        match fault {
            Fault::Death => {
                // One at a time, and while nobody is on the way back.
                let active = |world: &Self| {
                    let map = world.monitor.map();
                    world.ranks.iter().all(|host| {
                        host.process.is_some() && map.state(host.rank) == RankState::Active
                    })
                };
                if active(self) {
                    let rank = self.dice.index(self.ranks.len());
                    if let Some(life) = self.ranks[rank].process.as_ref().map(|it| it.life) {
                        let power = self.dice.percent(60);
                        self.die(life, if power { Death::PowerLost } else { Death::Killed });
                    }
                }
            }
            Fault::Break => {
                let conns = self.network.open_conns();
                if let Some(conn) = self.dice.pick(&conns).copied() {
                    self.break_connection(conn);
                }
            }
        }
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

    fn break_connection(&mut self, conn: mds_core::input::ConnId) {
        self.trace.line(self.now, Who::World, "breaks", || format!("{conn:?}"));
        if self.dice.percent(50) {
            self.cut_to_client(conn);
        } else {
            self.end_to_client(conn);
        }
        let Some(it) = self.network.conn(conn).copied() else { return };
        if self.dice.percent(50) {
            let (life, client) = (it.life, self.clients[it.client].id);
            let gone = mds_core::Input::ClientGone { conn, client };
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
    fn cut_to_client(&mut self, conn: mds_core::input::ConnId) {
        let Some(it) = self.network.conn(conn).copied() else { return };
        if it.to_client == Way::Shut {
            return;
        }
        self.network.shut(conn, Lane::ToClient(conn));
        let (client, link) = (it.client, it.link);
        self.soon(Duration::from_secs(1), Event::NoConnection { client, link });
    }

    /// What is under way to the client arrives, then the end.
    fn end_to_client(&mut self, conn: mds_core::input::ConnId) {
        let Some(it) = self.network.conn_mut(conn) else { return };
        if it.to_client == Way::Open {
            it.to_client = Way::Ending;
            self.along(Lane::ToClient(conn), Event::ToClientEnds(conn));
        }
    }
}
