//! Each operation across ranks, refusals, and operations that cross.

use common::error::FsError;
use common::id::{Ino, Rank};
use common::wire::admin::AdminRequest;
use common::wire::reply::{Answer, Found, Outcome};
use common::wire::request::{Create, IfExists, Node, Op, Place, RenameMode, Target};
use common::wire::session::{Notice, ToMds};

use crate::cluster_fixture::{Cluster, D0, D1, D2, R0, R1, R2};
use crate::fixture::{A, B, conn, in_entry, name, rename_op};
use crate::input::{AdminId, Input};

const ROOT: Ino = Ino::ROOT;

fn refused(error: FsError) -> Outcome {
    Outcome::Refused(error)
}

fn mv(from: (Ino, &str), to: (Ino, &str), hint: Rank, mode: RenameMode) -> Op {
    match rename_op(from, to, mode) {
        Op::Rename(rename) => {
            Op::Rename(common::wire::request::Rename { from_rank: hint, ..rename })
        }
        op => op,
    }
}

fn link_op(target: Target, rank: Rank, dir: Ino, text: &str) -> Op {
    Op::Link { target, rank, dir, name: name(text) }
}

#[track_caller]
fn assert_renamed(outcome: &Outcome, rank: Rank) {
    match outcome {
        Outcome::Done(Answer::Renamed(renamed)) => assert_eq!(renamed.moved.rank, rank),
        outcome => panic!("{outcome:?}"),
    }
}

/// `/r0/f`, with a second name `/r1/g`: its home is rank 0.
fn linked(cluster: &mut Cluster) -> Ino {
    let file = cluster.at(R0).create(A, D0, "f");
    let outcome = cluster.ask(R1, A, link_op(in_entry(file, D0, "f"), R0, D1, "g"));
    match outcome {
        Outcome::Done(Answer::Found(Found::Remote { ino, rank, attr, .. })) => {
            assert_eq!((ino, rank, attr), (file, R0, None));
        }
        outcome => panic!("{outcome:?}"),
    }
    file
}

#[test]
fn a_directory_held_elsewhere_is_removed() {
    let mut cluster = Cluster::new();
    assert_eq!(
        cluster.ask(R0, A, Op::Rmdir { dir: ROOT, name: name("r1") }),
        Outcome::Done(Answer::Done)
    );
    assert_eq!(cluster.lookup(R0, ROOT, "r1"), None);
    assert_eq!(cluster.counts(R0, ROOT), (2, 2));
    assert_eq!(cluster.auth(R0, D1), None);
    assert_eq!(cluster.auth(R1, D1), None);
    cluster.assert_at_rest();
}

#[test]
fn a_directory_held_elsewhere_that_is_not_empty_stays() {
    let mut cluster = Cluster::new();
    cluster.at(R1).create(A, D1, "f");
    let rmdir = Op::Rmdir { dir: ROOT, name: name("r1") };
    assert_eq!(cluster.ask(R0, A, rmdir), refused(FsError::NotEmpty));
    assert_eq!(cluster.counts(R0, ROOT), (3, 3));
    cluster.assert_at_rest();
}

#[test]
fn a_second_name_at_another_rank() {
    let mut cluster = Cluster::new();
    let file = linked(&mut cluster);
    assert_eq!(cluster.lookup(R0, D0, "f"), Some((file, 2)));
    assert_eq!(cluster.lookup(R1, D1, "g"), Some((file, 0)));
    assert_eq!(cluster.counts(R1, D1), (1, 0));
    cluster.assert_at_rest();
}

#[test]
fn a_second_name_takes_the_inode_home_over_three_ranks() {
    let mut cluster = Cluster::new();
    let file = cluster.at(R0).create(A, D0, "f");
    assert_renamed(&cluster.ask(R1, A, mv((D0, "f"), (D1, "f"), R0, RenameMode::Replace)), R1);
    assert!(matches!(cluster.lookup(R1, D1, "f"), Some((ino, 1)) if ino == file));

    let outcome = cluster.ask(R2, A, link_op(in_entry(file, D1, "f"), R1, D2, "g"));
    assert!(
        matches!(outcome, Outcome::Done(Answer::Found(Found::Remote { rank: R0, .. }))),
        "{outcome:?}"
    );
    // B holds it, so B was told where it is before A was answered.
    let moved = Notice::Moved { ino: file, place: Place::Home, rank: R0, moves: 2 };
    assert!(cluster.notices.contains(&(R1, B, moved)), "{:?}", cluster.notices);
    let holders = |cluster: &mut Cluster, rank| {
        let holders = cluster.at(rank).mds.holdings().pins.holders(file);
        holders.map(|(client, _)| client).collect::<Vec<_>>()
    };
    assert_eq!(holders(&mut cluster, R0), [A, B]);
    assert_eq!(holders(&mut cluster, R1), []);
    cluster.assert_at_rest();
}

#[test]
fn a_further_name_of_what_has_its_home_elsewhere() {
    let mut cluster = Cluster::new();
    let file = linked(&mut cluster);
    let target = Target { ino: file, place: Place::Home };
    let outcome = cluster.ask(R2, A, link_op(target, R0, D2, "h"));
    assert!(
        matches!(outcome, Outcome::Done(Answer::Found(Found::Remote { rank: R0, .. }))),
        "{outcome:?}"
    );
    assert_eq!(cluster.lookup(R0, D0, "f"), Some((file, 3)));
    cluster.assert_at_rest();
}

#[test]
fn links_that_cannot_be_leave_nothing() {
    let mut cluster = Cluster::new();
    let file = linked(&mut cluster);
    let home = Target { ino: file, place: Place::Home };
    let taken = link_op(home, R0, D1, "g");
    assert_eq!(cluster.ask(R1, A, taken), refused(FsError::Exists));
    let stale = link_op(in_entry(file, D0, "f"), R0, D1, "h");
    assert_eq!(cluster.ask(R1, A, stale), Outcome::Gone { ino: file });
    cluster.assert_at_rest();
}

#[test]
fn names_go_one_by_one_wherever_the_inode_is() {
    let mut cluster = Cluster::new();
    let file = linked(&mut cluster);
    let unlink = |dir, text| Op::Unlink { dir, name: name(text) };
    assert_eq!(cluster.ask(R1, A, unlink(D1, "g")), Outcome::Done(Answer::Done));
    assert_eq!(cluster.lookup(R0, D0, "f"), Some((file, 1)));
    cluster.assert_at_rest();
}

#[test]
fn the_last_name_elsewhere_leaves_an_orphan_at_home() {
    let mut cluster = Cluster::new();
    let file = linked(&mut cluster);
    let unlink = |dir, text| Op::Unlink { dir, name: name(text) };
    assert_eq!(cluster.ask(R0, A, unlink(D0, "f")), Outcome::Done(Answer::Done));
    assert_eq!(cluster.ask(R1, A, unlink(D1, "g")), Outcome::Done(Answer::Done));
    // A holds it from its creation, and learns where the orphan is.
    assert_eq!(cluster.notices.last(), Some(&(R0, A, Notice::Unlinked { ino: file, rank: R0 })));
    assert!(cluster.at(R0).mds.holdings().namespace.orphan(file).is_some());
    cluster.assert_at_rest();
}

#[test]
fn a_file_goes_to_another_rank_with_all_who_hold_it() {
    let mut cluster = Cluster::new();
    let file = cluster.at(R0).create(A, D0, "f");
    assert_eq!(cluster.lookup(R0, D0, "f"), Some((file, 1)));
    cluster.silent.insert(B);
    let op = mv((D0, "f"), (D1, "g"), R0, RenameMode::Replace);
    let id = cluster.send(R1, A, op).id;
    cluster.run();
    assert_eq!(cluster.reply(R1, A, id), None, "the answer waits until B knows");
    cluster.silent.clear();
    cluster.ack();
    cluster.run();
    assert_renamed(&cluster.reply(R1, A, id).unwrap(), R1);
    let place = Place::Entry { dir: D1, name: name("g") };
    let moved = Notice::Moved { ino: file, place, rank: R1, moves: 1 };
    // Both ranks tell both.
    for told in [(R0, A), (R0, B), (R1, A), (R1, B)].map(|(by, to)| (by, to, moved.clone())) {
        assert!(cluster.notices.contains(&told), "{told:?}: {:?}", cluster.notices);
    }
    assert_eq!(cluster.lookup(R0, D0, "f"), None);
    assert_eq!(cluster.counts(R0, D0), (0, 0));
    assert_eq!(cluster.counts(R1, D1), (1, 0));
    let pins = &cluster.at(R1).mds.holdings().pins;
    assert_eq!(pins.holders(file).map(|(client, _)| client).collect::<Vec<_>>(), [A, B]);
    assert_eq!(pins.dir_of(file), Some(D1));
    assert!(!cluster.at(R0).mds.holdings().pins.is_pinned(file));
    cluster.assert_at_rest();
}

#[test]
fn a_hint_that_is_wrong_is_corrected() {
    let mut cluster = Cluster::new();
    cluster.at(R1).create(A, D1, "f");
    // Rank 0 knows who has it.
    assert_renamed(&cluster.ask(R2, A, mv((D1, "f"), (D2, "f"), R0, RenameMode::Replace)), R2);
    // Rank 1 does not: the client has to look the directory up.
    let op = mv((D0, "f"), (D2, "g"), R1, RenameMode::Replace);
    assert_eq!(cluster.ask(R2, A, op), Outcome::Gone { ino: D0 });
    cluster.assert_at_rest();
}

#[test]
fn a_file_replaces_another() {
    let mut cluster = Cluster::new();
    let file = cluster.at(R0).create(A, D0, "f");
    let victim = cluster.at(R1).create(B, D1, "g");
    assert_renamed(&cluster.ask(R1, A, mv((D0, "f"), (D1, "g"), R0, RenameMode::Replace)), R1);
    assert_eq!(cluster.lookup(R1, D1, "g"), Some((file, 1)));
    assert_eq!(cluster.counts(R1, D1), (1, 0));
    let unlinked = (R1, B, Notice::Unlinked { ino: victim, rank: R1 });
    assert!(cluster.notices.contains(&unlinked), "{:?}", cluster.notices);
    cluster.assert_at_rest();
}

#[test]
fn a_file_replaces_a_name_whose_inode_is_elsewhere() {
    let mut cluster = Cluster::new();
    let linked = linked(&mut cluster);
    let file = cluster.at(R2).create(A, D2, "n");
    assert_renamed(&cluster.ask(R1, A, mv((D2, "n"), (D1, "g"), R2, RenameMode::Replace)), R1);
    assert_eq!(cluster.lookup(R1, D1, "g"), Some((file, 1)));
    assert_eq!(cluster.lookup(R0, D0, "f"), Some((linked, 1)));
    cluster.assert_at_rest();
}

#[test]
fn what_rename_refuses_changes_nothing() {
    let mut cluster = Cluster::new();
    cluster.at(R0).create(A, D0, "f");
    cluster.at(R1).create(A, D1, "g");
    cluster.at(R1).mkdir(A, D1, "d");
    for (from, to, mode, error) in [
        ("f", "g", RenameMode::NoReplace, FsError::Exists),
        ("x", "g", RenameMode::Replace, FsError::NotFound),
        ("f", "d", RenameMode::Replace, FsError::IsDirectory),
        ("f", "x", RenameMode::Exchange, FsError::NotFound),
    ] {
        assert_eq!(cluster.ask(R1, A, mv((D0, from), (D1, to), R0, mode)), refused(error));
        cluster.assert_at_rest();
    }
    assert_eq!(cluster.counts(R0, D0), (1, 0));
}

#[test]
fn two_names_of_one_inode_are_left_alone() {
    let mut cluster = Cluster::new();
    let file = linked(&mut cluster);
    assert_renamed(&cluster.ask(R1, A, mv((D0, "f"), (D1, "g"), R0, RenameMode::Replace)), R0);
    assert_eq!(cluster.lookup(R0, D0, "f"), Some((file, 2)));
    cluster.assert_at_rest();
}

#[test]
fn a_file_and_a_directory_change_places() {
    let mut cluster = Cluster::new();
    let file = cluster.at(R0).create(A, D0, "f");
    let dir = cluster.at(R1).mkdir(A, D1, "d");
    match cluster.ask(R1, A, mv((D0, "f"), (D1, "d"), R0, RenameMode::Exchange)) {
        Outcome::Done(Answer::Renamed(renamed)) => {
            assert_eq!((renamed.moved.ino, renamed.moved.rank), (file, R1));
            let other = renamed.exchanged.unwrap();
            assert_eq!((other.ino, other.rank), (dir, R1));
        }
        outcome => panic!("{outcome:?}"),
    }
    assert_eq!(cluster.lookup(R0, D0, "f"), Some((dir, 0)));
    assert_eq!(cluster.lookup(R1, D1, "d"), Some((file, 1)));
    assert_eq!(cluster.counts(R0, D0), (1, 1));
    assert_eq!(cluster.counts(R1, D1), (1, 0));
    assert_eq!(cluster.auth(R0, dir), Some((R1, Some(D0))));
    assert_eq!(cluster.auth(R1, dir), Some((R1, Some(D0))));
    cluster.assert_at_rest();
}

#[test]
fn a_moved_directory_keeps_its_authority() {
    let mut cluster = Cluster::new();
    let dir = cluster.at(R0).mkdir(A, D0, "d");
    let inner = cluster.at(R0).create(A, dir, "f");
    assert_renamed(&cluster.ask(R1, A, mv((D0, "d"), (D1, "e"), R0, RenameMode::Replace)), R0);
    assert_eq!(cluster.lookup(R1, D1, "e"), Some((dir, 0)));
    assert_eq!(cluster.lookup(R0, dir, "f"), Some((inner, 1)));
    assert_eq!(cluster.auth(R0, dir), Some((R0, Some(D1))));
    assert_eq!(cluster.auth(R1, dir), Some((R0, Some(D1))));
    assert_eq!(cluster.counts(R0, D0), (0, 0));
    assert_eq!(cluster.counts(R1, D1), (1, 1));
    cluster.assert_at_rest();

    // It comes home, under another name; and what it is to its rank survives a restart.
    assert_renamed(&cluster.ask(R0, A, mv((D1, "e"), (D0, "h"), R1, RenameMode::Replace)), R0);
    assert_eq!(cluster.auth(R1, dir), None);
    cluster.kill(R0);
    cluster.revive(R0);
    cluster.run();
    assert_eq!(cluster.lookup(R0, D0, "h"), Some((dir, 0)));
    assert_eq!(cluster.lookup(R0, dir, "f"), Some((inner, 1)));
    assert_eq!(cluster.counts(R1, D1), (0, 0));
    cluster.assert_at_rest();
}

#[test]
fn a_directory_whose_contents_are_a_third_ranks_moves() {
    let mut cluster = Cluster::new();
    let op = mv((ROOT, "r2"), (D1, "x"), R0, RenameMode::Replace);
    assert_renamed(&cluster.ask(R1, A, op), R2);
    assert_eq!(cluster.auth(R0, D2), None);
    assert_eq!(cluster.auth(R1, D2), Some((R2, Some(D1))));
    assert_eq!(cluster.auth(R2, D2), Some((R2, Some(D1))));
    assert_eq!(cluster.counts(R0, ROOT), (2, 2));
    cluster.assert_at_rest();
}

#[test]
fn a_directory_replaces_an_empty_one_held_elsewhere() {
    let mut cluster = Cluster::new();
    let dir = cluster.at(R1).mkdir(A, D1, "d");
    let op = mv((D1, "d"), (ROOT, "r2"), R1, RenameMode::Replace);
    assert_renamed(&cluster.ask(R0, A, op), R1);
    assert_eq!(cluster.lookup(R0, ROOT, "r2"), Some((dir, 0)));
    assert_eq!(cluster.auth(R2, D2), None);
    assert_eq!(cluster.counts(R0, ROOT), (3, 3));
    cluster.assert_at_rest();
}

/// It would look for the file in vain until it is told (simulator, `links_are_cut_during_moves` 42002469).
#[test]
fn who_is_to_be_told_where_a_file_is_does_not_hear_before_that_it_is_gone() {
    cov_mark::check!(looked_at_after_the_notices);
    let mut cluster = Cluster::new();
    let file = cluster.at(R0).create(A, ROOT, "f");
    assert_eq!(cluster.lookup(R0, ROOT, "f"), Some((file, 1)), "B refers to it");
    cluster.run();
    cluster.unsynced.insert(R0);
    cluster.send(R0, A, rename_op((ROOT, "f"), (ROOT, "g"), RenameMode::Replace));
    let op = Op::Link { target: in_entry(file, ROOT, "f"), rank: R0, dir: D1, name: name("x") };
    let link = cluster.send(R1, B, op).id;
    cluster.run();
    assert_eq!(cluster.reply(R1, B, link), None);
    cluster.unsynced.clear();
    cluster.run();
    let told = |(_, client, notice): &(_, _, Notice)| {
        *client == B && matches!(notice, Notice::Moved { ino, .. } if *ino == file)
    };
    assert!(cluster.notices.iter().any(told), "{:?}", cluster.notices);
    assert_eq!(cluster.reply(R1, B, link), Some(Outcome::Gone { ino: file }));
}

#[test]
fn a_directory_does_not_go_below_itself() {
    let mut cluster = Cluster::new();
    let below = cluster.at(R1).mkdir(A, D1, "d");
    let op = mv((ROOT, "r1"), (below, "x"), R0, RenameMode::Replace);
    assert_eq!(cluster.ask(R1, A, op), refused(FsError::Invalid));
    // Nor if only the way up shows it.
    assert_renamed(&cluster.ask(R2, A, mv((D1, "d"), (D2, "d"), R1, RenameMode::Replace)), R1);
    let op = mv((ROOT, "r2"), (below, "x"), R0, RenameMode::Replace);
    assert_eq!(cluster.ask(R1, A, op), refused(FsError::Invalid));
    cluster.assert_at_rest();
}

#[test]
fn directories_moved_into_each_other_make_no_loop() {
    let mut cluster = Cluster::new();
    let one = cluster.send(R2, A, mv((ROOT, "r1"), (D2, "x"), R0, RenameMode::Replace)).id;
    let other = cluster.send(R1, B, mv((ROOT, "r2"), (D1, "x"), R0, RenameMode::Replace)).id;
    cluster.run();
    let one = cluster.reply(R2, A, one).unwrap();
    let other = cluster.reply(R1, B, other).unwrap();
    let moved = [&one, &other].into_iter().filter(|it| matches!(it, Outcome::Done(_))).count();
    let loops = [&one, &other].into_iter().filter(|it| **it == refused(FsError::Invalid)).count();
    assert_eq!((moved, loops), (1, 1), "{one:?} {other:?}");
    cluster.assert_at_rest();
}

#[test]
fn whoever_has_a_replica_hears_of_a_rename_before_it_is_settled() {
    let mut cluster = Cluster::new();
    let dir = cluster.at(R0).mkdir(A, D0, "d");
    let below = cluster.at(R0).mkdir(A, dir, "e");
    // `/r0/d/e` is rank 1's sub-directory's parent, so rank 1 knows the way up.
    cluster.at(R1).mkdir(A, D1, "g");
    assert_renamed(&cluster.ask(R0, A, mv((D1, "g"), (below, "g"), R1, RenameMode::Replace)), R1);
    let target = cluster.lookup(R0, below, "g").unwrap().0;
    cluster.at(R2).mkdir(A, D2, "h");
    assert_renamed(&cluster.ask(R1, A, mv((D2, "h"), (target, "h"), R2, RenameMode::Replace)), R2);
    assert!(cluster.at(R1).mds.holdings().spine.replica(dir).is_some());

    // Rank 0 holds both names and the contents, and yet rank 1 takes part.
    assert_renamed(&cluster.ask(R0, A, mv((D0, "d"), (ROOT, "z"), R0, RenameMode::Replace)), R0);
    let replica = cluster.at(R1).mds.holdings().spine.replica(dir).unwrap();
    assert_eq!(replica.parent.as_ref().map(|parent| parent.dir), Some(ROOT));
    cluster.assert_at_rest();
}

#[test]
fn operations_that_cross_both_happen() {
    let mut cluster = Cluster::new();
    let one = cluster.at(R0).create(A, D0, "f");
    let other = cluster.at(R1).create(A, D1, "g");
    // Each coordinator holds what the other one wants next.
    let first = cluster.send(R1, A, mv((D0, "f"), (D1, "g"), R0, RenameMode::Exchange)).id;
    let second = cluster.send(R0, B, mv((D1, "g"), (D0, "f"), R1, RenameMode::Exchange)).id;
    cluster.run();
    assert!(matches!(cluster.reply(R1, A, first), Some(Outcome::Done(_))));
    assert!(matches!(cluster.reply(R0, B, second), Some(Outcome::Done(_))));
    assert_eq!(cluster.lookup(R0, D0, "f"), Some((one, 1)));
    assert_eq!(cluster.lookup(R1, D1, "g"), Some((other, 1)));
    cluster.assert_at_rest();
}

#[test]
fn a_frozen_region_is_waited_for_with_empty_hands() {
    let mut cluster = Cluster::new();
    let file = cluster.at(R1).create(A, D1, "f");
    cluster.freeze(R1, D1);
    let request = cluster.send(R0, A, mv((D1, "f"), (D0, "f"), R1, RenameMode::Replace));
    cluster.run();
    assert_eq!(cluster.states(R0), ["Blocked"]);
    for rank in [R0, R1] {
        let own = cluster.at(rank).mds.holdings();
        assert!(own.locks.is_empty());
        assert_eq!(own.subtrees.auth_pins(), 0);
    }
    // Asked again meanwhile, it is still one request.
    cluster.at(R0).say(A, conn(A, 1), ToMds::Request(request.clone()));
    cluster.thaw(R1, D1);
    cluster.run();
    assert_renamed(&cluster.reply(R0, A, request.id).unwrap(), R0);
    assert_eq!(cluster.reply(R0, A, request.id), None);
    assert_eq!(cluster.lookup(R0, D0, "f"), Some((file, 1)));
    cluster.assert_at_rest();
}

#[test]
fn a_request_that_is_repeated_is_applied_once() {
    let mut cluster = Cluster::new();
    cluster.at(R0).create(A, D0, "f");
    let request = cluster.send(R1, A, mv((D0, "f"), (D1, "g"), R0, RenameMode::Replace));
    cluster.run();
    assert_renamed(&cluster.reply(R1, A, request.id).unwrap(), R1);
    cluster.at(R1).say(A, conn(A, 1), ToMds::Request(request.clone()));
    cluster.run();
    assert_renamed(&cluster.reply(R1, A, request.id).unwrap(), R1);
    assert_eq!(cluster.counts(R1, D1), (1, 0));
    cluster.assert_at_rest();
}

#[test]
fn others_wait_for_what_is_locked() {
    let mut cluster = Cluster::new();
    let file = cluster.at(R0).create(A, D0, "f");
    cluster.send(R1, A, mv((D0, "f"), (D1, "g"), R0, RenameMode::Replace));
    cluster.run_until(R0, "Prepared");
    let lookup = cluster.send(R0, B, Op::Lookup { dir: D0, name: name("f") }).id;
    assert_eq!(cluster.reply(R0, B, lookup), None);
    cluster.run();
    assert_eq!(cluster.reply(R0, B, lookup), Some(refused(FsError::NotFound)));
    assert_eq!(cluster.lookup(R1, D1, "g"), Some((file, 1)));
    cluster.assert_at_rest();
}

#[test]
fn nothing_is_put_into_a_directory_that_is_about_to_go() {
    let mut cluster = Cluster::new();
    cluster.send(R0, A, Op::Rmdir { dir: ROOT, name: name("r1") });
    cluster.run_until(R1, "Prepared");
    let op = rename_op((D1, "a"), (D1, "b"), RenameMode::Replace);
    let id = cluster.send(R1, B, op).id;
    assert_eq!(cluster.reply(R1, B, id), None);
    cluster.run();
    assert_eq!(cluster.reply(R1, B, id), Some(Outcome::Gone { ino: D1 }));
    cluster.assert_at_rest();
}

/// How many names a directory has is seen to change here and at the other rank, or at neither.
#[test]
fn attributes_of_a_directory_wait_for_what_is_locked_in_it() {
    let mut cluster = Cluster::new();
    cluster.at(R0).create(A, D0, "f");
    cluster.send(R1, A, mv((D0, "f"), (D1, "f"), R0, RenameMode::Replace));
    cluster.run_until(R0, "Prepared");
    let getattr = cluster.send(R0, B, Op::Getattr { target: Target::dir(D0) }).id;
    assert_eq!(cluster.reply(R0, B, getattr), None);
    // Its name is not locked; whoever wants to know more asks for that.
    let lookup = cluster.send(R0, B, Op::Lookup { dir: ROOT, name: name("r0") }).id;
    match cluster.reply(R0, B, lookup) {
        Some(Outcome::Done(Answer::Found(Found::Dir { ino: D0, rank: R0, attr: None }))) => {}
        outcome => panic!("{outcome:?}"),
    }
    cluster.run();
    match cluster.reply(R0, B, getattr) {
        Some(Outcome::Done(Answer::Attr(attr))) => assert_eq!(attr.size, 0),
        outcome => panic!("{outcome:?}"),
    }
    cluster.assert_at_rest();
}

/// At another rank it may be seen to be done, and this one has not done its part yet.
#[test]
fn a_listing_waits_for_what_is_locked_in_its_part_of_the_directory() {
    let mut cluster = Cluster::new();
    cluster.at(R0).create(A, D0, "f");
    let file = cluster.at(R0).create(A, D0, "g");
    cluster.send(R1, A, mv((D0, "f"), (D1, "f"), R0, RenameMode::Replace));
    cluster.run_until(R0, "Prepared");
    let listing = Op::Readdir { dir: D0, cookie: 0, entries_max: 10 };
    let id = cluster.send(R0, B, listing).id;
    assert_eq!(cluster.reply(R0, B, id), None);
    cluster.run();
    match cluster.reply(R0, B, id) {
        Some(Outcome::Done(Answer::Page(page))) => {
            let inodes: Vec<Ino> = page
                .entries
                .iter()
                .filter_map(|entry| match &entry.found {
                    Found::Here(attr) => Some(attr.ino),
                    Found::Dir { .. } | Found::Remote { .. } => None,
                })
                .collect();
            assert_eq!(inodes, [file]);
        }
        outcome => panic!("{outcome:?}"),
    }
}

/// What another rank says is after what was answered here.
#[test]
fn who_is_answered_finds_it_done_everywhere() {
    let mut cluster = Cluster::new();
    let id = cluster.send(R0, A, Op::Rmdir { dir: ROOT, name: name("r1") }).id;
    cluster.run_until(R1, "Prepared");
    while cluster.reply(R0, A, id).is_none() {
        assert!(cluster.step());
    }
    let set = common::attr::SetAttr { mode: Some(0o700), ..Default::default() };
    let setattr = cluster.send(R1, A, Op::Setattr { target: Target::dir(D1), set }).id;
    assert_eq!(cluster.reply(R1, A, setattr), Some(Outcome::Gone { ino: D1 }));
}

/// Once it is decided, other ranks show it: nobody must find in a cache what was before.
#[test]
fn nothing_is_promised_before_those_who_have_it_cached_have_dropped_it() {
    let mut cluster = Cluster::new();
    cluster.at(R0).create(A, D0, "f");
    let look = Op::Lookup { dir: D0, name: name("f") };
    cluster.send(R0, B, look.clone());
    cluster.run();
    cluster.silent.insert(B);
    cluster.send(R1, A, mv((D0, "f"), (D1, "f"), R0, RenameMode::Replace));
    cluster.run();
    assert_eq!(cluster.states(R0), ["Promising"]);
    assert!(cluster.states(R1).contains(&"Preparing"));
    // What is cached from here on is not what will be.
    let again = cluster.send(R0, B, look).id;
    assert_eq!(cluster.reply(R0, B, again), None);
    cluster.silent.clear();
    cluster.run();
    assert_eq!(cluster.reply(R0, B, again), Some(Outcome::Refused(FsError::NotFound)));
    cluster.assert_at_rest();
}

/// The answer was lost. Who made the file refers to it where it is by now.
#[test]
fn what_was_made_and_moved_to_another_rank_is_not_pinned_here_when_that_is_answered() {
    let mut cluster = Cluster::new();
    let ino = cluster.at(R0).new_ino(A);
    let (dir, existing) = (D0, IfExists::Refuse);
    let (mode, umask) = (0o644, 0);
    let create = Create { dir, name: name("f"), ino, node: Node::File, mode, umask, existing };
    let request = cluster.send(R0, A, Op::Create(create));
    cluster.run();
    assert_renamed(&cluster.ask(R1, B, mv((D0, "f"), (D1, "f"), R0, RenameMode::Replace)), R1);
    assert!(cluster.at(R1).mds.holdings().pins.is_pinned_by(ino, A));

    let first = cluster.reply(R0, A, request.id);
    cluster.at(R0).say(A, conn(A, 1), ToMds::Request(request.clone()));
    cluster.run();
    assert_eq!(cluster.reply(R0, A, request.id), first);
    assert!(matches!(first, Some(Outcome::Done(_))));
    assert!(!cluster.at(R0).mds.holdings().pins.is_pinned(ino));
}

/// An operator ends the session while a rank is asked, and that dies (simulator, `everything_goes_wrong`
/// 59004073).
#[test]
fn nothing_waits_for_who_was_sent_away_meanwhile() {
    cov_mark::check!(who_asked_for_it_has_been_sent_away);
    let mut cluster = Cluster::new();
    let file = cluster.at(R2).create(A, D2, "f");
    cluster.send(R1, A, mv((D2, "f"), (D1, "g"), R2, RenameMode::Replace));
    let request = AdminRequest::EvictSession { client: A };
    cluster.at(R1).input(Input::Admin { id: AdminId(1), request });
    cluster.kill(R2);
    cluster.run();
    assert_eq!(cluster.at(R1).mds.check(), Ok(()));
    assert_eq!(cluster.at(R1).mds.waiting(), 0);
    cluster.revive(R2);
    cluster.run();
    assert_eq!(cluster.lookup(R2, D2, "f"), Some((file, 1)));
}
