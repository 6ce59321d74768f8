//! What answers and notices teach about `/d/f` and `/e/g`.

use common::attr::FileKind;
use common::wire::reply::Renamed;
use common::wire::session::Notice;

use super::*;
use crate::fixture::{R0, R1, R2, file, name};

const D: Ino = Ino(10);
const E: Ino = Ino(11);
const F: Ino = Ino(20);
const G: Ino = Ino(21);

fn entry(dir: Ino, text: &str) -> Place {
    Place::Entry { dir, name: name(text) }
}

/// `/d` (rank 1) and `/e` (rank 2), `/d/f` and `/e/g`.
fn atlas() -> Atlas {
    let mut atlas = Atlas::default();
    for (dir, text, rank) in [(D, "d", R1), (E, "e", R2)] {
        let found = Found::Dir { ino: dir, rank, attr: None };
        let op = Op::Lookup { dir: Ino::ROOT, name: name(text) };
        atlas.learn(&op, &Answer::Found(found), R2);
    }
    for (dir, text, ino) in [(D, "f", F), (E, "g", G)] {
        let op = Op::Lookup { dir, name: name(text) };
        atlas.learn(&op, &Answer::Found(Found::Here(file(ino.0))), R2);
    }
    atlas
}

fn rename(mode: RenameMode) -> Op {
    Op::Rename(Rename {
        from_dir: D,
        from: name("f"),
        to_dir: E,
        to: name("g"),
        mode,
        from_rank: R1,
    })
}

fn moved(ino: Ino, kind: FileKind, rank: Rank) -> Moved {
    Moved { ino, kind, rank }
}

#[test]
fn an_entry_is_with_its_directory() {
    let atlas = atlas();
    assert_eq!(atlas.rank_of(&atlas.target(F), None), R1);
    assert_eq!(atlas.rank_of(&atlas.target(E), None), R2);
}

#[test]
fn what_no_route_leads_to_is_where_we_were_told() {
    let atlas = atlas();
    let target = Target { ino: F, place: entry(Ino(99), "f") };
    assert_eq!(atlas.rank_of(&target, Some(R2)), R2);
    assert_eq!(atlas.rank_of(&target, None), R0);
}

#[test]
fn our_rename_moves_what_we_know() {
    let mut atlas = atlas();
    let renamed = Renamed { moved: moved(F, FileKind::File, R2), exchanged: None };
    atlas.learn(&rename(RenameMode::Replace), &Answer::Renamed(renamed), R2);
    assert_eq!(atlas.inodes.place(F), entry(E, "g"));
    assert_eq!(atlas.inodes.place(G), entry(E, "g"), "its rank says what has become of it");
}

/// Our answer was held back until others knew; one of them has moved the file on meanwhile.
#[test]
fn an_answer_that_was_overtaken_by_a_notice_moves_nothing() {
    let mut atlas = atlas();
    let place = entry(D, "h");
    atlas.noticed(&Notice::Moved { ino: F, place: place.clone(), rank: R1, moves: 1 });
    let renamed = Renamed { moved: moved(F, FileKind::File, R2), exchanged: None };
    atlas.learn(&rename(RenameMode::Replace), &Answer::Renamed(renamed), R2);
    assert_eq!(atlas.inodes.place(F), place);
}

/// Somebody moved it back before our answer came: it is known by its old name again, and rightly.
#[test]
fn an_answer_that_was_overtaken_by_the_way_back_moves_nothing() {
    let mut atlas = atlas();
    assert!(atlas.inodes.pin(F, common::id::RequestId(1)));
    atlas.noticed(&Notice::Moved { ino: F, place: entry(E, "g"), rank: R1, moves: 1 });
    atlas.noticed(&Notice::Moved { ino: F, place: entry(D, "f"), rank: R1, moves: 2 });
    let renamed = Renamed { moved: moved(F, FileKind::File, R1), exchanged: None };
    atlas.learn(&rename(RenameMode::Replace), &Answer::Renamed(renamed), R1);
    assert_eq!(atlas.inodes.place(F), entry(D, "f"));
}

#[test]
fn our_exchange_moves_both() {
    let mut atlas = atlas();
    let renamed = Renamed {
        moved: moved(F, FileKind::File, R2),
        exchanged: Some(moved(G, FileKind::File, R1)),
    };
    atlas.learn(&rename(RenameMode::Exchange), &Answer::Renamed(renamed), R2);
    assert_eq!(atlas.inodes.place(F), entry(E, "g"));
    assert_eq!(atlas.inodes.place(G), entry(D, "f"));
}

#[test]
fn a_renamed_directory_keeps_its_authority() {
    let mut atlas = atlas();
    let op = Op::Rename(Rename {
        from_dir: Ino::ROOT,
        from: name("d"),
        to_dir: E,
        to: name("d"),
        mode: RenameMode::Replace,
        from_rank: R1,
    });
    let renamed = Renamed { moved: moved(D, FileKind::Dir, R1), exchanged: None };
    atlas.learn(&op, &Answer::Renamed(renamed), R2);
    assert_eq!(atlas.inodes.parent(D), Some(E));
    assert_eq!(atlas.rank_of_dir(D), R1);
}

/// It went from R0 over R1 to R2. What R0 has to say comes last, over a slow link.
#[test]
fn an_old_notice_moves_nothing() {
    let mut atlas = atlas();
    atlas.noticed(&Notice::Moved { ino: F, place: entry(E, "y"), rank: R2, moves: 2 });
    atlas.noticed(&Notice::Moved { ino: F, place: entry(E, "x"), rank: R1, moves: 1 });
    assert_eq!(atlas.inodes.place(F), entry(E, "y"));
    atlas.noticed(&Notice::Unlinked { ino: F, rank: R2 });
    atlas.noticed(&Notice::Moved { ino: F, place: entry(E, "x"), rank: R1, moves: 3 });
    assert_eq!(atlas.inodes.place(F), Place::Orphan { rank: R2 });
}

#[test]
fn notices_say_where_things_went() {
    let mut atlas = atlas();
    atlas.noticed(&Notice::Moved { ino: F, place: entry(E, "x"), rank: R2, moves: 1 });
    assert_eq!(atlas.rank_of(&atlas.target(F), atlas.inodes.is_at(F)), R2);
    atlas.noticed(&Notice::Moved { ino: F, place: Place::Home, rank: R0, moves: 2 });
    assert_eq!(atlas.rank_of(&atlas.target(F), atlas.inodes.is_at(F)), R0);
    atlas.noticed(&Notice::Unlinked { ino: F, rank: R1 });
    assert_eq!(atlas.inodes.place(F), Place::Orphan { rank: R1 });
}

#[test]
fn attributes_without_a_name_are_of_an_orphan_where_they_come_from() {
    let mut atlas = atlas();
    let op = Op::Getattr { target: atlas.target(F) };
    atlas.learn(&op, &Answer::Attr(file(F.0)), R2);
    assert_ne!(atlas.inodes.place(F), Place::Orphan { rank: R2 });
    let nameless = Attr { nlink: 0, ..file(F.0) };
    atlas.learn(&op, &Answer::Attr(nameless), R2);
    assert_eq!(atlas.inodes.place(F), Place::Orphan { rank: R2 });
}

#[test]
fn only_attributes_of_non_directories_pin() {
    let dir = crate::fixture::attr(10, FileKind::Dir);
    assert_eq!(Answer::Attr(file(20)).pins(), Some(Ino(20)));
    assert_eq!(Answer::Attr(dir).pins(), None);
    assert_eq!(Answer::Stats(vec![Some(file(20))]).pins(), None);
    let link = Found::Remote { ino: F, kind: FileKind::File, rank: R0, attr: None };
    assert_eq!(Answer::Found(link).pins(), None);
}
