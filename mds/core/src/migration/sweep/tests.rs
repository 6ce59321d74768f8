//! What waits to be deleted is as good as deleted.

use common::id::{Ino, Rank};
use common::wire::admin::AdminRequest;
use common::wire::reply::Outcome;
use common::wire::request::Op;

use crate::cluster_fixture::{Cluster, D1, R1, R2};
use crate::fixture::{A, name};
use crate::input::{AdminId, Input};
use crate::timer::Timer;

fn export(cluster: &mut Cluster, dir: Ino, from: Rank, to: Rank) {
    let request = AdminRequest::Export { dir, to };
    cluster.at(from).input(Input::Admin { id: AdminId(1), request });
    cluster.run();
}

/// `r1/a` of rank 1, where it was given away and has come back, and `r1/a/gone`, which was removed in
/// between.
fn there_and_back() -> (Cluster, Ino, Ino) {
    let mut cluster = Cluster::new();
    let dir = cluster.at(R1).mkdir(A, D1, "a");
    let gone = cluster.at(R1).mkdir(A, dir, "gone");
    cluster.at(R1).create(A, dir, "f");
    export(&mut cluster, dir, R1, R2);
    let rmdir = Op::Rmdir { dir, name: name("gone") };
    assert!(matches!(cluster.ask(R2, A, rmdir), Outcome::Done(_)));
    export(&mut cluster, dir, R2, R1);
    assert_eq!(cluster.at(R1).mds.holdings().sweep.len(), 2);
    (cluster, dir, gone)
}

fn mkdir(cluster: &mut Cluster, dir: Ino) -> Outcome {
    let ino = cluster.at(R1).new_ino(A);
    cluster.ask(
        R1,
        A,
        Op::Mkdir { dir, name: name("new"), ino, mode: 0o755, umask: 0, exclusive: false },
    )
}

#[test]
fn a_directory_that_was_removed_elsewhere_takes_no_names() {
    let (mut cluster, _, gone) = there_and_back();
    assert_eq!(mkdir(&mut cluster, gone), Outcome::Gone { ino: gone });
    cluster.at(R1).input(Input::Timer(Timer::Sweep));
    assert_eq!(mkdir(&mut cluster, gone), Outcome::Gone { ino: gone });
}

#[test]
fn what_came_back_is_read_although_it_is_listed() {
    let (mut cluster, dir, _) = there_and_back();
    cluster.at(R1).mds.uncache_for_test(dir);
    assert!(cluster.lookup(R1, dir, "f").is_some());
    assert_eq!(cluster.lookup(R1, dir, "gone"), None);
    cluster.at(R1).input(Input::Timer(Timer::Sweep));
    cluster.at(R1).mds.uncache_for_test(dir);
    assert!(cluster.lookup(R1, dir, "f").is_some());
}

/// The store is slow: what it found was deleted meanwhile.
#[test]
fn what_is_read_while_it_is_deleted_is_not_taken_in() {
    let (mut cluster, _, gone) = there_and_back();
    cluster.evict(R1, gone);
    let id = cluster.send(R1, A, Op::Lookup { dir: gone, name: name("x") }).id;
    let asked = std::mem::take(&mut cluster.at(R1).asked);
    let found: Vec<_> = asked.into_iter().map(|fetch| cluster.at(R1).fetch(fetch)).collect();
    assert!(!found.is_empty());
    cluster.at(R1).slow = false;
    cluster.at(R1).input(Input::Timer(Timer::Sweep));
    for found in found {
        cluster.at(R1).input(Input::Fetched(found));
    }
    cluster.run();
    assert_eq!(cluster.reply(R1, A, id), Some(Outcome::Gone { ino: gone }));
}
