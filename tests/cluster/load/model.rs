//! What a worker knows must be there, and what each operation does to it.

use std::collections::BTreeMap;

use tests::cluster::dice::Dice;

pub(super) const DIRS: u64 = 4;
const NAMES: u64 = 12;
/// Files held open at a time.
const HELD: u64 = 3;
const MODES: [u32; 4] = [0o600, 0o644, 0o755, 0o444];
pub(super) const APPENDED: &[u8] = b"more";

/// A directory, and a name in it.
pub(super) type Place = (u64, u64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Mkdir(u64),
    Rmdir(u64),
    MoveDir(u64, u64),
    Write(Place, Vec<u8>),
    Append(Place),
    Truncate(Place, usize),
    Chmod(Place, u32),
    SetXattr(Place, u8),
    RemoveXattr(Place),
    Fsync(Place),
    Unlink(Place),
    Rename(Place, Place),
    Link(Place, Place),
    /// To the file of that name in the same directory, whether or not there is one.
    Symlink(Place, u64),
    Readlink(Place),
    UnlinkSymlink(Place),
    Read(Place),
    List(u64),
    /// Opens a file, and keeps it open.
    Hold(u64, Place),
    AppendHeld(u64),
    ReadHeld(u64),
    LetGo(u64),
}

impl Op {
    pub(super) fn choose(dice: &mut Dice) -> Self {
        let place = |dice: &mut Dice| (dice.below(DIRS), dice.below(NAMES));
        match dice.below(36) {
            0 | 1 => Self::Mkdir(dice.below(DIRS)),
            2 => Self::Rmdir(dice.below(DIRS)),
            3 => Self::MoveDir(dice.below(DIRS), dice.below(DIRS)),
            4..=9 => {
                let fill = u8::try_from(dice.below(256)).unwrap_or(0);
                Self::Write(place(dice), vec![fill; small(dice.below(3000))])
            }
            10..=12 => Self::Append(place(dice)),
            13 => Self::Truncate(place(dice), small(dice.below(5000))),
            14 => Self::Chmod(place(dice), MODES[small(dice.below(4))]),
            15 => Self::SetXattr(place(dice), u8::try_from(dice.below(256)).unwrap_or(0)),
            16 => Self::RemoveXattr(place(dice)),
            17 => Self::Fsync(place(dice)),
            18..=20 => Self::Unlink(place(dice)),
            21..=23 => Self::Rename(place(dice), place(dice)),
            24 | 25 => Self::Link(place(dice), place(dice)),
            26 => Self::Symlink(place(dice), dice.below(NAMES)),
            27 => Self::Readlink(place(dice)),
            28 => Self::UnlinkSymlink(place(dice)),
            29 | 30 => Self::Read(place(dice)),
            31 => Self::List(dice.below(DIRS)),
            32 | 33 => Self::Hold(dice.below(HELD), place(dice)),
            34 if dice.below(2) == 0 => Self::AppendHeld(dice.below(HELD)),
            34 => Self::ReadHeld(dice.below(HELD)),
            _ => Self::LetGo(dice.below(HELD)),
        }
    }

    /// Names of files and symbolic links that it is about.
    pub(super) fn places(&self) -> Vec<Place> {
        match self {
            Self::Write(at, _)
            | Self::Append(at)
            | Self::Truncate(at, _)
            | Self::Chmod(at, _)
            | Self::SetXattr(at, _)
            | Self::RemoveXattr(at)
            | Self::Fsync(at)
            | Self::Unlink(at)
            | Self::Read(at)
            | Self::Hold(_, at) => vec![*at],
            Self::Rename(from, to) | Self::Link(from, to) => vec![*from, *to],
            Self::Mkdir(_)
            | Self::Rmdir(_)
            | Self::MoveDir(..)
            | Self::Symlink(..)
            | Self::Readlink(_)
            | Self::UnlinkSymlink(_)
            | Self::List(_)
            | Self::AppendHeld(_)
            | Self::ReadHeld(_)
            | Self::LetGo(_) => Vec::new(),
        }
    }

    /// Directories whose names it is about.
    pub(super) fn dirs(&self) -> Vec<u64> {
        match self {
            Self::Mkdir(dir) | Self::Rmdir(dir) | Self::List(dir) => vec![*dir],
            Self::MoveDir(from, to) => vec![*from, *to],
            Self::Symlink((dir, _), _) | Self::UnlinkSymlink((dir, _)) => vec![*dir],
            Self::Rename(from, to) => vec![from.0, to.0],
            Self::Write(..)
            | Self::Append(_)
            | Self::Truncate(..)
            | Self::Chmod(..)
            | Self::SetXattr(..)
            | Self::RemoveXattr(_)
            | Self::Fsync(_)
            | Self::Unlink(_)
            | Self::Link(..)
            | Self::Readlink(_)
            | Self::Read(_)
            | Self::Hold(..)
            | Self::AppendHeld(_)
            | Self::ReadHeld(_)
            | Self::LetGo(_) => Vec::new(),
        }
    }
}

fn small(number: u64) -> usize {
    usize::try_from(number).expect("a small number")
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
    pub(super) mark: Option<u8>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Dir {
    files: BTreeMap<u64, u64>,
    symlinks: BTreeMap<u64, u64>,
}

/// Names in directories, and what is in the files; also in those that are only held open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    dirs: BTreeMap<u64, Dir>,
    files: BTreeMap<u64, File>,
    held: BTreeMap<u64, u64>,
    last: u64,
}

/// A file as its name shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    File { file: File, links: u64 },
    Symlink(String),
}

/// By directory and name.
pub(super) type Tree = BTreeMap<u64, BTreeMap<String, Shown>>;

fn insert_new(names: &mut BTreeMap<u64, u64>, name: u64, what: u64) -> Option<()> {
    if names.contains_key(&name) {
        return None;
    }
    names.insert(name, what);
    Some(())
}

pub(super) fn file_name(name: u64) -> String {
    format!("f{name}")
}

pub(super) fn symlink_name(name: u64) -> String {
    format!("s{name}")
}

impl Model {
    pub(super) fn file(&self, (dir, name): Place) -> Option<u64> {
        self.dirs.get(&dir)?.files.get(&name).copied()
    }

    pub(super) fn content(&self, file: u64) -> &[u8] {
        &self.files[&file].bytes
    }

    /// The file an operation writes to, and a name of it.
    pub(super) fn written(&self, op: &Op) -> Option<(u64, Place)> {
        if let Op::Write(at, _) | Op::Append(at) | Op::Truncate(at, _) = op {
            return Some((self.file(*at)?, *at));
        }
        let Op::AppendHeld(slot) = op else { return None };
        let file = *self.held.get(slot)?;
        let mut names = self.dirs.iter().flat_map(|(dir, names)| {
            names.files.iter().map(move |(name, file)| ((*dir, *name), *file))
        });
        let (place, _) = names.find(|(_, named)| *named == file)?;
        Some((file, place))
    }

    pub(super) fn let_go(&mut self, slot: u64) {
        self.held.remove(&slot);
    }

    /// What an operation answers. `None`: an error, and nothing changed.
    pub(super) fn apply(&mut self, op: &Op) -> Option<Vec<u8>> {
        match op {
            Op::Mkdir(dir) => {
                if self.dirs.contains_key(dir) {
                    return None;
                }
                self.dirs.insert(*dir, Dir::default());
            }
            Op::Rmdir(dir) => {
                if *self.dirs.get(dir)? != Dir::default() {
                    return None;
                }
                self.dirs.remove(dir);
            }
            Op::MoveDir(from, to) => self.move_dir(*from, *to)?,
            Op::Write(at, bytes) => {
                let file = match self.file(*at) {
                    Some(file) => file,
                    None => self.make(*at)?,
                };
                self.files.get_mut(&file)?.bytes.clone_from(bytes);
            }
            Op::Append(at) => self.change(*at)?.bytes.extend_from_slice(APPENDED),
            Op::Truncate(at, size) => self.change(*at)?.bytes.resize(*size, 0),
            Op::Chmod(at, mode) => self.change(*at)?.mode = *mode,
            Op::SetXattr(at, mark) => self.change(*at)?.mark = Some(*mark),
            Op::RemoveXattr(at) => {
                self.change(*at)?.mark.take()?;
            }
            Op::Fsync(at) => {
                self.file(*at)?;
            }
            Op::Unlink(at) => {
                self.dirs.get_mut(&at.0)?.files.remove(&at.1)?;
            }
            Op::Rename(from, to) => self.rename(*from, *to)?,
            Op::Link(from, to) => {
                let file = self.file(*from)?;
                let dir = self.dirs.get_mut(&to.0)?;
                insert_new(&mut dir.files, to.1, file)?;
            }
            Op::Symlink(at, to) => self.make_symlink(*at, *to)?,
            Op::Readlink(at) => {
                let to = self.dirs.get(&at.0)?.symlinks.get(&at.1)?;
                return Some(file_name(*to).into_bytes());
            }
            Op::UnlinkSymlink(at) => {
                self.dirs.get_mut(&at.0)?.symlinks.remove(&at.1)?;
            }
            Op::Read(at) => return Some(self.content(self.file(*at)?).to_vec()),
            Op::List(dir) => return self.list(*dir),
            Op::Hold(slot, at) => {
                let file = self.file(*at)?;
                self.held.insert(*slot, file);
            }
            Op::AppendHeld(slot) => {
                let file = *self.held.get(slot)?;
                self.files.get_mut(&file)?.bytes.extend_from_slice(APPENDED);
            }
            Op::ReadHeld(slot) => return Some(self.content(*self.held.get(slot)?).to_vec()),
            Op::LetGo(slot) => {
                self.held.remove(slot)?;
            }
        }
        Some(Vec::new())
    }

    fn make(&mut self, at: Place) -> Option<u64> {
        let dir = self.dirs.get_mut(&at.0)?;
        self.last += 1;
        dir.files.insert(at.1, self.last);
        let file = File { bytes: Vec::new(), mode: 0o644, mark: None };
        self.files.insert(self.last, file);
        Some(self.last)
    }

    fn make_symlink(&mut self, at: Place, to: u64) -> Option<()> {
        insert_new(&mut self.dirs.get_mut(&at.0)?.symlinks, at.1, to)
    }

    fn change(&mut self, at: Place) -> Option<&mut File> {
        self.files.get_mut(&self.file(at)?)
    }

    fn rename(&mut self, from: Place, to: Place) -> Option<()> {
        let file = self.file(from)?;
        self.dirs.get(&to.0)?;
        // Two names of one file: nothing happens, as POSIX has it.
        if self.file(to) != Some(file) {
            self.dirs.get_mut(&from.0)?.files.remove(&from.1);
            self.dirs.get_mut(&to.0)?.files.insert(to.1, file);
        }
        Some(())
    }

    fn move_dir(&mut self, from: u64, to: u64) -> Option<()> {
        self.dirs.get(&from)?;
        if from == to {
            return Some(());
        }
        if self.dirs.get(&to).is_some_and(|replaced| *replaced != Dir::default()) {
            return None;
        }
        let moved = self.dirs.remove(&from)?;
        self.dirs.insert(to, moved);
        Some(())
    }

    pub(super) fn list(&self, dir: u64) -> Option<Vec<u8>> {
        let dir = self.dirs.get(&dir)?;
        let files = dir.files.keys().map(|name| file_name(*name));
        let mut names: Vec<String> =
            files.chain(dir.symlinks.keys().map(|name| symlink_name(*name))).collect();
        names.sort();
        Some(names.join("/").into_bytes())
    }

    /// As a look at everything must find it.
    pub(super) fn shown(&self) -> Tree {
        let show = |dir: &Dir| {
            let files = dir.files.iter().map(|(name, file)| (file_name(*name), self.show(*file)));
            let symlinks = dir.symlinks.iter();
            let symlinks =
                symlinks.map(|(name, to)| (symlink_name(*name), Shown::Symlink(file_name(*to))));
            files.chain(symlinks).collect()
        };
        self.dirs.iter().map(|(number, dir)| (*number, show(dir))).collect()
    }

    /// As a look at one file must find it.
    pub(super) fn shown_at(&self, at: Place) -> Option<Shown> {
        self.file(at).map(|file| self.show(file))
    }

    fn show(&self, file: u64) -> Shown {
        let names = self.dirs.values().flat_map(|dir| dir.files.values());
        let links = names.filter(|named| **named == file).count() as u64;
        Shown::File { file: self.files[&file].clone(), links }
    }
}
