//! A rank that comes to know others' directories, through the whole of it.

use common::id::{DirFragId, Ino, Nonce};
use common::wire::reply::{Answer, Outcome};
use common::wire::request::{Op, Rename, RenameMode};

use crate::cluster_fixture::{Cluster, D0, D1, D2, R0, R1, R2};
use crate::fixture::{A, rename_op};
use crate::message::PeerMsg;
use crate::message::replica::ReplicaMsg;
use crate::subtree::Freeze;

fn ask(cluster: &mut Cluster, dir: Ino) -> Vec<PeerMsg> {
    cluster.tell(R2, R0, ReplicaMsg::Discover { dir }.into());
    std::mem::take(&mut cluster.at(R0).sent).into_iter().map(|(_, msg)| msg).collect()
}

#[test]
fn the_authority_grants_and_registers() {
    let mut cluster = Cluster::new();
    let answer = ask(&mut cluster, D0);
    assert!(
        matches!(&answer[..], [PeerMsg::Replica(ReplicaMsg::Discovered { dir: D0, .. })]),
        "{answer:?}"
    );
    assert_eq!(cluster.at(R0).mds.holdings().spine.holders(D0).count(), 1);
    cluster.tell(R2, R0, ReplicaMsg::Expire { dirs: vec![(D0, Nonce(99))], region: None }.into());
    assert_eq!(cluster.at(R0).mds.holdings().spine.holders(D0).count(), 1, "an older grant");
    let nonce = cluster.at(R0).mds.holdings().spine.holders(D0).next().unwrap().1;
    cluster.tell(R2, R0, ReplicaMsg::Expire { dirs: vec![(D0, nonce)], region: None }.into());
    assert_eq!(cluster.at(R0).mds.holdings().spine.holders(D0).count(), 0);
}

#[test]
fn others_say_who_is() {
    let mut cluster = Cluster::new();
    let elsewhere = ReplicaMsg::NotHere { dir: D1, ask: Some(R1) };
    assert_eq!(ask(&mut cluster, D1), [elsewhere.into()]);
    let unheard_of = ReplicaMsg::NotHere { dir: Ino(0x99), ask: None };
    assert_eq!(ask(&mut cluster, Ino(0x99)), [unheard_of.into()]);
}

#[test]
fn a_frozen_authority_grants_nothing_until_it_thaws() {
    let mut cluster = Cluster::new();
    cluster.at(R0).mds.freeze_for_test(DirFragId::whole(Ino::ROOT), Freeze::Frozen);
    assert_eq!(ask(&mut cluster, D0), []);
    cluster.thaw(R0, Ino::ROOT);
    let sent = std::mem::take(&mut cluster.at(R0).sent);
    assert!(
        matches!(&sent[..], [(R2, PeerMsg::Replica(ReplicaMsg::Discovered { dir: D0, .. }))]),
        "{sent:?}"
    );
}

/// A directory is renamed into what two other ranks hold, so the way up is asked for, step by step.
#[test]
fn a_path_is_found_wherever_it_leads() {
    let mut cluster = Cluster::new();
    let mv = |from, to, from_rank| match rename_op(from, to, RenameMode::Replace) {
        Op::Rename(rename) => Op::Rename(Rename { from_rank, ..rename }),
        op => op,
    };
    let one = cluster.at(R1).mkdir(A, D1, "one");
    let two = cluster.at(R2).mkdir(A, D2, "two");
    let three = cluster.at(R0).mkdir(A, D0, "three");
    // `/r1/one/two/three`, each held by another rank than the one above.
    for (op, rank) in [
        (mv((D2, "two"), (one, "two"), R2), R1),
        (mv((D0, "three"), (two, "three"), R0), R2),
        (mv((D1, "last"), (three, "last"), R1), R0),
    ] {
        if rank == R0 {
            cluster.at(R1).mkdir(A, D1, "last");
        }
        let outcome = cluster.ask(rank, A, op);
        assert!(matches!(outcome, Outcome::Done(Answer::Renamed(_))), "{outcome:?}");
    }
    let spine = &cluster.at(R0).mds.holdings().spine;
    assert_eq!(spine.replica(two).unwrap().authority, R2);
    assert_eq!(spine.replica(one).unwrap().authority, R1);
    cluster.assert_at_rest();
}
