use common::error::FsError;
use common::id::{ClientId, Ino, Rank, RequestId, Seq};
use common::wire::reply::{Answer, Found, Outcome, PageEnd};
use common::wire::request::{
    Create, Forget, IfExists, Node, Op, Place, RenameMode, Request, Target, XattrName, XattrSet,
    XattrValue,
};
use common::wire::session::{Notice, PinClaim, PinnedBy, ToClient, ToMds};

use crate::cluster_fixture::{Cluster, D1, R0, R1};
use crate::fixture::{A, B, Fixture, conn, in_entry, name, rename_op};
use crate::input::ConnId;
use crate::row::Key;

const ROOT: Ino = Ino::ROOT;

fn refused(error: FsError) -> Outcome {
    Outcome::Refused(error)
}

fn nlink(mds: &mut Fixture, dir: Ino) -> u32 {
    match mds.ask(A, Op::Getattr { target: Target::dir(dir) }) {
        Outcome::Done(Answer::Attr(attr)) => attr.nlink,
        outcome => panic!("{outcome:?}"),
    }
}

#[test]
fn what_was_made_is_found() {
    let mut mds = Fixture::new();
    let dir = mds.mkdir(A, ROOT, "d");
    let file = mds.create(A, dir, "f");
    match mds.ask(B, Op::Lookup { dir, name: name("f") }) {
        Outcome::Done(Answer::Found(Found::Here(attr))) => {
            assert_eq!((attr.ino, attr.nlink, attr.uid), (file, 1, 1000));
        }
        outcome => panic!("{outcome:?}"),
    }
    assert_eq!(mds.ask(B, Op::Lookup { dir, name: name("g") }), refused(FsError::NotFound));
    assert_eq!(nlink(&mut mds, ROOT), 3);
}

#[test]
fn a_rank_that_was_killed_has_everything_it_answered() {
    let mut mds = Fixture::new();
    let dir = mds.mkdir(A, ROOT, "d");
    let file = mds.create(A, dir, "f");
    let mut mds = mds.restart();
    mds.connect(A, conn(A, 1));
    mds.connect(B, conn(B, 1));
    mds.follow_wishes(2);
    match mds.ask(B, Op::Lookup { dir, name: name("f") }) {
        Outcome::Done(Answer::Found(Found::Here(attr))) => assert_eq!(attr.ino, file),
        outcome => panic!("{outcome:?}"),
    }
}

/// Power loss would make the number a stranger's: what was made with it could not be made again.
#[test]
fn numbers_are_told_when_they_cannot_be_lost() {
    let mut mds = Fixture::new();
    let (client, conn) = (ClientId(99), ConnId(99));
    mds.say(client, conn, ToMds::Open { client, oldest: RequestId(0) });
    assert_eq!(mds.told(conn), []);
    mds.make_durable();
    assert!(matches!(mds.told(conn)[..], [ToClient::Opened(_)]));

    mds.say(client, conn, ToMds::Renew { inos_left: 7 });
    assert_eq!(mds.told(conn), []);
    mds.say(client, conn, ToMds::Renew { inos_left: 7 });
    assert!(matches!(mds.told(conn)[..], [ToClient::Renewed { more: None, .. }]));
    mds.make_durable();
    assert!(matches!(mds.told(conn)[..], [ToClient::Renewed { more: Some(_), .. }]));
}

#[test]
fn a_request_is_applied_once_however_often_it_comes() {
    let mut mds = Fixture::new();
    mds.create(A, ROOT, "f");
    let request = mds.request(rename_op((ROOT, "f"), (ROOT, "g"), RenameMode::Replace));
    let id = request.id;
    for _ in 0..2 {
        mds.say(A, conn(A, 1), ToMds::Request(request.clone()));
        let reply = mds.reply(A, id).unwrap();
        assert!(matches!(reply.outcome, Outcome::Done(Answer::Renamed(_))), "{reply:?}");
        mds.make_durable();
    }
    let mut mds = mds.restart();
    mds.connect(A, conn(A, 1));
    mds.connect(B, conn(B, 1));
    mds.follow_wishes(2);
    mds.say(A, conn(A, 1), ToMds::Request(request));
    let reply = mds.reply(A, id).unwrap();
    assert!(matches!(reply.outcome, Outcome::Done(Answer::Renamed(_))), "{reply:?}");
}

/// An answer that names no position lets the client forget the request: not while power can fail.
#[test]
fn what_is_asked_again_is_answered_when_it_cannot_be_lost() {
    let mut mds = Fixture::new();
    mds.create(A, ROOT, "f");
    let request = mds.request(rename_op((ROOT, "f"), (ROOT, "g"), RenameMode::Replace));
    let id = request.id;
    mds.say(A, conn(A, 1), ToMds::Request(request.clone()));
    assert!(mds.reply(A, id).unwrap().applied.is_some());
    mds.say(A, conn(A, 1), ToMds::Request(request));
    assert_eq!(mds.reply(A, id), None);
    mds.make_durable();
    assert_eq!(mds.reply(A, id).unwrap().applied, None);
}

/// Its first answer was lost; somebody has removed all of it before it was asked for again.
#[test]
fn what_was_done_and_undone_by_others_was_done() {
    let mut mds = Fixture::new();
    let dir = mds.mkdir(A, ROOT, "d");
    let requests = [
        Op::Mkdir {
            dir,
            name: name("e"),
            ino: mds.new_ino(A),
            mode: 0o755,
            umask: 0,
            exclusive: false,
        },
        Op::Rmdir { dir, name: name("e") },
    ];
    let requests = requests.map(|op| mds.request(op));
    for request in &requests {
        mds.say(A, conn(A, 1), ToMds::Request(request.clone()));
        assert!(matches!(mds.reply(A, request.id).unwrap().outcome, Outcome::Done(_)));
    }
    mds.ask(B, Op::Rmdir { dir: ROOT, name: name("d") });
    mds.make_durable();
    for request in requests {
        mds.say(A, conn(A, 1), ToMds::Request(request.clone()));
        let reply = mds.reply(A, request.id).unwrap();
        assert!(matches!(reply.outcome, Outcome::Done(_)), "{reply:?}");
    }
}

/// The inode is at a rank that is not the directory's.
#[test]
fn a_link_whose_name_is_gone_was_made() {
    let mut cluster = Cluster::new();
    let file = cluster.at(R0).create(A, ROOT, "f");
    let target = in_entry(file, ROOT, "f");
    let op = Op::Link { target, rank: R0, dir: D1, name: name("g") };
    let link = cluster.send(R1, A, op);
    cluster.run();
    assert!(matches!(cluster.reply(R1, A, link.id), Some(Outcome::Done(Answer::Found(_)))));
    cluster.ask(R1, B, Op::Unlink { dir: D1, name: name("g") });
    cluster.at(R1).say(A, conn(A, 1), ToMds::Request(link.clone()));
    cluster.run();
    assert_eq!(cluster.reply(R1, A, link.id), Some(Outcome::Done(Answer::Done)));
}

/// Its client was answered, has let it go, and only wants to know that it is not lost.
/// Whatever has named it, the client has let it go since.
fn forget(ino: Ino, dir: Option<Ino>) -> Op {
    Op::Forget { items: vec![Forget { ino, dir, below: RequestId(u64::MAX) }] }
}

#[test]
fn a_replay_of_what_was_done_pins_nothing() {
    let mut mds = Fixture::new();
    let ino = mds.new_ino(A);
    let made = mds.request(Op::Create(Create {
        dir: ROOT,
        name: name("f"),
        ino,
        node: Node::File,
        mode: 0o644,
        umask: 0,
        existing: IfExists::Refuse,
    }));
    mds.say(A, conn(A, 1), ToMds::Request(made.clone()));
    assert!(matches!(mds.reply(A, made.id).unwrap().outcome, Outcome::Done(Answer::Found(_))));
    mds.ask(A, forget(ino, Some(ROOT)));
    mds.make_durable();
    let again = Request { replay: Some(Seq(1)), ..made };
    mds.say(A, conn(A, 1), ToMds::Request(again.clone()));
    assert_eq!(mds.reply(A, again.id).unwrap().outcome, Outcome::Done(Answer::Done));
    assert!(!mds.mds.holdings().pins.is_pinned(ino));
}

#[test]
fn an_inode_number_that_was_not_lent_is_refused() {
    let mut mds = Fixture::new();
    let op = Op::Mkdir {
        dir: ROOT,
        name: name("d"),
        ino: Ino(7),
        mode: 0o755,
        umask: 0,
        exclusive: false,
    };
    assert_eq!(mds.ask(A, op), refused(FsError::Stale));
}

/// Two connections broke: one copy was answered while the other waited to be durable, and the client has
/// gone on (simulator, `links_are_cut_during_moves` 4062).
#[test]
fn a_copy_that_waited_too_long_is_not_carried_out_again() {
    cov_mark::check!(a_copy_outlives_its_answer);
    let mut mds = Fixture::new();
    let ino = mds.new_ino(A);
    let op = Op::Mkdir { dir: ROOT, name: name("d"), ino, mode: 0o755, umask: 0, exclusive: false };
    let made = mds.request(op);
    mds.say(A, conn(A, 1), ToMds::Request(made.clone()));
    assert!(mds.reply(A, made.id).is_some());
    let copy = Request { replay: Some(Seq(1)), ..made.clone() };
    mds.say(A, conn(A, 1), ToMds::Request(copy));
    let next = mds.request(Op::Rmdir { dir: ROOT, name: name("d") });
    let next = Request { oldest: next.id, ..next };
    mds.say(A, conn(A, 1), ToMds::Request(next.clone()));
    assert!(mds.reply(A, next.id).is_some());

    mds.make_durable();
    assert_eq!(mds.reply(A, made.id), None);
    assert_eq!(mds.ask(A, Op::Lookup { dir: ROOT, name: name("d") }), refused(FsError::NotFound));
}

/// Its connection broke before it heard of it: it claims the file where it was. What is pinned there
/// would go with the directory when that moves (simulator, `links_are_cut_during_moves` 1742).
#[test]
fn an_orphan_is_one_wherever_its_holder_believes_it_to_be() {
    let mut mds = Fixture::new();
    let file = mds.create(A, ROOT, "f");
    assert!(matches!(mds.ask(B, Op::Lookup { dir: ROOT, name: name("f") }), Outcome::Done(_)));
    let request = mds.request(Op::Unlink { dir: ROOT, name: name("f") });
    mds.say(A, conn(A, 1), ToMds::Request(request));

    let target = in_entry(file, ROOT, "f");
    mds.say(B, conn(B, 2), ToMds::Open { client: B, oldest: RequestId(0) });
    mds.say(
        B,
        conn(B, 2),
        ToMds::Claim { pins: vec![PinClaim::new(target, PinnedBy::Answered(RequestId(1)))] },
    );
    mds.say(B, conn(B, 2), ToMds::ClaimsDone);
    let pins = &mds.mds.holdings().pins;
    assert!(pins.is_pinned_by(file, B));
    assert_eq!(pins.dir_of(file), None);
}

/// What is named to it before it has said what it holds, it counts after that.
#[test]
fn a_claim_does_not_take_back_what_was_named_meanwhile() {
    let mut mds = Fixture::new();
    let file = mds.create(A, ROOT, "f");
    mds.ask(B, Op::Lookup { dir: ROOT, name: name("f") });
    mds.say(B, conn(B, 2), ToMds::Open { client: B, oldest: RequestId(0) });
    let early = mds.request(Op::Lookup { dir: ROOT, name: name("f") });
    let latest = early.id;
    mds.say(B, conn(B, 2), ToMds::Request(early));
    mds.say(B, conn(B, 2), ToMds::Claim { pins: Vec::new() });
    mds.say(B, conn(B, 2), ToMds::ClaimsDone);
    let pins = &mds.mds.holdings().pins;
    assert!(pins.holders(file).any(|held| held == (B, latest)));
}

/// Its answer is on its way.
#[test]
fn what_is_named_by_a_later_request_is_not_given_back() {
    let mut mds = Fixture::new();
    let file = mds.create(A, ROOT, "f");
    let Op::Forget { items } = forget(file, Some(ROOT)) else { unreachable!("made as one") };
    let lookup = mds.request(Op::Lookup { dir: ROOT, name: name("f") });
    let items = items.into_iter().map(|item| Forget { below: lookup.id, ..item }).collect();
    mds.say(A, conn(A, 1), ToMds::Request(lookup));
    mds.ask(A, Op::Forget { items });
    assert!(mds.mds.holdings().pins.is_pinned_by(file, A));
    mds.ask(A, forget(file, Some(ROOT)));
    assert!(!mds.mds.holdings().pins.is_pinned(file));
}

#[test]
fn an_unlinked_file_lives_until_the_last_pin_is_given_back() {
    let mut mds = Fixture::new();
    let file = mds.create(A, ROOT, "f");
    assert!(matches!(mds.ask(B, Op::Lookup { dir: ROOT, name: name("f") }), Outcome::Done(_)));

    let request = mds.request(Op::Unlink { dir: ROOT, name: name("f") });
    let id = request.id;
    mds.say(A, conn(A, 1), ToMds::Request(request));
    assert_eq!(mds.reply(A, id), None, "the answer waits until B knows");
    let unlinked = Notice::Unlinked { ino: file, rank: Rank(0) };
    assert!(!mds.ack_notices(B).contains(&unlinked), "it may still be lost");
    assert_eq!(mds.reply(A, id), None);
    mds.make_durable();
    assert_eq!(mds.ack_notices(B), [unlinked]);
    assert_eq!(mds.reply(A, id).unwrap().outcome, Outcome::Done(Answer::Done));

    let orphan = Target { ino: file, place: Place::Orphan { rank: Rank(0) } };
    match mds.truncate(B, orphan, 5) {
        Outcome::Done(Answer::Attr(attr)) => assert_eq!((attr.size, attr.nlink), (5, 0)),
        outcome => panic!("{outcome:?}"),
    }
    mds.ask(A, forget(file, None));
    assert_eq!(mds.purges, []);
    mds.ask(B, forget(file, None));
    assert_eq!(mds.purges, [file]);
    mds.input(crate::Input::Purged { ino: file });
    assert_eq!(mds.row(&Key::Orphan(file)), None);
}

/// Or it would look the file up under a name that is gone, and take it to be gone itself.
#[test]
fn who_asks_in_the_old_place_hears_first_where_the_file_went() {
    cov_mark::check!(gone_comes_after_the_notice);
    let mut mds = Fixture::new();
    let file = mds.create(A, ROOT, "f");
    mds.ask(B, Op::Lookup { dir: ROOT, name: name("f") });
    let rename = mds.request(rename_op((ROOT, "f"), (ROOT, "g"), RenameMode::Replace));
    mds.say(A, conn(A, 1), ToMds::Request(rename));
    let old_place = mds.request(Op::Getattr { target: in_entry(file, ROOT, "f") });
    let id = old_place.id;
    mds.say(B, conn(B, 1), ToMds::Request(old_place));
    assert_eq!(mds.reply(B, id), None);
    mds.make_durable();
    let told = mds.told(conn(B, 1));
    let notice = told.iter().position(|msg| matches!(msg, ToClient::Notice { .. }));
    let gone = told.iter().position(
        |msg| matches!(msg, ToClient::Reply(reply) if reply.outcome == Outcome::Gone { ino: file }),
    );
    assert!(notice.is_some() && notice < gone, "{told:?}");
}

/// Asked again on a new connection it knows better: what is said of the old place must not be the answer.
#[test]
fn a_copy_replaces_what_waits() {
    cov_mark::check!(a_copy_replaces_what_waits);
    let mut mds = Fixture::new();
    let file = mds.create(A, ROOT, "f");
    mds.ask(B, Op::Lookup { dir: ROOT, name: name("f") });
    let rename = mds.request(rename_op((ROOT, "f"), (ROOT, "g"), RenameMode::Replace));
    mds.say(A, conn(A, 1), ToMds::Request(rename));
    let old_place = mds.request(Op::Getattr { target: in_entry(file, ROOT, "f") });
    let op = Op::Getattr { target: in_entry(file, ROOT, "g") };
    let new_place = Request { op, ..old_place.clone() };
    mds.say(B, conn(B, 1), ToMds::Request(old_place));
    mds.say(B, conn(B, 1), ToMds::Request(new_place.clone()));
    mds.make_durable();
    mds.ack_notices(B);
    let outcome = mds.reply(B, new_place.id).expect("an answer").outcome;
    assert!(matches!(outcome, Outcome::Done(Answer::Attr(_))), "{outcome:?}");
    assert_eq!(mds.reply(B, new_place.id), None, "one answer");
}

#[test]
fn a_second_name_moves_the_inode_to_its_home() {
    let mut mds = Fixture::new();
    let file = mds.create(A, ROOT, "f");
    let link =
        Op::Link { target: in_entry(file, ROOT, "f"), rank: Rank(0), dir: ROOT, name: name("g") };
    match mds.ask(A, link) {
        Outcome::Done(Answer::Found(Found::Remote { ino, attr: Some(attr), .. })) => {
            assert_eq!((ino, attr.nlink), (file, 2));
        }
        outcome => panic!("{outcome:?}"),
    }
    let at_home = Target { ino: file, place: Place::Home };
    assert_eq!(mds.truncate(A, in_entry(file, ROOT, "f"), 1), Outcome::Gone { ino: file });
    assert!(matches!(mds.truncate(A, at_home.clone(), 1), Outcome::Done(_)));
    mds.ask(A, Op::Unlink { dir: ROOT, name: name("f") });
    match mds.ask(A, Op::Getattr { target: at_home.clone() }) {
        Outcome::Done(Answer::Attr(attr)) => assert_eq!(attr.nlink, 1),
        outcome => panic!("{outcome:?}"),
    }
    mds.ask(A, Op::Unlink { dir: ROOT, name: name("g") });
    match mds.ask(A, Op::Getattr { target: at_home }) {
        Outcome::Done(Answer::Attr(attr)) => assert_eq!(attr.nlink, 0, "held by A, an orphan"),
        outcome => panic!("{outcome:?}"),
    }
    assert_eq!(mds.row(&Key::Inode(file)), None);
}

#[test]
fn rename_over_a_file_replaces_it() {
    let mut mds = Fixture::new();
    let (f, g) = (mds.create(A, ROOT, "f"), mds.create(A, ROOT, "g"));
    mds.rename(A, (ROOT, "f"), (ROOT, "g"));
    assert_eq!(mds.ask(A, Op::Lookup { dir: ROOT, name: name("f") }), refused(FsError::NotFound));
    match mds.ask(A, Op::Lookup { dir: ROOT, name: name("g") }) {
        Outcome::Done(Answer::Found(Found::Here(attr))) => assert_eq!(attr.ino, f),
        outcome => panic!("{outcome:?}"),
    }
    assert!(mds.row(&Key::Orphan(g)).is_some(), "A still holds what was replaced");
}

#[test]
fn rename_follows_rename_2() {
    let mut mds = Fixture::new();
    let d = mds.mkdir(A, ROOT, "d");
    let e = mds.mkdir(A, d, "e");
    mds.create(A, ROOT, "f");
    assert_eq!(mds.rename(A, (ROOT, "d"), (e, "x")), refused(FsError::Invalid), "below itself");
    assert_eq!(mds.rename(A, (ROOT, "d"), (ROOT, "f")), refused(FsError::NotDirectory));
    assert_eq!(mds.rename(A, (ROOT, "f"), (ROOT, "d")), refused(FsError::IsDirectory));
    mds.mkdir(A, ROOT, "g");
    assert_eq!(mds.rename(A, (ROOT, "g"), (ROOT, "d")), refused(FsError::NotEmpty));
    assert_eq!(mds.rename(A, (ROOT, "none"), (ROOT, "x")), refused(FsError::NotFound));
    let no_replace = rename_op((ROOT, "f"), (ROOT, "g"), RenameMode::NoReplace);
    assert_eq!(mds.ask(A, no_replace), refused(FsError::Exists));
    let exchange = rename_op((ROOT, "f"), (ROOT, "d"), RenameMode::Exchange);
    assert!(matches!(mds.ask(A, exchange), Outcome::Done(_)));
    assert!(matches!(
        mds.ask(A, Op::Lookup { dir: ROOT, name: name("f") }),
        Outcome::Done(Answer::Found(Found::Dir { ino, .. })) if ino == d
    ));
    assert_eq!(nlink(&mut mds, ROOT), 4);
}

#[test]
fn a_directory_moved_to_another_parent_is_counted_there() {
    let mut mds = Fixture::new();
    let (d, e) = (mds.mkdir(A, ROOT, "d"), mds.mkdir(A, ROOT, "e"));
    assert!(matches!(mds.rename(A, (ROOT, "d"), (e, "d")), Outcome::Done(_)));
    assert_eq!((nlink(&mut mds, ROOT), nlink(&mut mds, e)), (3, 3));
    assert_eq!(mds.ask(A, Op::Rmdir { dir: ROOT, name: name("e") }), refused(FsError::NotEmpty));
    assert_eq!(mds.ask(A, Op::Rmdir { dir: e, name: name("d") }), Outcome::Done(Answer::Done));
    assert_eq!(mds.ask(A, Op::Getattr { target: Target::dir(d) }), Outcome::Gone { ino: d });
    assert_eq!(mds.ask(A, Op::Rmdir { dir: ROOT, name: name("e") }), Outcome::Done(Answer::Done));
    assert_eq!(nlink(&mut mds, ROOT), 2);
}

#[test]
fn readdir_pages_show_every_entry_once() {
    let mut mds = Fixture::new();
    let mut made: Vec<String> = (0..100).map(|number| format!("f{number}")).collect();
    for text in &made {
        mds.create(A, ROOT, text);
    }
    let mut mds = mds.restart();
    mds.connect(A, conn(A, 1));
    mds.connect(B, conn(B, 1));
    mds.follow_wishes(2);
    let (mut listed, mut cookie) = (Vec::new(), 0);
    loop {
        let op = Op::Readdir { dir: ROOT, cookie, entries_max: 7 };
        let Outcome::Done(Answer::Page(page)) = mds.ask(A, op) else { panic!("a page") };
        listed.extend(page.entries.iter().map(|entry| entry.name.to_string()));
        if page.end == PageEnd::Last {
            break;
        }
        cookie = page.entries.last().unwrap().cookie;
    }
    listed.sort();
    made.sort();
    assert_eq!(listed, made);
}

/// "Gone" would make the client believe that the unlink was lost, and look where the file was before
/// (simulator, `ranks_lose_power_between_moves` 1131).
#[test]
fn an_orphan_of_another_rank_cannot_be_linked() {
    let mut mds = Fixture::new();
    let target = Target { ino: Ino(0x1_0000_0000_0100), place: Place::Orphan { rank: Rank(1) } };
    let op = Op::Link { target, rank: Rank(1), dir: ROOT, name: name("again") };
    assert_eq!(mds.ask(A, op), refused(FsError::NotFound));
}

#[test]
fn extended_attributes_follow_setxattr_2() {
    let mut mds = Fixture::new();
    let file = mds.create(A, ROOT, "f");
    let target = in_entry(file, ROOT, "f");
    let attribute = XattrName(b"user.a"[..].into());
    let set = |mode, value: &[u8]| Op::SetXattr {
        target: target.clone(),
        name: attribute.clone(),
        value: XattrValue(value.into()),
        mode,
    };
    assert_eq!(mds.ask(A, set(XattrSet::Replace, b"1")), refused(FsError::NoAttribute));
    assert_eq!(mds.ask(A, set(XattrSet::Create, b"1")), Outcome::Done(Answer::Done));
    assert_eq!(mds.ask(A, set(XattrSet::Create, b"2")), refused(FsError::Exists));
    assert_eq!(mds.ask(A, set(XattrSet::Any, &[0; 65_537])), refused(FsError::TooBig));
    let get = Op::GetXattr { target: target.clone(), name: attribute.clone() };
    assert_eq!(mds.ask(A, get.clone()), Outcome::Done(Answer::Xattr(XattrValue(b"1"[..].into()))));
    mds.ask(A, Op::RemoveXattr { target, name: attribute });
    assert_eq!(mds.ask(A, get), refused(FsError::NoAttribute));
}

#[test]
fn sync_waits_until_everything_is_durable() {
    let mut mds = Fixture::new();
    mds.create(A, ROOT, "f");
    let request = mds.request(Op::Sync);
    let id = request.id;
    mds.say(A, conn(A, 1), ToMds::Request(request));
    assert_eq!(mds.reply(A, id), None);
    mds.make_durable();
    assert_eq!(mds.reply(A, id).unwrap().outcome, Outcome::Done(Answer::Done));
}

/// A new connection repeats what waits: it goes on once, and the answer comes once.
#[test]
fn what_is_repeated_while_it_waits_is_done_once() {
    let mut mds = Fixture::new();
    let dir = mds.mkdir(A, ROOT, "d");
    mds.mds.uncache_for_test(dir);
    mds.slow = true;
    let request = mds.request(Op::Lookup { dir, name: name("f") });
    for _ in 0..2 {
        mds.say(A, conn(A, 1), ToMds::Request(request.clone()));
    }
    assert_eq!((mds.mds.waiting(), mds.mds.check()), (1, Ok(())));
    mds.answer_fetches();
    assert_eq!(mds.reply(A, request.id).unwrap().outcome, refused(FsError::NotFound));
    assert_eq!((mds.reply(A, request.id), mds.mds.waiting()), (None, 0));
    assert_eq!(mds.mds.check(), Ok(()));
}

/// acl(5): where the directory has a default ACL, that takes the umask's place.
#[test]
fn the_umask_counts_where_there_is_no_default_acl() {
    let mut mds = Fixture::new();
    let dir = mds.mkdir(A, ROOT, "d");
    let make = |mds: &mut Fixture, text: &str, node: Node| {
        let (ino, existing) = (mds.new_ino(A), IfExists::Refuse);
        let (mode, umask, name) = (0o666, 0o027, name(text));
        let op = Op::Create(Create { dir, name, ino, node, mode, umask, existing });
        match mds.ask(A, op) {
            Outcome::Done(Answer::Found(Found::Here(attr))) => attr.mode,
            outcome => panic!("{outcome:?}"),
        }
    };
    assert_eq!(make(&mut mds, "before", Node::File), 0o640);
    let acl: &[u8] = &[
        2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 4, 0, 5, 0, 255, 255, 255, 255, 32, 0, 2, 0,
        255, 255, 255, 255,
    ];
    let (target, value) = (Target::dir(dir), XattrValue(acl.into()));
    let default = XattrName(common::acl::DEFAULT.into());
    mds.ask(A, Op::SetXattr { target, name: default.clone(), value, mode: XattrSet::Any });
    assert_eq!(make(&mut mds, "after", Node::File), 0o642);
    assert_eq!(make(&mut mds, "link", Node::Symlink(b"x"[..].into())), 0o777);
    let ino = mds.new_ino(A);
    let made = mds.ask(
        A,
        Op::Mkdir { dir, name: name("sub"), ino, mode: 0o777, umask: 0o077, exclusive: false },
    );
    let Outcome::Done(Answer::Found(Found::Dir { attr: Some(attr), .. })) = made else {
        panic!("{made:?}")
    };
    assert_eq!(attr.mode, 0o752);
    let got = mds.ask(A, Op::GetXattr { target: Target::dir(ino), name: default });
    assert_eq!(got, Outcome::Done(Answer::Xattr(XattrValue(acl.into()))));
}

/// The store is slow, so its holder has not heard yet that its last name is gone; and then the directory goes.
#[test]
fn an_orphan_is_one_also_if_the_directory_it_was_in_is_gone() {
    let mut mds = Fixture::new();
    let dir = mds.mkdir(A, ROOT, "d");
    let file = mds.create(A, dir, "f");
    let unlink = mds.request(Op::Unlink { dir, name: name("f") });
    mds.say(B, conn(B, 1), ToMds::Request(unlink));
    mds.ask(A, Op::Rmdir { dir: ROOT, name: name("d") });
    let getattr = mds.ask(A, Op::Getattr { target: in_entry(file, dir, "f") });
    assert!(matches!(getattr, Outcome::Done(Answer::Attr(attr)) if attr.nlink == 0));
}

/// Its connection broke while it gave something back, and its directory is elsewhere by now, with what it held.
#[test]
fn what_was_claimed_by_mistake_is_not_given_back_here() {
    let mut mds = Fixture::new();
    let (file, dir) = (Ino(0x7777), Ino(0x7000));
    mds.slow = true;
    mds.say(A, conn(A, 2), ToMds::Open { client: A, oldest: RequestId(0) });
    let target = in_entry(file, dir, "f");
    let pins = vec![PinClaim::new(target, PinnedBy::Answered(RequestId(1)))];
    mds.say(A, conn(A, 2), ToMds::Claim { pins });
    mds.say(A, conn(A, 2), ToMds::ClaimsDone);
    mds.say(A, conn(A, 2), ToMds::ReplayDone);
    let forget = mds.request(forget(file, Some(dir)));
    mds.say(A, conn(A, 2), ToMds::Request(forget.clone()));
    mds.answer_fetches();
    let told = mds.told(conn(A, 2));
    let answers: Vec<&Outcome> = told
        .iter()
        .filter_map(|msg| match msg {
            ToClient::Reply(reply) if reply.id == forget.id => Some(&reply.outcome),
            _ => None,
        })
        .collect();
    assert_eq!(answers, [&Outcome::Done(Answer::NotHere(vec![file]))]);
}

/// The same of what has only opened a file: nobody waits for another one (simulator,
/// `links_are_cut_during_moves` 99101675).
#[test]
fn what_has_opened_a_file_does_not_make_one_when_it_comes_again() {
    cov_mark::check!(a_copy_of_what_came_to_nothing);
    let mut mds = Fixture::new();
    let there = mds.create(B, ROOT, "f");
    let (ino, node, existing) = (mds.new_ino(A), Node::File, IfExists::Open);
    let create = Create { dir: ROOT, name: name("f"), ino, node, mode: 0o644, umask: 0, existing };
    let request = mds.request(Op::Create(create));
    mds.say(A, conn(A, 1), ToMds::Request(request.clone()));
    let opened = mds.reply(A, request.id).expect("an answer at once");
    assert!(matches!(&opened.outcome, Outcome::Done(Answer::Found(found)) if found.ino() == there));
    let unlink = mds.request(Op::Unlink { dir: ROOT, name: name("f") });
    mds.say(B, conn(B, 1), ToMds::Request(unlink));
    mds.ack_notices(A);
    mds.say(A, conn(A, 1), ToMds::Request(request.clone()));
    let again = mds.reply(A, request.id).expect("its client may have asked another rank meanwhile");
    assert_eq!(again.outcome, opened.outcome);
    assert_eq!(mds.entries(ROOT), []);
}

/// What it waited for came when its connection was new, and its client had sent it once more (simulator,
/// `take_over` 51000389).
#[test]
fn what_was_refused_is_not_carried_out_when_it_comes_again() {
    cov_mark::check!(a_copy_of_what_came_to_nothing);
    let mut mds = Fixture::new();
    mds.mkdir(B, ROOT, "d");
    let ino = mds.new_ino(A);
    let mkdir =
        Op::Mkdir { dir: ROOT, name: name("d"), ino, mode: 0o755, umask: 0, exclusive: false };
    let request = mds.request(mkdir);
    mds.say(A, conn(A, 1), ToMds::Request(request.clone()));
    let exists = Some(refused(FsError::Exists));
    assert_eq!(mds.reply(A, request.id).map(|reply| reply.outcome), exists);
    assert_eq!(mds.ask(B, Op::Rmdir { dir: ROOT, name: name("d") }), Outcome::Done(Answer::Done));
    mds.say(A, conn(A, 1), ToMds::Request(request.clone()));
    // Its client may have asked another rank meanwhile and dismissed the answer (simulator,
    // `links_are_cut_during_moves` 56000790).
    assert_eq!(mds.reply(A, request.id).map(|reply| reply.outcome), exists);
    assert_eq!(mds.entries(ROOT), []);

    // Over a new connection it may be that the answer was lost.
    mds.say(A, conn(A, 2), ToMds::Open { client: A, oldest: RequestId(0) });
    mds.say(A, conn(A, 2), ToMds::Request(request));
    assert_eq!(mds.entries(ROOT).len(), 1);
}
