use std::net::Ipv4Addr;

use common::id::ClusterId;
use common::limit::BEACON_GRACE;
use common::mds_map::RankEntry;
use common::name::NameHashKey;

use super::super::Stored;
use super::*;

const ADDR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7001);

fn link() -> Link {
    let place = StorePlace { machine: "m".to_owned(), path: "/s".to_owned() };
    let (slot, incarnation) = (Slot(3), Incarnation(2));
    Link::new(Myself { name: "a".to_owned(), slot, incarnation, addr: ADDR, place })
}

/// In which slot 3 is rank 1, held by that life.
fn map(epoch: u64, incarnation: u64, state: RankState) -> FromMonitor {
    let mut map = Stored::format(ClusterId(1), NameHashKey(1, 2)).map;
    map.epoch = MapEpoch(epoch);
    map.slots.insert(Slot(3), Rank(1));
    let incarnation = Incarnation(incarnation);
    let entry = RankEntry { daemon: "a".to_owned(), incarnation, addr: ADDR, state };
    map.ranks.insert(Rank(1), entry);
    FromMonitor::Map(map)
}

fn ack(number: u64) -> FromMonitor {
    FromMonitor::BeaconAck { number, rank: Some(Rank(1)), grace: BEACON_GRACE }
}

fn at(millis: u64) -> Monotonic {
    Monotonic(millis * 1_000_000)
}

#[test]
fn half_a_grace_after_the_last_acknowledged_beacon_was_sent_the_leash_is_taut() {
    let mut link = link();
    link.greet(at(900));
    link.beacon(at(1000), 1);
    link.beacon(at(2000), 2);
    let Heard::Acknowledged(leash) = link.hear(ack(1)) else { panic!("it was not acknowledged") };
    assert!(leash.is_slack(at(2999)));
    assert!(!leash.is_slack(at(3000)));
    assert_eq!(leash.taut_since(at(2999)), None);
    assert_eq!(leash.taut_since(at(9000)), Some(at(3000)), "whenever it is asked");
    link.hear(ack(2));
    assert!(link.leash().is_slack(at(3999)));
    assert!(!link.leash().is_slack(at(4000)));
}

#[test]
fn the_leash_of_a_life_that_was_never_acknowledged_begins_when_it_registers() {
    let mut link = link();
    assert!(link.leash().is_slack(at(1_000_000)), "nobody knows of this life yet");
    link.greet(at(1000));
    link.hear(map(5, 2, RankState::Replay));
    let taut = at(1000).after(BEACON_GRACE_MIN / 2);
    assert_eq!(link.leash().taut_since(at(9000)), Some(taut));
    link.greet(at(5000));
    assert_eq!(
        link.leash().taut_since(at(9000)),
        Some(taut),
        "the monitor may not have heard that"
    );
    link.beacon(at(6000), 1);
    link.hear(ack(1));
    assert!(link.leash().is_slack(at(7999)));
}

#[test]
fn what_was_said_on_another_connection_is_not_acknowledged_on_this_one() {
    let mut link = link();
    link.greet(at(1000));
    link.beacon(at(1000), 1);
    link.greet(at(4000));
    assert_eq!(link.hear(ack(1)), Heard::Nothing);
    link.beacon(at(5000), 1);
    assert!(matches!(link.hear(ack(2)), Heard::Acknowledged(_)));
    assert_eq!(link.hear(ack(2)), Heard::Nothing, "once");
}

#[test]
fn the_core_begins_with_the_first_map_that_shows_this_life() {
    let mut link = link();
    assert_eq!(link.hear(map(4, 1, RankState::Active)), Heard::Nothing, "its last life");
    let heard = link.hear(map(5, 2, RankState::Replay));
    assert!(matches!(heard, Heard::Stands { rank: Rank(1), .. }), "{heard:?}");
    assert!(matches!(link.hear(map(6, 2, RankState::Resolve)), Heard::Map(_)));
    assert_eq!(link.hear(map(6, 2, RankState::Resolve)), Heard::Nothing, "heard already");
    assert_eq!(link.map_epoch(), MapEpoch(6));
}

#[test]
fn a_life_that_was_declared_dead_ends_also_before_it_has_begun() {
    let dead = Heard::Ends(Ending::DeclaredDead);
    assert_eq!(link().hear(map(5, 2, RankState::Down)), dead);
    let mut link = link();
    link.hear(map(5, 2, RankState::Replay));
    assert_eq!(link.hear(map(6, 2, RankState::Down)), dead);
}

#[test]
fn a_life_of_which_a_newer_one_is_known_is_refused() {
    let mut link = link();
    link.hear(map(5, 2, RankState::Replay));
    assert_eq!(link.hear(map(9, 3, RankState::Replay)), Heard::Nothing, "not for this core");
    let stale = MonitorError::StaleIncarnation;
    let heard = link.hear(FromMonitor::Refused(stale.clone()));
    assert_eq!(heard, Heard::Ends(Ending::Refused(stale)));
}

#[test]
fn whoever_leaves_waits_until_its_last_word_was_heard() {
    let mut link = link();
    link.hear(map(5, 2, RankState::Replay));
    link.beacon(at(1000), 1);
    assert!(link.want(RankState::Down));
    assert!(!link.want(RankState::Down));
    assert!(matches!(link.hear(ack(1)), Heard::Acknowledged(_)), "it was said before");
    link.beacon(at(1500), 1);
    assert!(matches!(link.hear(map(6, 2, RankState::Down)), Heard::Map(_)), "as it wants to be");
    assert_eq!(link.hear(ack(2)), Heard::Ends(Ending::Left));
}
