use common::id::{DirFragId, Ino};
use common::name::{Name, NameHash, NameHashKey};
use common::time::Timestamp;

use super::*;
use crate::input::{Fetch, FetchEnd, Fetched};

const DIR: Ino = Ino(0x100);

fn namespace() -> Namespace {
    Namespace::new(NameHashKey(1, 2))
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn linkage(ino: u64) -> Linkage {
    Linkage::Dir { ino: Ino(ino) }
}

#[test]
fn what_is_not_cached_is_to_be_fetched() {
    let mut namespace = namespace();
    assert_eq!(namespace.dir(DIR), Err(Fetch::Dir(DirFragId::whole(DIR))));
    let key = namespace.key(DIR, &name("a"));
    assert_eq!(namespace.entry(DIR, &name("a")), Err(Fetch::Entry(key.clone())));

    namespace.on_fetched(Fetched::Entry(key, None));

    assert_eq!(namespace.entry(DIR, &name("a")), Ok(None));
}

#[test]
fn a_new_directory_is_known_to_be_empty() {
    let (mut namespace, mut out) = (namespace(), Effects::default());
    namespace.make_dir(DIR, Namespace::root(Timestamp::default()), &mut out);
    assert_eq!(namespace.entry(DIR, &name("a")), Ok(None));
    assert_eq!(namespace.entries_from(DIR, NameHash(0)).unwrap().count(), 0);
}

/// The name was removed while the store was being read.
#[test]
fn what_is_fetched_does_not_overwrite_what_is_newer() {
    let (mut namespace, mut out) = (namespace(), Effects::default());
    let key = namespace.key(DIR, &name("a"));
    namespace.fetch(Fetch::Entry(key.clone()), &mut out);
    namespace.remove_entry(DIR, &name("a"), &mut out);

    namespace.on_fetched(Fetched::Entry(key, Some(linkage(7))));

    assert_eq!(namespace.entry(DIR, &name("a")), Ok(None));
}

/// The listing was read while somebody asked for the name, which was removed then (simulator,
/// `mounts_work_alone` 99601295).
#[test]
fn what_is_fetched_is_not_there_if_a_complete_listing_does_not_have_it() {
    let (mut namespace, mut out) = (namespace(), Effects::default());
    let (frag, key) = (DirFragId::whole(DIR), namespace.key(DIR, &name("a")));
    namespace.fetch(Fetch::Entry(key.clone()), &mut out);
    let (entries, end) = (vec![(key.clone(), linkage(7))], FetchEnd::Last);
    namespace.on_fetched(Fetched::Entries { frag, after: None, entries, end });
    namespace.remove_entry(DIR, &name("a"), &mut out);

    namespace.on_fetched(Fetched::Entry(key, Some(linkage(7))));

    assert_eq!(namespace.entry(DIR, &name("a")), Ok(None));
    assert_eq!(namespace.entries_from(DIR, NameHash(0)).unwrap().count(), 0);
}

#[test]
fn a_directory_of_which_something_is_fetched_is_not_trimmed() {
    let (mut namespace, mut out) = (namespace(), Effects::default());
    let key = namespace.key(DIR, &name("a"));
    namespace.fetch(Fetch::Entry(key.clone()), &mut out);
    namespace.remove_entry(DIR, &name("a"), &mut out);

    namespace.trim(0);
    namespace.on_fetched(Fetched::Entry(key.clone(), Some(linkage(7))));
    assert_eq!(namespace.entry(DIR, &name("a")), Ok(None));

    namespace.put_entry(DIR, &name("b"), linkage(8), &mut out);
    namespace.trim(0);
    assert_eq!(namespace.cached_entries(), 0);
    assert_eq!(namespace.entry(DIR, &name("a")), Err(Fetch::Entry(key)));
}

fn below(parent: Ino) -> Dir {
    let parent = Parent { dir: parent, name: name("d") };
    Dir { parent: Some(parent), ..Namespace::root(Timestamp::default()) }
}

/// `DIR`, its child 0x101, and that one's child 0x102, made in this order.
fn three_generations(out: &mut Effects) -> Namespace {
    let mut namespace = namespace();
    namespace.make_dir(DIR, below(Ino::ROOT), out);
    namespace.make_dir(Ino(0x101), below(DIR), out);
    namespace.make_dir(Ino(0x102), below(Ino(0x101)), out);
    namespace
}

#[test]
fn directories_are_dropped_from_the_leaves_up() {
    let mut out = Effects::default();
    for (rows_max, left) in [(3, 3), (2, 0)] {
        let mut namespace = three_generations(&mut out);
        namespace.trim(rows_max);
        assert_eq!(namespace.cached_dirs(), left, "of 3 rows at most {rows_max} stay");
    }
    let mut namespace = three_generations(&mut out);
    for number in 0..6 {
        namespace.make_dir(Ino(0x200 + number), below(Ino(0x102)), &mut out);
    }
    namespace.trim(8);
    assert_eq!(namespace.cached_dirs(), 7);
    for dir in [DIR, Ino(0x101), Ino(0x102)] {
        assert!(namespace.dir(dir).is_ok(), "{dir} is above what is left");
    }
}

#[test]
fn while_somebody_copies_directories_stay() {
    let mut out = Effects::default();
    let mut namespace = three_generations(&mut out);
    namespace.put_entry(DIR, &name("a"), linkage(1), &mut out);
    namespace.watch_changes();
    namespace.trim(1);
    assert_eq!((namespace.cached_dirs(), namespace.cached_entries()), (3, 0));
    namespace.stop_watching();
    namespace.trim(1);
    assert_eq!(namespace.cached_dirs(), 3, "nothing has come since");
    namespace.make_dir(Ino(0x300), below(DIR), &mut out);
    namespace.trim(1);
    assert_eq!(namespace.cached_rows(), 0);
}

#[test]
fn inodes_at_home_are_dropped_unless_they_are_being_fetched() {
    let (mut namespace, mut out) = (namespace(), Effects::default());
    for number in 0..4 {
        namespace.on_fetched(Fetched::Inode(Ino(number), None));
    }
    namespace.fetch(Fetch::Inode(Ino(2)), &mut out);
    namespace.trim(0);
    assert_eq!(namespace.cached_rows(), 1);
    assert_eq!(namespace.inode(Ino(2)), Ok(None));
}

#[test]
fn a_listing_is_read_in_pages_and_keeps_what_was_made_meanwhile() {
    let (mut namespace, mut out) = (namespace(), Effects::default());
    let frag = DirFragId::whole(DIR);
    let mut keys: Vec<EntryKey> =
        ["a", "b", "c"].map(|text| namespace.key(DIR, &name(text))).into();
    keys.sort();
    let first = Fetch::Entries { frag, after: None };
    assert_eq!(namespace.entries_from(DIR, NameHash(0)).err(), Some(first));
    namespace.on_fetched(Fetched::Entries {
        frag,
        after: None,
        entries: vec![(keys[0].clone(), linkage(1)), (keys[1].clone(), linkage(2))],
        end: FetchEnd::More,
    });
    namespace.remove_entry(DIR, &keys[2].name, &mut out);
    namespace.put_entry(DIR, &name("d"), linkage(4), &mut out);
    let second = Fetch::Entries { frag, after: Some(keys[1].clone()) };
    assert_eq!(namespace.entries_from(DIR, NameHash(0)).err(), Some(second.clone()));

    namespace.on_fetched(Fetched::Entries {
        frag,
        after: Some(keys[1].clone()),
        entries: vec![(keys[2].clone(), linkage(3))],
        end: FetchEnd::Last,
    });

    let mut names: Vec<&Name> =
        namespace.entries_from(DIR, NameHash(0)).unwrap().map(|(_, name, _)| name).collect();
    names.sort();
    assert_eq!(
        names,
        [&keys[0].name, &keys[1].name, &name("d")]
            .into_iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
}

#[test]
fn changes_are_noted_only_while_somebody_copies() {
    let (mut namespace, mut out) = (namespace(), Effects::default());
    namespace.put_entry(DIR, &name("a"), linkage(1), &mut out);
    assert!(namespace.take_changes().is_empty());
    namespace.watch_changes();
    namespace.put_entry(DIR, &name("b"), linkage(2), &mut out);
    let key = namespace.key(DIR, &name("b"));
    assert_eq!(namespace.take_changes(), [Key::Entry(key)].into());
    assert!(namespace.take_changes().is_empty());
}

/// A copy wrote the rows while the store was being read.
#[test]
fn what_was_superseded_is_fetched_again() {
    let (mut namespace, mut out) = (namespace(), Effects::default());
    let id = DirFragId::whole(DIR);
    let old = Namespace::root(Timestamp::default());
    namespace.fetch(Fetch::Dir(id), &mut out);
    namespace.supersede(DIR);

    namespace.on_fetched(Fetched::Dir(id, Some(old.clone())));

    assert_eq!(namespace.dir(DIR), Err(Fetch::Dir(id)));
    namespace.fetch(Fetch::Dir(id), &mut out);
    namespace.on_fetched(Fetched::Dir(id, Some(Dir { entries: 7, ..old })));
    assert_eq!(namespace.dir(DIR).unwrap().map(|dir| dir.entries), Some(7));
}
