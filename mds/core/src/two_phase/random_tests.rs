//! Many operations at once, over links of differing speed, with ranks that die: whatever happens,
//! everything comes to rest, every name is counted, and no inode is in two places.

use std::collections::BTreeMap;

use common::id::{Ino, Rank};
use common::wire::request::{Op, Rename, RenameMode};

use crate::cluster_fixture::{Chance, Cluster, D0, D1, D2, R0, R1, R2};
use crate::fixture::{A, B, in_entry, name, rename_op};
use crate::row::Linkage;

const PLACES: [(Rank, Ino); 3] = [(R0, D0), (R1, D1), (R2, D2)];
const NAMES: [&str; 3] = ["a", "b", "c"];

fn some_op(chance: &mut Chance, files: &[Ino]) -> (Rank, Op) {
    let (from_rank, from) = PLACES[chance.below(3)];
    let (rank, to) = PLACES[chance.below(3)];
    let (one, other) = (NAMES[chance.below(3)], NAMES[chance.below(3)]);
    let op = match chance.below(8) {
        0 => Op::Unlink { dir: to, name: name(one) },
        1 => Op::Rmdir { dir: to, name: name(one) },
        2 | 3 => {
            let target = in_entry(files[chance.below(files.len())], from, one);
            Op::Link { target, rank: from_rank, dir: to, name: name(other) }
        }
        kind => {
            let mode = if kind == 4 { RenameMode::Exchange } else { RenameMode::Replace };
            match rename_op((from, one), (to, other), mode) {
                Op::Rename(rename) => Op::Rename(Rename { from_rank, ..rename }),
                op => op,
            }
        }
    };
    (rank, op)
}

fn check(cluster: &mut Cluster) {
    cluster.assert_at_rest();
    let mut embedded: BTreeMap<Ino, u32> = BTreeMap::new();
    let mut remote: BTreeMap<Ino, u32> = BTreeMap::new();
    for (rank, dir) in PLACES {
        cluster.assert_counts(rank, dir);
        for linkage in cluster.at(rank).entries(dir) {
            let names = match &linkage {
                Linkage::Primary(_) | Linkage::Dir { .. } => &mut embedded,
                Linkage::Remote { .. } => &mut remote,
            };
            *names.entry(linkage.ino()).or_default() += 1;
        }
    }
    for (ino, count) in embedded {
        assert_eq!((count, remote.get(&ino)), (1, None), "{ino}");
    }
    for (ino, count) in remote {
        let home = Rank(ino.slot().0);
        let nlink = match cluster.at(home).row(&crate::row::Key::Inode(ino)) {
            Some(crate::row::Row::Inode(_, inode)) => inode.attr.nlink,
            row => panic!("{ino}: {row:?}"),
        };
        assert_eq!(nlink, count, "{ino}");
    }
}

fn play(seed: u64, deaths: bool) {
    let mut cluster = Cluster::new();
    let mut chance = Chance(seed);
    let mut files = Vec::new();
    for (rank, dir) in PLACES {
        files.push(cluster.at(rank).create(A, dir, "a"));
        cluster.at(rank).mkdir(B, dir, "b");
    }
    cluster.run();
    cluster.chance = Some(Chance(seed));
    for round in 0..6 {
        for _ in 0..4 {
            let client = if chance.below(2) == 0 { A } else { B };
            let (rank, op) = some_op(&mut chance, &files);
            cluster.send(rank, client, op);
            for _ in 0..chance.below(6) {
                cluster.step();
                cluster.assert_sound();
            }
        }
        if deaths && round % 2 == 0 {
            let (dead, _) = PLACES[chance.below(3)];
            cluster.kill(dead);
            for _ in 0..chance.below(10) {
                cluster.step();
            }
            cluster.revive(dead);
        }
        cluster.run();
        check(&mut cluster);
    }
}

#[test]
fn operations_at_random() {
    for seed in 0..300 {
        play(seed, false);
    }
}

#[test]
fn operations_and_deaths_at_random() {
    for seed in 0..300 {
        play(seed, true);
    }
}
