//! Clients come back to a rank that begins anew, or do not.

use std::collections::BTreeMap;

use common::file_lock::{ByteRange, FileLock, FileLocks, LockKind, LockOwner};
use common::id::{ClientId, ClusterId, DirFragId, Epoch, Incarnation, Ino, MigrationId, Rank, Seq};
use common::id_set::IdSet;
use common::name::NameHashKey;
use common::wire::admin::AdminRequest;
use common::wire::reply::{Answer, Found, Outcome};
use common::wire::request::{
    Create, Forget, IfExists, Node, OnConflict, Op, Place, Rename, RenameMode, Request, SetLock,
    Target,
};
use common::wire::session::{PinClaim, PinnedBy, SessionAge, ToClient, ToMds};

use super::*;
use crate::cluster_fixture::{Cluster, D1, D2, R1, R2};
use crate::fixture::{A, B, Fixture, conn, in_entry, name, rename_op};
use crate::input::{AdminId, Input, Restored};
use crate::journal::entry::{Entry, ImportOutcome, ImportStart, SubtreeClaim, SubtreeSnapshot};
use crate::message::migration::TravelSession;
use crate::params::Params;
use crate::row::Row;
use crate::subtree::DirAuth;
use crate::timer::Timer;

/// The next life has come as far as it can without its clients.
fn reconnecting(before: Fixture) -> Fixture {
    let incarnation = before.mds.seq().incarnation().0 + 1;
    let mut fixture = before.next_life(Rank(0));
    fixture.follow_wishes(incarnation);
    assert_eq!(fixture.mds.state(), RankState::Reconnect);
    assert!(fixture.timers.contains(&Timer::ReconnectWindow));
    fixture
}

fn go_on(fixture: &mut Fixture) {
    let incarnation = fixture.mds.seq().incarnation().0;
    fixture.follow_wishes(incarnation);
}

fn open(fixture: &mut Fixture, client: ClientId) {
    let oldest = common::id::RequestId(0);
    fixture.say(client, conn(client, 1), ToMds::Open { client, oldest });
    fixture.make_durable();
}

#[test]
fn the_window_closes_when_everybody_has_come() {
    let mut fixture = reconnecting(Fixture::new());
    fixture.connect(A, conn(A, 1));
    go_on(&mut fixture);
    assert_eq!(fixture.mds.state(), RankState::Reconnect, "one is missing");
    fixture.connect(B, conn(B, 1));
    go_on(&mut fixture);
    assert_eq!(fixture.mds.state(), RankState::Active);
    assert!(!fixture.timers.contains(&Timer::ReconnectWindow));
}

/// An operator ends its session while it waits at the door.
#[test]
fn who_waits_to_be_let_in_begins_a_new_session_if_the_old_one_ends() {
    let fixture = Fixture::new();
    let incarnation = fixture.mds.seq().incarnation().0 + 1;
    let mut fixture = fixture.next_life(Rank(0));
    open(&mut fixture, A);
    let request = AdminRequest::EvictSession { client: A };
    fixture.input(Input::Admin { id: AdminId(1), request });
    fixture.follow_wishes(incarnation);
    fixture.make_durable();
    let opened = fixture.told(conn(A, 1)).into_iter().find_map(|msg| match msg {
        ToClient::Opened(opened) => Some(opened.session),
        _ => None,
    });
    assert_eq!(opened, Some(SessionAge::New));
}

/// Who looked it up when it had no name any more is not on record (simulator, `everything_goes_wrong`
/// 30002042).
#[test]
fn a_file_without_a_name_waits_for_everybody_who_may_hold_it() {
    let mut fixture = Fixture::new();
    let file = fixture.create(A, Ino::ROOT, "f");
    let request = fixture.request(Op::Unlink { dir: Ino::ROOT, name: name("f") });
    fixture.say(A, conn(A, 1), ToMds::Request(request));
    let target = Target { ino: file, place: Place::Orphan { rank: Rank(0) } };
    fixture.ask(B, Op::Getattr { target: target.clone() });
    let mut fixture = reconnecting(fixture);
    open(&mut fixture, A);
    fixture.say(A, conn(A, 1), ToMds::ClaimsDone);
    fixture.say(A, conn(A, 1), ToMds::ReplayDone);
    assert_eq!(fixture.purges, []);
    open(&mut fixture, B);
    let by = PinnedBy::Answered(common::id::RequestId(1));
    let pins = vec![PinClaim::new(target, by)];
    for msg in [ToMds::Claim { pins }, ToMds::ClaimsDone, ToMds::ReplayDone] {
        fixture.say(B, conn(B, 1), msg);
    }
    go_on(&mut fixture);
    assert_eq!(fixture.mds.state(), RankState::Active);
    assert_eq!(fixture.purges, []);
    let items = vec![Forget { ino: file, dir: None, below: common::id::RequestId(u64::MAX) }];
    fixture.ask(B, Op::Forget { items });
    assert_eq!(fixture.purges, [file]);
}

/// Power was lost before its answer went out, and with it who holds it; but not the file.
#[test]
fn what_was_made_is_held_by_who_has_not_heard_of_it() {
    let mut fixture = Fixture::new();
    let (file, other) = (fixture.create(A, Ino::ROOT, "f"), fixture.create(B, Ino::ROOT, "g"));
    let made = fixture.mds.holdings().sessions.get(A).and_then(|it| it.completed().iter().last());
    let made = made.expect("a file is made by a request");
    let mut fixture = reconnecting(fixture);
    open(&mut fixture, A);
    let claim = |ino, text, id| {
        let target = Target { ino, place: Place::Entry { dir: Ino::ROOT, name: name(text) } };
        PinClaim::new(target, PinnedBy::Unanswered(id))
    };
    let never = common::id::RequestId(made.0 + 100);
    let pins = vec![claim(file, "f", made), claim(other, "g", never)];
    for msg in [ToMds::Claim { pins }, ToMds::ClaimsDone, ToMds::ReplayDone] {
        fixture.say(A, conn(A, 1), msg);
    }
    let pins = &fixture.mds.holdings().pins;
    assert!(pins.is_pinned_by(file, A) && !pins.is_pinned_by(other, A));
}

/// Both hold a file without a name. One comes back and says so.
#[test]
fn who_does_not_come_loses_what_it_held() {
    let mut fixture = Fixture::new();
    let (kept, lost) = (fixture.create(A, Ino::ROOT, "kept"), fixture.create(B, Ino::ROOT, "lost"));
    for text in ["kept", "lost"] {
        let unlink = Op::Unlink { dir: Ino::ROOT, name: name(text) };
        let request = fixture.request(unlink);
        fixture.say(A, conn(A, 1), ToMds::Request(request));
        fixture.ack_notices(A);
        fixture.ack_notices(B);
    }
    let mut fixture = reconnecting(fixture);
    open(&mut fixture, A);
    let target = Target { ino: kept, place: Place::Orphan { rank: Rank(0) } };
    let by = PinnedBy::Answered(common::id::RequestId(1));
    let pins = vec![PinClaim::new(target, by)];
    for msg in [ToMds::Claim { pins }, ToMds::ClaimsDone, ToMds::ReplayDone] {
        fixture.say(A, conn(A, 1), msg);
    }
    fixture.input(Input::Timer(Timer::ReconnectWindow));
    go_on(&mut fixture);
    assert_eq!(fixture.mds.state(), RankState::Active);
    let own = fixture.mds.holdings();
    assert!(own.sessions.get(A).is_some() && own.sessions.get(B).is_none());
    assert!(own.pins.is_pinned_by(kept, A) && !own.pins.is_pinned(lost));
    // More than once does no harm.
    assert!(!fixture.purges.is_empty() && fixture.purges.iter().all(|ino| *ino == lost));
}

/// A made `x`, B removed it, and A made another `x`; B's answer was lost with the rank's power, as was
/// everything else, so B does not know that it was done (simulator, `everything_goes_wrong` 49000899).
#[test]
fn what_was_not_answered_may_have_come_before_what_is_repeated() {
    cov_mark::check!(what_was_not_answered_may_have_come_before);
    let mut fixture = Fixture::new();
    let (first, second) = (fixture.new_ino(A), fixture.new_ino(A));
    let make = |ino| {
        let (node, existing) = (Node::File, IfExists::Refuse);
        let (dir, name) = (Ino::ROOT, name("x"));
        Op::Create(Create { dir, name, ino, node, mode: 0o644, umask: 0, existing })
    };
    let unlink = Op::Unlink { dir: Ino::ROOT, name: name("x") };
    let ops = [(A, make(first), Some(10)), (A, make(second), Some(12)), (B, unlink, None)];
    let sent = ops
        .map(|(client, op, seq)| (client, Request { replay: seq.map(Seq), ..fixture.request(op) }));
    let mut fixture = reconnecting(fixture);
    for client in [A, B] {
        open(&mut fixture, client);
        fixture.say(client, conn(client, 1), ToMds::ClaimsDone);
        for (_, request) in sent.iter().filter(|(owner, _)| *owner == client) {
            fixture.say(client, conn(client, 1), ToMds::Request(request.clone()));
        }
        fixture.say(client, conn(client, 1), ToMds::ReplayDone);
    }
    go_on(&mut fixture);
    match fixture.ask(B, Op::Lookup { dir: Ino::ROOT, name: name("x") }) {
        Outcome::Done(Answer::Found(Found::Here(attr))) => assert_eq!(attr.ino, second),
        outcome => panic!("{outcome:?}"),
    }
}

/// B gave a file a second name, by which it came to its home, and did not hear of it. A, which was told where it
/// is, gave it a third. Ranks have to be asked for what is not where it should be (simulator,
/// `everything_goes_wrong` 57009460).
#[test]
fn what_was_not_answered_may_have_brought_a_file_to_where_a_link_looks_for_it() {
    cov_mark::check!(what_was_not_answered_may_have_come_before);
    let mut fixture = Fixture::new();
    let ino = fixture.create(A, Ino::ROOT, "x");
    let link = |place, text| Op::Link {
        target: Target { ino, place },
        rank: Rank(0),
        dir: Ino::ROOT,
        name: name(text),
    };
    let entry = Place::Entry { dir: Ino::ROOT, name: name("x") };
    let ops = [(A, link(Place::Home, "z"), Some(10)), (B, link(entry, "y"), None)];
    let sent = ops
        .map(|(client, op, seq)| (client, Request { replay: seq.map(Seq), ..fixture.request(op) }));
    let mut fixture = reconnecting(fixture);
    for (client, request) in sent {
        open(&mut fixture, client);
        fixture.say(client, conn(client, 1), ToMds::ClaimsDone);
        fixture.say(client, conn(client, 1), ToMds::Request(request));
        fixture.say(client, conn(client, 1), ToMds::ReplayDone);
    }
    go_on(&mut fixture);
    assert_eq!(fixture.entries(Ino::ROOT).len(), 3);
}

/// B removed the last name of a file and did not hear of it; A did, and wrote to it (simulator,
/// `everything_goes_wrong` 66001437).
#[test]
fn what_was_not_answered_may_have_made_a_file_an_orphan() {
    cov_mark::check!(what_was_not_answered_may_have_come_before);
    let mut fixture = Fixture::new();
    let ino = fixture.create(A, Ino::ROOT, "x");
    let orphan = Target { ino, place: Place::Orphan { rank: Rank(0) } };
    let unlink = Op::Unlink { dir: Ino::ROOT, name: name("x") };
    let wrote = Op::Wrote { target: orphan.clone(), end: 7, kill_privileges: false };
    let ops = [(A, wrote, Some(Seq(12))), (B, unlink, None)];
    let sent = ops.map(|(client, op, replay)| (client, Request { replay, ..fixture.request(op) }));
    let mut fixture = reconnecting(fixture);
    for (client, request) in sent {
        open(&mut fixture, client);
        if client == A {
            let by = PinnedBy::Answered(common::id::RequestId(1));
            let pins = vec![PinClaim::new(orphan.clone(), by)];
            fixture.say(client, conn(client, 1), ToMds::Claim { pins });
        }
        fixture.say(client, conn(client, 1), ToMds::ClaimsDone);
        fixture.say(client, conn(client, 1), ToMds::Request(request));
        fixture.say(client, conn(client, 1), ToMds::ReplayDone);
    }
    go_on(&mut fixture);
    match fixture.ask(A, Op::Getattr { target: orphan }) {
        Outcome::Done(Answer::Attr(attr)) => assert_eq!((attr.nlink, attr.size), (0, 7)),
        outcome => panic!("{outcome:?}"),
    }
}

/// A made a file and did not hear of it; B did, by a refusal, and looks (simulator, `everything_goes_wrong`
/// 58011479).
#[test]
fn what_was_not_answered_is_made_before_anybody_looks() {
    let mut fixture = Fixture::new();
    let (ino, node, existing) = (fixture.new_ino(A), Node::File, IfExists::Refuse);
    let (dir, text) = (Ino::ROOT, name("x"));
    let create = Create { dir, name: text.clone(), ino, node, mode: 0o644, umask: 0, existing };
    let look = fixture.request(Op::Lookup { dir, name: text });
    let make = fixture.request(Op::Create(create));
    let mut fixture = reconnecting(fixture);
    for (client, request) in [(B, look.clone()), (A, make)] {
        open(&mut fixture, client);
        fixture.say(client, conn(client, 1), ToMds::ClaimsDone);
        fixture.say(client, conn(client, 1), ToMds::Request(request));
        fixture.say(client, conn(client, 1), ToMds::ReplayDone);
    }
    go_on(&mut fixture);
    let seen = fixture.reply(B, look.id).map(|reply| reply.outcome);
    assert!(matches!(seen, Some(Outcome::Done(_))), "{seen:?}");
}

/// Its connection broke while the rank was at what was not answered (simulator, `everything_goes_wrong`
/// 60007988).
#[test]
fn who_repeats_once_more_when_everything_was_repeated_is_answered() {
    let mut fixture = Fixture::new();
    let mkdir = |ino, text| Op::Mkdir {
        dir: Ino::ROOT,
        name: name(text),
        ino,
        mode: 0o755,
        umask: 0,
        exclusive: false,
    };
    let inos = [(); 2].map(|()| fixture.new_ino(A));
    let repeated = Request { replay: Some(Seq(10)), ..fixture.request(mkdir(inos[0], "x")) };
    let unanswered = fixture.request(mkdir(inos[1], "y"));
    let mut fixture = reconnecting(fixture);
    open(&mut fixture, A);
    fixture.connect(B, conn(B, 1));
    fixture.say(A, conn(A, 1), ToMds::ClaimsDone);
    fixture.say(A, conn(A, 1), ToMds::Request(unanswered.clone()));
    fixture.say(A, conn(A, 1), ToMds::ReplayDone);
    fixture.mds.uncache_for_test(Ino::ROOT);
    fixture.slow = true;
    go_on(&mut fixture);
    assert_eq!(fixture.reply(A, unanswered.id), None, "it waits for the store");
    fixture.say(A, conn(A, 1), ToMds::Request(repeated.clone()));
    fixture.answer_fetches();
    assert!(fixture.reply(A, unanswered.id).is_some());
    assert!(fixture.reply(A, repeated.id).is_some());
    assert_eq!(fixture.mds.waiting(), 0);
}

/// A made `x`, B renamed it to `y`, and A made another `x`: power was lost before any of it was durable.
#[test]
fn replays_run_in_the_order_in_which_they_were_applied_whoever_sent_them() {
    let mut fixture = Fixture::new();
    let (first, second) = (fixture.new_ino(A), fixture.new_ino(A));
    let make = |ino| {
        let (node, existing) = (Node::File, IfExists::Refuse);
        let (dir, name) = (Ino::ROOT, name("x"));
        Op::Create(Create { dir, name, ino, node, mode: 0o644, umask: 0, existing })
    };
    let rename = match rename_op((Ino::ROOT, "x"), (Ino::ROOT, "y"), RenameMode::Replace) {
        Op::Rename(rename) => Op::Rename(Rename { from_rank: Rank(0), ..rename }),
        op => op,
    };
    let ops = [(A, make(first), 10), (B, rename, 11), (A, make(second), 12)];
    let sent = ops.map(|(client, op, seq)| {
        (client, Request { replay: Some(Seq(seq)), ..fixture.request(op) })
    });
    let mut fixture = reconnecting(fixture);
    for client in [A, B] {
        open(&mut fixture, client);
        fixture.say(client, conn(client, 1), ToMds::ClaimsDone);
        for (_, request) in sent.iter().filter(|(owner, _)| *owner == client) {
            fixture.say(client, conn(client, 1), ToMds::Request(request.clone()));
        }
        fixture.say(client, conn(client, 1), ToMds::ReplayDone);
    }
    go_on(&mut fixture);
    assert_eq!(fixture.mds.state(), RankState::Active);
    for (text, ino) in [("y", first), ("x", second)] {
        match fixture.ask(B, Op::Lookup { dir: Ino::ROOT, name: name(text) }) {
            Outcome::Done(Answer::Found(Found::Here(attr))) => assert_eq!(attr.ino, ino, "{text}"),
            outcome => panic!("{text}: {outcome:?}"),
        }
    }
}

/// A made `x` on a rank that lost power, and was told so. Another rank is to move `x` to itself: it does not
/// look before A has repeated it, however long the store takes.
#[test]
fn other_ranks_look_when_clients_have_repeated_what_was_lost() {
    let mut cluster = Cluster::new();
    let ino = cluster.at(R1).new_ino(A);
    let (node, existing) = (Node::File, IfExists::Refuse);
    let create =
        Op::Create(Create { dir: D1, name: name("x"), ino, node, mode: 0o644, umask: 0, existing });
    let lost = Request { replay: Some(Seq(10)), ..cluster.at(R1).request(create) };
    cluster.kill(R1);
    cluster.begin_reviving(R1);
    for client in [A, B] {
        open(cluster.at(R1), client);
        cluster.at(R1).say(client, conn(client, 1), ToMds::ClaimsDone);
    }
    cluster.at(R1).slow = true;
    cluster.at(R1).say(A, conn(A, 1), ToMds::Request(lost));
    for client in [A, B] {
        cluster.at(R1).say(client, conn(client, 1), ToMds::ReplayDone);
    }
    cluster.issue_map();
    let rename = match rename_op((D1, "x"), (D2, "x"), RenameMode::Replace) {
        Op::Rename(rename) => Op::Rename(Rename { from_rank: R1, ..rename }),
        op => op,
    };
    let id = cluster.send(R2, B, rename).id;
    cluster.run();
    while !cluster.at(R1).asked.is_empty() {
        assert_eq!(cluster.reply(R2, B, id), None, "it has not looked yet");
        let asked = std::mem::take(&mut cluster.at(R1).asked);
        // What was asked first is found last.
        for fetch in asked.into_iter().rev() {
            let found = cluster.at(R1).fetch(fetch);
            cluster.at(R1).input(Input::Fetched(found));
            cluster.run();
        }
    }
    assert!(matches!(cluster.reply(R2, B, id), Some(Outcome::Done(_))));
    assert_eq!(cluster.lookup(R2, D2, "x").map(|(ino, _)| ino), Some(ino));
}

/// Sessions that an import in doubt would bring are none yet: their clients were never told to come.
#[test]
fn nobody_waits_for_sessions_of_an_import_in_doubt() {
    let client = ClientId(9);
    let (base, from) = (DirFragId::whole(Ino(0x11)), Rank(1));
    let id = MigrationId { exporter: from, incarnation: Incarnation(1), number: 1 };
    let session = TravelSession {
        client,
        ranges: Vec::new(),
        completed: IdSet::default(),
        oldest: common::id::RequestId(0),
        exclusive: false,
    };
    let start = ImportStart {
        id,
        base,
        from,
        epoch: Epoch(2),
        bounds: BTreeMap::new(),
        parent: Some(Ino::ROOT),
        sessions: vec![session],
    };
    let restored = Restored {
        rows: vec![Row::Copied(id, base)],
        journal: vec![(Seq(1), Entry::ImportStart(start))],
    };
    let (slot, key) = (common::id::Slot(0), NameHashKey(1, 2));
    let params = Params::new(Rank(0), slot, Incarnation(2), ClusterId(7), key);
    let replayed = replay::replay(&params, restored);
    assert_eq!(replayed.migrations.in_doubt.len(), 1);
    assert!(replayed.own.sessions.is_empty());
}

/// A rank that has given a directory away was told where that went on to, as a bystander, and has got the
/// region around it; of the first its journal knows, and of the second (simulator, `nothing_is_deleted`
/// 64007383).
#[test]
fn what_an_import_says_of_its_bounds_is_newer_than_what_was_on_record() {
    let (base, bound, from) = (DirFragId::whole(Ino(0x11)), DirFragId::whole(Ino(0x12)), Rank(1));
    let id = MigrationId { exporter: from, incarnation: Incarnation(1), number: 1 };
    let claim = |rank, epoch| SubtreeClaim {
        auth: Rank(rank),
        epoch: Epoch(epoch),
        parent: Some(base.ino),
    };
    let map = |claim| {
        Entry::SubtreeMap(SubtreeSnapshot {
            subtrees: [(bound, claim)].into(),
            released: BTreeMap::new(),
        })
    };
    let start = ImportStart {
        id,
        base,
        from,
        epoch: Epoch(5),
        bounds: [(bound, claim(2, 4))].into(),
        parent: Some(Ino::ROOT),
        sessions: Vec::new(),
    };
    let finish = Entry::ImportFinish { id, base, outcome: ImportOutcome::Owned };
    let known_after = |recorded| {
        let journal = [map(recorded), Entry::ImportStart(start.clone()), finish.clone()];
        let journal = (1..).map(Seq).zip(journal).collect();
        let (slot, key) = (common::id::Slot(0), NameHashKey(1, 2));
        let params = Params::new(Rank(0), slot, Incarnation(2), ClusterId(7), key);
        let replayed = replay::replay(&params, Restored { rows: Vec::new(), journal });
        replayed.own.subtrees.get(bound).map(|subtree| subtree.auth)
    };
    assert_eq!(known_after(claim(1, 3)), Some(DirAuth::Sole(Rank(2))));
    assert_eq!(known_after(claim(3, 6)), Some(DirAuth::Sole(Rank(3))), "it has moved on since");
}

/// Its directory was lost with the rank's power, and is made once more (simulator, `one_rank_loses_power`
/// 1795933106907593).
#[test]
fn what_is_locked_in_a_directory_that_is_still_to_be_repeated_stays_locked() {
    cov_mark::check!(what_is_claimed_may_still_be_repeated);
    let mut fixture = Fixture::new();
    let (dir, file) = (fixture.new_ino(A), fixture.new_ino(A));
    let (node, existing) = (Node::File, IfExists::Refuse);
    let create = Create { dir, name: name("f"), ino: file, node, mode: 0o644, umask: 0, existing };
    let (mode, umask, exclusive) = (0o755, 0, false);
    let mkdir = Op::Mkdir { dir: Ino::ROOT, name: name("d"), ino: dir, mode, umask, exclusive };
    let ops = [(mkdir, 10), (Op::Create(create), 11)];
    let sent = ops.map(|(op, seq)| Request { replay: Some(Seq(seq)), ..fixture.request(op) });
    let mut locks = FileLocks::default();
    let set = |owner, on_conflict| SetLock {
        owner: LockOwner(owner),
        pid: 1,
        range: ByteRange::WHOLE,
        kind: Some(LockKind::Write),
        on_conflict,
    };
    locks.lock(set(1, OnConflict::Refuse).lock().expect("it is one"));
    let mut fixture = reconnecting(fixture);
    open(&mut fixture, A);
    let target = Target { ino: file, place: Place::Entry { dir, name: name("f") } };
    let by = PinnedBy::Answered(common::id::RequestId(1));
    let pins = vec![PinClaim { target: target.clone(), by, locks }];
    fixture.say(A, conn(A, 1), ToMds::Claim { pins });
    fixture.say(A, conn(A, 1), ToMds::ClaimsDone);
    for request in &sent {
        fixture.say(A, conn(A, 1), ToMds::Request(request.clone()));
    }
    fixture.say(A, conn(A, 1), ToMds::ReplayDone);
    fixture.connect(B, conn(B, 1));
    go_on(&mut fixture);
    let set = set(2, OnConflict::Refuse);
    match fixture.ask(B, Op::SetLock { target, set, unanswered: [].into() }) {
        Outcome::Done(Answer::NotLocked(_)) => {}
        outcome => panic!("{outcome:?}"),
    }
}

/// It may go on by itself for as long as its capabilities last, and the rank that ended its session has
/// lost power since (simulator, `mounts_work_alone` 98001454).
#[test]
fn whoever_was_evicted_is_waited_for_after_a_loss_of_power() {
    let mut fixture = Fixture::new();
    let request = AdminRequest::EvictSession { client: B };
    fixture.input(Input::Admin { id: AdminId(1), request });
    let mut fixture = reconnecting(fixture);
    fixture.connect(A, conn(A, 1));
    go_on(&mut fixture);
    assert_eq!(fixture.mds.state(), RankState::Reconnect);
    fixture.input(Input::Timer(Timer::ReconnectWindow));
    go_on(&mut fixture);
    assert_eq!(fixture.mds.state(), RankState::Active);
    fixture.now.monotonic = fixture.now.monotonic.after(common::limit::RECONNECT_WINDOW);
    fixture.input(Input::Timer(Timer::Spine));
    assert_eq!(fixture.row(&crate::row::Key::Evicted(B)), None, "and after that forgotten");
}

/// Before it comes again it has dropped everything.
#[test]
fn whoever_was_evicted_and_comes_again_is_not_waited_for() {
    let mut fixture = Fixture::new();
    let request = AdminRequest::EvictSession { client: B };
    fixture.input(Input::Admin { id: AdminId(1), request });
    let mut fixture = reconnecting(fixture);
    fixture.connect(A, conn(A, 1));
    open(&mut fixture, B);
    for msg in [ToMds::ClaimsDone, ToMds::ReplayDone] {
        fixture.say(B, conn(B, 1), msg);
    }
    go_on(&mut fixture);
    assert_eq!(fixture.mds.state(), RankState::Active);
}

/// The file is with another rank, where the one had it locked before the other (simulator, `the_balancer_moves`
/// 1795962105523443).
#[test]
fn locks_are_not_judged_before_it_is_known_whose_they_are() {
    cov_mark::check!(whose_locks_these_are_is_not_known_yet);
    let mut fixture = reconnecting(Fixture::new());
    let target = in_entry(Ino(0x7777), Ino(0x7000), "f");
    let range = ByteRange { first: 0, last: 3 };
    let lock = FileLock { owner: LockOwner(1), pid: 1, range, kind: LockKind::Write };
    for client in [ClientId(77), ClientId(78)] {
        open(&mut fixture, client);
        let mut claim = PinClaim::new(target.clone(), PinnedBy::Answered(common::id::RequestId(1)));
        claim.locks.lock(lock);
        for msg in [ToMds::Claim { pins: vec![claim] }, ToMds::ClaimsDone, ToMds::ReplayDone] {
            fixture.say(client, conn(client, 1), msg);
        }
        let told = fixture.told(conn(client, 1));
        let is_lost = |msg: &ToClient| matches!(msg, ToClient::NotLocked { .. });
        assert!(!told.iter().any(is_lost), "{told:?}");
    }
    fixture.input(Input::Timer(Timer::ReconnectWindow));
    go_on(&mut fixture);
    assert_eq!(fixture.mds.state(), RankState::Active);
    let pins = &fixture.mds.holdings().pins;
    assert!(!pins.is_pinned(target.ino) && !pins.locks().is_locked(target.ino));
}
