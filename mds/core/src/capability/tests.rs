//! Who hears of what.

use common::id::RequestId;
use common::wire::admin::AdminRequest;
use common::wire::reply::Reply;
use common::wire::request::{Create, IfExists, Node, Request};
use common::wire::session::ToMds;

use super::*;
use crate::cluster_fixture::{Cluster, D1, R1, R2};
use crate::fixture::{A, B, Fixture, conn, in_entry, name};
use crate::input::{AdminId, Input};
use crate::timer::Timer;

const ROOT: Ino = Ino::ROOT;

fn send(mds: &mut Fixture, client: ClientId, op: Op) -> Request {
    let request = mds.request(op);
    mds.say(client, conn(client, 1), ToMds::Request(request.clone()));
    request
}

fn reply(mds: &mut Fixture, client: ClientId, op: Op) -> Reply {
    let request = send(mds, client, op);
    mds.reply(client, request.id).expect("an answer at once")
}

fn look_up(text: &str) -> Op {
    Op::Lookup { dir: ROOT, name: name(text) }
}

fn unlink(text: &str) -> Op {
    Op::Unlink { dir: ROOT, name: name(text) }
}

/// A does something; B hears that, and A is answered when B has let go.
#[track_caller]
fn assert_told(mds: &mut Fixture, op: Op, expected: &[Notice]) {
    let request = send(mds, A, op);
    assert_eq!(mds.reply(A, request.id), None, "B knows nothing yet");
    let told = mds.ack_notices(B);
    let told: Vec<&Notice> =
        told.iter().filter(|it| !matches!(it, Notice::Unlinked { .. })).collect();
    assert_eq!(told, expected.iter().collect::<Vec<_>>());
    mds.make_durable();
    mds.ack_notices(B);
    assert!(mds.reply(A, request.id).is_some());
}

fn changed(dir: Ino, names: &[(&str, Option<Ino>)]) -> Notice {
    let names = names.iter().map(|(text, ino)| (name(text), *ino)).collect();
    Notice::Changed { dir, names }
}

#[test]
fn what_was_found_or_found_missing_is_promised() {
    let mut mds = Fixture::new();
    let file = mds.create(A, ROOT, "f");
    assert_eq!(reply(&mut mds, B, look_up("f")).promise, Promise::Shared);
    assert_eq!(reply(&mut mds, B, look_up("g")).promise, Promise::Shared);
    assert_told(&mut mds, unlink("f"), &[changed(ROOT, &[("f", None)])]);
    let ino = mds.new_ino(A);
    let _ = file;
    let op = Op::Mkdir { dir: ROOT, name: name("g"), ino, mode: 0o755, umask: 0, exclusive: false };
    assert_told(&mut mds, op, &[changed(ROOT, &[("g", Some(ino))])]);
}

#[test]
fn attributes_are_promised() {
    let mut mds = Fixture::new();
    let file = mds.create(A, ROOT, "f");
    let target = in_entry(file, ROOT, "f");
    let getattr = Op::Getattr { target: target.clone() };
    assert_eq!(reply(&mut mds, B, getattr).promise, Promise::Shared);
    let op = Op::Wrote { target, end: 7, kill_privileges: false };
    assert_told(&mut mds, op, &[changed(ROOT, &[("f", Some(file))])]);
}

#[test]
fn attributes_of_a_file_of_several_names_are_promised() {
    let mut mds = Fixture::new();
    let file = mds.create(A, ROOT, "f");
    let (target, rank) = (in_entry(file, ROOT, "f"), common::id::Rank(0));
    mds.ask(A, Op::Link { target, dir: ROOT, name: name("g"), rank });
    let target = Target { ino: file, place: Place::Home };
    let getattr = Op::Getattr { target: target.clone() };
    assert_eq!(reply(&mut mds, B, getattr).promise, Promise::Shared);
    let op = Op::Wrote { target, end: 7, kill_privileges: false };
    assert_told(&mut mds, op, &[Notice::ChangedAtHome { ino: file }]);
}

#[test]
fn who_changes_something_hears_nothing_of_it() {
    let mut mds = Fixture::new();
    mds.create(A, ROOT, "f");
    reply(&mut mds, A, look_up("f"));
    assert!(reply(&mut mds, A, unlink("f")).applied.is_some());
    let told = mds.ack_notices(A);
    assert!(told.iter().all(|it| matches!(it, Notice::Unlinked { .. })), "{told:?}");
}

#[test]
fn a_promise_ends_by_itself() {
    let mut mds = Fixture::new();
    mds.create(A, ROOT, "f");
    reply(&mut mds, B, look_up("g"));
    mds.now.monotonic = mds.now.monotonic.after(CAPABILITY_TIME + CAPABILITY_MARGIN);
    assert!(reply(&mut mds, A, unlink("f")).applied.is_some());
    assert_eq!(mds.mds.holdings_for_test().capabilities.trim(mds.now.monotonic), []);
    assert_eq!(mds.mds.holdings().capabilities.count(), 0);
}

#[test]
fn nobody_waits_for_who_is_sent_away() {
    let mut mds = Fixture::new();
    mds.create(A, ROOT, "f");
    reply(&mut mds, B, look_up("g"));
    let request = send(&mut mds, A, unlink("f"));
    for _the_second_look_too in 0..2 {
        assert_eq!(mds.reply(A, request.id), None);
        mds.input(Input::Timer(Timer::Lease(B)));
    }
    assert!(mds.reply(A, request.id).is_some());
}

fn evict(mds: &mut Fixture, client: ClientId) {
    let request = AdminRequest::EvictSession { client };
    mds.input(Input::Admin { id: AdminId(1), request });
}

/// What it has cached may be shown until that ends, if it cannot be told.
#[test]
fn who_is_sent_away_by_an_operator_is_waited_for() {
    let mut mds = Fixture::new();
    mds.create(A, ROOT, "f");
    reply(&mut mds, B, look_up("g"));
    let before = send(&mut mds, A, unlink("f"));
    evict(&mut mds, B);
    let ino = mds.new_ino(A);
    let name = name("g");
    let mkdir = Op::Mkdir { dir: ROOT, name, ino, mode: 0o755, umask: 0, exclusive: false };
    let after = send(&mut mds, A, mkdir);
    for passed in [false, true] {
        mds.input(Input::Timer(Timer::Spine));
        for request in [&before, &after] {
            assert_eq!(mds.reply(A, request.id).is_some(), passed);
        }
        mds.now.monotonic = mds.now.monotonic.after(CAPABILITY_TIME + CAPABILITY_MARGIN);
    }
}

/// Before it comes again it has dropped everything.
#[test]
fn who_was_sent_away_and_comes_again_is_not_waited_for() {
    let mut mds = Fixture::new();
    mds.create(A, ROOT, "f");
    reply(&mut mds, B, look_up("g"));
    let request = send(&mut mds, A, unlink("f"));
    evict(&mut mds, B);
    mds.say(B, conn(B, 2), ToMds::Open { client: B, oldest: RequestId(1) });
    mds.make_durable();
    assert_eq!(mds.reply(A, request.id), None);
    mds.say(B, conn(B, 2), ToMds::ClaimsDone);
    assert!(mds.reply(A, request.id).is_some());
}

/// Nobody sees the last changes before the move earlier because of it.
#[test]
fn what_was_not_acknowledged_travels() {
    let mut cluster = Cluster::new();
    let dir = cluster.at(R1).mkdir(A, D1, "a");
    cluster.at(R1).create(A, dir, "f");
    let look = Op::Lookup { dir, name: name("f") };
    assert_eq!(reply(cluster.at(R1), B, look.clone()).promise, Promise::Shared);
    cluster.silent.insert(B);
    let unlinked = cluster.send(R1, A, Op::Unlink { dir, name: name("f") });
    let request = AdminRequest::Export { dir, to: R2 };
    cluster.at(R1).input(Input::Admin { id: AdminId(1), request });
    cluster.run();
    assert_eq!(cluster.reply(R1, A, unlinked.id), None);
    let sought = cluster.send(R2, A, look);
    cluster.run();
    assert_eq!(cluster.reply(R2, A, sought.id), None);
    let told = cluster.at(R2).ack_notices(B);
    assert!(told.contains(&changed(dir, &[("f", None)])), "{told:?}");
    cluster.run();
    assert_eq!(cluster.reply(R2, A, sought.id), Some(Outcome::Refused(FsError::NotFound)));
}

/// The next rank may begin anew meanwhile, and whoever has not had the answer cannot say there that it refers to
/// the file (simulator, `mounts_work_alone` 99301480).
#[test]
fn what_was_withheld_is_asked_for_where_its_directory_has_gone() {
    cov_mark::check!(what_was_withheld_is_asked_for_elsewhere);
    const C: ClientId = ClientId(77);
    let mut cluster = Cluster::new();
    cluster.at(R1).connect(C, conn(C, 1));
    let dir = cluster.at(R1).mkdir(A, D1, "a");
    let look = Op::Lookup { dir, name: name("f") };
    assert_eq!(reply(cluster.at(R1), B, look.clone()).promise, Promise::Shared);
    cluster.silent.insert(B);
    let ino = cluster.at(R1).new_ino(A);
    let (node, existing) = (Node::File, IfExists::Refuse);
    let create = Create { dir, name: name("f"), ino, node, mode: 0o644, umask: 0, existing };
    cluster.send(R1, A, Op::Create(create));
    let sought = cluster.send(R1, C, look);
    cluster.run();
    assert_eq!(cluster.reply(R1, C, sought.id), None, "B does not know");
    let request = AdminRequest::Export { dir, to: R2 };
    cluster.at(R1).input(Input::Admin { id: AdminId(1), request });
    cluster.run();
    cluster.at(R1).ack_notices(B);
    let answer = cluster.reply(R1, C, sought.id);
    assert!(matches!(answer, Some(Outcome::Redirect(route)) if route.rank == R2), "{answer:?}");
}

/// It came by itself, and was not asked to drop anything; then what it has cached came after it.
#[test]
fn who_begins_a_session_while_a_region_comes_may_have_something_of_it() {
    const C: ClientId = ClientId(77);
    let mut cluster = Cluster::new();
    let dir = cluster.at(R1).mkdir(A, D1, "a");
    cluster.at(R1).create(A, dir, "f");
    cluster.at(R1).connect(C, conn(C, 1));
    let look = Op::Lookup { dir, name: name("f") };
    assert_eq!(reply(cluster.at(R1), C, look).promise, Promise::Shared);
    cluster.at(R2).say(C, conn(C, 1), ToMds::Open { client: C, oldest: RequestId(0) });
    cluster.at(R2).make_durable();
    let request = AdminRequest::Export { dir, to: R2 };
    cluster.at(R1).input(Input::Admin { id: AdminId(1), request });
    cluster.run();
    for msg in [ToMds::ClaimsDone, ToMds::ReplayDone] {
        cluster.at(R2).say(C, conn(C, 1), msg);
    }
    let unlinked = cluster.send(R2, A, Op::Unlink { dir, name: name("f") });
    cluster.run();
    assert_eq!(cluster.reply(R2, A, unlinked.id), None);
    let told = cluster.at(R2).ack_notices(C);
    assert!(told.contains(&changed(dir, &[("f", None)])), "{told:?}");
    cluster.run();
    assert!(cluster.reply(R2, A, unlinked.id).is_some());
}

/// Its session may last longer: one that came from elsewhere, of a client that cannot be told of it.
#[test]
fn nobody_waits_for_longer_than_something_may_be_cached() {
    let mut mds = Fixture::new();
    mds.create(A, ROOT, "f");
    reply(&mut mds, B, look_up("g"));
    let request = send(&mut mds, A, unlink("f"));
    mds.input(Input::Timer(Timer::Spine));
    assert_eq!(mds.reply(A, request.id), None);
    mds.now.monotonic = mds.now.monotonic.after(CAPABILITY_TIME + CAPABILITY_MARGIN);
    mds.input(Input::Timer(Timer::Spine));
    assert!(mds.reply(A, request.id).is_some());
}

/// Whoever has removed its name may ask for what it has open; others may still have the name cached.
#[test]
fn nobody_hears_of_an_orphan_before_everybody_who_has_its_name_cached() {
    let mut mds = Fixture::new();
    let file = mds.create(A, ROOT, "f");
    reply(&mut mds, A, look_up("f"));
    reply(&mut mds, B, look_up("f"));
    let unlink = send(&mut mds, A, unlink("f"));
    let target = Target { ino: file, place: Place::Orphan { rank: common::id::Rank(0) } };
    let getattr = send(&mut mds, A, Op::Getattr { target });
    assert_eq!(mds.reply(A, getattr.id), None, "B has its name, and its attributes");
    mds.make_durable();
    mds.ack_notices(B);
    assert!(mds.reply(A, unlink.id).is_some() && mds.reply(A, getattr.id).is_some());
}

#[test]
fn an_orphan_is_not_promised() {
    let mut mds = Fixture::new();
    let file = mds.create(A, ROOT, "f");
    reply(&mut mds, A, unlink("f"));
    let getattr = Op::Getattr { target: in_entry(file, ROOT, "f") };
    let answer = reply(&mut mds, A, getattr);
    assert_eq!(answer.promise, Promise::None, "{answer:?}");
}

/// Or somebody would see it, and somebody else after that what was before.
#[test]
fn nobody_hears_of_a_change_before_everybody_who_has_something_cached() {
    const C: ClientId = ClientId(3);
    let mut mds = Fixture::new();
    mds.connect(C, conn(C, 1));
    mds.create(A, ROOT, "f");
    reply(&mut mds, B, look_up("g"));
    let unlinked = send(&mut mds, A, unlink("f"));
    let again = send(&mut mds, C, unlink("f"));
    let sought = send(&mut mds, C, look_up("f"));
    let own = send(&mut mds, B, look_up("f"));
    assert!(mds.reply(B, own.id).is_some(), "what it has heard before is its own business");
    for (client, id) in [(A, unlinked.id), (C, again.id), (C, sought.id)] {
        assert_eq!(mds.reply(client, id), None);
    }
    mds.ack_notices(B);
    for (client, id) in [(A, unlinked.id), (C, again.id), (C, sought.id)] {
        assert!(mds.reply(client, id).is_some());
    }
}
