//! Clients that are gone while an operation of theirs is under way, or before a rank's death: nothing is
//! held for them.

use common::error::FsError;
use common::id::{Ino, Rank};
use common::wire::reply::Outcome;
use common::wire::request::{Op, Rename, RenameMode};
use common::wire::session::ToMds;

use crate::cluster_fixture::{Cluster, D1, D2, R0, R1, R2};
use crate::fixture::{A, B, Fixture, conn, in_entry, name, rename_op};

/// Turns after which the operations here are over.
const TURNS: usize = 24;

fn leaves(cluster: &mut Cluster, rank: Rank) {
    cluster.at(rank).say(B, conn(B, 1), ToMds::Close);
}

/// `/r2/f`, whose home is rank 1.
fn far_from_home(cluster: &mut Cluster) -> Ino {
    let file = cluster.at(R1).create(A, D1, "f");
    let Op::Rename(rename) = rename_op((D1, "f"), (D2, "f"), RenameMode::Replace) else {
        unreachable!("it is a rename")
    };
    cluster.ask(R2, A, Op::Rename(Rename { from_rank: R1, ..rename }));
    file
}

#[track_caller]
fn assert_sound(cluster: &Cluster, which: usize, turns: usize) {
    for (rank, fixture) in &cluster.ranks {
        let sound = fixture.mds.check();
        assert_eq!(sound, Ok(()), "{rank}: operation {which}, left after {turns} turns");
    }
}

fn operations(file: Ino) -> Vec<(Rank, Op)> {
    let target = in_entry(file, D2, "f");
    let Op::Rename(rename) = rename_op((D2, "f"), (D1, "g"), RenameMode::Replace) else {
        unreachable!("it is a rename")
    };
    vec![
        (R1, Op::Link { target: target.clone(), rank: R2, dir: D1, name: name("g") }),
        (R2, Op::Link { target, rank: R2, dir: D2, name: name("g") }),
        (R1, Op::Rename(Rename { from_rank: R2, ..rename })),
    ]
}

#[test]
fn nothing_is_pinned_for_somebody_who_has_left_since() {
    let count = operations(Ino(1)).len();
    for (turns, which) in (0..TURNS).flat_map(|turns| (0..count).map(move |which| (turns, which))) {
        let mut cluster = Cluster::new();
        let file = far_from_home(&mut cluster);
        let (rank, op) = operations(file).swap_remove(which);
        cluster.send(rank, B, op);
        for _ in 0..turns {
            cluster.step();
        }
        for rank in [R0, R1, R2] {
            leaves(&mut cluster, rank);
            assert_sound(&cluster, which, turns);
        }
        for _ in 0..TURNS {
            cluster.step();
            assert_sound(&cluster, which, turns);
        }
        cluster.run();
        cluster.assert_settled();
        cluster.assert_sound();
        // Nor for ever: what A lets go of is gone.
        let names = [(R1, D1, "g"), (R2, D2, "g"), (R2, D2, "f")];
        let there: Vec<_> = names
            .into_iter()
            .filter(|(rank, dir, text)| is_there(&mut cluster, *rank, *dir, text))
            .collect();
        for (rank, dir, text) in there {
            cluster.ask(rank, A, Op::Unlink { dir, name: name(text) });
        }
        for rank in [R0, R1, R2] {
            cluster.at(rank).say(A, conn(A, 1), ToMds::Close);
            let own = cluster.at(rank).mds.holdings();
            assert_eq!(own.pins.count(), 0, "{rank}: operation {which}, left after {turns} turns");
        }
    }
}

fn is_there(cluster: &mut Cluster, rank: Rank, dir: Ino, text: &str) -> bool {
    match cluster.ask(rank, A, Op::Lookup { dir, name: name(text) }) {
        Outcome::Done(_) => true,
        Outcome::Refused(FsError::NotFound) => false,
        outcome => panic!("{outcome:?}"),
    }
}

#[test]
fn an_orphan_is_not_held_by_somebody_who_left_before_its_rank_died() {
    let mut mds = Fixture::new();
    let file = mds.create(A, Ino::ROOT, "f");
    mds.ask(B, Op::Lookup { dir: Ino::ROOT, name: name("f") });
    let unlink = mds.request(Op::Unlink { dir: Ino::ROOT, name: name("f") });
    mds.say(A, conn(A, 1), ToMds::Request(unlink));
    mds.say(B, conn(B, 1), ToMds::Close);
    assert!(!mds.mds.holdings().pins.is_pinned_by(file, B));
    let mds = mds.restart();
    assert_eq!(mds.mds.check(), Ok(()));
    assert!(!mds.mds.holdings().pins.is_pinned_by(file, B), "its session has ended");
}
