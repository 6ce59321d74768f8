//! Somebody who works in a directory, knows what must be there, and looks.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::fs::{XattrFlags, removexattr, setxattr};
use rustix::io::Errno;

pub(crate) use dice::Dice;
use model::{APPENDED, DIRS, Model, Op};
use view::{MARK, View};

mod dice;
mod model;
mod view;

/// Operations after which everything is compared.
const LOOK_EVERY: u64 = 200;
/// Of so many operations one is looked at through the other mount.
const PEEK_EVERY: u64 = 5;

/// What is told of the work while it goes on.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) done: AtomicU64,
    /// Operations that did not do what they must.
    pub(crate) failed: AtomicU64,
    /// Of the longest call, in milliseconds.
    pub(crate) longest: AtomicU64,
}

/// Whether a mount that somebody works on is there: odd while it is not.
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

    /// Only a mount that is killed may fail a call.
    fn excuses(&self, before: u64) -> bool {
        self.number() != before || !before.is_multiple_of(2)
    }
}

/// A mount that somebody else's changes are looked at through.
#[derive(Debug)]
struct Other<'a> {
    view: View,
    presence: &'a Presence,
}

/// One worker, alone in its directories.
#[derive(Debug)]
pub(crate) struct Worker<'a> {
    view: View,
    presence: &'a Presence,
    other: Option<Other<'a>>,
    model: Model,
    /// What the call under way does, and what must be there if it was done.
    doubt: Option<(Op, Model)>,
    held: BTreeMap<u64, File>,
    dice: Dice,
}

impl<'a> Worker<'a> {
    /// Works below all of `roots`, which are empty, through a mount.
    pub(crate) fn new(roots: Vec<PathBuf>, presence: &'a Presence, seed: u64) -> Self {
        Self {
            view: View::new(roots),
            presence,
            other: None,
            model: Model::default(),
            doubt: None,
            held: BTreeMap::new(),
            dice: Dice::new(seed),
        }
    }

    /// Looks through another mount as well: what was acknowledged here is seen there.
    pub(crate) fn seen_through(self, roots: Vec<PathBuf>, presence: &'a Presence) -> Self {
        Self { other: Some(Other { view: View::new(roots), presence }), ..self }
    }

    /// Works until told to stop. Every call must do what the model says, unless the mount is killed
    /// meanwhile: then what it was about to do is done, or not.
    pub(crate) fn work(&mut self, stop: &AtomicBool, progress: &Progress) -> anyhow::Result<()> {
        while !stop.load(Ordering::Relaxed) {
            let before = self.presence.number();
            if let Err(error) = self.some(progress) {
                if !self.presence.excuses(before) {
                    progress.failed.fetch_add(1, Ordering::Relaxed);
                    return Err(error);
                }
                tests::cluster::wait_until("the mount is back", || {
                    Ok(self.presence.number().is_multiple_of(2))
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
        let op = Op::choose(&mut self.dice);
        let mut after = self.model.clone();
        let expected = after.apply(&op);
        self.doubt = Some((op.clone(), after.clone()));
        let began = Instant::now();
        let found = self.carry_out(&op);
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        progress.longest.fetch_max(took, Ordering::Relaxed);
        match (found, expected) {
            (Ok(found), Some(expected)) => ensure!(
                found == expected,
                "{op:?} found {} bytes or names instead of {}",
                found.len(),
                expected.len()
            ),
            (Err(error), None) => {
                let refused = [Errno::NOENT, Errno::EXIST, Errno::NOTEMPTY, Errno::NODATA];
                let refused = refused.map(|errno| Some(errno.raw_os_error()));
                ensure!(refused.contains(&error.raw_os_error()), "{op:?}: {error}");
            }
            (Ok(_), None) => anyhow::bail!("{op:?} went well, but should not have"),
            (Err(error), Some(_)) => return Err(error).with_context(|| format!("{op:?}")),
        }
        self.model = after;
        self.doubt = None;
        if self.dice.below(PEEK_EVERY) == 0 { self.peek(&op) } else { Ok(()) }
    }

    /// What was read or listed, or nothing.
    fn carry_out(&mut self, op: &Op) -> io::Result<Vec<u8>> {
        let view = &self.view;
        match op {
            Op::Mkdir(dir) => fs::create_dir(view.dir(*dir))?,
            Op::Rmdir(dir) => fs::remove_dir(view.dir(*dir))?,
            Op::MoveDir(from, to) => fs::rename(view.dir(*from), view.dir(*to))?,
            Op::Write(at, bytes) => fs::write(view.file(*at), bytes)?,
            Op::Append(at) => {
                File::options().append(true).open(view.file(*at))?.write_all(APPENDED)?;
            }
            Op::Truncate(at, size) => {
                File::options().write(true).open(view.file(*at))?.set_len(*size as u64)?;
            }
            Op::Chmod(at, mode) => {
                fs::set_permissions(view.file(*at), fs::Permissions::from_mode(*mode))?;
            }
            Op::SetXattr(at, mark) => {
                setxattr(view.file(*at), MARK, &[*mark], XattrFlags::empty())?;
            }
            Op::RemoveXattr(at) => removexattr(view.file(*at), MARK)?,
            Op::Fsync(at) => File::open(view.file(*at))?.sync_all()?,
            Op::Unlink(at) => fs::remove_file(view.file(*at))?,
            Op::Rename(from, to) => fs::rename(view.file(*from), view.file(*to))?,
            Op::Link(from, to) => fs::hard_link(view.file(*from), view.file(*to))?,
            Op::Symlink(at, to) => {
                std::os::unix::fs::symlink(model::file_name(*to), view.symlink(*at))?;
            }
            Op::Readlink(at) => {
                return Ok(fs::read_link(view.symlink(*at))?.into_os_string().into_encoded_bytes());
            }
            Op::UnlinkSymlink(at) => fs::remove_file(view.symlink(*at))?,
            Op::Read(at) => return fs::read(view.file(*at)),
            Op::List(dir) => return view.names(*dir),
            Op::Hold(slot, at) => {
                let file = File::options().read(true).write(true).open(view.file(*at))?;
                self.held.insert(*slot, file);
            }
            Op::AppendHeld(slot) => {
                let file = self.held(*slot)?;
                file.write_all_at(APPENDED, file.metadata()?.len())?;
            }
            Op::ReadHeld(slot) => {
                let file = self.held(*slot)?;
                let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).expect("small")];
                file.read_exact_at(&mut bytes, 0)?;
                return Ok(bytes);
            }
            Op::LetGo(slot) => drop(self.held.remove(slot).ok_or(Errno::NOENT)?),
        }
        Ok(Vec::new())
    }

    fn held(&self, slot: u64) -> io::Result<&File> {
        Ok(self.held.get(&slot).ok_or(Errno::NOENT)?)
    }

    /// Looks through the other mount at what was done here.
    fn peek(&self, op: &Op) -> anyhow::Result<()> {
        let (Some(other), Some(at)) = (&self.other, op.place()) else { return Ok(()) };
        let before = other.presence.number();
        match other.view.look_at(at) {
            Ok(found) => {
                let expected = self.model.shown_at(at);
                ensure!(
                    found == expected,
                    "after {op:?} the other mount shows {found:?} instead of {expected:?}"
                );
                Ok(())
            }
            Err(_) if other.presence.excuses(before) => Ok(()),
            Err(error) => Err(error).context("through the other mount"),
        }
    }

    /// Compares everything there is with everything there must be.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let (found, expected) = (self.view.look()?, self.model.shown());
        ensure!(found == expected, "there is {found:?} instead of {expected:?}");
        Ok(())
    }

    /// The work was interrupted in the middle of a call: it goes on with what is there now, which must
    /// be what was there before that call, or after it. What was held open is closed.
    fn resume(&mut self) -> anyhow::Result<()> {
        self.held.clear();
        let Some((op, mut after)) = self.doubt.take() else {
            self.model.drop_held();
            return self.check();
        };
        if let Some((file, at)) = after.written(&op) {
            // Its bytes and its size are written one after the other: what was interrupted between
            // them is nothing whole, as on any file system, until it is written again.
            fs::write(self.view.file(at), after.content(file))?;
        }
        after.drop_held();
        self.model.drop_held();
        let found = self.view.look()?;
        for model in [self.model.clone(), after] {
            if model.shown() == found {
                self.model = model;
                return Ok(());
            }
        }
        anyhow::bail!("after {op:?} was interrupted there is {found:?}")
    }

    /// Leaves nothing behind.
    pub(crate) fn clean(&mut self) -> anyhow::Result<()> {
        self.held.clear();
        for dir in 0..DIRS {
            let path = self.view.dir(dir);
            if path.exists() {
                fs::remove_dir_all(&path)?;
            }
        }
        Ok(())
    }
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
