//! A store in a temporary folder.

use std::collections::BTreeMap;

use common::id::MapEpoch;
use common::mds_map::Switch;
use common::name::NameHashKey;

use super::*;

const CLUSTER: ClusterId = ClusterId(7);
const INO: Ino = Ino(0x1234);

fn map(stores: &[String]) -> MdsMap {
    MdsMap {
        epoch: MapEpoch(1),
        cluster: CLUSTER,
        name_hash_key: NameHashKey(1, 2),
        ranks: BTreeMap::new(),
        slots: BTreeMap::new(),
        data_stores: stores.to_vec(),
        balancer: Switch::Off,
        lost: std::collections::BTreeSet::new(),
    }
}

fn store() -> (tempfile::TempDir, FileStore) {
    let folder = tempfile::tempdir().unwrap();
    let address = address(&folder);
    let id = init(&address, CLUSTER, 5).unwrap();
    let store = FileStore::open(&address, &map(&[id])).unwrap();
    (folder, store)
}

fn address(folder: &tempfile::TempDir) -> String {
    format!("file://{}", folder.path().display())
}

#[test]
fn what_was_written_is_read_up_to_the_end() {
    let (_folder, store) = store();
    assert_eq!(store.read(INO, 0, 10).unwrap(), b"");
    store.write(INO, 3, b"abc").unwrap();
    assert_eq!(store.read(INO, 0, 10).unwrap(), b"\0\0\0abc");
    assert_eq!(store.read(INO, 4, 1).unwrap(), b"b");
    store.truncate(INO, 4).unwrap();
    assert_eq!(store.read(INO, 0, 10).unwrap(), b"\0\0\0a");
    store.truncate(INO, 6).unwrap();
    assert_eq!(store.read(INO, 3, 10).unwrap(), b"a\0\0");
}

#[test]
fn two_stores_of_one_folder_append_beside_each_other() {
    let (folder, store) = store();
    let id = read_label(folder.path()).unwrap().store;
    let other = FileStore::open(&address(&folder), &map(&[id])).unwrap();
    store.truncate(INO, 2).unwrap();
    assert_eq!(store.append(INO, b"a").unwrap(), Appended { end: 3, written: 1 });
    assert_eq!(other.append(INO, b"bcd").unwrap(), Appended { end: 6, written: 3 });
    assert_eq!(store.read(INO, 0, 10).unwrap(), b"\0\0abcd");
}

#[test]
fn what_is_removed_is_gone_and_can_be_made_anew() {
    let (_folder, store) = store();
    store.write(INO, 0, b"abc").unwrap();
    store.remove(INO).unwrap();
    store.remove(INO).unwrap();
    assert_eq!(store.read(INO, 0, 10).unwrap(), b"");
}

#[test]
fn holes_are_found() {
    let (_folder, store) = store();
    store.write(INO, 1 << 20, b"x").unwrap();
    assert_eq!(store.seek(INO, 0, Seek::Hole).unwrap(), 0);
    assert_eq!(store.seek(INO, 0, Seek::Data).unwrap(), 1 << 20);
    assert!(store.seek(INO, 2 << 20, Seek::Data).is_err());
}

#[test]
fn few_files_stay_open() {
    let (_folder, store) = store();
    for number in 0..(OPEN_FILES_MAX as u64 + 10) {
        store.write(Ino(number), 0, b"x").unwrap();
    }
    assert_eq!(store.open.lock().files.len(), OPEN_FILES_MAX);
    store.forget(Ino(OPEN_FILES_MAX as u64));
    assert_eq!(store.open.lock().order.len(), OPEN_FILES_MAX - 1);
}

#[test]
fn making_a_store_twice_finds_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let first = init(&address(&folder), CLUSTER, 5).unwrap();
    assert_eq!(init(&address(&folder), CLUSTER, 6).unwrap(), first);
}

#[test]
fn a_folder_that_is_none_of_ours_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = |stores: &[String]| FileStore::open(&address(&folder), &map(stores)).unwrap_err();
    assert!(matches!(open(&[]), OpenError::NoLabel { .. }));
    init(&address(&folder), ClusterId(8), 5).unwrap();
    assert!(matches!(open(&[]), OpenError::OtherCluster { .. }));
    let refused = init(&address(&folder), CLUSTER, 5).unwrap_err();
    assert!(matches!(refused, OpenError::Exists { .. }));

    let folder = tempfile::tempdir().unwrap();
    init(&address(&folder), CLUSTER, 5).unwrap();
    let refused = FileStore::open(&address(&folder), &map(&[])).unwrap_err();
    assert!(matches!(refused, OpenError::NotRegistered { .. }));
    assert!(matches!(FileStore::open("/tmp", &map(&[])), Err(OpenError::Address(_))));
}
