//! A small tree over two ranks, and each thing that can be wrong with it.

use common::name::Name;
use common::wire::fsck::ScannedRow;

use super::*;

const R0: Rank = Rank(0);
const R1: Rank = Rank(1);
const A: Ino = Ino(0x10);
const B: Ino = Ino(0x11);
const FILE: Ino = Ino(0x20);
const LINKED: Ino = Ino(0x21);

fn place(dir: Ino, text: &str) -> Place {
    Place { dir, name: Name::new(text.as_bytes()).unwrap() }
}

fn dir(dir: Ino, parent: Option<Place>, entries: u64, subdirs: u32) -> ScannedRow {
    ScannedRow::Dir { dir, parent, entries, subdirs }
}

fn subdir(place: Place, ino: Ino) -> ScannedRow {
    ScannedRow::Entry { place, ino, kind: FileKind::Dir, file: None }
}

fn file(place: Place, ino: Ino, size: u64) -> ScannedRow {
    let file = Some(File { nlink: 1, size });
    ScannedRow::Entry { place, ino, kind: FileKind::File, file }
}

fn link(place: Place, ino: Ino) -> ScannedRow {
    ScannedRow::Entry { place, ino, kind: FileKind::File, file: None }
}

fn home(ino: Ino, nlink: u32, size: u64) -> ScannedRow {
    ScannedRow::Inode { ino, kind: FileKind::File, file: File { nlink, size } }
}

/// `/a` and `/a/f` are rank 0's, `/a/b` is rank 1's; `/a/l` and `/a/b/m` are one file.
fn rows() -> [Vec<ScannedRow>; 2] {
    let zero = vec![
        dir(Ino::ROOT, None, 1, 1),
        subdir(place(Ino::ROOT, "a"), A),
        dir(A, Some(place(Ino::ROOT, "a")), 3, 1),
        subdir(place(A, "b"), B),
        file(place(A, "f"), FILE, 10),
        link(place(A, "l"), LINKED),
        home(LINKED, 2, 0),
    ];
    let one = vec![dir(B, Some(place(A, "b")), 1, 0), link(place(B, "m"), LINKED)];
    [zero, one]
}

fn objects() -> Objects {
    Objects::of(&[(FILE, 10)])
}

fn look([zero, one]: [Vec<ScannedRow>; 2], objects: &Objects) -> Findings {
    let mut census = Census::default();
    census.claim(R0, Ino::ROOT);
    census.claim(R1, B);
    census.add(R0, zero);
    census.add(R1, one);
    check(&census, Some(objects))
}

#[track_caller]
fn finds(change: impl FnOnce(&mut [Vec<ScannedRow>; 2]), wanted: &[Problem]) {
    let mut rows = rows();
    change(&mut rows);
    let problems = look(rows, &objects()).problems;
    assert_eq!(problems.iter().cloned().collect::<Vec<_>>(), wanted);
}

#[test]
fn what_agrees_is_no_problem() {
    let findings = look(rows(), &objects());
    assert_eq!(findings.problems, BTreeSet::new());
    assert_eq!((findings.dirs, findings.names, findings.inodes), (3, 5, 2));
    assert_eq!((findings.path(B), findings.path(Ino::ROOT)), ("/a/b".to_owned(), "/".to_owned()));
    assert_eq!(findings.path_of(&place(Ino::ROOT, "a")), "/a");
}

/// It is deleted in slices.
#[test]
fn what_was_given_away_and_is_still_stored_is_no_problem() {
    let mut rows = rows();
    let old = [dir(B, Some(place(A, "b")), 9, 9), file(place(B, "old"), FILE, 10)];
    rows[0].extend(old);
    let findings = look(rows, &objects());
    assert_eq!(findings.problems, BTreeSet::new());
    assert_eq!(findings.stale, 2);
}

#[test]
fn counts_are_compared() {
    let (stored, found) = ((1, 0), (2, 0));
    finds(
        |rows| rows[1].push(file(place(B, "new"), Ino(0x30), 0)),
        &[Problem::Counts { dir: B, at: R1, stored, found }],
    );
}

#[test]
fn names_of_a_file_are_counted_over_all_ranks() {
    let counts = Problem::Counts { dir: B, at: R1, stored: (1, 0), found: (0, 0) };
    let links = Problem::Links { ino: LINKED, at: R0, stored: 2, found: 1 };
    finds(|rows| rows[1].truncate(1), &[counts, links]);
}

#[test]
fn a_name_leads_to_something() {
    let at = |rank, dir, text: &str, ino| Problem::LeadsToNothing {
        at: rank,
        place: place(dir, text),
        ino,
    };
    let nothing = [at(R0, A, "l", LINKED), at(R1, B, "m", LINKED)];
    finds(|rows| rows[0].truncate(6), &nothing);
    let none = Problem::ClaimOfNothing { dir: B, rank: R1 };
    let links = Problem::Links { ino: LINKED, at: R0, stored: 2, found: 1 };
    finds(|rows| rows[1].clear(), &[none, at(R0, A, "b", B), links]);
}

#[test]
fn everything_has_a_name() {
    let lost = dir(Ino(0x40), Some(place(A, "x")), 0, 0);
    finds(|rows| rows[0].push(lost), &[Problem::NoName { dir: Ino(0x40), at: R0 }]);
    finds(
        |rows| rows[0].push(home(Ino(0x41), 1, 0)),
        &[Problem::NoLinks { ino: Ino(0x41), at: R0 }],
    );
}

#[test]
fn what_may_have_one_name_has_no_other() {
    let places = BTreeSet::from([place(A, "f"), place(A, "g")]);
    let counts = Problem::Counts { dir: A, at: R0, stored: (3, 1), found: (4, 1) };
    finds(
        |rows| rows[0].push(file(place(A, "g"), FILE, 10)),
        &[Problem::ManyNames { ino: FILE, places }, counts],
    );
}

#[test]
fn a_directory_knows_its_name() {
    let problem = Problem::OtherParent { dir: B, at: R1, place: place(A, "b") };
    finds(|rows| rows[1][0] = dir(B, Some(place(A, "c")), 1, 0), &[problem]);
}

/// What is in it would be removed as nobody's.
#[test]
fn what_lies_in_a_directory_that_leads_nowhere_is_left_alone() {
    let nowhere = place(Ino(0x50), "x");
    let rows = |rows: &mut [Vec<ScannedRow>; 2]| {
        rows[1][0] = dir(B, Some(place(A, "b")), 2, 1);
        rows[1].push(subdir(place(B, "c"), Ino(0x51)));
        rows[1].push(dir(Ino(0x51), Some(nowhere), 2, 0));
        rows[1].push(link(place(Ino(0x51), "link"), Ino(0x52)));
        rows[1].push(file(place(Ino(0x51), "file"), Ino(0x53), 9));
        rows[0].push(home(Ino(0x52), 1, 0));
    };
    let mut all = self::rows();
    rows(&mut all);
    let objects = Objects::of(&[(FILE, 10), (Ino(0x53), 9)]);
    let problems = look(all, &objects).problems;
    let leads = Problem::LeadsToNothing { at: R1, place: place(B, "c"), ino: Ino(0x51) };
    assert_eq!(problems, BTreeSet::from([leads]));
}

#[test]
fn what_has_lost_its_last_name_has_none() {
    let places = BTreeSet::from([place(A, "f")]);
    finds(
        |rows| rows[1].push(ScannedRow::Orphan { ino: FILE }),
        &[Problem::NamedOrphan { ino: FILE, places }],
    );
}

#[test]
fn one_rank_is_the_authority() {
    let mut census = Census::default();
    let [zero, one] = rows();
    for (rank, dir) in [(R0, Ino::ROOT), (R1, B), (R0, B)] {
        census.claim(rank, dir);
    }
    census.add(R0, zero);
    census.add(R1, one);
    let ranks = BTreeSet::from([R0, R1]);
    let problems = check(&census, None).problems;
    assert_eq!(problems, BTreeSet::from([Problem::ClaimedTwice { dir: B, ranks }]));
}

#[test]
fn data_is_that_of_files() {
    let problems = look(rows(), &Objects::of(&[(FILE, 4), (Ino(0x99), 7)])).problems;
    let stray = Problem::StrayData { ino: Ino(0x99), bytes: 7 };
    let missing = Problem::MissingData { ino: FILE, size: 10, bytes: 4 };
    assert_eq!(problems, BTreeSet::from([stray, missing]));
    // Open, or about to be purged.
    let mut open = rows();
    open[1].push(ScannedRow::Orphan { ino: Ino(0x99) });
    let findings = look(open, &Objects::of(&[(FILE, 10), (Ino(0x99), 7)]));
    assert_eq!(findings.problems, BTreeSet::new());
}
