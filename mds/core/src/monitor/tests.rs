use std::net::{Ipv4Addr, SocketAddr};

use common::limit::{BEACON, BEACON_GRACE};

use super::*;

mod succession;

/// A monitor, its clock, and connections numbered by daemon.
struct Fixture {
    monitor: Monitor,
    now: Monotonic,
    out: Vec<Effect>,
    ranks_wanted: u16,
    beacons: u64,
}

impl Fixture {
    fn new(ranks_wanted: u16) -> Self {
        let stored = Stored::format(ClusterId(7), NameHashKey(1, 2));
        let now = Monotonic(1_000_000_000);
        let mut out = Vec::new();
        let monitor = Monitor::new(params(ranks_wanted), stored, now, &mut out);
        Self { monitor, now, out, ranks_wanted, beacons: 0 }
    }

    /// With slots for daemons "0", "1", … and everybody active.
    fn active(ranks: u16) -> Self {
        let mut cluster = Self::new(ranks);
        for slot in 0..ranks {
            assert_eq!(cluster.allocate(&slot.to_string()), slot);
        }
        for _ in 0..5 {
            for slot in 0..ranks {
                cluster.beacon(slot, 1, RankState::Active);
            }
        }
        for slot in 0..ranks {
            assert_eq!(cluster.state(slot), RankState::Active);
        }
        cluster
    }

    fn restart(&mut self) {
        let stored = self
            .out
            .iter()
            .rev()
            .find_map(|effect| match effect {
                Effect::Persist(stored) => Some(stored.clone()),
                Effect::Send { .. } => None,
            })
            .unwrap();
        assert_eq!(stored, self.monitor.stored, "what it knows is what it stored");
        self.monitor = Monitor::new(params(self.ranks_wanted), stored, self.now, &mut self.out);
    }

    fn ask(&mut self, asker: Asker, msg: ToMonitor) -> FromMonitor {
        let from = ConnId(99);
        self.monitor.handle(self.now, Input::Message { from, asker, msg }, &mut self.out);
        match self.out.last() {
            Some(Effect::Send { to, msg }) if *to == from => msg.clone(),
            other => panic!("no answer but {other:?}"),
        }
    }

    fn allocate(&mut self, daemon: &str) -> u16 {
        let msg = ToMonitor::AllocateSlot { daemon: daemon.to_owned() };
        let FromMonitor::Slot { slot, map } = self.ask(mds(daemon), msg) else {
            panic!("no slot");
        };
        assert_eq!(&map, self.monitor.map());
        slot.0
    }

    fn beacon(&mut self, slot: u16, incarnation: u64, state: RankState) -> FromMonitor {
        self.beacons += 1;
        self.beacon_after_turns(slot, incarnation, state, self.beacons)
    }

    fn beacon_after_turns(
        &mut self,
        slot: u16,
        incarnation: u64,
        state: RankState,
        turns: u64,
    ) -> FromMonitor {
        let daemon = self.monitor.stored.slots.get(&Slot(slot)).map(|entry| entry.daemon.clone());
        let daemon = daemon.unwrap_or_default();
        let beacon = Beacon {
            daemon: daemon.clone(),
            slot: Slot(slot),
            incarnation: Incarnation(incarnation),
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 7000 + slot)),
            state,
            map_epoch: self.monitor.map().epoch,
            turns,
            number: self.beacons,
        };
        self.ask(mds(&daemon), ToMonitor::Beacon(beacon))
    }

    fn state(&self, rank: u16) -> RankState {
        self.monitor.map().state(Rank(rank))
    }

    /// Time passes, with ticks.
    fn pass(&mut self, wait: Duration) {
        let end = self.now.after(wait);
        while self.now < end {
            self.now = self.now.after(TICK).min(end);
            self.monitor.handle(self.now, Input::Tick, &mut self.out);
        }
    }
}

fn params(ranks_wanted: u16) -> Params {
    Params { ranks_wanted, grace: BEACON_GRACE }
}

fn mds(name: &str) -> Asker {
    Asker::Mds { name: name.to_owned() }
}

#[test]
fn a_single_rank_skips_resolve_and_goes_one_step_at_a_time() {
    let mut cluster = Fixture::new(1);
    cluster.allocate("a");
    assert_eq!(cluster.state(0), RankState::Down);
    for expected in [
        RankState::Replay,
        RankState::Reconnect,
        RankState::Rejoin,
        RankState::Active,
        RankState::Active,
    ] {
        cluster.beacon(0, 1, RankState::Active);
        assert_eq!(cluster.state(0), expected);
    }
}

#[test]
fn a_rank_is_never_taken_further_than_it_asks() {
    let mut cluster = Fixture::new(1);
    cluster.allocate("a");
    for _ in 0..5 {
        cluster.beacon(0, 1, RankState::Reconnect);
    }
    assert_eq!(cluster.state(0), RankState::Reconnect);
    cluster.beacon(0, 1, RankState::Replay);
    assert_eq!(cluster.state(0), RankState::Reconnect, "never backwards");
}

#[test]
fn nobody_takes_clients_back_while_another_replays() {
    let mut cluster = Fixture::new(2);
    cluster.allocate("a");
    cluster.allocate("b");
    cluster.beacon(0, 1, RankState::Replay);
    cluster.beacon(1, 1, RankState::Replay);
    for _ in 0..3 {
        cluster.beacon(0, 1, RankState::Reconnect);
    }
    assert_eq!(cluster.state(0), RankState::Resolve);
    cluster.beacon(1, 1, RankState::Resolve);
    cluster.beacon(0, 1, RankState::Reconnect);
    assert_eq!(cluster.state(0), RankState::Reconnect);
    assert_eq!(cluster.state(1), RankState::Resolve);
}

#[test]
fn a_silent_rank_is_down_and_comes_back_with_a_new_incarnation_only() {
    let mut cluster = Fixture::active(2);
    let alive_until = cluster.now.after(BEACON_GRACE + TICK);
    while cluster.now < alive_until {
        cluster.beacon(0, 1, RankState::Active);
        cluster.pass(TICK);
    }
    assert_eq!(cluster.state(0), RankState::Active);
    assert_eq!(cluster.state(1), RankState::Down);

    cluster.beacon(1, 1, RankState::Active);
    assert_eq!(cluster.state(1), RankState::Down, "others may have acted on its death");
    cluster.beacon(1, 2, RankState::Replay);
    assert_eq!(cluster.state(1), RankState::Replay);
    assert_eq!(cluster.monitor.map().incarnation(Rank(1)), Some(Incarnation(2)));
    let answer = cluster.beacon(1, 1, RankState::Active);
    assert_eq!(answer, FromMonitor::Refused(MonitorError::StaleIncarnation));
}

#[test]
fn a_quick_restart_takes_the_rank_back_without_waiting_for_the_grace() {
    let mut cluster = Fixture::active(2);
    cluster.beacon(1, 2, RankState::Replay);
    assert_eq!(cluster.state(1), RankState::Replay);
    assert_eq!(cluster.state(0), RankState::Active);
}

#[test]
fn goodbye_is_believed_at_once() {
    let mut cluster = Fixture::active(1);
    cluster.beacon(0, 1, RankState::Down);
    assert_eq!(cluster.state(0), RankState::Down);
}

#[test]
fn beacons_of_a_core_that_stands_still_do_not_keep_it_alive() {
    let mut cluster = Fixture::active(1);
    cluster.beacon_after_turns(0, 1, RankState::Active, 1000);
    let end = cluster.now.after(BEACON_GRACE + TICK);
    while cluster.now < end {
        cluster.pass(TICK);
        cluster.beacon_after_turns(0, 1, RankState::Active, 1000);
    }
    assert_eq!(cluster.state(0), RankState::Down);
}

/// Else its leash would last beyond its declared death: the rank counts from beacons that are
/// acknowledged, the monitor from those that are signs of life.
#[test]
fn what_is_no_sign_of_life_is_not_acknowledged() {
    let mut cluster = Fixture::active(1);
    let answer = cluster.beacon_after_turns(0, 1, RankState::Active, 1000);
    assert!(matches!(answer, FromMonitor::BeaconAck { .. }), "{answer:?}");
    let answer = cluster.beacon_after_turns(0, 1, RankState::Active, 1000);
    assert_eq!(answer, FromMonitor::Done, "the core has not turned");
    let answer = cluster.beacon_after_turns(0, 1, RankState::Active, 1001);
    assert!(matches!(answer, FromMonitor::BeaconAck { .. }), "{answer:?}");
    cluster.pass(BEACON_GRACE + TICK + TICK);
    assert_eq!(cluster.beacon(0, 1, RankState::Active), FromMonitor::Done, "it is dead");
    let answer = cluster.beacon(0, 1, RankState::Down);
    assert!(matches!(answer, FromMonitor::BeaconAck { .. }), "goodbye is heard: {answer:?}");
}

#[test]
fn everybody_has_a_full_grace_after_the_monitor_slept_or_restarted() {
    let mut cluster = Fixture::active(1);
    cluster.pass(BEACON_GRACE - TICK);
    cluster.now = cluster.now.after(Duration::from_secs(60));
    cluster.pass(BEACON_GRACE - TICK);
    assert_eq!(cluster.state(0), RankState::Active, "the monitor had slept");

    cluster.now = cluster.now.after(Duration::from_secs(60));
    cluster.restart();
    cluster.pass(BEACON_GRACE - TICK);
    assert_eq!(cluster.state(0), RankState::Active, "the monitor had restarted");
    cluster.beacon(0, 1, RankState::Active);
    assert_eq!(cluster.state(0), RankState::Active, "it goes on as it was");
    cluster.pass(BEACON_GRACE + TICK + TICK);
    assert_eq!(cluster.state(0), RankState::Down);
}

#[test]
fn slots_are_never_given_twice_and_ranks_follow_their_order() {
    let mut cluster = Fixture::new(2);
    assert_eq!(cluster.allocate("a"), 0);
    cluster.restart();
    assert_eq!(cluster.allocate("b"), 1);
    assert_eq!(cluster.allocate("c"), 2);
    let map = cluster.monitor.map();
    assert_eq!(map.rank_of(Slot(0)), Some(Rank(0)));
    assert_eq!(map.rank_of(Slot(1)), Some(Rank(1)));
    assert_eq!(map.rank_of(Slot(2)), None, "a spare");
    let answer = cluster.beacon(2, 1, RankState::Replay);
    assert!(matches!(answer, FromMonitor::BeaconAck { rank: None, .. }), "{answer:?}");
    cluster.ranks_wanted = 3;
    cluster.restart();
    assert_eq!(cluster.monitor.map().rank_of(Slot(2)), Some(Rank(2)));
}

#[test]
fn a_store_formatted_again_before_its_use_keeps_the_rank() {
    let mut cluster = Fixture::new(2);
    cluster.allocate("a");
    assert_eq!(cluster.allocate("a"), 1);
    assert_eq!(cluster.monitor.map().rank_of(Slot(1)), Some(Rank(0)));
    assert_eq!(cluster.monitor.map().rank_of(Slot(0)), Some(Rank(0)), "the root's number");
    let answer = cluster.beacon(0, 1, RankState::Replay);
    assert_eq!(answer, FromMonitor::Refused(MonitorError::UnknownSlot(Slot(0))));
    cluster.beacon(1, 1, RankState::Replay);
    assert_eq!(cluster.allocate("a"), 2, "used: its daemon may have one more store");
    assert_eq!(cluster.monitor.map().rank_of(Slot(2)), Some(Rank(1)));
}

#[test]
fn a_slot_of_another_cluster_is_unknown() {
    let mut cluster = Fixture::active(1);
    let answer = cluster.beacon(5, 1, RankState::Replay);
    assert_eq!(answer, FromMonitor::Refused(MonitorError::UnknownSlot(Slot(5))));
}

#[test]
fn subscribers_get_every_map_after_it_is_stored() {
    let mut cluster = Fixture::new(1);
    let from = ConnId(5);
    let subscribe = Input::Message { from, asker: Asker::Client, msg: ToMonitor::Subscribe };
    cluster.monitor.handle(cluster.now, subscribe, &mut cluster.out);
    cluster.out.clear();
    cluster.allocate("a");
    let map = cluster.monitor.map().clone();
    assert!(matches!(cluster.out[0], Effect::Persist(_)));
    assert_eq!(cluster.out[1], Effect::Send { to: from, msg: FromMonitor::Map(map) });

    cluster.monitor.handle(cluster.now, Input::Gone { conn: from }, &mut cluster.out);
    cluster.out.clear();
    cluster.beacon(0, 1, RankState::Replay);
    let told = |effect: &Effect| matches!(effect, Effect::Send { to, .. } if *to == from);
    assert!(!cluster.out.iter().any(told));
}

#[test]
fn roles_are_checked() {
    let mut cluster = Fixture::new(1);
    let needs_admin = MonitorError::Role { needed: "admin".to_owned() };
    let needs_mds = MonitorError::Role { needed: "mds".to_owned() };
    let allocate = ToMonitor::AllocateSlot { daemon: "a".to_owned() };
    let balance = ToMonitor::SetBalancer { to: Switch::On };
    let store = ToMonitor::AddDataStore { id: "s".to_owned() };
    for (asker, msg, answer) in [
        (Asker::Client, allocate.clone(), FromMonitor::Refused(needs_mds)),
        (mds("b"), allocate, FromMonitor::Refused(MonitorError::Malformed)),
        (mds("a"), balance.clone(), FromMonitor::Refused(needs_admin.clone())),
        (Asker::Client, store.clone(), FromMonitor::Refused(needs_admin)),
        (Asker::Admin, balance, FromMonitor::Done),
        (mds("a"), store.clone(), FromMonitor::Done),
        (Asker::Admin, store, FromMonitor::Done),
    ] {
        assert_eq!(cluster.ask(asker, msg), answer);
    }
    assert_eq!(cluster.monitor.map().balancer, Switch::On);
    assert_eq!(cluster.monitor.map().data_stores, ["s"]);
}
