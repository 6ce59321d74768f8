//! The world's part in which ranks die and come back.

use std::time::Duration;

use common::id::Seq;
use mds_core::kill_point::KillPoint;

use super::{Event, World};
use crate::sim::daemon::{Daemon, Pid};
use crate::sim::dice::Dice;
use crate::sim::network::{Lane, Life};
use crate::sim::trace::Who;

/// How a rank dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// `kill -9`: what was written is found again.
    Killed,
    /// What was not synced is gone.
    PowerLost,
}

impl Death {
    fn thrown(dice: &mut Dice) -> Self {
        if dice.percent(60) { Self::PowerLost } else { Self::Killed }
    }
}

impl World {
    /// One at a time, and while nobody is on the way back.
    pub(super) fn some_rank_dies(&mut self, dice: &mut Dice) {
        if self.all_active() {
            let rank = dice.index(self.ranks.len());
            self.life_of(rank).into_iter().for_each(|life| self.die(life, Death::thrown(dice)));
        }
    }

    /// Whatever else goes on; sometimes another one with it, sometimes once more on the way back.
    pub(super) fn some_rank_dies_hard(&mut self, dice: &mut Dice) {
        let rank = dice.index(self.ranks.len());
        let Some(life) = self.life_of(rank) else { return };
        self.dies_hard(life, dice);
    }

    fn dies_hard(&mut self, life: Life, dice: &mut Dice) {
        if dice.percent(25) {
            let other = self.other_rank(life.rank, dice);
            let later = dice.wait(Duration::ZERO, Duration::from_millis(300));
            if let Some(life) = self.life_of(usize::from(other.0)) {
                self.dies_later(later, life, dice);
            }
        }
        let back = self.die_for(life, Death::thrown(dice), dice);
        if dice.percent(30) {
            let incarnation = common::id::Incarnation(life.incarnation.0 + 1);
            let later = back + dice.wait(Duration::ZERO, Duration::from_secs(3));
            let next = Life { rank: life.rank, incarnation };
            self.dies_later(later, next, dice);
        }
    }

    fn dies_later(&mut self, later: Duration, life: Life, dice: &mut Dice) {
        self.faults_left += 1;
        self.after(later, Event::Dies(life, Death::thrown(dice)));
    }

    fn life_of(&self, rank: usize) -> Option<Life> {
        self.ranks[rank].process.as_ref().map(|process| process.life)
    }

    /// A rank dies, and comes back after a while: sometimes before anybody noticed.
    pub fn die(&mut self, life: Life, death: Death) {
        let mut dice = Dice::new(self.dice.throw());
        self.die_for(life, death, &mut dice);
    }

    /// Tells when it comes back.
    fn die_for(&mut self, life: Life, death: Death, dice: &mut Dice) -> Duration {
        let away = dice.wait(Duration::from_millis(200), Duration::from_secs(7));
        let Some(pid) = self.alive(life).map(|process| process.pid) else { return away };
        self.trace.line(self.now, Who::Rank(life.rank), "dies", || format!("{death:?}"));
        self.process_dies(pid, death, dice);
        self.after(away, Event::Start(pid.daemon));
        away
    }

    /// A daemon's process ends, and with it the life it holds.
    pub(super) fn process_dies(&mut self, pid: Pid, death: Death, dice: &mut Dice) {
        let Some(process) = self.daemons[pid.daemon].process.take_if(|process| process.pid == pid)
        else {
            return;
        };
        if let Some(conn) = process.conn {
            self.hang_up(conn);
        }
        if let Some(life) = process.life() {
            self.life_ends(life, death, dice);
        }
    }

    fn life_ends(&mut self, life: Life, death: Death, dice: &mut Dice) {
        let host = &mut self.ranks[usize::from(life.rank.0)];
        let held = host.process.take_if(|process| process.life == life).is_some();
        host.cut_off.retain(|process| process.life != life);
        self.tally.deaths += u64::from(held);
        if held && death == Death::PowerLost {
            self.ranks[usize::from(life.rank.0)].disk.lose_power(dice);
            self.history.lose_power();
            self.power_lost_at(life.rank);
        } else if held {
            self.is_safe(life, Seq(u64::MAX));
        }
        self.early.remove(&life);
        self.network.died(life, self.now, dice);
        for conn in self.network.conns_to(life) {
            self.network.shut(conn, Lane::ToRank(conn));
            if dice.percent(50) {
                self.cut_to_client(conn, dice);
            } else {
                self.end_to_client(conn);
            }
        }
    }

    /// A daemon that has no rank, or is not yet there, dies.
    pub(super) fn some_standby_dies(&mut self, dice: &mut Dice) {
        let idle = |daemon: &&Daemon| {
            daemon.process.as_ref().is_some_and(|process| process.life().is_none())
        };
        let pids: Vec<Pid> = self.daemons.iter().filter(idle).filter_map(Daemon::pid).collect();
        if let Some(pid) = dice.pick(&pids).copied() {
            self.process_dies(pid, Death::Killed, dice);
            let away = dice.wait(Duration::from_millis(50), Duration::from_secs(7));
            self.after(away, Event::Start(pid.daemon));
        }
    }

    /// A core has come to a moment worth dying at.
    pub(super) fn reached(&mut self, life: Life, point: KillPoint) {
        if self.meets_doom(life, point) {
            return;
        }
        let Some(number) = self.points.remove(&self.points_reached) else {
            self.points_reached += 1;
            return;
        };
        self.points_reached += 1;
        self.trace.line(self.now, Who::Rank(life.rank), "point", || format!("{point:?}"));
        let mut dice = self.plan[number].dice.clone();
        if dice.percent(70) {
            self.dies_hard(life, &mut dice);
        } else {
            // The other side of whatever it is.
            let other = self.other_rank(life.rank, &mut dice);
            if let Some(life) = self.life_of(usize::from(other.0)) {
                self.dies_hard(life, &mut dice);
            }
        }
    }
}
