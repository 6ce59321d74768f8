use common::wire::request::OnConflict;

use super::*;

const INO: Ino = Ino(0x100);
const P: LockOwner = LockOwner(1);
const Q: LockOwner = LockOwner(2);

fn set(owner: LockOwner, first: u64, last: u64, kind: Option<LockKind>) -> SetLock {
    let (range, on_conflict) = (ByteRange { first, last }, OnConflict::Refuse);
    SetLock { owner, pid: 7, range, kind, on_conflict }
}

fn claimed(ledger: &LockLedger, asked: &[SetLock]) -> Vec<(u64, u64, LockKind)> {
    let claimed = ledger.claimed(INO, asked.iter());
    claimed.held_by(P).map(|lock| (lock.range.first, lock.range.last, lock.kind)).collect()
}

#[test]
fn what_may_have_been_done_already_is_not_claimed() {
    let mut ledger = LockLedger::default();
    ledger.set(INO, &set(P, 0, 99, Some(LockKind::Write)));
    assert_eq!(claimed(&ledger, &[]), [(0, 99, LockKind::Write)]);
    let unlock = set(P, 50, 200, None);
    assert_eq!(claimed(&ledger, &[unlock]), [(0, 49, LockKind::Write)]);
    let share = set(P, 0, 9, Some(LockKind::Read));
    let shared = [(0, 9, LockKind::Read), (10, 99, LockKind::Write)];
    assert_eq!(claimed(&ledger, &[share]), shared);
    // More than there is is claimed when it was answered.
    let more = set(P, 100, 120, Some(LockKind::Write));
    assert_eq!(claimed(&ledger, &[more]), [(0, 99, LockKind::Write)]);
    let others = set(Q, 0, 99, None);
    assert_eq!(claimed(&ledger, &[others]), [(0, 99, LockKind::Write)]);
}

#[test]
fn an_open_file_has_what_was_locked_by_it_alone() {
    let mut ledger = LockLedger::default();
    let (one, other) = (Handle(1), Handle(2));
    for (owner, handle) in [(P, one), (P, other), (Q, one)] {
        ledger.set(INO, &set(owner, handle.0, handle.0, Some(LockKind::Read)));
        ledger.set_by(INO, owner, handle);
    }
    assert_eq!(ledger.by_handle(INO, one), [Q]);
    ledger.set(INO, &set(Q, 0, 9, None));
    assert_eq!(ledger.by_handle(INO, one), []);
    assert!(ledger.has(INO, P) && !ledger.has(INO, Q));
}
