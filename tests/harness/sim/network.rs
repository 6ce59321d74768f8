//! `Network`: what was sent arrives late, in order, or not at all.
//!
//! Messages wait in the world's queue of events; here is when they arrive and whether they still may.

use std::collections::BTreeMap;
use std::time::Duration;

use common::id::{Incarnation, Rank};
use common::time::Monotonic;
use mds_core::input::ConnId;

use client_core::LinkId;

use super::dice::Dice;
use super::monitor::MonitorConn;
use super::trace::Who;

const SHORTEST: Duration = Duration::from_micros(15);
const LONGEST: Duration = Duration::from_millis(4);

/// Where order is kept: what goes along one lane arrives in the order in which it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    ToRank(ConnId),
    ToClient(ConnId),
    Peer(Life, Life),
    Bulk(Life, Life),
    ToMonitor(Who, MonitorConn),
    FromMonitor(Who, MonitorConn),
    Store(Life),
}

/// One life of one rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Life {
    pub rank: Rank,
    pub incarnation: Incarnation,
}

/// One connection of a client to a rank.
#[derive(Clone, Copy, Debug)]
pub struct Conn {
    pub client: usize,
    pub link: LinkId,
    pub life: Life,
    /// Each end is told by itself that the other is gone; until then it gets what is under way.
    pub to_rank: Way,
    pub to_client: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Open,
    /// What is under way arrives, then the end; nothing more is accepted.
    Ending,
    /// Nothing arrives any more.
    Shut,
}

#[derive(Clone, Debug, Default)]
pub struct Network {
    /// When the last message of a lane arrives.
    last: BTreeMap<Lane, Monotonic>,
    conns: BTreeMap<ConnId, Conn>,
    conn_last: u64,
    /// Of the dead: what they sent arrives until then.
    cut_off: BTreeMap<Life, Monotonic>,
    /// Links that are cut, by direction, and when they heal.
    cuts: BTreeMap<(Who, Who), Monotonic>,
}

impl Network {
    /// When what is sent along a lane at `now` arrives.
    pub fn arrival(&mut self, lane: Lane, now: Monotonic, dice: &mut Dice) -> Monotonic {
        let soonest = now.after(dice.wait(SHORTEST, LONGEST));
        let healed = self.ends(lane).and_then(|ends| self.cuts.get(&ends)).copied();
        self.not_before(lane, soonest.max(healed.unwrap_or_default()))
    }

    /// From now on nothing arrives that way; when it heals, all that was sent meanwhile.
    pub fn cut(&mut self, from: Who, to: Who, heals: Monotonic) {
        let healed = self.cuts.entry((from, to)).or_default();
        *healed = heals.max(*healed);
    }

    /// When a message that is sent now would get through, if that is not now.
    #[must_use]
    pub fn heals(&self, from: Who, to: Who) -> Monotonic {
        self.cuts.get(&(from, to)).copied().unwrap_or_default()
    }

    fn ends(&self, lane: Lane) -> Option<(Who, Who)> {
        if self.cuts.is_empty() {
            return None;
        }
        let ends = |conn: &Conn| (Who::Client(conn.client), Who::Rank(conn.life.rank));
        match lane {
            Lane::ToRank(conn) => self.conn(conn).map(ends),
            Lane::ToClient(conn) => self.conn(conn).map(ends).map(|(client, rank)| (rank, client)),
            Lane::Peer(from, to) | Lane::Bulk(from, to) => {
                Some((Who::Rank(from.rank), Who::Rank(to.rank)))
            }
            Lane::ToMonitor(who, _) => Some((who, Who::Monitor)),
            Lane::FromMonitor(who, _) => Some((Who::Monitor, who)),
            Lane::Store(_) => None,
        }
    }

    /// `at`, or just after the last message of the lane.
    pub fn not_before(&mut self, lane: Lane, at: Monotonic) -> Monotonic {
        let last = self.last.entry(lane).or_default();
        *last = at.max(Monotonic(last.0 + 1));
        *last
    }

    pub fn connect(&mut self, client: usize, link: LinkId, life: Life) -> ConnId {
        self.conn_last += 1;
        let conn = ConnId(self.conn_last);
        let ways = (Way::Open, Way::Open);
        self.conns.insert(conn, Conn { client, link, life, to_rank: ways.0, to_client: ways.1 });
        conn
    }

    #[must_use]
    pub fn conn(&self, conn: ConnId) -> Option<&Conn> {
        self.conns.get(&conn)
    }

    pub fn conn_mut(&mut self, conn: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(&conn)
    }

    /// The connection behind a client's link.
    #[must_use]
    pub fn conn_of(&self, client: usize, link: LinkId) -> Option<ConnId> {
        let mut conns = self.conns.iter();
        conns.find(|(_, conn)| conn.client == client && conn.link == link).map(|(id, _)| *id)
    }

    #[must_use]
    pub fn conns_to(&self, life: Life) -> Vec<ConnId> {
        let conns = self.conns.iter().filter(|(_, conn)| conn.life == life);
        conns.map(|(id, _)| *id).collect()
    }

    #[must_use]
    pub fn conns_of(&self, client: usize) -> Vec<ConnId> {
        let conns = self.conns.iter().filter(|(_, conn)| conn.client == client);
        conns.map(|(id, _)| *id).collect()
    }

    #[must_use]
    pub fn open_conns(&self) -> Vec<ConnId> {
        let open = |conn: &Conn| conn.to_rank == Way::Open && conn.to_client == Way::Open;
        self.conns.iter().filter(|(_, conn)| open(conn)).map(|(id, _)| *id).collect()
    }

    /// One end was told; when both were, the connection is forgotten.
    pub fn shut(&mut self, conn: ConnId, lane: Lane) {
        let Some(it) = self.conns.get_mut(&conn) else { return };
        match lane {
            Lane::ToRank(_) => it.to_rank = Way::Shut,
            Lane::ToClient(_) => it.to_client = Way::Shut,
            Lane::Peer(..)
            | Lane::Bulk(..)
            | Lane::ToMonitor(..)
            | Lane::FromMonitor(..)
            | Lane::Store(_) => return,
        }
        self.last.remove(&lane);
        if it.to_rank == Way::Shut && it.to_client == Way::Shut {
            self.conns.remove(&conn);
        }
    }

    /// A rank died: what it had sent arrives for a while, then no more.
    pub fn died(&mut self, life: Life, now: Monotonic, dice: &mut Dice) {
        self.cut_off.insert(life, now.after(dice.wait(Duration::ZERO, LONGEST)));
    }

    /// Whether what `life` had sent still arrives.
    #[must_use]
    pub fn arrives(&self, life: Life, now: Monotonic) -> bool {
        self.cut_off.get(&life).is_none_or(|end| now <= *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(rank: u16) -> Life {
        Life { rank: Rank(rank), incarnation: Incarnation(1) }
    }

    #[test]
    fn a_lane_keeps_its_order() {
        let mut network = Network::default();
        let mut dice = Dice::new(3);
        let lane = Lane::Peer(life(0), life(1));
        let mut last = Monotonic(0);
        for sent in 0..200 {
            let arrives = network.arrival(lane, Monotonic(sent * 1000), &mut dice);
            assert!(arrives > last && arrives.0 > sent * 1000);
            last = arrives;
        }
    }

    #[test]
    fn a_connection_is_forgotten_when_both_ends_know() {
        let mut network = Network::default();
        let conn = network.connect(0, LinkId(4), life(0));
        assert_eq!(network.conn_of(0, LinkId(4)), Some(conn));
        network.shut(conn, Lane::ToRank(conn));
        assert!(network.conn(conn).is_some());
        network.shut(conn, Lane::ToClient(conn));
        assert!(network.conn(conn).is_none());
        assert!(network.connect(0, LinkId(4), life(0)) > conn);
    }

    #[test]
    fn the_dead_are_heard_for_a_while() {
        let mut network = Network::default();
        network.died(life(1), Monotonic(0), &mut Dice::new(1));
        assert!(!network.arrives(life(1), Monotonic(10_000_000)));
        assert!(network.arrives(life(0), Monotonic(10_000_000)));
    }
}
