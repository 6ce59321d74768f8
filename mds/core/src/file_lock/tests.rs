use common::file_lock::LockKind;

use super::*;

const INO: Ino = Ino(0x100);
const A: ClientId = ClientId(1);
const B: ClientId = ClientId(2);
const P: LockOwner = LockOwner(7);

fn lock(first: u64, last: u64) -> FileLock {
    let range = ByteRange { first, last };
    FileLock { owner: P, pid: 1, range, kind: LockKind::Write }
}

fn ids(ids: &[u64]) -> BTreeSet<RequestId> {
    ids.iter().copied().map(RequestId).collect()
}

/// Owners of two mounts may have the same number.
#[test]
fn an_owner_is_one_of_its_mount() {
    let mut table = FileLockTable::default();
    table.lock(INO, A, lock(0, 9));
    assert_eq!(table.in_the_way(INO, A, lock(5, 20)).next(), None);
    assert_eq!(table.in_the_way(INO, B, lock(5, 20)).next(), Some((A, lock(0, 9))));
    assert_eq!(table.in_the_way(INO, B, lock(10, 20)).next(), None);
}

#[test]
fn what_was_answered_is_known_until_its_client_has_the_answer() {
    let mut table = FileLockTable::default();
    assert_eq!(table.on_request(INO, A, RequestId(4), &ids(&[4])), Known::New);
    table.lock(INO, A, lock(0, 9));
    table.settle(INO, A, RequestId(4), Settled::Locked);
    let again = table.on_request(INO, A, RequestId(4), &ids(&[4]));
    assert_eq!(again, Known::Settled(Settled::Locked));
    // Another thread asks while this one has no answer.
    assert_eq!(table.on_request(INO, A, RequestId(5), &ids(&[4, 5])), Known::New);
    let again = table.on_request(INO, A, RequestId(4), &ids(&[4, 5]));
    assert_eq!(again, Known::Settled(Settled::Locked));
    // A copy that comes late, of what was answered by another rank.
    assert_eq!(table.on_request(INO, A, RequestId(6), &ids(&[6])), Known::New);
    assert_eq!(table.on_request(INO, A, RequestId(4), &ids(&[4])), Known::Over);
    assert_eq!(table.on_request(INO, B, RequestId(4), &ids(&[4])), Known::New);
}

#[test]
fn who_comes_back_has_what_it_claims_and_nothing_else() {
    let mut table = FileLockTable::default();
    table.lock(INO, A, lock(0, 9));
    table.settle(INO, A, RequestId(4), Settled::Locked);
    let claimed = [lock(20, 29)].into_iter().collect();
    assert_eq!(table.claim(INO, A, claimed, true), []);
    assert_eq!(table.in_the_way(INO, B, lock(0, 99)).collect::<Vec<_>>(), [(A, lock(20, 29))]);
    // What it asked for counts as not done.
    assert_eq!(table.on_request(INO, A, RequestId(4), &ids(&[4])), Known::New);
    assert_eq!(table.take_released(), [INO].into());
}

#[test]
fn whose_session_had_ended_has_what_nobody_else_has_by_now() {
    let mut table = FileLockTable::default();
    table.lock(INO, B, lock(0, 9));
    let claimed: FileLocks = [lock(5, 6), lock(20, 29)].into_iter().collect();
    assert_eq!(table.claim(INO, A, claimed, false), [lock(5, 6)]);
    assert_eq!(table.in_the_way(INO, B, lock(0, 99)).collect::<Vec<_>>(), [(A, lock(20, 29))]);
}
