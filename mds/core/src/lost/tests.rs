//! Lost ranks: what becomes of what they held, and of what was named below that.

use common::error::FsError;
use common::id::{DirFragId, Ino, Rank};
use common::wire::admin::{AdminReply, AdminRequest, Settlement};
use common::wire::reply::{Answer, Found, Outcome};
use common::wire::request::{Op, Place, RenameMode, Target, XattrName};

use crate::cluster_fixture::{Cluster, D0, D1, D2, R0, R1, R2};
use crate::fixture::{A, in_entry, name, rename_op};
use crate::input::{AdminId, Input};
use crate::subtree::DirAuth;
use crate::timer::Timer;

/// Everything arrives, and clocks go on.
fn rest(cluster: &mut Cluster) {
    for _ in 0..6 {
        cluster.run();
        for rank in cluster.up() {
            let due: Vec<Timer> = cluster.at(rank).timers.iter().copied().collect();
            for timer in due {
                if let Timer::Spine | Timer::Sweep | Timer::Exporter(_) | Timer::Importer(_) = timer
                {
                    cluster.at(rank).timers.remove(&timer);
                    cluster.at(rank).input(Input::Timer(timer));
                }
            }
        }
    }
    cluster.run();
    cluster.assert_sound();
}

fn order(cluster: &mut Cluster, rank: Rank, request: AdminRequest) -> AdminReply {
    cluster.at(rank).input(Input::Admin { id: AdminId(1), request });
    cluster.at(rank).answers.pop().expect("an answer at once")
}

fn give(cluster: &mut Cluster, from: Rank, dir: Ino, to: Rank) {
    let reply = order(cluster, from, AdminRequest::Export { dir, to });
    assert!(matches!(reply, AdminReply::Exporting(_)), "{reply:?}");
    rest(cluster);
}

fn lose(cluster: &mut Cluster, rank: Rank) {
    cluster.kill(rank);
    cluster.run();
    cluster.lose(rank);
    rest(cluster);
}

fn owner(cluster: &Cluster, rank: Rank, dir: Ino) -> Option<DirAuth> {
    Some(cluster.ranks[&rank].mds.holdings().subtrees.get(DirFragId::whole(dir))?.auth)
}

fn mark(cluster: &mut Cluster, rank: Rank, dir: Ino) -> Outcome {
    let name = XattrName(b"grove.dir.lost".as_slice().into());
    cluster.ask(rank, A, Op::GetXattr { target: Target::dir(dir), name })
}

fn is_marked(cluster: &mut Cluster, rank: Rank, dir: Ino, lost: &[u8]) -> bool {
    matches!(
        mark(cluster, rank, dir),
        Outcome::Done(Answer::Xattr(value)) if *value.0 == *lost
    )
}

#[test]
fn its_region_becomes_an_empty_directory_of_the_rank_above() {
    let mut cluster = Cluster::new();
    cluster.at(R2).create(A, D2, "f");
    lose(&mut cluster, R2);
    assert_eq!(owner(&cluster, R0, D2), Some(DirAuth::Sole(R0)));
    assert_eq!(cluster.lookup(R0, Ino::ROOT, "r2"), Some((D2, 0)));
    assert_eq!(cluster.lookup(R0, D2, "f"), None);
    assert!(is_marked(&mut cluster, R0, D2, b"2"));
    // It is a directory like others.
    let new = cluster.at(R0).create(A, D2, "g");
    cluster.kill(R0);
    cluster.revive(R0);
    rest(&mut cluster);
    assert_eq!(cluster.lookup(R0, D2, "g"), Some((new, 1)));
    assert!(is_marked(&mut cluster, R0, D2, b"2"));
    cluster.assert_counts(R0, D2);
    cluster.assert_counts(R0, Ino::ROOT);
}

#[test]
fn the_mark_can_be_taken_away() {
    let mut cluster = Cluster::new();
    lose(&mut cluster, R2);
    let name = XattrName(b"grove.dir.lost".as_slice().into());
    let op = Op::RemoveXattr { target: Target::dir(D2), name };
    assert_eq!(cluster.ask(R0, A, op), Outcome::Done(Answer::Done));
    assert_eq!(mark(&mut cluster, R0, D2), Outcome::Refused(FsError::NoAttribute));
}

/// Rank 1 had forgotten its replica of the base, so it did not hear that the region moved on.
#[test]
fn what_the_living_have_is_theirs_whatever_was_believed() {
    let mut cluster = Cluster::new();
    let dir = cluster.at(R1).mkdir(A, D1, "a");
    let file = cluster.at(R1).create(A, dir, "f");
    give(&mut cluster, R1, dir, R2);
    cluster.at(R2).mds.holdings_for_test().spine.take_holders(dir);
    cluster.at(R1).mds.holdings_for_test().spine.drop_replica(dir);
    give(&mut cluster, R2, dir, R0);
    assert_eq!(owner(&cluster, R1, dir), Some(DirAuth::Sole(R2)), "it does not know");
    lose(&mut cluster, R2);
    assert_eq!(owner(&cluster, R1, dir), Some(DirAuth::Sole(R0)));
    assert_eq!(cluster.lookup(R0, dir, "f"), Some((file, 1)));
}

#[test]
fn a_living_subtree_below_gets_a_name_in_the_root_directory() {
    let mut cluster = Cluster::new();
    let dir = cluster.at(R2).mkdir(A, D2, "a");
    let file = cluster.at(R2).create(A, dir, "f");
    give(&mut cluster, R2, dir, R1);
    let (named, other) = (cluster.at(R1).mkdir(A, dir, "deep"), cluster.at(R2).mkdir(A, D2, "b"));
    give(&mut cluster, R2, other, R1);
    lose(&mut cluster, R2);
    for (dir, text) in [(dir, "a"), (other, "b")] {
        let new = format!("lost+found.{dir}.{text}");
        assert_eq!(cluster.lookup(R0, Ino::ROOT, &new), Some((dir, 0)), "{new}");
        assert_eq!(cluster.auth(R0, dir), Some((R1, Some(Ino::ROOT))));
        assert_eq!(cluster.auth(R1, dir), Some((R1, Some(Ino::ROOT))));
    }
    assert_eq!(cluster.lookup(R1, dir, "f"), Some((file, 1)));
    assert_eq!(cluster.lookup(R1, dir, "deep"), Some((named, 0)));
    cluster.assert_counts(R0, Ino::ROOT);
    assert_eq!(cluster.lookup(R0, D2, "a"), None, "empty");
    // It can be given a name of its own, and loses the other.
    let new = format!("lost+found.{dir}.a");
    let op = rename_op((Ino::ROOT, &new), (D0, "back"), RenameMode::Replace);
    assert!(matches!(cluster.ask(R0, A, op), Outcome::Done(_)));
    rest(&mut cluster);
    assert_eq!(cluster.lookup(R0, D0, "back"), Some((dir, 0)));
    assert_eq!(cluster.lookup(R0, Ino::ROOT, &new), None);
    cluster.assert_settled();
}

/// Whoever asked and whoever names die before either knows that the other has done its part.
#[test]
fn it_gets_one_name_also_if_the_ranks_die_over_it() {
    for (dies, steps) in (0..40).flat_map(|steps| [(R0, steps), (R1, steps)]) {
        let mut cluster = Cluster::new();
        let dir = cluster.at(R2).mkdir(A, D2, "a");
        give(&mut cluster, R2, dir, R1);
        cluster.kill(R2);
        cluster.run();
        cluster.lose(R2);
        for _ in 0..steps {
            cluster.step();
        }
        cluster.kill(dies);
        cluster.run();
        cluster.revive(dies);
        rest(&mut cluster);
        let names: Vec<_> =
            cluster.at(R0).entries(Ino::ROOT).into_iter().filter(|it| it.ino() == dir).collect();
        assert_eq!(names.len(), 1, "{dies} after {steps}");
        assert_eq!(cluster.auth(R1, dir), Some((R1, Some(Ino::ROOT))), "{dies} after {steps}");
        assert_eq!(cluster.auth(R0, D2), Some((R0, Some(Ino::ROOT))), "{dies} after {steps}");
        cluster.assert_counts(R0, Ino::ROOT);
    }
}

/// A subtree whose name is with a living rank keeps it, and is asked about once.
#[test]
fn who_has_a_name_keeps_it() {
    let mut cluster = Cluster::new();
    lose(&mut cluster, R2);
    assert_eq!(cluster.lookup(R0, Ino::ROOT, "r1"), Some((D1, 0)));
    assert_eq!(cluster.auth(R1, D1), Some((R1, Some(Ino::ROOT))));
    assert_eq!(cluster.counts(R0, Ino::ROOT), (3, 3));
    cluster.at(R1).input(Input::Timer(Timer::Spine));
    assert_eq!(cluster.under_way(), []);
}

/// The importer is in doubt: until an operator has said whose the region is, nobody claims it.
fn settled(verdict: Settlement) -> (Cluster, Ino, Ino) {
    let mut cluster = Cluster::new();
    let file = cluster.at(R2).create(A, D2, "f");
    let reply = order(&mut cluster, R2, AdminRequest::Export { dir: D2, to: R1 });
    let AdminReply::Exporting(id) = reply else { panic!("{reply:?}") };
    for _ in 0..1000 {
        if cluster.at(R1).mds.migrator_for_test().halves(R1).any(|half| half.state == "Acking") {
            break;
        }
        cluster.step();
    }
    lose(&mut cluster, R2);
    assert_ne!(owner(&cluster, R0, D2), Some(DirAuth::Sole(R0)), "nobody knows yet");
    let reply = order(&mut cluster, R1, AdminRequest::SettleMigration { id, verdict });
    assert_eq!(reply, AdminReply::Settled);
    rest(&mut cluster);
    (cluster, D2, file)
}

#[test]
fn an_import_in_doubt_is_not_claimed_over() {
    let (mut cluster, dir, file) = settled(Settlement::Mine);
    assert_eq!(owner(&cluster, R0, dir), Some(DirAuth::Sole(R1)));
    assert_eq!(cluster.lookup(R1, dir, "f"), Some((file, 1)));
    assert_eq!(cluster.lookup(R0, Ino::ROOT, "r2"), Some((dir, 0)));
}

#[test]
fn an_import_that_was_given_up_is_claimed_empty() {
    let (mut cluster, dir, _) = settled(Settlement::Theirs);
    assert_eq!(owner(&cluster, R0, dir), Some(DirAuth::Sole(R0)));
    assert_eq!(cluster.lookup(R0, dir, "f"), None);
    assert!(is_marked(&mut cluster, R0, dir, b"2"));
}

/// The file's home was the lost rank: its names remain, and can be removed.
#[test]
fn a_file_whose_home_was_there_is_lost() {
    let mut cluster = Cluster::new();
    let file = cluster.at(R2).create(A, D2, "f");
    let target = in_entry(file, D2, "f");
    let link = Op::Link { target, rank: R2, dir: D1, name: name("g") };
    assert!(matches!(cluster.ask(R1, A, link), Outcome::Done(_)));
    lose(&mut cluster, R2);
    let found = cluster.ask(R1, A, Op::Lookup { dir: D1, name: name("g") });
    let leads_to_heir = matches!(
        found,
        Outcome::Done(Answer::Found(Found::Remote { ino, rank, .. })) if (ino, rank) == (file, R0)
    );
    assert!(leads_to_heir, "{found:?}");
    let target = Target { ino: file, place: Place::Home };
    let seen = cluster.ask(R0, A, Op::Getattr { target: target.clone() });
    assert_eq!(seen, Outcome::Refused(FsError::Io));
    let link = Op::Link { target, rank: R0, dir: D0, name: name("h") };
    assert_eq!(cluster.ask(R0, A, link), Outcome::Refused(FsError::Io));
    let unlink = Op::Unlink { dir: D1, name: name("g") };
    assert_eq!(cluster.ask(R1, A, unlink), Outcome::Done(Answer::Done));
    cluster.assert_at_rest();
}

/// A file goes from `/r1` to `/r2`: the coordinator is lost after the other has promised.
#[test]
fn what_a_lost_rank_had_begun_is_taken_back() {
    cov_mark::check!(coordinator_is_lost_in_in_doubt);
    let mut cluster = Cluster::new();
    let file = cluster.at(R1).create(A, D1, "f");
    cluster.send(R2, A, rename(R1, (D1, "f"), (D2, "g")));
    cluster.run_until(R1, "Prepared");
    lose(&mut cluster, R2);
    assert_eq!(cluster.lookup(R1, D1, "f"), Some((file, 1)));
    cluster.assert_at_rest();
}

/// A file goes from `/r2` to `/r1`, that is decided, and the rank that had it is lost.
#[test]
fn what_was_decided_stands_without_the_lost_rank() {
    cov_mark::check!(participant_is_lost_in_committing);
    let mut cluster = Cluster::new();
    let file = cluster.at(R2).create(A, D2, "f");
    let id = cluster.send(R1, A, rename(R2, (D2, "f"), (D1, "g"))).id;
    cluster.run_until(R1, "Committing");
    lose(&mut cluster, R2);
    assert!(matches!(cluster.reply(R1, A, id), Some(Outcome::Done(_))));
    assert_eq!(cluster.lookup(R1, D1, "g"), Some((file, 1)));
    cluster.assert_at_rest();
}

/// A request that needs the lost rank is not parked for ever.
#[test]
fn whoever_waits_for_a_lost_rank_is_answered() {
    let mut cluster = Cluster::new();
    cluster.at(R2).create(A, D2, "f");
    cluster.kill(R2);
    let id = cluster.send(R1, A, rename(R2, (D2, "f"), (D1, "g"))).id;
    cluster.run();
    assert_eq!(cluster.reply(R1, A, id), None);
    cluster.lose(R2);
    rest(&mut cluster);
    assert!(cluster.reply(R1, A, id).is_some());
    cluster.assert_settled();
}

/// The exporter has given the region away; the importer never says that it has finished.
#[test]
fn what_was_given_to_a_lost_rank_is_lost_with_it() {
    let mut cluster = Cluster::new();
    let dir = cluster.at(R1).mkdir(A, D1, "a");
    cluster.at(R1).create(A, dir, "f");
    let reply = order(&mut cluster, R1, AdminRequest::Export { dir, to: R2 });
    assert!(matches!(reply, AdminReply::Exporting(_)), "{reply:?}");
    for _ in 0..1000 {
        let migrator = cluster.at(R1).mds.migrator_for_test();
        if migrator.halves(R1).any(|half| half.state == "Notifying") {
            break;
        }
        cluster.step();
    }
    lose(&mut cluster, R2);
    assert!(is_marked(&mut cluster, R1, dir, b"2"));
    assert_eq!(cluster.lookup(R1, dir, "f"), None);
    assert!(cluster.ranks[&R1].mds.holdings().released.is_empty());
    assert!(cluster.ranks[&R1].mds.holdings().sweep.is_empty(), "swept, but for what is new");
    assert_eq!(cluster.at(R1).mds.migrator_for_test().running(), 0);
}

fn rename(from_rank: Rank, from: (Ino, &str), to: (Ino, &str)) -> Op {
    match rename_op(from, to, RenameMode::Replace) {
        Op::Rename(rename) => Op::Rename(common::wire::request::Rename { from_rank, ..rename }),
        op => op,
    }
}
