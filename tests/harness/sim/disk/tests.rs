use common::frag::Frag;
use common::id::{ClientId, InoRange};
use mds_core::row::{Linkage, StoredSession};

use super::*;

fn entry(dir: u64, hash: u64, name: &str) -> Row {
    let name = Name::new(name.as_bytes()).unwrap();
    let key = EntryKey { dir: Ino(dir), hash: NameHash(hash), name };
    Row::Entry(key, Linkage::Dir { ino: Ino(1000) })
}

fn put(seq: u64, row: Row) -> Batch {
    Batch { steps: vec![Step::Change(Change::Put(row))], applied: Seq(seq) }
}

fn change(seq: u64, change: Change) -> Batch {
    Batch { steps: vec![Step::Change(change)], applied: Seq(seq) }
}

fn names(disk: &Disk, frag: DirFragId, after: Option<EntryKey>) -> Vec<String> {
    let Fetched::Entries { entries, end: FetchEnd::Last, .. } =
        disk.fetch(&Fetch::Entries { frag, after })
    else {
        panic!("asked for entries, and there are few");
    };
    entries.iter().map(|(key, _)| key.name.to_string()).collect()
}

#[test]
fn a_fragment_is_a_range() {
    let mut disk = Disk::default();
    let high = 1 << 63;
    for (seq, row) in (1..).zip([
        entry(7, 0, "a"),
        entry(7, 5, "b"),
        entry(7, high, "c"),
        entry(8, 0, "d"),
        entry(6, u64::MAX, "e"),
    ]) {
        disk.write(put(seq, row));
    }
    let whole = DirFragId::whole(Ino(7));
    assert_eq!(names(&disk, whole, None), ["a", "b", "c"]);
    let first = EntryKey { dir: Ino(7), hash: NameHash(0), name: Name::new(b"a").unwrap() };
    assert_eq!(names(&disk, whole, Some(first)), ["b", "c"]);

    let upper = DirFragId { ino: Ino(7), frag: Frag::containing(NameHash(high), 1).unwrap() };
    assert_eq!(names(&disk, upper, None), ["c"]);
    disk.write(change(9, Change::DeleteFragment(upper)));
    assert_eq!(names(&disk, whole, None), ["a", "b"]);
    assert_eq!(disk.rows().count(), 4);
}

#[test]
fn power_loss_keeps_what_was_synced_and_perhaps_more() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let mut disk = Disk::default();
        for seq in 1..=5 {
            disk.write(put(seq, entry(7, seq, "x")));
        }
        disk.synced(Seq(3));
        let mut killed = disk.clone();
        killed.reopen();
        assert_eq!(killed.rows().count(), 5);
        disk.lose_power(&mut Dice::new(seed));
        assert_eq!(disk.written(), None);
        seen.insert(disk.rows().count());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [3, 4, 5]);
}

#[test]
fn completed_ids_are_deleted_by_client() {
    let mut disk = Disk::default();
    for (seq, (client, id)) in (1..).zip([(1, 1), (1, 2), (1, 9), (2, 1)]) {
        disk.write(put(seq, Row::Completed(ClientId(client), RequestId(id))));
    }
    disk.write(change(5, Change::DeleteCompletedBelow(ClientId(1), RequestId(9))));
    assert_eq!(disk.restore().rows.len(), 2);
    disk.write(change(6, Change::DeleteCompleted(ClientId(1))));
    assert_eq!(disk.restore().rows, [Row::Completed(ClientId(2), RequestId(1))]);
}

#[test]
fn only_small_tables_are_restored() {
    let mut disk = Disk::default();
    disk.write(put(1, entry(1, 1, "a")));
    let session = StoredSession {
        ranges: vec![InoRange { first: Ino(256), last: Ino(300) }],
        ..StoredSession::default()
    };
    let session = Row::Session(ClientId(3), session);
    disk.write(put(2, session.clone()));
    assert_eq!(disk.restore().rows, [session]);
}
