//! Nobody sees or changes what somebody else has for itself.

use common::id::RequestId;
use common::wire::admin::AdminRequest;
use common::wire::reply::{Answer, Found, Outcome, Promise};
use common::wire::request::{Op, Target};
use common::wire::session::{Notice, ToMds};

use super::*;
use crate::cluster_fixture::{Cluster, D1, R1, R2};
use crate::fixture::{A, B, Fixture, conn, in_entry, name};
use crate::input::{AdminId, Input};
use crate::timer::Timer;

const ROOT: Ino = Ino::ROOT;

fn mkdir(mds: &mut Fixture, text: &str) -> Ino {
    let ino = mds.new_ino(A);
    let op = Op::Mkdir { dir: ROOT, name: name(text), ino, mode: 0o755, umask: 0, exclusive: true };
    let id = send(mds, A, op);
    let reply = mds.reply(A, id).expect("an answer at once");
    assert_eq!(reply.promise, Promise::Exclusive);
    ino
}

fn send(mds: &mut Fixture, client: ClientId, op: Op) -> RequestId {
    let request = mds.request(op);
    let id = request.id;
    mds.say(client, conn(client, 1), ToMds::Request(request));
    id
}

fn look_up(dir: Ino, text: &str) -> Op {
    Op::Lookup { dir, name: name(text) }
}

fn getattr(dir: Ino) -> Op {
    Op::Getattr { target: Target::dir(dir) }
}

#[test]
fn whoever_asks_waits_for_the_holder() {
    let others: [fn(Ino) -> Op; 5] = [
        |dir| look_up(dir, "f"),
        |_| look_up(ROOT, "d"),
        getattr,
        |dir| Op::Readdir { dir, cookie: 0, entries_max: 10 },
        |dir| Op::Getattr { target: in_entry(Ino(77), dir, "f") },
    ];
    for other in others {
        let mut mds = Fixture::new();
        let dir = mkdir(&mut mds, "d");
        let op = other(dir);
        let asked = send(&mut mds, B, op.clone());
        assert_eq!(mds.reply(B, asked), None, "{op:?}");
        mds.mds.check().expect("it waits for something");
        // What the holder has answered already comes first.
        let made = send(&mut mds, A, look_up(dir, "g"));
        assert!(mds.reply(A, made).is_some(), "{op:?}");
        assert_eq!(mds.ack_notices(A), [Notice::Recall { dir }], "{op:?}");
        assert!(mds.reply(B, asked).is_some(), "{op:?}");
        let again = send(&mut mds, B, getattr(dir));
        assert!(mds.reply(B, again).is_some(), "{op:?}: it is nobody's any more");
    }
}

#[test]
fn a_listing_of_the_parent_says_nothing_of_it() {
    let mut mds = Fixture::new();
    let dir = mkdir(&mut mds, "d");
    let asked = send(&mut mds, B, Op::Readdir { dir: ROOT, cookie: 0, entries_max: 10 });
    let reply = mds.reply(B, asked).expect("the parent is everybody's");
    let Outcome::Done(Answer::Page(page)) = reply.outcome else { panic!("{reply:?}") };
    let found: Vec<_> = page.entries.iter().map(|entry| &entry.found).collect();
    assert_eq!(found, [&Found::Dir { ino: dir, rank: common::id::Rank(0), attr: None }]);
}

#[test]
fn it_ends_with_the_session() {
    let mut mds = Fixture::new();
    let dir = mkdir(&mut mds, "d");
    let asked = send(&mut mds, B, look_up(dir, "f"));
    for _the_second_look_too in 0..2 {
        assert_eq!(mds.reply(B, asked), None);
        mds.input(Input::Timer(Timer::Lease(A)));
    }
    assert!(mds.reply(B, asked).is_some());
}

/// Its kernel may go on for a while: what others change waits for that to end.
#[test]
fn what_an_operator_ends_may_be_cached_for_a_while() {
    let mut mds = Fixture::new();
    let dir = mkdir(&mut mds, "d");
    mds.input(Input::Admin { id: AdminId(1), request: AdminRequest::EvictSession { client: A } });
    let ino = mds.new_ino(B);
    let make = Op::Mkdir { dir, name: name("e"), ino, mode: 0o755, umask: 0, exclusive: false };
    let asked = send(&mut mds, B, make);
    assert_eq!(mds.reply(B, asked), None);
    mds.now.monotonic = end(mds.now.monotonic);
    mds.input(Input::Timer(Timer::Spine));
    assert!(mds.reply(B, asked).is_some());
}

#[test]
fn what_is_let_go_is_nobodys() {
    let mut mds = Fixture::new();
    let dir = mkdir(&mut mds, "d");
    let asked = send(&mut mds, B, look_up(dir, "f"));
    mds.say(A, conn(A, 1), ToMds::LetGo { dirs: vec![dir] });
    assert!(mds.reply(B, asked).is_some());
    assert_eq!(mds.ack_notices(A), [Notice::Recall { dir }], "and acknowledged for nothing");
}

/// The answer to the mkdir was lost with the connection.
#[test]
fn what_is_not_claimed_is_not_held() {
    let mut mds = Fixture::new();
    let (lost, held) = (mkdir(&mut mds, "lost"), mkdir(&mut mds, "held"));
    mds.say(A, conn(A, 2), ToMds::Open { client: A, oldest: RequestId(0) });
    mds.say(A, conn(A, 2), ToMds::ClaimExclusive { dirs: vec![held] });
    mds.say(A, conn(A, 2), ToMds::ClaimsDone);
    let exclusives = &mds.mds.holdings().capabilities.exclusives;
    assert_eq!((exclusives.holder(lost), exclusives.holder(held)), (None, Some(A)));
}

/// A session that has ended held something: others may have changed it since.
#[test]
fn what_was_held_before_the_session_is_recalled() {
    cov_mark::check!(what_was_held_before_the_session_is_not_held);
    let mut mds = Fixture::new();
    let dir = mkdir(&mut mds, "d");
    for _the_second_look_too in 0..2 {
        mds.input(Input::Timer(Timer::Lease(A)));
    }
    mds.make_durable();
    mds.say(A, conn(A, 2), ToMds::Open { client: A, oldest: RequestId(0) });
    mds.make_durable();
    mds.say(A, conn(A, 2), ToMds::ClaimExclusive { dirs: vec![dir] });
    mds.say(A, conn(A, 2), ToMds::ClaimsDone);
    assert_eq!(mds.mds.holdings().capabilities.exclusives.holder(dir), None);
    let told = mds.told(conn(A, 2));
    let recalled = told.iter().any(|msg| {
        matches!(msg, common::wire::session::ToClient::Notice { notice: Notice::Recall { dir: it }, .. } if *it == dir)
    });
    assert!(recalled, "{told:?}");
}

/// Somebody had the parent's listing cached, so the answer is held; meanwhile the directory is found.
#[test]
fn what_is_recalled_before_it_is_told_is_not_promised() {
    cov_mark::check!(recalled_before_it_was_told);
    let mut mds = Fixture::new();
    let seen = send(&mut mds, B, look_up(ROOT, "d"));
    assert!(mds.reply(B, seen).is_some());
    let ino = mds.new_ino(A);
    let op = Op::Mkdir { dir: ROOT, name: name("d"), ino, mode: 0o755, umask: 0, exclusive: true };
    let made = send(&mut mds, A, op);
    let asked = send(&mut mds, B, look_up(ino, "f"));
    assert_eq!(mds.ack_notices(A), [Notice::Recall { dir: ino }]);
    assert!(mds.reply(B, asked).is_some());
    mds.ack_notices(B);
    let reply = mds.reply(A, made).expect("everybody knows");
    assert_eq!(reply.promise, Promise::Shared);
}

/// It leaves meanwhile: its next rank may have taken it back by then, from a session of which A knows nothing
/// (simulator, a story with more renames).
#[test]
fn what_leaves_before_it_is_told_is_not_promised() {
    let mut cluster = Cluster::new();
    cluster.ask(R1, B, look_up(D1, "d"));
    cluster.silent.insert(B);
    let ino = cluster.at(R1).new_ino(A);
    let op = Op::Mkdir { dir: D1, name: name("d"), ino, mode: 0o755, umask: 0, exclusive: true };
    let made = cluster.send(R1, A, op).id;
    cluster.run();
    cluster.freeze(R1, D1);
    cluster.at(R1).ack_notices(B);
    cluster.run();
    let reply = cluster.at(R1).reply(A, made).expect("everybody knows");
    assert_eq!(reply.promise, Promise::Shared);
}

/// What it holds leaves before that has ended: the next rank has nobody to ask.
#[test]
fn what_an_operator_ends_may_be_cached_for_a_while_at_the_next_rank() {
    const C: ClientId = ClientId(77);
    let mut cluster = Cluster::new();
    cluster.at(R1).connect(C, conn(C, 1));
    let op = |ino| {
        let name = name("d");
        Op::Mkdir { dir: D1, name, ino, mode: 0o755, umask: 0, exclusive: true }
    };
    let dir = cluster.at(R1).new_ino(C);
    cluster.ask(R1, C, op(dir));
    let evict = AdminRequest::EvictSession { client: C };
    cluster.at(R1).input(Input::Admin { id: AdminId(1), request: evict });
    let export = AdminRequest::Export { dir: D1, to: R2 };
    cluster.at(R1).input(Input::Admin { id: AdminId(2), request: export });
    cluster.run();
    let asked = cluster.send(R2, A, look_up(dir, "f")).id;
    cluster.run();
    assert_eq!(cluster.at(R2).reply(A, asked), None);
    let next = cluster.at(R2);
    assert!(next.row(&crate::row::Key::Evicted(C)).is_some(), "also if it loses power");
    next.now.monotonic = end(next.now.monotonic);
    next.input(Input::Timer(Timer::Spine));
    assert!(next.reply(A, asked).is_some());
}
