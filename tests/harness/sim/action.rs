//! What processes do: small plans over a handful of names, so that clients meet.

use common::attr::{FileKind, SetAttr};
use common::id::Ino;
use common::name::Name;
use common::wire::request::{IfExists, RenameMode, XattrName, XattrSet, XattrValue};

use super::dice::Dice;
use super::kernel::Kernel;
use super::operation::{Make, Operation};

/// What a process does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// One after the other under the locks of all; a failed one ends it.
    Operations(Vec<Operation<Ino>>),
    Open(Ino),
    /// Locks something of a file.
    Lock(Ino),
    Release(Ino),
    Forget(Ino),
    Sync,
    /// A listing in pages, with attributes: not atomic, so nobody checks what it says.
    List(Ino),
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const ATTRIBUTES: [&str; 2] = ["user.x", "user.y"];

/// Chooses among what the client's kernel knows.
pub fn choose(kernel: &Kernel, dice: &mut Dice) -> Action {
    let dirs = kernel.of_kind(|kind| kind == FileKind::Dir);
    let others = kernel.of_kind(|kind| kind != FileKind::Dir);
    let dir = *dice.pick(&dirs).expect("the root is always known");
    let node = *if dice.percent(70) { dice.pick(&others) } else { None }.unwrap_or(&dir);
    let name = name(dice);
    let found = Operation::Lookup { dir, name: name.clone() };
    let one = |operation| Action::Operations(vec![operation]);
    let after = |operation| Action::Operations(vec![found.clone(), operation]);
    match dice.below(100) {
        0..10 => one(found),
        10..17 => one(Operation::Getattr { node }),
        17..23 => one(Operation::Readdir { dir }),
        23..24 => Action::List(dir),
        24..38 => one(create(dir, name, dice)),
        38..46 => one(make(dir, name, Make::Dir, 0o755)),
        46..56 => after(Operation::Unlink { dir, name }),
        56..62 => after(Operation::Rmdir { dir, name }),
        62..74 => rename(dir, name, &dirs, dice),
        74..80 => match dice.pick(&others) {
            Some(node) => one(Operation::Link { node: *node, dir, name }),
            None => one(found),
        },
        80..85 => one(Operation::Setattr { node, set: set(dice) }),
        85..90 => file_or(kernel, dice, found),
        90..94 => one(attributes(node, dice)),
        94..95 => match dice.pick(&kernel.of_kind(|kind| kind == FileKind::Symlink)) {
            Some(node) => one(Operation::Readlink { node: *node }),
            None => one(found),
        },
        95..97 => dice.pick(&kernel.idle()).map_or(Action::Sync, |ino| Action::Forget(*ino)),
        97..99 => open_or_release(kernel, dice),
        _ => Action::Sync,
    }
}

/// What somebody does who works by himself: makes, changes and removes, in directories of his own. Now and
/// then he looks into those of others.
pub fn choose_alone(kernel: &Kernel, dice: &mut Dice) -> Action {
    let dirs = kernel.made_dirs();
    if dice.percent(15) {
        return visit(kernel, &dirs, dice);
    }
    let (dir, name) = (dice.pick(&dirs).copied(), name(dice));
    let Some(dir) = dir else {
        return Action::Operations(vec![make(Ino::ROOT, name, Make::Dir, 0o755)]);
    };
    let found = Operation::Lookup { dir, name: name.clone() };
    let one = |operation| Action::Operations(vec![operation]);
    let after = |operation| Action::Operations(vec![found.clone(), operation]);
    let files = kernel.of_kind(|kind| kind == FileKind::File);
    match dice.below(100) {
        0..5 => one(found),
        5..10 => one(Operation::Getattr { node: dir }),
        10..15 => one(Operation::Readdir { dir }),
        15..45 => one(create(dir, name, dice)),
        45..60 => one(make(dir, name, Make::Dir, 0o755)),
        60..70 => after(Operation::Unlink { dir, name }),
        70..75 => after(Operation::Rmdir { dir, name }),
        75..85 => file_or(kernel, dice, found),
        85..90 => {
            let node = dice.pick(&files).copied().filter(|_| dice.percent(70)).unwrap_or(dir);
            one(Operation::Setattr { node, set: set(dice) })
        }
        90..96 => rename(dir, name, &dirs, dice),
        96..98 => dice.pick(&kernel.idle()).map_or(Action::Sync, |ino| Action::Forget(*ino)),
        _ => Action::Sync,
    }
}

fn visit(kernel: &Kernel, own: &[Ino], dice: &mut Dice) -> Action {
    let others = kernel.of_kind(|kind| kind == FileKind::Dir).into_iter();
    let others: Vec<Ino> = others.filter(|dir| !own.contains(dir)).collect();
    let (dir, name) = (*dice.pick(&others).expect("the root is nobody's"), name(dice));
    let found = Operation::Lookup { dir, name: name.clone() };
    Action::Operations(match dice.below(10) {
        0..4 => vec![found],
        4..6 => vec![Operation::Readdir { dir }],
        6..9 => vec![create(dir, name, dice)],
        _ => vec![found, Operation::Unlink { dir, name }],
    })
}

fn name(dice: &mut Dice) -> Name {
    let name = NAMES[dice.index(NAMES.len())];
    Name::new(name.as_bytes()).expect("a letter is a name")
}

fn make(dir: Ino, name: Name, make: Make, mode: u16) -> Operation<Ino> {
    Operation::Create { dir, name, make, mode, existing: IfExists::Refuse }
}

fn create(dir: Ino, name: Name, dice: &mut Dice) -> Operation<Ino> {
    match dice.below(10) {
        0 => make(dir, name, Make::Symlink(Box::from(*b"to/there")), 0o777),
        1 => make(dir, name, Make::Fifo, 0o600),
        2..6 => make(dir, name, Make::File, 0o640),
        _ => {
            let existing = IfExists::Open;
            Operation::Create { dir, name, make: Make::File, mode: 0o644, existing }
        }
    }
}

fn rename(from_dir: Ino, from: Name, dirs: &[Ino], dice: &mut Dice) -> Action {
    let to_dir = if dice.percent(40) { from_dir } else { dirs[dice.index(dirs.len())] };
    let to = name(dice);
    let mode = match dice.below(10) {
        0 => RenameMode::NoReplace,
        1 => RenameMode::Exchange,
        _ => RenameMode::Replace,
    };
    let found = Operation::Lookup { dir: from_dir, name: from.clone() };
    let replaced = Operation::Lookup { dir: to_dir, name: to.clone() };
    let rename = Operation::Rename { from_dir, from, to_dir, to, mode };
    Action::Operations(vec![found, replaced, rename])
}

fn set(dice: &mut Dice) -> SetAttr {
    match dice.below(3) {
        0 => SetAttr {
            mode: Some(if dice.percent(50) { 0o700 } else { 0o444 }),
            ..SetAttr::default()
        },
        1 => SetAttr { uid: Some(7), gid: Some(8), ..SetAttr::default() },
        _ => SetAttr { mtime: Some(common::time::Timestamp::from_secs(5)), ..SetAttr::default() },
    }
}

/// Writes or truncates a file, if there is one.
fn file_or(kernel: &Kernel, dice: &mut Dice, other: Operation<Ino>) -> Action {
    let files = kernel.of_kind(|kind| kind == FileKind::File);
    let Some(node) = dice.pick(&files).copied() else { return Action::Operations(vec![other]) };
    let end = dice.below(9000);
    Action::Operations(vec![if dice.percent(70) {
        Operation::Write { node, end: end + 1 }
    } else {
        Operation::Setattr { node, set: SetAttr { size: Some(end), ..SetAttr::default() } }
    }])
}

fn attributes(node: Ino, dice: &mut Dice) -> Operation<Ino> {
    let name = ATTRIBUTES[dice.index(ATTRIBUTES.len())];
    let name = XattrName(name.as_bytes().into());
    match dice.below(7) {
        0 => Operation::ListXattr { node },
        1 => Operation::GetXattr { node, name },
        2 => Operation::RemoveXattr { node, name },
        at => {
            let value = XattrValue(vec![u8::try_from(at).expect("below 7"); 3].into());
            let mode = match at {
                3 | 4 => XattrSet::Any,
                5 => XattrSet::Create,
                _ => XattrSet::Replace,
            };
            Operation::SetXattr { node, name, value, mode }
        }
    }
}

fn open_or_release(kernel: &Kernel, dice: &mut Dice) -> Action {
    let opened = kernel.opened();
    let files = kernel.of_kind(|kind| kind == FileKind::File);
    match (dice.pick(&opened), dice.pick(&files)) {
        (Some(ino), _) if dice.percent(50) => Action::Release(*ino),
        (_, Some(ino)) => Action::Open(*ino),
        (Some(ino), None) => Action::Release(*ino),
        (None, None) => Action::Sync,
    }
}
