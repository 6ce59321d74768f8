//! Deaths in every state of either half. The story is always the same: A renames `/r0/f` to `/r1/g`;
//! rank 1 coordinates, rank 0 takes part.

use common::id::{Incarnation, Ino, Nonce, Rank, TwoPhaseId};
use common::wire::reply::Outcome;
use common::wire::request::{Op, RenameMode, Request};
use common::wire::session::ToMds;

use crate::cluster_fixture::{Cluster, D0, D1, D2, R0, R1, R2};
use crate::fixture::{A, B, conn, name, rename_op};
use crate::input::Input;
use crate::message::migration::Registration;
use crate::message::two_phase::{Item, TwoPhaseMsg};

struct Story {
    cluster: Cluster,
    file: Ino,
    request: Request,
}

fn mv(from: (Ino, &str), to: (Ino, &str)) -> Op {
    rename_op(from, to, RenameMode::Replace)
}

/// What ranks that have seen it know already, so that only what is evicted is fetched.
fn begin(prepare: impl FnOnce(&mut Cluster)) -> Story {
    let mut cluster = Cluster::new();
    let file = cluster.at(R0).create(A, D0, "f");
    assert!(cluster.lookup(R0, D0, "f").is_some());
    cluster.run();
    prepare(&mut cluster);
    let request = cluster.send(R1, A, mv((D0, "f"), (D1, "g")));
    Story { cluster, file, request }
}

impl Story {
    fn at(state: &str, rank: Rank) -> Self {
        let mut story = begin(|_| {});
        story.cluster.run_until(rank, state);
        story
    }

    fn kill(&mut self, rank: Rank) -> &mut Self {
        self.cluster.kill(rank);
        self
    }

    fn revive(&mut self, rank: Rank) -> &mut Self {
        self.cluster.revive(rank);
        self.cluster.run();
        self
    }

    /// The coordinator's client asks again, as it does when a rank comes back.
    fn ask_again(&mut self) -> &mut Self {
        self.cluster.at(R1).say(A, conn(A, 1), ToMds::Request(self.request.clone()));
        self.cluster.run();
        self
    }

    /// It never was.
    #[track_caller]
    fn assert_undone(&mut self) -> &mut Self {
        self.cluster.assert_at_rest();
        assert_eq!(self.cluster.lookup(R0, D0, "f"), Some((self.file, 1)));
        assert_eq!(self.cluster.lookup(R1, D1, "g"), None);
        self
    }

    /// It happened, once, and the client knows.
    #[track_caller]
    fn assert_done(&mut self) {
        let outcome = self.cluster.reply(R1, A, self.request.id);
        assert!(matches!(outcome, Some(Outcome::Done(_))), "{outcome:?}");
        self.cluster.assert_at_rest();
        assert_eq!(self.cluster.lookup(R0, D0, "f"), None);
        assert_eq!(self.cluster.lookup(R1, D1, "g"), Some((self.file, 1)));
        assert_eq!((self.cluster.counts(R0, D0), self.cluster.counts(R1, D1)), ((0, 0), (1, 0)));
    }
}

#[test]
fn coordinator_dies_in_looking() {
    cov_mark::check!(coordinator_dies_in_looking);
    let mut story = begin(|cluster| cluster.evict(R0, D0));
    story.cluster.run_until(R0, "Looking");
    story.kill(R1);
    assert!(story.cluster.states(R0).is_empty());
    story.cluster.at(R0).answer_fetches();
    story.revive(R1).assert_undone().ask_again().assert_done();
}

#[test]
fn coordinator_dies_in_locked() {
    cov_mark::check!(coordinator_dies_in_locked);
    let mut story = Story::at("Locked", R0);
    story.kill(R1);
    assert!(story.cluster.states(R0).is_empty());
    story.revive(R1).assert_undone().ask_again().assert_done();
}

#[test]
fn coordinator_dies_in_promising() {
    cov_mark::check!(coordinator_dies_in_promising);
    let mut story = begin(|cluster| {
        cluster.unsynced.insert(R0);
    });
    story.cluster.run_until(R0, "Promising");
    story.kill(R1);
    assert_eq!(story.cluster.states(R0), ["Promising"]);
    story.cluster.unsynced.clear();
    story.revive(R1).assert_undone().ask_again().assert_done();
}

#[test]
fn coordinator_dies_in_prepared() {
    cov_mark::check!(coordinator_dies_in_prepared);
    cov_mark::check!(coordinator_returns_after_in_doubt);
    let mut story = Story::at("Prepared", R0);
    story.kill(R1);
    assert_eq!(story.cluster.states(R0), ["InDoubt"]);
    story.revive(R1).assert_undone().ask_again().assert_done();
}

#[test]
fn coordinator_dies_in_in_doubt() {
    cov_mark::check!(coordinator_dies_in_in_doubt);
    let mut story = Story::at("Prepared", R0);
    story.kill(R1);
    story.cluster.revive(R1);
    // Its question is lost with the second life.
    story.kill(R1);
    assert_eq!(story.cluster.states(R0), ["InDoubt"]);
    story.revive(R1).assert_undone().ask_again().assert_done();
}

#[test]
fn coordinator_dies_in_committing() {
    cov_mark::check!(coordinator_dies_in_committing);
    let mut story = Story::at("Deciding", R1);
    story.cluster.evict(R0, D0);
    story.cluster.run_until(R0, "Committing");
    story.kill(R1);
    story.cluster.at(R0).answer_fetches();
    story.revive(R1).ask_again().assert_done();
}

#[test]
fn coordinator_dies_in_settling() {
    cov_mark::check!(coordinator_dies_in_settling);
    let mut story = begin(|_| {});
    story.cluster.run_until(R0, "Prepared");
    story.cluster.silent.insert(B);
    story.cluster.run_until(R0, "Settling");
    story.kill(R1);
    story.cluster.silent.clear();
    story.revive(R1).ask_again().assert_done();
}

/// The decision was written, so it stands, though nobody had heard of it.
#[test]
fn coordinator_returns_after_deciding() {
    let mut story = Story::at("Deciding", R1);
    story.kill(R1).revive(R1).ask_again().assert_done();
}

#[test]
fn participant_dies_in_looking() {
    cov_mark::check!(participant_dies_in_looking);
    let mut story = begin(|cluster| cluster.evict(R0, D0));
    story.cluster.run_until(R0, "Looking");
    story.kill(R0);
    assert!(story.cluster.states(R1).is_empty());
    story.revive(R0).assert_done();
}

#[test]
fn participant_dies_in_preparing() {
    cov_mark::check!(participant_dies_in_preparing);
    let mut story = Story::at("Preparing", R1);
    story.kill(R0);
    assert!(story.cluster.states(R1).is_empty());
    story.revive(R0).assert_done();
}

/// It had promised before it died, and is told that this is void.
#[test]
fn participant_returns_after_prepared() {
    cov_mark::check!(participant_dies_in_preparing);
    let mut story = Story::at("Prepared", R0);
    story.kill(R0).revive(R0).assert_done();
}

/// Its next life is heard before its death is known.
#[test]
fn participant_asks_in_preparing() {
    cov_mark::check!(participant_asks_in_preparing);
    let mut story = Story::at("Prepared", R0);
    let id = story.cluster.at(R1).mds.two_phase().states().next().unwrap().0;
    let msg = TwoPhaseMsg::Query { id }.into();
    story.cluster.at(R1).input(Input::Peer { from: R0, incarnation: Incarnation(1), msg });
    story.cluster.run();
    story.assert_done();
}

/// It asks while the coordinator's map is older, and is not listened to.
#[test]
fn a_question_that_was_not_heard_is_asked_again() {
    let mut story = Story::at("Prepared", R0);
    story.cluster.replace(R0);
    story.cluster.run();
    story.assert_done();
}

#[test]
fn participant_dies_in_applying() {
    cov_mark::check!(participant_dies_in_applying);
    let mut story = Story::at("Preparing", R1);
    story.cluster.evict(R1, D1);
    story.cluster.run_until(R1, "Applying");
    story.kill(R0);
    story.cluster.at(R1).answer_fetches();
    story.revive(R0).assert_done();
}

#[test]
fn participant_dies_in_deciding() {
    cov_mark::check!(participant_dies_in_deciding);
    let mut story = begin(|cluster| {
        cluster.unsynced.insert(R1);
    });
    story.cluster.run_until(R1, "Deciding");
    story.kill(R0);
    story.cluster.unsynced.clear();
    story.revive(R0).assert_done();
}

#[test]
fn participant_dies_in_committing() {
    cov_mark::check!(participant_dies_in_committing);
    cov_mark::check!(participant_returns_after_committing);
    cov_mark::check!(participant_asks_in_committing);
    let mut story = Story::at("Committing", R1);
    story.kill(R0).revive(R0).assert_done();
}

#[test]
fn rank_dies_in_blocked() {
    cov_mark::check!(rank_dies_in_blocked);
    let mut cluster = Cluster::new();
    cluster.at(R1).create(A, D1, "f");
    cluster.freeze(R1, D1);
    let id = cluster.send(R0, A, mv((D1, "f"), (D0, "f"))).id;
    cluster.run_until(R0, "Blocked");
    cluster.kill(R1);
    cluster.revive(R1);
    cluster.run();
    assert!(matches!(cluster.reply(R0, A, id), Some(Outcome::Done(_))));
    cluster.assert_at_rest();
}

#[test]
fn rank_dies_in_locking() {
    cov_mark::check!(rank_dies_in_locking);
    cov_mark::check!(root_returns_after_locking);
    let mut cluster = Cluster::new();
    cluster.at(R1).mkdir(A, D1, "d");
    let op = match mv((D1, "d"), (D2, "d")) {
        Op::Rename(rename) => Op::Rename(common::wire::request::Rename { from_rank: R1, ..rename }),
        op => op,
    };
    let id = cluster.send(R2, A, op).id;
    cluster.run_until(R2, "Locking");
    cluster.kill(R0);
    assert_eq!(cluster.states(R2), ["Locking"]);
    cluster.revive(R0);
    cluster.run();
    assert!(matches!(cluster.reply(R2, A, id), Some(Outcome::Done(_))));
    cluster.assert_at_rest();
}

#[test]
fn rank_dies_in_pathfinding() {
    cov_mark::check!(rank_dies_in_pathfinding);
    let mut cluster = Cluster::new();
    let dir = cluster.at(R0).mkdir(A, D0, "d");
    cluster.at(R1).mkdir(A, D1, "g");
    let into = cluster.ask(R0, A, mv((D1, "g"), (dir, "g")));
    assert!(matches!(into, Outcome::Done(_)), "{into:?}");
    let deep = cluster.lookup(R0, dir, "g").unwrap().0;
    cluster.at(R2).mkdir(A, D2, "h");
    let id = {
        let op = match mv((D2, "h"), (deep, "h")) {
            Op::Rename(rename) => {
                Op::Rename(common::wire::request::Rename { from_rank: R2, ..rename })
            }
            op => op,
        };
        cluster.send(R1, A, op).id
    };
    cluster.run_until(R1, "Pathfinding");
    cluster.kill(R0);
    cluster.run();
    assert_eq!(cluster.states(R1), ["Pathfinding"]);
    cluster.revive(R0);
    cluster.run();
    assert!(matches!(cluster.reply(R1, A, id), Some(Outcome::Done(_))));
    cluster.assert_at_rest();
}

/// Whoever held the rename lock and died leaves it behind.
#[test]
fn the_rename_lock_of_a_dead_coordinator_is_free_when_it_is_back() {
    let mut cluster = Cluster::new();
    let first = cluster.send(R1, A, mv((ROOT, "r2"), (D1, "x"))).id;
    cluster.run_until(R1, "Preparing");
    cluster.kill(R1);
    cluster.at(R0).mkdir(A, D0, "d");
    let second = cluster.send(R2, B, mv((D0, "d"), (D2, "d"))).id;
    cluster.run();
    assert_eq!(cluster.states(R2), ["Locking"]);
    cluster.revive(R1);
    cluster.run();
    assert_eq!(cluster.reply(R1, A, first), None, "the client asks again");
    assert!(matches!(cluster.reply(R2, B, second), Some(Outcome::Done(_))));
    assert!(matches!(
        cluster.ask(R0, B, Op::Lookup { dir: ROOT, name: name("r2") }),
        Outcome::Done(_)
    ));
    cluster.assert_at_rest();
}

const ROOT: Ino = Ino::ROOT;

/// Rank 1 has the directory, with those who replicate it, from somebody whose map is newer: rank 2 lives
/// again, and rank 1 has only heard of its death. What it tells it is heard by nobody.
#[test]
fn a_holder_whose_life_is_not_known_yet_is_told_when_it_is() {
    cov_mark::check!(a_holder_is_told_when_its_life_is_known);
    for dies in [true, false] {
        let mut cluster = Cluster::new();
        let dir = cluster.at(R1).mkdir(A, D1, "a");
        let other = cluster.at(R1).mkdir(A, D1, "b");
        cluster.run();
        if dies {
            cluster.kill(R2);
        }
        let next_life = Registration { nonce: Nonce(77), life: Incarnation(2) };
        let spine = &mut cluster.at(R1).mds.holdings_for_test().spine;
        spine.adopt_holders(dir, [(R2, next_life)].into());
        let request = cluster.send(R1, A, mv((D1, "a"), (other, "a")));
        while dies && cluster.step() {}
        assert!(!cluster.at(R1).mds.two_phase().is_idle(), "not everybody knows");
        if !dies {
            cluster.kill(R2);
        }
        cluster.revive(R2);
        cluster.run();
        assert!(matches!(cluster.reply(R1, A, request.id), Some(Outcome::Done(_))));
        cluster.assert_settled();
    }
}

/// Nobody else took part, and it was only left to tell holders of replicas, which the next life tells by
/// itself (simulator, `the_monitor_dies` 49000524).
#[test]
fn what_was_decided_alone_is_over_in_the_next_life() {
    cov_mark::check!(what_was_decided_alone_is_over);
    let mut cluster = Cluster::new();
    let dir = cluster.at(R1).mkdir(A, D1, "c");
    cluster.run();
    cluster.kill(R2);
    let next_life = Registration { nonce: Nonce(77), life: Incarnation(2) };
    cluster.at(R1).mds.holdings_for_test().spine.adopt_holders(dir, [(R2, next_life)].into());
    let request = cluster.send(R1, A, mv((D1, "c"), (D1, "d")));
    while cluster.step() {}
    assert_eq!(cluster.states(R1), ["Committing"]);
    assert_eq!(cluster.reply(R1, A, request.id), None);
    cluster.kill(R1);
    cluster.revive(R1);
    cluster.run();
    assert!(cluster.at(R1).mds.two_phase().is_idle(), "{:?}", cluster.states(R1));
    assert!(cluster.lookup(R1, D1, "d").is_some());
    cluster.revive(R2);
    cluster.run();
    let second = cluster.send(R0, B, mv((ROOT, "r2"), (D0, "x"))).id;
    cluster.run();
    assert!(matches!(cluster.reply(R0, B, second), Some(Outcome::Done(_))));
    cluster.assert_at_rest();
}

/// It was asked when its asker took it for dead already (simulator, `the_monitor_dies` 922615).
#[test]
fn a_look_that_nobody_waits_for_is_undone() {
    let mut cluster = Cluster::new();
    cluster.at(R0).create(A, D0, "f");
    let id = TwoPhaseId(99);
    let items = vec![Item::Entry { dir: D0, name: name("f") }];
    cluster.tell(R1, R0, TwoPhaseMsg::Look { id, client: A, items }.into());
    cluster.run();
    cluster.assert_at_rest();
}
