//! Worlds with a client: an operation of two ranks while the region it works in moves.

use client_core::Call;
use common::id::{Ino, Rank};
use common::wire::request::{Rename, RenameMode};
use tests::explore::search::Bound;
use tests::explore::world::{Edit, FILE, Planned, REGION, World, name};

use super::worlds::{bound, nothing_is_found};

/// `/r1` and `/r2`.
const ABOVE: Ino = Ino(0x10);
const BESIDE: Ino = Ino(0x11);

fn rename(from: (Ino, &'static str), to: (Ino, &'static str), ino: Ino) -> Planned {
    let call = Call::Rename(Rename {
        from_dir: from.0,
        from: name(from.1),
        to_dir: to.0,
        to: name(to.1),
        mode: RenameMode::Replace,
        from_rank: Rank::ROOT,
    });
    Planned { call, edits: vec![Edit::Gone(from.0, from.1), Edit::Made(to.0, to.1, ino)] }
}

fn link(dir: Ino, text: &'static str) -> Planned {
    let call = Call::Link { ino: FILE, dir, name: name(text) };
    Planned { call, edits: vec![Edit::Made(dir, text, FILE)] }
}

fn unlink(dir: Ino, text: &'static str) -> Planned {
    let call = Call::Unlink { dir, name: name(text) };
    Planned { call, edits: vec![Edit::Gone(dir, text)] }
}

/// States of the worlds that cannot be seen whole: `scripts/soak` goes further.
const STATES_MAX: usize = 800_000;

/// A client's own connections and sessions make many states: with a migration and nobody dying, and
/// with a death and no migration, all of them are seen; with both, as many as there is time for.
#[track_caller]
fn while_it_moves(story: &str, world: World) {
    let at_most = |crashes| {
        let bound = bound(crashes, 0, 0);
        let stated = std::env::var_os("EXPLORE_STATES").is_some();
        Bound { states_max: if stated { bound.states_max } else { STATES_MAX }, ..bound }
    };
    let quiet = World { orders: Vec::new(), ..world.clone() };
    nothing_is_found(&format!("{story}, nothing moves"), quiet, &at_most(1));
    let kind = World { mortal: Vec::new(), ..world.clone() };
    nothing_is_found(&format!("{story}, while it moves"), kind, &at_most(0));
    nothing_is_found(&format!("{story}, while it moves and ranks die"), world, &at_most(1));
}

pub(crate) fn renamed() -> World {
    World::two().with_client(vec![], vec![rename((REGION, "f"), (BESIDE, "g"), FILE)])
}

pub(crate) fn renamed_while_nothing_moves() -> World {
    World { orders: Vec::new(), ..renamed() }
}

/// The source moves, to where the destination is.
#[test]
fn a_file_is_renamed() {
    while_it_moves("a file is renamed", renamed());
}

/// The destination moves, to where the source is.
#[test]
fn a_file_is_renamed_into_the_region() {
    let before = vec![rename((REGION, "f"), (BESIDE, "g"), FILE)];
    let world = World::two().with_client(before, vec![rename((BESIDE, "g"), (REGION, "h"), FILE)]);
    while_it_moves("a file is renamed into the region", world);
}

#[test]
fn a_name_is_linked_elsewhere() {
    let world = World::two().with_client(vec![], vec![link(BESIDE, "g")]);
    while_it_moves("a name is linked elsewhere", world);
}

#[test]
fn a_remote_name_is_unlinked() {
    let world = World::two().with_client(vec![link(BESIDE, "g")], vec![unlink(BESIDE, "g")]);
    while_it_moves("a remote name is unlinked", world);
}

/// The region itself is removed: it is a subtree of its own, and its name is another rank's.
#[test]
fn a_directory_held_elsewhere_is_removed() {
    let call = Call::Rmdir { dir: Ino::ROOT, name: name("a") };
    let edits = vec![Edit::Gone(Ino::ROOT, "a"), Edit::NoDir(REGION)];
    let world = World { empty: true, bystanders: Vec::new(), ..World::neighbor() };
    let world = world.with_client(vec![], vec![Planned { call, edits }]);
    while_it_moves("a directory held elsewhere is removed", world);
}

/// The region itself, to another parent: with the rename lock, which is at rank 0.
#[test]
fn a_directory_is_renamed() {
    let mut planned = rename((ABOVE, "a"), (BESIDE, "b"), REGION);
    planned.edits.push(Edit::Moved(REGION));
    let world = World { renames: true, ..World::two() };
    while_it_moves("a directory is renamed", world.with_client(vec![], vec![planned]));
}
