use std::collections::BTreeSet;

use common::error::FsError;
use common::file_lock::{ByteRange, FileLock, FileLocks, LockKind, LockOwner};
use common::id::{ClientId, Ino, Rank, RequestId};
use common::wire::reply::{Answer, Holder, Outcome};
use common::wire::request::{OnConflict, Op, Request, SetLock};
use common::wire::session::{PinClaim, PinnedBy, ToClient, ToMds};

use crate::fixture::{A, B, Fixture, conn, in_entry};
use crate::input::Input;

const P: LockOwner = LockOwner(7);
const Q: LockOwner = LockOwner(8);
const WAIT: OnConflict = OnConflict::Wait;
const REFUSE: OnConflict = OnConflict::Refuse;
const LOCKED: Option<LockKind> = Some(LockKind::Write);

/// Two files that A has made.
fn two_files() -> (Fixture, Ino, Ino) {
    let mut fixture = Fixture::new();
    let (one, other) = (fixture.create(A, Ino::ROOT, "1"), fixture.create(A, Ino::ROOT, "2"));
    fixture.make_durable();
    (fixture, one, other)
}

fn request(
    fixture: &mut Fixture,
    (ino, text): (Ino, &str),
    owner: LockOwner,
    (first, last): (u64, u64),
    (kind, on_conflict): (Option<LockKind>, OnConflict),
) -> Request {
    let set = SetLock { owner, pid: 1, range: ByteRange { first, last }, kind, on_conflict };
    let target = in_entry(ino, Ino::ROOT, text);
    let mut request = fixture.request(Op::SetLock { target, set, unanswered: BTreeSet::new() });
    if let Op::SetLock { unanswered, .. } = &mut request.op {
        unanswered.insert(request.id);
    }
    request
}

fn send(fixture: &mut Fixture, client: ClientId, request: &Request) -> Option<Outcome> {
    fixture.say(client, conn(client, 1), ToMds::Request(request.clone()));
    fixture.reply(client, request.id).map(|reply| reply.outcome)
}

fn locked(ino: Ino) -> Option<Outcome> {
    Some(Outcome::Done(Answer::Locked(ino)))
}

fn refused(error: FsError) -> Option<Outcome> {
    Some(Outcome::Done(Answer::NotLocked(error)))
}

#[test]
fn whoever_waits_goes_on_when_nothing_is_in_the_way() {
    let (mut fixture, ino, _) = two_files();
    let file = (ino, "1");
    let first = request(&mut fixture, file, P, (0, 9), (LOCKED, REFUSE));
    assert_eq!(send(&mut fixture, A, &first), locked(ino));
    let second = request(&mut fixture, file, P, (5, 20), (LOCKED, REFUSE));
    assert_eq!(send(&mut fixture, B, &second), refused(FsError::WouldBlock));
    let waits = request(&mut fixture, file, P, (5, 20), (LOCKED, WAIT));
    assert_eq!(send(&mut fixture, B, &waits), None);
    // Not all of it.
    let unlock = request(&mut fixture, file, P, (0, 7), (None, REFUSE));
    assert_eq!(send(&mut fixture, A, &unlock), locked(ino));
    assert_eq!(fixture.reply(B, waits.id), None);
    let unlock = request(&mut fixture, file, P, (0, u64::MAX), (None, REFUSE));
    assert_eq!(send(&mut fixture, A, &unlock), locked(ino));
    assert!(fixture.reply(B, waits.id).is_some());
    let range = ByteRange { first: 20, last: 20 };
    let lock = FileLock { owner: P, pid: 1, range, kind: LockKind::Read };
    let get = Op::GetLock { target: in_entry(ino, Ino::ROOT, "1"), lock };
    match fixture.ask(A, get) {
        Outcome::Done(Answer::InTheWay(Some(found))) => {
            assert_eq!((found.lock.range.first, found.lock.range.last), (5, 20));
            assert_eq!(found.of, Holder::Others);
        }
        outcome => panic!("{outcome:?}"),
    }
}

/// The answer was lost with its connection, or another rank has given it.
#[test]
fn a_copy_locks_nothing_again() {
    let (mut fixture, ino, _) = two_files();
    let file = (ino, "1");
    let first = request(&mut fixture, file, P, (0, 9), (LOCKED, REFUSE));
    assert_eq!(send(&mut fixture, A, &first), locked(ino));
    assert_eq!(send(&mut fixture, A, &first), locked(ino));
    let unlock = request(&mut fixture, file, P, (0, 9), (None, REFUSE));
    assert_eq!(send(&mut fixture, A, &unlock), locked(ino));
    assert_ne!(send(&mut fixture, A, &first), locked(ino), "nobody waits for it any more");
    let others = request(&mut fixture, file, P, (0, 9), (LOCKED, REFUSE));
    assert_eq!(send(&mut fixture, B, &others), locked(ino));
}

/// Its process was interrupted.
#[test]
fn what_is_asked_for_again_without_waiting_is_refused() {
    let (mut fixture, ino, _) = two_files();
    let file = (ino, "1");
    let first = request(&mut fixture, file, P, (0, 9), (LOCKED, REFUSE));
    assert_eq!(send(&mut fixture, A, &first), locked(ino));
    let mut waits = request(&mut fixture, file, P, (0, 9), (LOCKED, WAIT));
    assert_eq!(send(&mut fixture, B, &waits), None);
    if let Op::SetLock { set, .. } = &mut waits.op {
        set.on_conflict = REFUSE;
    }
    assert_eq!(send(&mut fixture, B, &waits), refused(FsError::WouldBlock));
    let unlock = request(&mut fixture, file, P, (0, 9), (None, REFUSE));
    assert_eq!(send(&mut fixture, A, &unlock), locked(ino));
    assert_eq!(fixture.reply(B, waits.id), None);
    let again = request(&mut fixture, file, P, (0, 9), (LOCKED, REFUSE));
    assert_eq!(send(&mut fixture, A, &again), locked(ino));
}

#[test]
fn who_would_wait_for_itself_is_told_so() {
    let (mut fixture, one, other) = two_files();
    let (one, other) = ((one, "1"), (other, "2"));
    for (client, owner, file) in [(A, P, one), (A, Q, other)] {
        let lock = request(&mut fixture, file, owner, (0, 9), (LOCKED, REFUSE));
        assert_eq!(send(&mut fixture, client, &lock), locked(file.0));
    }
    // B waits for Q, which waits for P.
    let third = request(&mut fixture, other, P, (0, 9), (LOCKED, WAIT));
    assert_eq!(send(&mut fixture, B, &third), None);
    let second = request(&mut fixture, one, Q, (0, 9), (LOCKED, WAIT));
    assert_eq!(send(&mut fixture, A, &second), None);
    let first = request(&mut fixture, other, P, (0, 9), (LOCKED, WAIT));
    assert_eq!(send(&mut fixture, A, &first), refused(FsError::Deadlock));
    assert_eq!(send(&mut fixture, A, &first), refused(FsError::Deadlock), "nor by a copy");
    let unlock = request(&mut fixture, one, P, (0, 9), (None, REFUSE));
    assert_eq!(send(&mut fixture, A, &unlock), locked(one.0));
    assert!(fixture.reply(A, second.id).is_some());
}

#[test]
fn who_leaves_has_nothing_locked() {
    let (mut fixture, ino, _) = two_files();
    let file = (ino, "1");
    let first = request(&mut fixture, file, P, (0, 9), (LOCKED, REFUSE));
    assert_eq!(send(&mut fixture, A, &first), locked(ino));
    let waits = request(&mut fixture, file, P, (0, 9), (LOCKED, WAIT));
    assert_eq!(send(&mut fixture, B, &waits), None);
    fixture.say(A, conn(A, 1), ToMds::Close);
    assert!(fixture.reply(B, waits.id).is_some());
}

#[test]
fn a_next_life_knows_what_clients_say() {
    let (mut fixture, ino, _) = two_files();
    let file = (ino, "1");
    for owner in [P, Q] {
        let lock = request(&mut fixture, file, owner, (owner.0, owner.0), (LOCKED, REFUSE));
        assert_eq!(send(&mut fixture, A, &lock), locked(ino));
    }
    fixture.make_durable();
    let mut fixture = fixture.next_life(Rank(0));
    fixture.follow_wishes(2);
    let range = ByteRange { first: P.0, last: P.0 };
    let held: FileLocks =
        [FileLock { owner: P, pid: 1, range, kind: LockKind::Write }].into_iter().collect();
    for client in [A, B] {
        let conn = conn(client, 1);
        fixture.say(client, conn, ToMds::Open { client, oldest: RequestId(0) });
        if client == A {
            let target = in_entry(ino, Ino::ROOT, "1");
            let by = PinnedBy::Answered(RequestId(1));
            let pins = vec![PinClaim { locks: held.clone(), ..PinClaim::new(target, by) }];
            fixture.say(client, conn, ToMds::Claim { pins });
        }
        fixture.say(client, conn, ToMds::ClaimsDone);
        fixture.say(client, conn, ToMds::ReplayDone);
    }
    fixture.follow_wishes(2);
    let claimed = request(&mut fixture, file, P, (P.0, P.0), (LOCKED, REFUSE));
    assert_eq!(send(&mut fixture, B, &claimed), refused(FsError::WouldBlock));
    let unclaimed = request(&mut fixture, file, P, (Q.0, Q.0), (LOCKED, REFUSE));
    assert_eq!(send(&mut fixture, B, &unclaimed), locked(ino));
}

/// A connection breaks; by the time it is there again what was waited for has been unlocked.
#[test]
fn what_was_asked_for_over_an_old_connection_is_void() {
    let (mut fixture, ino, _) = two_files();
    let file = (ino, "1");
    let first = request(&mut fixture, file, P, (0, 9), (LOCKED, REFUSE));
    assert_eq!(send(&mut fixture, A, &first), locked(ino));
    let waits = request(&mut fixture, file, P, (0, 9), (LOCKED, WAIT));
    assert_eq!(send(&mut fixture, B, &waits), None);
    fixture.input(Input::ClientGone { conn: conn(B, 1), client: B });
    fixture.say(B, conn(B, 1), ToMds::Open { client: B, oldest: RequestId(0) });
    let unlock = request(&mut fixture, file, P, (0, 9), (None, REFUSE));
    assert_eq!(send(&mut fixture, A, &unlock), locked(ino));
    assert_eq!(fixture.reply(B, waits.id), None, "it has still to say what it has locked");
    fixture.say(B, conn(B, 1), ToMds::ClaimsDone);
    fixture.say(B, conn(B, 1), ToMds::ReplayDone);
    assert_eq!(send(&mut fixture, B, &waits), locked(ino));
}

/// Another rank had still to tell A of its session when an earlier life ended: A may have locked anything.
#[test]
fn who_is_not_waited_for_may_have_locked_anything() {
    cov_mark::check!(who_is_still_to_say_may_have_locked_anything);
    let mut fixture = Fixture::new();
    let ino = fixture.create(B, Ino::ROOT, "1");
    fixture.make_durable();
    fixture.mds.holdings_for_test().sessions.holds_unknown(A);
    let first = request(&mut fixture, (ino, "1"), P, (0, 9), (LOCKED, REFUSE));
    assert_eq!(send(&mut fixture, B, &first), None, "neither locked nor refused");
    fixture.connect(A, conn(A, 2));
    assert!(fixture.reply(B, first.id).is_some());
}

/// Its session had ended, and somebody else has locked it since.
#[test]
fn what_was_lost_with_a_session_is_told() {
    cov_mark::check!(what_was_locked_is_locked_by_another);
    let (mut fixture, ino, _) = two_files();
    let file = (ino, "1");
    fixture.say(A, conn(A, 1), ToMds::Close);
    let first = request(&mut fixture, file, P, (0, 9), (LOCKED, REFUSE));
    assert_eq!(send(&mut fixture, B, &first), locked(ino));
    fixture.say(A, conn(A, 2), ToMds::Open { client: A, oldest: RequestId(0) });
    fixture.make_durable();
    let lock = |first, last| {
        let range = ByteRange { first, last };
        FileLock { owner: P, pid: 1, range, kind: LockKind::Write }
    };
    let locks = [lock(0, 0), lock(20, 20)].into_iter().collect();
    let claim = PinClaim::new(in_entry(ino, Ino::ROOT, "1"), PinnedBy::Answered(RequestId(1)));
    let pins = vec![PinClaim { locks, ..claim }];
    fixture.say(A, conn(A, 2), ToMds::Claim { pins });
    fixture.say(A, conn(A, 2), ToMds::ClaimsDone);
    let told = fixture.told(conn(A, 2));
    assert!(told.contains(&ToClient::NotLocked { ino, locks: vec![lock(0, 0)] }), "{told:?}");
}
