//! References, pins and names of a file.

use super::*;
use crate::fixture::{R1, name};

const DIR: Ino = Ino(10);
const FILE: Ino = Ino(20);

fn entry(text: &str) -> Place {
    Place::Entry { dir: DIR, name: name(text) }
}

fn with_file() -> InodeTable {
    let mut inodes = InodeTable::default();
    inodes.meet(FILE, FileKind::File, entry("f"), (DIR, name("f")), None);
    inodes.looked_up(FILE);
    assert!(inodes.pin(FILE, RequestId(1)));
    inodes
}

#[test]
fn a_pin_is_given_back_when_nothing_refers_to_an_inode() {
    let mut inodes = with_file();
    inodes.looked_up(FILE);
    assert!(inodes.pin(FILE, RequestId(3)));
    assert!(inodes.pin(FILE, RequestId(2)));
    inodes.forgotten(FILE, 1);
    assert_eq!(inodes.take_unused(FILE), None);
    inodes.forgotten(FILE, 1);
    let released = inodes.take_unused(FILE).unwrap();
    assert_eq!((released.target.place, released.pinned_by), (entry("f"), Some(RequestId(3))));
    assert!(!inodes.pin(FILE, RequestId(4)));
}

#[test]
fn an_open_handle_keeps_what_the_kernel_forgets() {
    let mut inodes = with_file();
    inodes.opened(FILE);
    inodes.forgotten(FILE, 1);
    assert_eq!(inodes.take_unused(FILE), None);
    inodes.released(FILE);
    assert!(inodes.take_unused(FILE).is_some());
}

#[test]
fn a_name_we_removed_is_no_name_any_more() {
    let mut inodes = with_file();
    inodes.name_removed(DIR, &name("f"));
    assert_eq!(inodes.name_of(FILE), None);
}

#[test]
fn removing_one_of_several_names_does_not() {
    let mut inodes = with_file();
    inodes.meet(FILE, FileKind::File, Place::Home, (DIR, name("g")), Some(R1));
    inodes.name_removed(DIR, &name("g"));
    assert_eq!(inodes.place(FILE), Place::Home);
}

#[test]
fn a_listing_does_not_overrule_what_notices_say() {
    let mut inodes = with_file();
    inodes.moved(FILE, entry("g"), R1);
    inodes.list(FILE, FileKind::File, entry("f"), (DIR, name("f")), None);
    assert_eq!(inodes.place(FILE), entry("g"));
    inodes.forgotten(FILE, 2);
    assert!(inodes.take_unused(FILE).is_some());
}

#[test]
fn a_name_that_stands_for_something_else_now_is_not_taken_away() {
    let mut inodes = with_file();
    let other = Ino(21);
    inodes.meet(other, FileKind::File, entry("f"), (DIR, name("f")), None);
    inodes.looked_up(other);
    inodes.forgotten(FILE, 1);
    assert!(inodes.take_unused(FILE).is_some());
    assert_eq!(inodes.name_of(other), Some(&(DIR, name("f"))));
}

/// It is looked for where it was before its last move (simulator, mounts_work_alone 89001018: a directory
/// that had taken the name was removed, and still held to be ours).
#[test]
fn what_is_only_guessed_to_be_at_a_name_does_not_take_it() {
    let mut inodes = with_file();
    inodes.orphaned(FILE, R1);
    inodes.meet(Ino(30), FileKind::Dir, Place::Dir, (DIR, name("f")), Some(R1));
    assert!(inodes.move_back(FILE));
    assert_eq!(inodes.place(FILE), entry("f"));
    assert_eq!(inodes.named(DIR, &name("f")), Some(Ino(30)));
}
