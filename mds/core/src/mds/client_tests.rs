//! Sessions of clients that are known from another rank.

use common::id::{ClientId, Rank};
use common::wire::admin::AdminRequest;

use crate::cluster_fixture::{Cluster, D1, R1, R2};
use crate::fixture::{A, conn};
use crate::input::{AdminId, Input};
use crate::timer::Timer;

/// It has never heard of rank 2.
const C: ClientId = ClientId(77);

fn has_session(cluster: &mut Cluster, rank: Rank) -> bool {
    cluster.at(rank).mds.holdings().sessions.get(C).is_some()
}

/// Rank 2 has a file that C pins, from rank 1, which has not told C of that.
fn known_from_elsewhere() -> Cluster {
    let mut cluster = Cluster::new();
    let dir = cluster.at(R1).mkdir(A, D1, "a");
    cluster.at(R1).connect(C, conn(C, 1));
    cluster.at(R1).create(C, dir, "f");
    cluster.silent.insert(C);
    let request = AdminRequest::Export { dir, to: R2 };
    cluster.at(R1).input(Input::Admin { id: AdminId(1), request });
    cluster.run();
    assert!(has_session(&mut cluster, R2));
    cluster
}

#[test]
fn who_could_not_be_told_of_its_session_does_not_lose_it() {
    cov_mark::check!(who_was_not_told_is_not_missed);
    let mut cluster = known_from_elsewhere();
    cluster.kill(R1);
    let lease = Input::Timer(Timer::Lease(C));
    cluster.at(R2).input(lease.clone());
    assert!(has_session(&mut cluster, R2), "nobody can tell it");
    cluster.at(R2).timers.clear();
    cluster.revive(R1);
    assert!(cluster.at(R2).timers.contains(&Timer::Lease(C)), "it has a whole lease from now on");
    cluster.at(R2).input(lease);
    assert!(!has_session(&mut cluster, R2));
}

#[test]
fn who_has_been_here_is_missed_although_another_rank_is_away() {
    let mut cluster = known_from_elsewhere();
    cluster.at(R2).connect(C, conn(C, 2));
    cluster.kill(R1);
    cluster.at(R2).input(Input::Timer(Timer::Lease(C)));
    assert!(!has_session(&mut cluster, R2));
}
