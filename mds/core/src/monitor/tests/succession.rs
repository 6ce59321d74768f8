//! Daemons that stand by, and what they are told.

use common::wire::monitor::{Appointment, StandBy, StorePlace};

use super::*;

const HERE: &str = "here";

/// Standbys say that they are there whenever time passes.
struct Cluster {
    fixture: Fixture,
    standbys: Vec<(&'static str, &'static str)>,
    living: Vec<u16>,
    failed: Option<Slot>,
}

impl Cluster {
    fn new(ranks: u16, standbys: &[(&'static str, &'static str)]) -> Self {
        let mut fixture = Fixture::active(ranks);
        for slot in 0..ranks {
            let daemon = slot.to_string();
            let place =
                StorePlace { machine: HERE.to_owned(), path: format!("/shared/mds-{slot}") };
            let register = ToMonitor::Register { daemon: daemon.clone(), slot: Slot(slot), place };
            assert_eq!(fixture.ask(mds(&daemon), register), FromMonitor::Done);
        }
        Self { fixture, standbys: standbys.to_vec(), living: (0..ranks).collect(), failed: None }
    }

    fn stand_by(&mut self, (name, machine): (&str, &str)) -> FromMonitor {
        let reaches = vec!["/shared".to_owned()];
        let (daemon, machine) = (name.to_owned(), machine.to_owned());
        let failed = self.failed.take();
        let word = StandBy { daemon, machine, reaches, failed, number: 1 };
        self.fixture.ask(mds(name), ToMonitor::StandBy(word))
    }

    /// Time passes; tells what standbys are ordered meanwhile.
    fn pass(&mut self, time: Duration) -> Vec<Appointment> {
        let end = self.fixture.now.after(time);
        let mut orders = Vec::new();
        while self.fixture.now < end {
            self.fixture.pass(BEACON.min(end.since(self.fixture.now)));
            for slot in self.living.clone() {
                self.fixture.beacon(slot, 1, RankState::Active);
            }
            for standby in self.standbys.clone() {
                if let FromMonitor::TakeOver(order) = self.stand_by(standby) {
                    orders.push(order);
                }
            }
        }
        orders.dedup();
        orders
    }

    fn kill(&mut self, rank: u16) {
        self.living.retain(|living| *living != rank);
    }

    fn admin(&mut self, msg: ToMonitor) -> FromMonitor {
        self.fixture.ask(Asker::Admin, msg)
    }
}

fn order(rank: u16, fenced: bool) -> Appointment {
    Appointment {
        rank: Rank(rank),
        slot: Slot(rank),
        path: format!("/shared/mds-{rank}"),
        dead: Incarnation(1),
        fenced,
    }
}

#[test]
fn a_standby_is_told_to_take_the_place_of_a_silent_rank_and_of_no_other() {
    let mut cluster = Cluster::new(2, &[("s", HERE)]);
    assert_eq!(cluster.pass(BEACON_GRACE * 3), []);
    cluster.kill(1);
    assert_eq!(cluster.pass(BEACON_GRACE + BEACON), [order(1, false)]);
    assert_eq!(cluster.fixture.state(1), RankState::Down);
    // Whoever has the store counts, by whatever name it comes.
    cluster.standbys.clear();
    cluster.fixture.beacon(1, 2, RankState::Replay);
    assert_eq!(cluster.fixture.state(1), RankState::Replay);
    cluster.standbys.push(("t", HERE));
    assert_eq!(cluster.pass(BEACON), []);
}

#[test]
fn two_deaths_take_two_standbys() {
    let mut cluster = Cluster::new(3, &[("s", HERE), ("t", HERE)]);
    cluster.kill(1);
    cluster.kill(2);
    let orders = cluster.pass(BEACON_GRACE + BEACON);
    assert!(orders.contains(&order(1, false)) && orders.contains(&order(2, false)), "{orders:?}");
}

#[test]
fn who_said_goodbye_has_a_grace_to_come_back() {
    let mut cluster = Cluster::new(1, &[("s", HERE)]);
    cluster.kill(0);
    cluster.fixture.beacon(0, 1, RankState::Down);
    assert_eq!(cluster.pass(BEACON_GRACE - BEACON), []);
    assert_eq!(cluster.pass(BEACON * 2), [order(0, false)]);
}

#[test]
fn a_monitor_that_restarts_appoints_after_a_grace() {
    let mut cluster = Cluster::new(1, &[("s", HERE)]);
    cluster.kill(0);
    assert_eq!(cluster.pass(BEACON_GRACE + BEACON), [order(0, false)]);
    cluster.fixture.restart();
    assert_eq!(cluster.pass(BEACON_GRACE - BEACON), []);
    assert_eq!(cluster.pass(BEACON * 2), [order(0, false)]);
}

#[test]
fn a_store_on_another_machine_is_taken_only_when_the_operator_has_confirmed_the_death() {
    let mut cluster = Cluster::new(2, &[("s", "there")]);
    let not_down = MonitorError::NotDown { rank: Rank(1), state: "active".to_owned() };
    let fence = ToMonitor::Fence { rank: Rank(1) };
    assert_eq!(cluster.admin(fence.clone()), FromMonitor::Refused(not_down));
    cluster.kill(1);
    assert_eq!(cluster.pass(BEACON_GRACE * 3), []);
    assert_eq!(cluster.admin(fence.clone()), FromMonitor::Done);
    cluster.fixture.restart();
    assert_eq!(cluster.pass(BEACON_GRACE + BEACON), [order(1, true)]);
    // The word counts for one life.
    cluster.standbys.clear();
    cluster.fixture.beacon(1, 2, RankState::Replay);
    cluster.fixture.pass(BEACON_GRACE + TICK * 2);
    cluster.standbys.push(("s", "there"));
    assert_eq!(cluster.pass(BEACON), []);
    let answer = cluster.fixture.ask(mds("s"), fence);
    assert_eq!(answer, FromMonitor::Refused(MonitorError::Role { needed: "admin".to_owned() }));
}

#[test]
fn whoever_fails_is_asked_last() {
    let mut cluster = Cluster::new(1, &[("s", HERE), ("t", HERE)]);
    cluster.kill(0);
    assert_eq!(cluster.pass(BEACON_GRACE + BEACON), [order(0, false)]);
    let takes = |cluster: &Cluster| {
        let standbys = cluster.fixture.monitor.description().standbys;
        standbys.into_iter().find(|entry| entry.takes.is_some()).map(|entry| entry.daemon)
    };
    assert_eq!(takes(&cluster).as_deref(), Some("s"));
    cluster.failed = Some(Slot(0));
    assert!(matches!(cluster.stand_by(("s", HERE)), FromMonitor::StandByAck { .. }));
    cluster.pass(TICK);
    assert_eq!(takes(&cluster).as_deref(), Some("t"));
    cluster.failed = Some(Slot(0));
    cluster.stand_by(("t", HERE));
    cluster.pass(TICK);
    assert!(takes(&cluster).is_some(), "nobody else is left");
}

#[test]
fn a_lost_rank_is_no_rank_and_its_number_is_not_given_again() {
    let mut cluster = Cluster::new(2, &[("s", HERE)]);
    let lose = |rank| ToMonitor::Lose { rank: Rank(rank) };
    let not_down = MonitorError::NotDown { rank: Rank(1), state: "active".to_owned() };
    assert_eq!(cluster.admin(lose(1)), FromMonitor::Refused(not_down));
    assert_eq!(cluster.admin(lose(0)), FromMonitor::Refused(MonitorError::RootLost));
    let unknown = MonitorError::NoRank(Rank(7));
    assert_eq!(cluster.admin(lose(7)), FromMonitor::Refused(unknown));
    cluster.standbys.clear();
    cluster.kill(1);
    cluster.pass(BEACON_GRACE + BEACON);
    assert!(cluster.fixture.monitor.map().is_degraded());
    assert_eq!(cluster.admin(lose(1)), FromMonitor::Done);
    assert_eq!(cluster.admin(lose(1)), FromMonitor::Done, "said twice");
    let map = cluster.fixture.monitor.map();
    assert!(!map.is_degraded());
    assert_eq!(map.rank_of(Slot(1)), Some(Rank(0)));
    let answer = cluster.fixture.beacon(1, 2, RankState::Replay);
    assert_eq!(answer, FromMonitor::Refused(MonitorError::Lost(Rank(1))));
    cluster.standbys.push(("s", HERE));
    assert_eq!(cluster.pass(BEACON_GRACE * 2), []);
    cluster.fixture.ranks_wanted = 3;
    cluster.fixture.restart();
    assert_eq!(cluster.fixture.allocate("new"), 2);
    assert_eq!(cluster.fixture.monitor.map().rank_of(Slot(2)), Some(Rank(2)));
}
