//! Damage as no operation would leave it, and its repair.

use common::id::Rank;
use common::wire::admin::{AdminError, AdminReply, AdminRequest};
use common::wire::request::Op;

use super::*;
use crate::cluster_fixture::{Cluster, D0, D1, R0, R1};
use crate::effect::Effects;
use crate::fixture::{A, in_entry, name};
use crate::holdings::Holdings;
use crate::input::{AdminId, Input};

fn place(dir: Ino, text: &str) -> Place {
    Place { dir, name: name(text) }
}

fn order(cluster: &mut Cluster, rank: Rank, repair: Repair) -> AdminReply {
    let request = AdminRequest::Repair(repair);
    cluster.at(rank).input(Input::Admin { id: AdminId(1), request });
    cluster.at(rank).answers.pop().expect("an answer at once")
}

fn damage(cluster: &mut Cluster, rank: Rank, how: impl FnOnce(&mut Holdings, &mut Effects)) {
    how(cluster.at(rank).mds.holdings_for_test(), &mut Effects::default());
}

/// It is mended, and then there is nothing to mend.
#[track_caller]
fn mends(cluster: &mut Cluster, rank: Rank, repair: &Repair) {
    for repaired in [Repaired::Done, Repaired::NotNeeded] {
        let reply = order(cluster, rank, repair.clone());
        assert_eq!(reply, AdminReply::Repaired(repaired));
    }
}

#[test]
fn names_in_a_directory_are_counted() {
    let mut cluster = Cluster::new();
    cluster.at(R1).create(A, D1, "f");
    cluster.at(R1).mkdir(A, D1, "d");
    damage(&mut cluster, R1, |own, out| {
        let mut dir = own.namespace.dir(D1).unwrap().unwrap().clone();
        (dir.entries, dir.subdirs) = (7, 0);
        own.namespace.put_dir(D1, dir, out);
    });
    mends(&mut cluster, R1, &Repair::Recount { dir: D1 });
    assert_eq!(cluster.counts(R1, D1), (2, 1));
}

#[test]
fn who_is_not_the_authority_mends_nothing() {
    let mut cluster = Cluster::new();
    let reply = order(&mut cluster, R0, Repair::Recount { dir: D1 });
    assert_eq!(reply, AdminReply::Refused(AdminError::NotHere));
}

fn linked(cluster: &mut Cluster) -> Ino {
    let file = cluster.at(R0).create(A, D0, "f");
    let target = in_entry(file, D0, "f");
    let op = Op::Link { target, rank: R0, dir: D0, name: name("g") };
    cluster.ask(R0, A, op);
    file
}

#[test]
fn links_are_set_if_they_are_as_they_were_seen() {
    let mut cluster = Cluster::new();
    let ino = linked(&mut cluster);
    let reply = order(&mut cluster, R0, Repair::SetLinks { ino, from: 5, to: 2 });
    assert_eq!(reply, AdminReply::Repaired(Repaired::NotNeeded));
    mends(&mut cluster, R0, &Repair::SetLinks { ino, from: 2, to: 3 });
}

#[test]
fn a_name_that_leads_to_nothing_goes() {
    let mut cluster = Cluster::new();
    let ino = linked(&mut cluster);
    let remove = |text: &str| Repair::RemoveName { place: place(D0, text), ino };
    let reply = order(&mut cluster, R0, remove("f"));
    assert_eq!(reply, AdminReply::Repaired(Repaired::NotNeeded), "it leads to something");
    damage(&mut cluster, R0, |own, out| own.namespace.remove_inode(ino, out));
    mends(&mut cluster, R0, &remove("f"));
    mends(&mut cluster, R0, &remove("g"));
    assert_eq!(cluster.counts(R0, D0), (0, 0));

    let dir = cluster.at(R0).mkdir(A, D0, "d");
    let remove = Repair::RemoveName { place: place(D0, "d"), ino: dir };
    let reply = order(&mut cluster, R0, remove.clone());
    assert_eq!(reply, AdminReply::Repaired(Repaired::NotNeeded), "it leads to something");
    damage(&mut cluster, R0, |own, out| own.namespace.remove_dir(dir, out));
    mends(&mut cluster, R0, &remove);
    assert_eq!(cluster.counts(R0, D0), (0, 0));
}

/// A client may hold it: then it lives until that lets go.
#[test]
fn a_file_without_names_is_purged_when_nobody_holds_it() {
    let mut cluster = Cluster::new();
    let ino = linked(&mut cluster);
    mends(&mut cluster, R0, &Repair::RemoveInode { ino });
    assert!(cluster.at(R0).mds.holdings().namespace.orphan(ino).is_some());
}
