use proptest::prelude::*;

use super::*;

const A: LockOwner = LockOwner(1);
const B: LockOwner = LockOwner(2);

fn lock(owner: LockOwner, first: u64, last: u64, kind: LockKind) -> FileLock {
    FileLock { owner, pid: 7, range: ByteRange { first, last }, kind }
}

fn shown(locks: &FileLocks, owner: LockOwner) -> Vec<(u64, u64, LockKind)> {
    locks.held_by(owner).map(|lock| (lock.range.first, lock.range.last, lock.kind)).collect()
}

#[test]
fn what_is_set_replaces_what_the_owner_had_there() {
    let mut locks = FileLocks::default();
    locks.lock(lock(A, 0, 99, LockKind::Write));
    locks.lock(lock(A, 10, 19, LockKind::Read));
    let cut = [(0, 9, LockKind::Write), (10, 19, LockKind::Read), (20, 99, LockKind::Write)];
    assert_eq!(shown(&locks, A), cut);
    locks.lock(lock(A, 10, 19, LockKind::Write));
    assert_eq!(shown(&locks, A), [(0, 99, LockKind::Write)]);
}

#[test]
fn an_unlock_leaves_what_is_on_both_sides() {
    let mut locks = FileLocks::default();
    locks.lock(lock(A, 0, u64::MAX, LockKind::Write));
    locks.lock(lock(B, 5, 5, LockKind::Read));
    locks.unlock(A, ByteRange { first: 5, last: 5 });
    assert_eq!(shown(&locks, A), [(0, 4, LockKind::Write), (6, u64::MAX, LockKind::Write)]);
    assert_eq!(shown(&locks, B), [(5, 5, LockKind::Read)]);
    locks.unlock(A, ByteRange::WHOLE);
    assert_eq!(shown(&locks, A), []);
    assert_eq!(locks.count(), 1);
}

#[test]
fn readers_do_not_exclude_each_other() {
    let read = |first, last| lock(A, first, last, LockKind::Read);
    let write = |first, last| lock(B, first, last, LockKind::Write);
    assert!(!read(0, 9).excludes(&lock(B, 0, 9, LockKind::Read)));
    assert!(read(0, 9).excludes(&write(9, 12)));
    assert!(write(9, 12).excludes(&read(0, 9)));
    assert!(!read(0, 9).excludes(&write(10, 12)));
}

#[derive(Clone, Debug)]
struct Step {
    owner: u64,
    first: u64,
    last: u64,
    kind: Option<LockKind>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = prop_oneof![Just(None), Just(Some(LockKind::Read)), Just(Some(LockKind::Write))];
    let step = (0..2_u64, 0..24_u64, 0..24_u64, kind).prop_map(|(owner, a, b, kind)| Step {
        owner,
        first: a.min(b),
        last: a.max(b),
        kind,
    });
    prop::collection::vec(step, 0..40)
}

proptest! {
    /// Byte by byte, as a table would have it; and in as few pieces as there can be.
    #[test]
    fn ranges_are_what_their_bytes_are(steps in steps()) {
        let mut locks = FileLocks::default();
        let mut bytes = [[None; 24]; 2];
        for Step { owner, first, last, kind } in steps {
            let range = ByteRange { first, last };
            match kind {
                Some(kind) => locks.lock(FileLock { owner: LockOwner(owner), pid: 7, range, kind }),
                None => locks.unlock(LockOwner(owner), range),
            }
            for byte in first..=last {
                bytes[usize::try_from(owner).unwrap()][usize::try_from(byte).unwrap()] = kind;
            }
        }
        for (owner, bytes) in bytes.iter().enumerate() {
            let mut expected: Vec<(u64, u64, LockKind)> = Vec::new();
            for (at, kind) in (0..).zip(bytes) {
                match (kind, expected.last_mut()) {
                    (None, _) => {}
                    (Some(kind), Some((_, last, before))) if *last + 1 == at && before == kind => {
                        *last = at;
                    }
                    (Some(kind), _) => expected.push((at, at, *kind)),
                }
            }
            prop_assert_eq!(shown(&locks, LockOwner(owner as u64)), expected);
        }
    }
}
