//! What a client has completed with a file goes with the file: asked again elsewhere, it is not done twice.

use common::attr::SetAttr;
use common::id::{Ino, Rank};
use common::wire::reply::{Answer, Outcome};
use common::wire::request::{Op, Place, Rename, RenameMode, Request, Target};
use common::wire::session::ToMds;

use crate::cluster_fixture::{Cluster, D1, D2, R1, R2};
use crate::fixture::{A, B, conn, in_entry, name, rename_op};

fn truncate(target: Target, size: u64) -> Op {
    Op::Setattr { target, set: SetAttr { size: Some(size), ..SetAttr::default() } }
}

fn size(outcome: Option<Outcome>) -> u64 {
    match outcome {
        Some(Outcome::Done(Answer::Attr(attr))) => attr.size,
        outcome => panic!("{outcome:?}"),
    }
}

/// `/r1/f` becomes `/r2/g`.
fn renamed(cluster: &mut Cluster) {
    let op = match rename_op((D1, "f"), (D2, "g"), RenameMode::Replace) {
        Op::Rename(rename) => Op::Rename(Rename { from_rank: R1, ..rename }),
        op => op,
    };
    assert!(matches!(cluster.ask(R2, B, op), Outcome::Done(_)));
}

/// Client A has truncated a file, and was not answered; it asks again where the file is by now.
fn ask_again(cluster: &mut Cluster, rank: Rank, request: &Request, target: Target) -> u64 {
    let Op::Setattr { set, .. } = &request.op else { panic!("{request:?}") };
    let op = Op::Setattr { target, set: *set };
    cluster.at(rank).say(A, conn(A, 1), ToMds::Request(Request { op, ..request.clone() }));
    cluster.run();
    size(cluster.reply(rank, A, request.id))
}

fn truncated() -> (Cluster, Ino, Request) {
    let mut cluster = Cluster::new();
    let file = cluster.at(R1).create(A, D1, "f");
    let request = cluster.send(R1, A, truncate(in_entry(file, D1, "f"), 10));
    cluster.run();
    assert_eq!(size(cluster.reply(R1, A, request.id)), 10);
    (cluster, file, request)
}

#[test]
fn after_a_rename_to_another_rank() {
    let (mut cluster, file, request) = truncated();
    renamed(&mut cluster);
    let at_new = in_entry(file, D2, "g");
    assert_eq!(size(Some(cluster.ask(R2, B, truncate(at_new.clone(), 99)))), 99);
    assert_eq!(ask_again(&mut cluster, R2, &request, at_new.clone()), 99);
    cluster.kill(R2);
    cluster.revive(R2);
    cluster.run();
    assert_eq!(ask_again(&mut cluster, R2, &request, at_new), 99, "by its next life as well");
}

#[test]
fn after_a_link_that_brings_it_home() {
    let (mut cluster, file, request) = truncated();
    renamed(&mut cluster);
    let later = cluster.send(R2, A, truncate(in_entry(file, D2, "g"), 20));
    cluster.run();
    let target = in_entry(file, D2, "g");
    let op = Op::Link { target, rank: R2, dir: D2, name: name("h") };
    assert!(matches!(cluster.ask(R2, B, op), Outcome::Done(_)));
    let home = Target { ino: file, place: Place::Home };
    assert_eq!(size(Some(cluster.ask(R1, B, truncate(home.clone(), 99)))), 99);
    for request in [request, later] {
        assert_eq!(ask_again(&mut cluster, R1, &request, home.clone()), 99);
    }
}
