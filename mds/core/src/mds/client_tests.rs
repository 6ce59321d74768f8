//! Sessions of clients that are known from another rank.

use common::id::{ClientId, Ino, Rank, RequestId};
use common::limit::{LEASE, LEASE_RENEW};
use common::wire::admin::AdminRequest;
use common::wire::reply::{Answer, Outcome};
use common::wire::request::{Forget, Op, Place, Rename, RenameMode, Target};
use common::wire::session::{Notice, PinClaim, PinnedBy, ToClient, ToMds};

use crate::cluster_fixture::{Cluster, D0, D1, R0, R1, R2};
use crate::fixture::{A, conn, in_entry, name, rename_op};
use crate::input::{AdminId, Input};
use crate::timer::Timer;

/// It has never heard of rank 2.
const C: ClientId = ClientId(77);

/// It says nothing for so long, and this rank would have heard it.
fn a_lease_passes(cluster: &mut Cluster, rank: Rank) {
    for _ in 0..2 {
        cluster.at(rank).input(Input::Timer(Timer::Lease(C)));
    }
}

fn has_session(cluster: &mut Cluster, rank: Rank) -> bool {
    cluster.at(rank).mds.holdings().sessions.get(C).is_some()
}

/// Rank 2 has a file that C pins, from rank 1, which has not told C of that.
fn known_from_elsewhere() -> Cluster {
    known_with_file().0
}

/// The same, with the directory and the file.
fn known_with_file() -> (Cluster, Ino, Ino) {
    let mut cluster = Cluster::new();
    let dir = cluster.at(R1).mkdir(A, D1, "a");
    cluster.at(R1).connect(C, conn(C, 1));
    let file = cluster.at(R1).create(C, dir, "f");
    cluster.silent.insert(C);
    let request = AdminRequest::Export { dir, to: R2 };
    cluster.at(R1).input(Input::Admin { id: AdminId(1), request });
    cluster.run();
    assert!(has_session(&mut cluster, R2));
    (cluster, dir, file)
}

#[test]
fn who_could_not_be_told_of_its_session_does_not_lose_it() {
    cov_mark::check!(who_was_not_told_is_not_missed);
    let mut cluster = known_from_elsewhere();
    cluster.kill(R1);
    a_lease_passes(&mut cluster, R2);
    assert!(has_session(&mut cluster, R2), "nobody can tell it");
    cluster.at(R2).timers.clear();
    cluster.revive(R1);
    assert!(cluster.at(R2).timers.contains(&Timer::Lease(C)), "it has a whole lease from now on");
    a_lease_passes(&mut cluster, R2);
    assert!(!has_session(&mut cluster, R2));
}

/// The rank that was to tell it has lost that with its power: whoever hears from the client tells it.
#[test]
fn who_may_never_be_told_of_its_session_is_told_by_everybody() {
    let mut cluster = known_from_elsewhere();
    cluster.at(R1).told(conn(C, 1));
    a_lease_passes(&mut cluster, R2);
    cluster.run();
    let told = cluster.at(R1).told(conn(C, 1));
    let expect = |msg: &ToClient| {
        matches!(msg, ToClient::Notice { notice: Notice::Expect { rank: R2 }, .. })
    };
    assert!(told.iter().any(expect), "{told:?}");
    assert!(has_session(&mut cluster, R2));
    a_lease_passes(&mut cluster, R2);
    assert!(!has_session(&mut cluster, R2), "it had a whole lease to come");
}

/// It has died, and its sessions elsewhere are over: others do not wait for another lease (simulator,
/// `clients_die` 99301117).
#[test]
fn whom_no_rank_knows_is_not_waited_for() {
    cov_mark::check!(whom_nobody_knows_is_not_waited_for);
    let mut cluster = known_from_elsewhere();
    let request = AdminRequest::EvictSession { client: C };
    cluster.at(R1).input(Input::Admin { id: AdminId(1), request });
    cluster.run();
    assert!(has_session(&mut cluster, R2));
    a_lease_passes(&mut cluster, R2);
    cluster.run();
    assert!(!has_session(&mut cluster, R2));
}

#[test]
fn who_was_not_told_of_its_session_is_not_expected_back_in_time() {
    let mut cluster = known_from_elsewhere();
    cluster.kill(R2);
    cluster.revive(R2);
    cluster.run();
    cluster.at(R2).input(Input::Timer(Timer::ReconnectWindow));
    assert!(has_session(&mut cluster, R2));
}

/// Its pin came with the region, and the life that took it in is over.
#[test]
fn what_a_client_may_hold_that_was_not_told_of_its_session_is_kept_for_it() {
    cov_mark::check!(who_has_not_claimed_may_hold_anything);
    let (mut cluster, dir, file) = known_with_file();
    cluster.kill(R2);
    cluster.revive(R2);
    cluster.run();
    cluster.send(R2, A, Op::Unlink { dir, name: name("f") });
    cluster.run();
    assert!(cluster.at(R2).mds.holdings().pins.is_pinned_by(file, C), "it may have it open");
    cluster.at(R2).connect(C, conn(C, 3));
    cluster.run();
    assert!(!cluster.at(R2).mds.holdings().pins.is_pinned(file), "it has not");
}

/// It is waited for if this rank dies, and repeats what was lost before others see that it is missing
/// (simulator, `nothing_is_deleted` 49005476).
#[test]
fn who_changes_something_is_known_to_have_been_here() {
    cov_mark::check!(who_changes_something_is_known_to_have_been_here);
    let (mut cluster, dir, _) = known_with_file();
    cluster.at(R2).connect(C, conn(C, 1));
    let id = cluster.send(R2, C, Op::Unlink { dir, name: name("f") }).id;
    assert_eq!(cluster.reply(R2, C, id), None, "not before it is on record");
    cluster.run();
    assert_eq!(cluster.reply(R2, C, id), Some(Outcome::Done(Answer::Done)));
}

/// Else its session is there again after power loss, and it does not repeat what was lost (simulator,
/// `everything_goes_wrong` 50002201).
#[test]
fn the_end_of_a_session_is_told_when_it_is_durable() {
    let mut cluster = Cluster::new();
    cluster.at(R1).connect(C, conn(C, 1));
    cluster.run();
    let request = AdminRequest::EvictSession { client: C };
    cluster.at(R1).input(Input::Admin { id: AdminId(1), request });
    cluster.send(R1, C, Op::Unlink { dir: D1, name: name("f") });
    assert_eq!(cluster.at(R1).told(conn(C, 1)).last(), None);
    cluster.run();
    assert_eq!(cluster.at(R1).told(conn(C, 1)), [ToClient::Evicted]);
}

/// What clients have sent to a process that is stopped is read after its timers have rung, however long
/// it was.
#[test]
fn a_rank_that_was_stopped_takes_nothing_from_those_it_did_not_hear() {
    cov_mark::check!(who_was_not_read_is_not_missed);
    for stopped in [LEASE - LEASE_RENEW / 2, LEASE, LEASE + LEASE_RENEW / 2, LEASE * 2] {
        let mut cluster = Cluster::new();
        let rank = cluster.at(R1);
        rank.connect(C, conn(C, 1));
        rank.now.monotonic = rank.now.monotonic.after(stopped);
        rank.input(Input::Timer(Timer::Lease(C)));
        assert!(has_session(&mut cluster, R1), "{stopped:?}");
        let now = cluster.at(R1).now.monotonic;
        let ends = |cluster: &mut Cluster| {
            let session = cluster.at(R1).mds.holdings().sessions.get(C);
            session.map(crate::session::Session::until)
        };
        assert!(ends(&mut cluster) >= Some(now.after(LEASE_RENEW)), "{stopped:?}");
        for _ in 0..2 {
            let Some(end) = ends(&mut cluster) else { break };
            let rank = cluster.at(R1);
            rank.now.monotonic = end;
            rank.input(Input::Timer(Timer::Lease(C)));
        }
        assert!(!has_session(&mut cluster, R1), "{stopped:?}: it is not kept for ever");
    }
}

#[test]
fn who_has_been_here_is_missed_although_another_rank_is_away() {
    let mut cluster = known_from_elsewhere();
    cluster.at(R2).connect(C, conn(C, 2));
    cluster.kill(R1);
    a_lease_passes(&mut cluster, R2);
    assert!(!has_session(&mut cluster, R2));
}

/// Its last name went, of which C has not heard, and then the directory to another rank.
#[test]
fn an_orphan_is_claimed_by_the_name_it_had() {
    let mut cluster = Cluster::new();
    let dir = cluster.at(R1).mkdir(A, D1, "a");
    cluster.at(R1).connect(C, conn(C, 1));
    let file = cluster.at(R1).create(C, dir, "f");
    cluster.silent.insert(C);
    cluster.send(R1, A, Op::Unlink { dir, name: name("f") });
    let request = AdminRequest::Export { dir, to: R2 };
    cluster.at(R1).input(Input::Admin { id: AdminId(1), request });
    cluster.run();
    let target = in_entry(file, dir, "f");
    let by = PinnedBy::Answered(RequestId(1));
    let open = ToMds::Open { client: C, oldest: RequestId(0) };
    let claim = ToMds::Claim { pins: vec![PinClaim::new(target, by)] };
    for msg in [open, claim, ToMds::ClaimsDone, ToMds::ReplayDone] {
        cluster.at(R1).say(C, conn(C, 2), msg);
    }
    assert!(cluster.at(R1).mds.holdings().pins.is_pinned_by(file, C));
    assert_eq!(cluster.at(R1).purges, []);
}

/// Its session ended before it heard that the name went. It would give the file back to where the
/// directory is by now.
#[test]
fn who_claims_an_orphan_by_its_name_is_told_that_it_is_one() {
    let mut cluster = Cluster::new();
    let dir = cluster.at(R1).mkdir(A, D1, "a");
    let file = cluster.at(R1).create(A, dir, "f");
    cluster.ask(R1, A, Op::Unlink { dir, name: name("f") });
    let claim = |place| ToMds::Claim {
        pins: vec![PinClaim::new(Target { ino: file, place }, PinnedBy::Answered(RequestId(1)))],
    };
    let orphan = Place::Orphan { rank: R1 };
    let told = |cluster: &mut Cluster, number| {
        let told = cluster.at(R1).told(conn(C, number));
        told.iter().any(|it| {
            matches!(it, ToClient::Notice { notice: Notice::Unlinked { ino, rank: R1 }, .. } if *ino == file)
        })
    };
    let named = in_entry(file, dir, "f").place;
    for (number, place, is_told) in [(1, orphan, false), (2, named, true)] {
        for msg in [ToMds::Open { client: C, oldest: RequestId(0) }, claim(place)] {
            cluster.at(R1).say(C, conn(C, number), msg);
            cluster.run();
        }
        assert_eq!(told(&mut cluster, number), is_told);
    }
}

/// It was nobody's when C's session ended, so C has claimed it here and there.
#[test]
fn what_is_gone_is_given_back_wherever_it_was_claimed() {
    let mut cluster = Cluster::new();
    cluster.at(R1).connect(C, conn(C, 1));
    let file = cluster.at(R1).create(C, D1, "f");
    cluster.send(R1, A, Op::Unlink { dir: D1, name: name("f") });
    a_lease_passes(&mut cluster, R1);
    cluster.run();
    assert_eq!(cluster.at(R1).purges, [file]);
    cluster.at(R1).input(Input::Purged { ino: file });
    cluster.run();
    cluster.at(R1).say(C, conn(C, 2), ToMds::Open { client: C, oldest: RequestId(0) });
    cluster.run();
    let target = Target { ino: file, place: Place::Orphan { rank: R1 } };
    let pins = vec![PinClaim::new(target, PinnedBy::Answered(RequestId(1)))];
    for msg in [ToMds::Claim { pins }, ToMds::ClaimsDone, ToMds::ReplayDone] {
        cluster.at(R1).say(C, conn(C, 2), msg);
    }
    assert!(!cluster.at(R1).mds.holdings().pins.is_pinned(file), "nothing is to be repeated");
    let items = vec![Forget { ino: file, dir: None, below: RequestId(100) }];
    let request = cluster.at(R1).request(Op::Forget { items });
    cluster.at(R1).say(C, conn(C, 2), ToMds::Request(request.clone()));
    cluster.run();
    assert!(!cluster.at(R1).mds.holdings().pins.is_pinned(file));
    let told = cluster.at(R1).told(conn(C, 2));
    let not_here = Outcome::Done(Answer::NotHere(vec![file]));
    let answered = |it: &ToClient| matches!(it, ToClient::Reply(it) if it.outcome == not_here);
    assert!(told.iter().any(answered), "{told:?}");
}

/// Its connection broke, and while it said anew what it holds, somebody took the file to another rank (simulator,
/// `links_are_cut_during_moves` 1795909430512808).
#[test]
fn what_is_taken_away_while_it_is_claimed_is_held_where_it_is_then() {
    cov_mark::check!(it_was_moved_while_it_was_claimed);
    let mut cluster = Cluster::new();
    cluster.at(R1).connect(C, conn(C, 1));
    let file = cluster.at(R1).create(C, D1, "f");
    let by = PinnedBy::Answered(RequestId(100));
    let claims = ToMds::Claim { pins: vec![PinClaim::new(in_entry(file, D1, "f"), by)] };
    cluster.send(R0, A, rename_from(R1, (D1, "f"), (D0, "f")));
    cluster.run();
    cluster.at(R1).ack_notices(C);
    cluster.run_until(R1, "Prepared");
    for msg in [ToMds::Open { client: C, oldest: RequestId(0) }, claims] {
        cluster.at(R1).say(C, conn(C, 2), msg);
    }
    cluster.run();
    for msg in [ToMds::ClaimsDone, ToMds::ReplayDone] {
        cluster.at(R1).say(C, conn(C, 2), msg);
        cluster.run();
    }
    let holds = |rank: Rank| cluster.ranks[&rank].mds.holdings().pins.is_pinned_by(file, C);
    assert_eq!([R0, R1].map(holds), [true, false]);
}

fn rename_from(from_rank: Rank, from: (Ino, &str), to: (Ino, &str)) -> Op {
    match rename_op(from, to, RenameMode::Replace) {
        Op::Rename(rename) => Op::Rename(Rename { from_rank, ..rename }),
        op => op,
    }
}

/// Its session ended, somebody gave the file another name, and nobody was there to be told: where it is
/// by now is not known from the claim (simulator, `everything_goes_wrong` 490 with three evictions).
#[test]
fn what_is_claimed_where_it_is_not_is_not_held() {
    cov_mark::check!(what_is_claimed_where_it_is_not_is_not_held);
    let mut cluster = Cluster::new();
    cluster.at(R1).connect(C, conn(C, 1));
    let [moved, stays, linked] = ["f", "g", "i"].map(|text| cluster.at(R1).create(C, D1, text));
    let request = AdminRequest::EvictSession { client: C };
    cluster.at(R1).input(Input::Admin { id: AdminId(1), request });
    cluster.send(R1, A, rename_op((D1, "f"), (D1, "h"), RenameMode::Replace));
    cluster.run();
    let by = PinnedBy::Answered(RequestId(1));
    // That it has two names was lost with the rank's power.
    let at_home = Target { ino: linked, place: Place::Home };
    let targets = [in_entry(moved, D1, "f"), in_entry(stays, D1, "g"), at_home.clone()];
    let claims = ToMds::Claim { pins: targets.map(|target| PinClaim::new(target, by)).to_vec() };
    let open = ToMds::Open { client: C, oldest: RequestId(0) };
    for msg in [open, claims, ToMds::ClaimsDone, ToMds::ReplayDone] {
        cluster.at(R1).say(C, conn(C, 2), msg);
        cluster.run();
    }
    let latest = RequestId(1);
    let told = cluster.at(R1).told(conn(C, 2));
    for target in [in_entry(moved, D1, "f"), at_home] {
        assert!(told.contains(&ToClient::NotHeld { target, latest }), "{told:?}");
    }
    let pins = &cluster.at(R1).mds.holdings().pins;
    let held = [moved, stays, linked].map(|ino| pins.is_pinned_by(ino, C));
    assert_eq!(held, [false, true, false]);
}
