//! Somebody who works in a directory, knows what must be there, and looks.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

const DIRS: u64 = 4;
const NAMES: u64 = 12;
/// Operations after which everything is compared.
const LOOK_EVERY: u64 = 200;

/// Numbers that follow from a seed.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % most
    }
}

/// What is told of the work while it goes on.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) done: AtomicU64,
    /// Of the longest call, in milliseconds.
    pub(crate) longest: AtomicU64,
}

/// What must be there: names of files in directories, and what is in the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    dirs: BTreeMap<u64, BTreeMap<u64, u64>>,
    files: BTreeMap<u64, Vec<u8>>,
    last: u64,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Mkdir(u64),
    Rmdir(u64),
    Write((u64, u64), usize),
    Append((u64, u64)),
    Unlink((u64, u64)),
    Rename((u64, u64), (u64, u64)),
    Link((u64, u64), (u64, u64)),
    Read((u64, u64)),
    List(u64),
}

/// One worker, alone in its directories. They may lie with different ranks.
#[derive(Debug)]
pub(crate) struct Worker {
    roots: Vec<PathBuf>,
    model: Model,
    /// What the call under way does, and what must be there if it was done.
    doubt: Option<(Op, Model)>,
    dice: Dice,
}

/// Whether the mount that somebody works on is there: odd while it is not.
#[derive(Debug, Default)]
pub(crate) struct Presence(AtomicU64);

impl Presence {
    pub(crate) fn goes(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn is_back(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn number(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Worker {
    /// Works below all of `roots`, which are empty.
    pub(crate) fn new(roots: Vec<PathBuf>, seed: u64) -> Self {
        Self { roots, model: Model::default(), doubt: None, dice: Dice::new(seed) }
    }

    fn dir(&self, dir: u64) -> PathBuf {
        let roots = self.roots.len() as u64;
        let root = usize::try_from(dir % roots).expect("few roots");
        self.roots[root].join(format!("d{dir}"))
    }

    fn path(&self, (dir, name): (u64, u64)) -> PathBuf {
        self.dir(dir).join(format!("f{name}"))
    }

    fn choose(&mut self) -> Op {
        let place = |dice: &mut Dice| (dice.below(DIRS), dice.below(NAMES));
        let dice = &mut self.dice;
        match dice.below(20) {
            0 => Op::Mkdir(dice.below(DIRS)),
            1 => Op::Rmdir(dice.below(DIRS)),
            2..=6 => Op::Write(place(dice), usize::try_from(dice.below(3000)).expect("small")),
            7 | 8 => Op::Append(place(dice)),
            9..=11 => Op::Unlink(place(dice)),
            12..=14 => Op::Rename(place(dice), place(dice)),
            15 | 16 => Op::Link(place(dice), place(dice)),
            17 | 18 => Op::Read(place(dice)),
            _ => Op::List(dice.below(DIRS)),
        }
    }

    /// Works until told to stop. Every call must do what the model says, unless the mount is killed
    /// meanwhile: then what it was about to do is done, or not.
    pub(crate) fn work(
        &mut self,
        stop: &AtomicBool,
        progress: &Progress,
        mount: &Presence,
    ) -> anyhow::Result<()> {
        while !stop.load(Ordering::Relaxed) {
            let before = mount.number();
            if let Err(error) = self.some(progress) {
                if mount.number() == before && before.is_multiple_of(2) {
                    return Err(error);
                }
                tests::cluster::wait_until("the mount is back", || {
                    Ok(mount.number().is_multiple_of(2))
                })?;
                self.resume()?;
            }
        }
        Ok(())
    }

    fn some(&mut self, progress: &Progress) -> anyhow::Result<()> {
        self.one(progress)?;
        let done = progress.done.fetch_add(1, Ordering::Relaxed);
        if done.is_multiple_of(LOOK_EVERY) { self.check() } else { Ok(()) }
    }

    fn one(&mut self, progress: &Progress) -> anyhow::Result<()> {
        let op = self.choose();
        let mut after = self.model.clone();
        let expected = after.apply(op);
        self.doubt = Some((op, after.clone()));
        let began = Instant::now();
        let found = self.carry_out(op);
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        progress.longest.fetch_max(took, Ordering::Relaxed);
        match (found, expected) {
            (Ok(found), Some(expected)) => {
                ensure!(
                    found == expected,
                    "{op:?} found {} bytes or names instead of {}",
                    found.len(),
                    expected.len()
                );
            }
            (Err(error), None) => {
                let refused = [libc_errno::NOENT, libc_errno::EXIST, libc_errno::NOTEMPTY];
                ensure!(
                    error.raw_os_error().is_some_and(|errno| refused.contains(&errno)),
                    "{op:?}: {error}"
                );
            }
            (Ok(_), None) => anyhow::bail!("{op:?} went well, but should not have"),
            (Err(error), Some(_)) => return Err(error).with_context(|| format!("{op:?}")),
        }
        self.model = after;
        self.doubt = None;
        Ok(())
    }

    /// What was read or listed, or nothing.
    fn carry_out(&self, op: Op) -> std::io::Result<Vec<u8>> {
        match op {
            Op::Mkdir(dir) => fs::create_dir(self.dir(dir))?,
            Op::Rmdir(dir) => fs::remove_dir(self.dir(dir))?,
            Op::Write(at, bytes) => fs::write(self.path(at), vec![b'w'; bytes])?,
            Op::Append(at) => {
                fs::File::options().append(true).open(self.path(at))?.write_all(b"more")?;
            }
            Op::Unlink(at) => fs::remove_file(self.path(at))?,
            Op::Rename(from, to) => fs::rename(self.path(from), self.path(to))?,
            Op::Link(from, to) => fs::hard_link(self.path(from), self.path(to))?,
            Op::Read(at) => return fs::read(self.path(at)),
            Op::List(dir) => return names(&self.dir(dir)),
        }
        Ok(Vec::new())
    }

    /// Compares everything there is with everything there must be.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let found = self.look()?;
        ensure!(
            found == self.model.shown(),
            "there is {found:?} instead of {:?}",
            self.model.shown()
        );
        Ok(())
    }

    /// The work was interrupted in the middle of a call: it goes on with what is there now, which must
    /// be what was there before that call, or after it.
    fn resume(&mut self) -> anyhow::Result<()> {
        let Some((op, after)) = self.doubt.take() else { return self.check() };
        if let Op::Write(at, _) | Op::Append(at) = op
            && let Some(file) = after.file(at)
        {
            // Its bytes and its size are written one after the other: what was interrupted between
            // them is nothing whole, as on any file system, until it is written again.
            fs::write(self.path(at), &after.files[&file])?;
        }
        let found = self.look()?;
        for model in [self.model.clone(), after] {
            if model.shown() == found {
                self.model = model;
                return Ok(());
            }
        }
        anyhow::bail!("after {op:?} was interrupted there is {found:?}")
    }

    fn look(&self) -> anyhow::Result<Shown> {
        let mut shown = Shown::new();
        for dir in 0..DIRS {
            let entries = match fs::read_dir(self.dir(dir)) {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            let mut files = BTreeMap::new();
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let meta = fs::metadata(entry.path()).with_context(|| format!("stat {name}"))?;
                let bytes = fs::read(entry.path()).with_context(|| format!("read {name}"))?;
                ensure!(meta.size() == bytes.len() as u64, "{name} has another size than content");
                files.insert(name, (bytes, meta.nlink()));
            }
            shown.insert(dir, files);
        }
        Ok(shown)
    }

    /// Leaves nothing behind.
    pub(crate) fn clean(&self) -> anyhow::Result<()> {
        for dir in 0..DIRS {
            let path = self.dir(dir);
            if path.exists() {
                fs::remove_dir_all(&path)?;
            }
        }
        Ok(())
    }
}

/// By directory and name: content, and how many names it has.
type Shown = BTreeMap<u64, BTreeMap<String, (Vec<u8>, u64)>>;

fn names(dir: &Path) -> std::io::Result<Vec<u8>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names.join("/").into_bytes())
}

impl Model {
    fn file(&self, (dir, name): (u64, u64)) -> Option<u64> {
        self.dirs.get(&dir)?.get(&name).copied()
    }

    /// What a call answers. `None`: an error, and nothing changed.
    fn apply(&mut self, op: Op) -> Option<Vec<u8>> {
        match op {
            Op::Mkdir(dir) => {
                if self.dirs.contains_key(&dir) {
                    return None;
                }
                self.dirs.insert(dir, BTreeMap::new());
            }
            Op::Rmdir(dir) => {
                if !self.dirs.get(&dir)?.is_empty() {
                    return None;
                }
                self.dirs.remove(&dir);
            }
            Op::Write(at, bytes) => {
                let file = match self.file(at) {
                    Some(file) => file,
                    None => {
                        self.last += 1;
                        self.dirs.get_mut(&at.0)?.insert(at.1, self.last);
                        self.last
                    }
                };
                self.files.insert(file, vec![b'w'; bytes]);
            }
            Op::Append(at) => {
                let file = self.file(at)?;
                self.files.get_mut(&file)?.extend_from_slice(b"more");
            }
            Op::Unlink(at) => {
                self.dirs.get_mut(&at.0)?.remove(&at.1)?;
            }
            Op::Rename(from, to) => {
                let file = self.file(from)?;
                self.dirs.get(&to.0)?;
                // Two names of one file: nothing happens, as POSIX has it.
                if self.file(to) != Some(file) {
                    self.dirs.get_mut(&from.0)?.remove(&from.1);
                    self.dirs.get_mut(&to.0)?.insert(to.1, file);
                }
            }
            Op::Link(from, to) => {
                let file = self.file(from)?;
                let dir = self.dirs.get_mut(&to.0)?;
                if dir.contains_key(&to.1) {
                    return None;
                }
                dir.insert(to.1, file);
            }
            Op::Read(at) => return self.files.get(&self.file(at)?).cloned(),
            Op::List(dir) => {
                let mut names: Vec<String> =
                    self.dirs.get(&dir)?.keys().map(|name| format!("f{name}")).collect();
                names.sort();
                return Some(names.join("/").into_bytes());
            }
        }
        Some(Vec::new())
    }

    fn shown(&self) -> Shown {
        let mut links: BTreeMap<u64, u64> = BTreeMap::new();
        for file in self.dirs.values().flat_map(BTreeMap::values) {
            *links.entry(*file).or_default() += 1;
        }
        let show = |(name, file): (&u64, &u64)| {
            (format!("f{name}"), (self.files[file].clone(), links[file]))
        };
        self.dirs.iter().map(|(dir, names)| (*dir, names.iter().map(show).collect())).collect()
    }
}

/// The errors that the model foresees.
mod libc_errno {
    pub(super) const NOENT: i32 = 2;
    pub(super) const EXIST: i32 = 17;
    pub(super) const NOTEMPTY: i32 = 39;
}

/// Waits until each of them has done so many operations more.
pub(crate) fn wait_for_progress(all: &[Progress], more: u64) -> anyhow::Result<()> {
    let before: Vec<u64> = all.iter().map(|one| one.done.load(Ordering::Relaxed)).collect();
    tests::cluster::wait_until("work goes on", || {
        let now = all.iter().map(|one| one.done.load(Ordering::Relaxed));
        Ok(now.zip(&before).all(|(now, before)| now >= before + more))
    })
}

/// The longest that anybody has waited for one call.
pub(crate) fn longest(all: &[Progress]) -> Duration {
    let longest = all.iter().map(|one| one.longest.load(Ordering::Relaxed)).max();
    Duration::from_millis(longest.unwrap_or(0))
}
