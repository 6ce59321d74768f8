//! Who is alone in a directory may have it, and nobody else notices.

use common::id::{DirFragId, RequestId};
use common::limit::{CAPABILITY_MARGIN, CAPABILITY_TIME};
use common::wire::reply::{Outcome, Promise, Reply};
use common::wire::request::{Op, Target, XattrName, XattrSet, XattrValue};
use common::wire::session::{Notice, ToMds};

use super::*;
use crate::fixture::{A, B, Fixture, conn, name};
use crate::input::{Fetch, Input};
use crate::timer::Timer;

const ROOT: Ino = Ino::ROOT;

fn send(mds: &mut Fixture, client: ClientId, op: Op) -> RequestId {
    let request = mds.request(op);
    let id = request.id;
    mds.say(client, conn(client, 1), ToMds::Request(request));
    id
}

fn ask_for(mds: &mut Fixture, dir: Ino) -> Option<Reply> {
    let id = send(mds, A, Op::Hold { dir });
    mds.reply(A, id)
}

fn look_up(dir: Ino, text: &str) -> Op {
    Op::Lookup { dir, name: name(text) }
}

/// A directory that somebody else has made long ago, with a file and a directory in it.
fn found(mds: &mut Fixture) -> Ino {
    let dir = mds.mkdir(B, ROOT, "d");
    mds.create(B, dir, "f");
    mds.mkdir(B, dir, "sub");
    mds.make_durable();
    mds.now.monotonic = mds.now.monotonic.after(CAPABILITY_TIME + CAPABILITY_MARGIN);
    dir
}

#[test]
fn who_is_alone_gets_it_with_all_that_is_in_it() {
    let mut mds = Fixture::new();
    let dir = found(&mut mds);
    let reply = ask_for(&mut mds, dir).expect("an answer at once");
    assert_eq!(reply.promise, Promise::Exclusive);
    let Outcome::Done(Answer::Held(contents)) = reply.outcome else { panic!("{reply:?}") };
    let mut names: Vec<String> = contents.entries.iter().map(|it| it.name.to_string()).collect();
    names.sort_unstable();
    assert_eq!(
        (contents.attr.ino, contents.attr.nlink, names),
        (dir, 3, vec!["f".into(), "sub".into()])
    );
    let asked = send(&mut mds, B, look_up(dir, "f"));
    assert_eq!(mds.reply(B, asked), None);
    assert_eq!(mds.ack_notices(A), [Notice::Recall { dir }]);
    assert!(mds.reply(B, asked).is_some());
    // And goes on sharing it.
    let reply = ask_for(&mut mds, dir).expect("an answer at once");
    assert_eq!((reply.promise, reply.outcome), (Promise::None, Outcome::Done(Answer::NotHeld)));
}

#[test]
fn what_others_may_have_cached_is_shared() {
    let mut mds = Fixture::new();
    let dir = found(&mut mds);
    mds.ask(B, look_up(dir, "none"));
    let answer = |mds: &mut Fixture| ask_for(mds, dir).map(|reply| reply.outcome);
    assert_eq!(answer(&mut mds), Some(Outcome::Done(Answer::NotHeld)));
    mds.now.monotonic = mds.now.monotonic.after(CAPABILITY_TIME + CAPABILITY_MARGIN);
    mds.input(Input::Timer(Timer::Spine));
    assert!(matches!(answer(&mut mds), Some(Outcome::Done(Answer::Held(_)))));
}

/// Its client goes by what is there: it must not be undone by a loss of power.
#[test]
fn what_somebody_else_has_changed_is_durable_first() {
    let mut mds = Fixture::new();
    let dir = found(&mut mds);
    let target = Target::dir(dir);
    // Whoever does not see what it has changed has nothing of it cached.
    let (acl, value) = (XattrName(b"user.a"[..].into()), XattrValue(b"1"[..].into()));
    mds.ask(B, Op::SetXattr { target, name: acl, value, mode: XattrSet::Any });
    let id = send(&mut mds, A, Op::Hold { dir });
    assert_eq!(mds.reply(A, id), None);
    mds.make_durable();
    assert_eq!(mds.reply(A, id).map(|reply| reply.promise), Some(Promise::Exclusive));
}

#[test]
fn what_one_has_changed_oneself_need_not_be() {
    let mut mds = Fixture::new();
    let dir = found(&mut mds);
    mds.create(A, dir, "g");
    assert_eq!(ask_for(&mut mds, dir).map(|reply| reply.promise), Some(Promise::Exclusive));
}

/// Everybody there would wait until it is read.
#[test]
fn a_large_directory_is_not_read_for_that() {
    let mut mds = Fixture::new();
    let dir = mds.mkdir(B, ROOT, "d");
    for number in 0..=PAGE_ENTRIES_MAX {
        mds.create(B, dir, &number.to_string());
    }
    mds.make_durable();
    let mut next = mds.next_life(common::id::Rank(0));
    next.follow_wishes(2);
    for client in [A, B] {
        next.connect(client, conn(client, 1));
    }
    next.follow_wishes(2);
    next.slow = true;
    let id = send(&mut next, A, Op::Hold { dir });
    let mut read = Vec::new();
    while let Some(fetch) = next.asked.pop() {
        let fetched = next.fetch(fetch.clone());
        read.push(fetch);
        next.input(Input::Fetched(fetched));
    }
    assert_eq!(next.reply(A, id).map(|reply| reply.outcome), Some(Outcome::Done(Answer::NotHeld)));
    assert_eq!(read, [Fetch::Dir(DirFragId::whole(dir))]);
}

/// What is made there has more than its mode and the mount's umask say.
#[test]
fn where_a_default_acl_counts_only_its_rank_knows_what_is_made() {
    let mut mds = Fixture::new();
    let dir = found(&mut mds);
    let acl = acl::DEFAULT.to_vec().into();
    let value = XattrValue(common_acl().into());
    let (target, mode) = (Target::dir(dir), XattrSet::Any);
    let set = mds.ask(A, Op::SetXattr { target, name: XattrName(acl), value, mode });
    assert_eq!(set, Outcome::Done(Answer::Done));
    assert_eq!(
        ask_for(&mut mds, dir).map(|reply| reply.outcome),
        Some(Outcome::Done(Answer::NotHeld))
    );
}

/// `u::rwx,g::r-x,o::r-x`, as the kernel writes it (`linux/posix_acl_xattr.h`).
fn common_acl() -> Vec<u8> {
    let entries = [(1_u16, 7_u16), (4, 5), (0x20, 5)];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(u32::MAX.to_le_bytes());
    }
    bytes
}
