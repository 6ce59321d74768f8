//! Stores that are put back as they once were.

use common::id::Ino;
use common::wire::admin::AdminRequest;
use common::wire::reply::Outcome;
use common::wire::request::{Op, RenameMode};

use crate::cluster_fixture::{Cluster, D1, D2, R0, R1, R2};
use crate::fixture::{A, name, rename_op};
use crate::input::{AdminId, Input};

use super::*;

fn export(cluster: &mut Cluster, dir: Ino, from: Rank, to: Rank) {
    let request = AdminRequest::Export { dir, to };
    cluster.at(from).input(Input::Admin { id: AdminId(1), request });
    cluster.run();
    assert_eq!(cluster.auth(from, dir).map(|(rank, _)| rank), Some(to));
}

fn read_only(cluster: &Cluster) -> Vec<Rank> {
    let ranks = cluster.ranks.iter();
    let read_only = ranks.filter(|(_, fixture)| fixture.mds.holdings().is_read_only());
    read_only.map(|(rank, _)| *rank).collect()
}

/// The rank comes back with what it had then.
fn put_back(cluster: &mut Cluster, rank: Rank, store: crate::fixture::Store) {
    cluster.kill(rank);
    cluster.at(rank).put_back(store);
    cluster.revive(rank);
    cluster.run();
}

#[test]
fn who_comes_back_as_it_was_contradicts_nobody() {
    let mut cluster = Cluster::new();
    let dir = cluster.at(R1).mkdir(A, D1, "a");
    export(&mut cluster, dir, R1, R2);
    for rank in [R0, R1, R2] {
        cluster.kill(rank);
        cluster.revive(rank);
        cluster.run();
    }
    assert_eq!(read_only(&cluster), []);
}

#[test]
fn what_was_given_away_since_is_not_changed_any_more() {
    let mut cluster = Cluster::new();
    let dir = cluster.at(R1).mkdir(A, D1, "a");
    let old = cluster.at(R1).store();
    export(&mut cluster, dir, R1, R2);
    put_back(&mut cluster, R1, old);
    assert_eq!(read_only(&cluster), [R1]);
    let damage = &cluster.at(R1).mds.holdings().damage;
    assert!(damage[0].contains("rank 2's by claim"), "{damage:?}");
    let mkdir = Op::Unlink { dir, name: name("x") };
    assert_eq!(cluster.ask(R1, A, mkdir), Outcome::Refused(common::error::FsError::ReadOnly));
}

/// It came back to a region that reaches further up, and whose own claim was lower.
#[test]
fn what_came_back_since_is_held_by_the_higher_claim() {
    let mut cluster = Cluster::new();
    let dir = cluster.at(R1).mkdir(A, D1, "a");
    export(&mut cluster, dir, R1, R2);
    let old = cluster.at(R2).store();
    export(&mut cluster, dir, R2, R1);
    put_back(&mut cluster, R2, old);
    assert_eq!(read_only(&cluster), [R2]);
}

/// What it holds below itself it never knew to be another's: only the other one can say so.
#[test]
fn a_region_inside_is_found_as_well() {
    let mut cluster = Cluster::new();
    let dir = cluster.at(R1).mkdir(A, D1, "a");
    let below = cluster.at(R1).mkdir(A, dir, "below");
    let old = cluster.at(R1).store();
    export(&mut cluster, below, R1, R0);
    put_back(&mut cluster, R1, old);
    assert_eq!(read_only(&cluster), [R1]);
    assert_eq!(cluster.auth(R2, D2).map(|(rank, _)| rank), Some(R2));
}

/// What was given away waits to be deleted. What the rows say of it is not so any more.
#[test]
fn what_waits_to_be_deleted_is_not_claimed() {
    let mut cluster = Cluster::new();
    let dir = cluster.at(R1).mkdir(A, D1, "a");
    let other = cluster.at(R1).mkdir(A, D1, "b");
    export(&mut cluster, dir, R1, R2);
    let under_b = rename_op((D1, "a"), (other, "a"), RenameMode::Replace);
    assert!(matches!(cluster.ask(R1, A, under_b), Outcome::Done(_)));
    export(&mut cluster, other, R1, R0);
    assert_eq!(cluster.auth(R1, dir), None);
    cluster.kill(R1);
    cluster.revive(R1);
    cluster.run();
    assert!(!cluster.at(R1).mds.holdings().sweep.is_empty());
    assert_eq!(read_only(&cluster), []);
}
