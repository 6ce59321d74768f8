use std::fs;

use common::attr::{Attr, FileKind, Times};
use common::frag::Frag;
use common::id::{
    ClientId, ClusterId, DirFragId, Epoch, Incarnation, Ino, MigrationId, NoticeId, Rank,
    RequestId, Seq, Slot,
};
use common::name::{Name, NameHash, NameHashKey};
use common::wire::admin::Leftovers;
use common::wire::fsck::{File, Scanned, ScannedRow};
use common::wire::session::Notice;
use mds_core::input::{FETCH_ENTRIES_MAX, Fetch, FetchEnd, Fetched};
use mds_core::journal::entry::Entry;
use mds_core::row::{Change, Dir, EntryKey, Inode, Linkage, Orphan, Row, StoredSession};
use tempfile::TempDir;

use super::batch::BatchBuilder;
use super::superblock::Superblock;
use super::*;

const MIGRATION: MigrationId =
    MigrationId { exporter: Rank(1), incarnation: Incarnation(2), number: 3 };

fn superblock() -> Superblock {
    Superblock { cluster: ClusterId(7), slot: Slot(1), name_hash_key: NameHashKey(1, 2) }
}

/// A formatted store in a temporary folder.
struct Fixture {
    folder: TempDir,
    store: Option<Store>,
    batch: BatchBuilder,
}

impl Fixture {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = Store::create(folder.path()).unwrap();
        store.put_superblock(&superblock()).unwrap();
        store.finish_format(folder.path()).unwrap();
        let store = Some(Store::open(folder.path()).unwrap());
        Self { folder, store, batch: BatchBuilder::default() }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn apply(&mut self, changes: &[Change]) {
        let store = self.store.as_ref().unwrap();
        for change in changes {
            self.batch.change(store, change);
        }
        self.batch.write(store).unwrap();
    }

    fn put(&mut self, row: Row) {
        self.apply(&[Change::Put(row)]);
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(Store::open(self.folder.path()).unwrap());
    }

    fn fetch(&self, fetch: &Fetch) -> Fetched {
        self.store().fetch(fetch).unwrap()
    }

    fn names(&self, frag: DirFragId) -> Vec<String> {
        match self.fetch(&Fetch::Entries { frag, after: None }) {
            Fetched::Entries { entries, .. } => {
                entries.iter().map(|(key, _)| key.name.to_string()).collect()
            }
            Fetched::Entry(..) | Fetched::Dir(..) | Fetched::Inode(..) => panic!("another answer"),
        }
    }
}

fn entry_key(dir: u64, hash: u64, name: &str) -> EntryKey {
    EntryKey { dir: Ino(dir), hash: NameHash(hash), name: Name::new(name.as_bytes()).unwrap() }
}

fn inode(ino: u64) -> Inode {
    let attr = Attr {
        ino: Ino(ino),
        kind: FileKind::File,
        mode: 0o644,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        size: 0,
        times: Times::default(),
    };
    Inode { attr, xattrs: common::wire::request::Xattrs::new(), symlink: Box::default(), moves: 0 }
}

fn file(ino: u64) -> Linkage {
    Linkage::Primary(Box::new(inode(ino)))
}

fn dir() -> Dir {
    Dir {
        mode: 0o755,
        uid: 0,
        gid: 0,
        times: Times::default(),
        entries: 1,
        subdirs: 0,
        parent: None,
        xattrs: common::wire::request::Xattrs::new(),
        pin: None,
    }
}

#[test]
fn rows_are_counted_but_for_the_roots_own() {
    let mut fixture = Fixture::new();
    let core = Leftovers { pins: 7, ..Leftovers::default() };
    fixture.put(Row::Dir(DirFragId::whole(Ino::ROOT), dir()));
    assert_eq!(fixture.store().count_rows(core.clone()).unwrap(), core);
    for name in ["a", "b"] {
        fixture.put(Row::Entry(entry_key(1, 9, name), file(3)));
    }
    fixture.put(Row::Dir(DirFragId::whole(Ino(9)), dir()));
    fixture.put(Row::Inode(Ino(5), inode(5)));
    fixture.put(Row::Orphan(Ino(4), Orphan { inode: inode(4), holders: [].into() }));
    let counted = Leftovers { entries: 2, dirs: 1, inodes: 1, orphans: 1, ..core.clone() };
    assert_eq!(fixture.store().count_rows(core).unwrap(), counted);
}

/// In as many pages as they need, each once.
#[test]
fn all_rows_are_scanned() {
    let mut fixture = Fixture::new();
    let names = (0..4500).map(|number| Row::Entry(entry_key(1, number, "a"), file(number + 100)));
    let rows = names.chain([
        Row::Dir(DirFragId::whole(Ino::ROOT), dir()),
        Row::Inode(Ino(5), inode(5)),
        Row::Orphan(Ino(4), Orphan { inode: inode(4), holders: [].into() }),
    ]);
    fixture.apply(&rows.map(Change::Put).collect::<Vec<_>>());
    let (mut after, mut pages, mut entries, mut others) = (None, 0, Vec::new(), Vec::new());
    loop {
        let Scanned { rows, next } = fixture.store().scan(after.as_ref()).unwrap();
        for row in rows {
            match row {
                ScannedRow::Entry { ino, .. } => entries.push(ino.0),
                other @ (ScannedRow::Dir { .. }
                | ScannedRow::Inode { .. }
                | ScannedRow::Orphan { .. }) => others.push(other),
            }
        }
        pages += 1;
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(entries, (100..4600).collect::<Vec<_>>());
    assert!(pages > 2, "{pages}");
    let file = File { nlink: 1, size: 0 };
    let expected = [
        ScannedRow::Dir { dir: Ino::ROOT, parent: None, entries: 1, subdirs: 0 },
        ScannedRow::Inode { ino: Ino(5), kind: FileKind::File, file },
        ScannedRow::Orphan { ino: Ino(4) },
    ];
    assert_eq!(others, expected);
}

#[test]
fn each_kind_of_row_comes_back() {
    let mut fixture = Fixture::new();
    let key = entry_key(1, 9, "a");
    let frag = DirFragId::whole(Ino(1));
    let orphan = Orphan { inode: inode(4), holders: [(ClientId(1), RequestId(2))].into() };
    fixture.put(Row::Entry(key.clone(), file(3)));
    fixture.put(Row::Dir(frag, dir()));
    fixture.put(Row::Inode(Ino(5), inode(5)));
    fixture.put(Row::Orphan(Ino(4), orphan.clone()));
    fixture.reopen();
    assert_eq!(
        fixture.fetch(&Fetch::Entry(key.clone())),
        Fetched::Entry(key.clone(), Some(file(3)))
    );
    assert_eq!(fixture.fetch(&Fetch::Dir(frag)), Fetched::Dir(frag, Some(dir())));
    assert_eq!(fixture.fetch(&Fetch::Inode(Ino(5))), Fetched::Inode(Ino(5), Some(inode(5))));
    let restored = fixture.store().restore().unwrap();
    assert_eq!(restored.rows, [Row::Orphan(Ino(4), orphan)]);

    fixture.apply(&[Change::Delete(mds_core::row::Key::Entry(key.clone()))]);
    assert_eq!(fixture.fetch(&Fetch::Entry(key.clone())), Fetched::Entry(key, None));
    assert_eq!(fixture.fetch(&Fetch::Inode(Ino(6))), Fetched::Inode(Ino(6), None));
}

#[test]
fn small_tables_and_the_journal_are_restored() {
    let mut fixture = Fixture::new();
    let frag = DirFragId::whole(Ino(1));
    let rows = [
        Row::Session(ClientId(8), StoredSession::default()),
        Row::Completed(ClientId(8), RequestId(1)),
        Row::Notice(ClientId(8), NoticeId(3), Notice::Unlinked { ino: Ino(4), rank: Rank(0) }),
        Row::Evicted(ClientId(9)),
        Row::Orphan(Ino(4), Orphan { inode: inode(4), holders: [].into() }),
        Row::Held(frag, MIGRATION),
        Row::Copied(MIGRATION, frag),
        Row::Drop(MIGRATION, frag, Some(MIGRATION)),
        Row::Drop(MIGRATION, DirFragId::whole(Ino(2)), None),
        Row::InoReserved(99),
        Row::Clock(Epoch(5)),
    ];
    for row in &rows {
        fixture.put(row.clone());
    }
    assert!(rows.iter().all(Row::is_restored));
    fixture.put(Row::Dir(frag, dir()));
    for number in 1..=3 {
        let entry = Entry::Finished { id: MigrationId { number, ..MIGRATION } };
        fixture.batch.journal(fixture.store.as_ref().unwrap(), Seq(u64::from(number)), &entry);
    }
    let store = fixture.store.as_ref().unwrap();
    fixture.batch.trim_journal(store, &[Seq(2)]);
    fixture.batch.write(store).unwrap();
    fixture.reopen();

    let restored = fixture.store().restore().unwrap();
    assert_eq!(restored.rows, rows);
    let seqs: Vec<u64> = restored.journal.iter().map(|(seq, _)| seq.0).collect();
    assert_eq!(seqs, [1, 3]);
}

#[test]
fn deleting_a_fragment_takes_its_range_and_its_row_only() {
    let mut fixture = Fixture::new();
    let half = 1 << 63;
    for (dir, hash, name) in [
        (4, u64::MAX, "before"),
        (5, 1, "low"),
        (5, half, "high"),
        (5, u64::MAX, "top"),
        (6, 0, "after"),
    ] {
        fixture.put(Row::Entry(entry_key(dir, hash, name), file(1)));
    }
    let part =
        |bits| DirFragId { ino: Ino(5), frag: Frag::containing(NameHash(half), bits).unwrap() };
    fixture.put(Row::Dir(part(1), dir()));
    fixture.put(Row::Dir(part(0), dir()));
    // What the same batch writes after the deletion stays.
    fixture.apply(&[
        Change::DeleteFragment(part(1)),
        Change::Put(Row::Entry(entry_key(5, half + 1, "new"), file(1))),
    ]);
    assert_eq!(fixture.names(DirFragId::whole(Ino(5))), ["low", "new"]);
    assert_eq!(fixture.fetch(&Fetch::Dir(part(1))), Fetched::Dir(part(1), None));
    assert_eq!(fixture.fetch(&Fetch::Dir(part(0))), Fetched::Dir(part(0), Some(dir())));

    fixture.apply(&[Change::DeleteFragment(part(0))]);
    assert!(fixture.names(DirFragId::whole(Ino(5))).is_empty());
    assert_eq!(fixture.names(DirFragId::whole(Ino(4))), ["before"]);
    assert_eq!(fixture.names(DirFragId::whole(Ino(6))), ["after"]);
}

#[test]
fn a_fragment_is_read_in_parts() {
    let mut fixture = Fixture::new();
    let frag = DirFragId::whole(Ino(5));
    let total = FETCH_ENTRIES_MAX + 2;
    let rows: Vec<Change> = (0..total)
        .map(|n| Change::Put(Row::Entry(entry_key(5, n as u64 / 2, &format!("f{n}")), file(1))))
        .collect();
    fixture.apply(&rows);
    let mut after = None;
    let mut sizes = Vec::new();
    loop {
        let fetched = fixture.fetch(&Fetch::Entries { frag, after: after.clone() });
        let Fetched::Entries { entries, end, .. } = fetched else { panic!("another answer") };
        assert!(entries.iter().all(|(key, _)| after.as_ref().is_none_or(|after| key > after)));
        sizes.push(entries.len());
        after = entries.last().map(|(key, _)| key.clone());
        if end == FetchEnd::Last {
            break;
        }
    }
    assert_eq!(sizes, [FETCH_ENTRIES_MAX, 2]);
}

#[test]
fn completed_requests_are_forgotten_exactly() {
    let mut fixture = Fixture::new();
    let kept = |fixture: &Fixture| -> Vec<(u64, u64)> {
        let rows = fixture.store().restore().unwrap().rows;
        rows.iter()
            .filter_map(|row| {
                let Row::Completed(client, id) = row else { return None };
                Some((client.0, id.0))
            })
            .collect()
    };
    for id in 0..1000 {
        fixture.put(Row::Completed(ClientId(1), RequestId(id)));
    }
    fixture.put(Row::Completed(ClientId(2), RequestId(5)));
    for oldest in [10, 15, 15, 12, 700, 998] {
        fixture.apply(&[Change::DeleteCompletedBelow(ClientId(1), RequestId(oldest))]);
    }
    assert_eq!(kept(&fixture), [(1, 998), (1, 999), (2, 5)]);
    fixture.put(Row::Completed(ClientId(1), RequestId(u64::MAX)));
    fixture.apply(&[Change::DeleteCompleted(ClientId(1))]);
    assert_eq!(kept(&fixture), [(2, 5)]);
}

#[test]
fn each_start_is_a_new_incarnation() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.store().superblock().unwrap(), superblock());
    for expected in 1..=3 {
        assert_eq!(fixture.store().begin_incarnation().unwrap(), Incarnation(expected));
        fixture.reopen();
    }
}

#[test]
fn a_directory_that_cannot_be_used_is_named_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("data");
    assert!(matches!(Store::open(&path), Err(StoreError::NotFormatted { .. })));
    assert!(!path.exists());

    let unfinished = Store::create(&path).unwrap();
    drop(unfinished);
    assert!(matches!(Store::open(&path), Err(StoreError::NotFormatted { .. })));
    assert!(matches!(Store::create(&path), Err(StoreError::Occupied { .. })));

    fs::write(path.join("FORMAT"), format!("{FORMAT_NAME} 99\n")).unwrap();
    match Store::open(&path) {
        Err(StoreError::Version { found, expected, .. }) => {
            assert_eq!((found.as_str(), expected), ("99", FORMAT_VERSION));
        }
        other => panic!("{other:?}"),
    }
    fs::write(path.join("FORMAT"), "something else 1\n").unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::NotFormatted { .. })));
}

#[test]
fn a_store_in_use_is_said_to_be() {
    let fixture = Fixture::new();
    let again = Store::open(fixture.folder.path());
    assert!(matches!(again, Err(StoreError::Locked { .. })), "{again:?}");
}
