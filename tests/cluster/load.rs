//! Somebody who works in a directory, knows what must be there, and looks.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, ensure};
use rustix::fs::{XattrFlags, removexattr, setxattr};
use rustix::io::Errno;

pub(crate) use crew::{anybody_failed, longest, total, wait_for_progress, while_working};
use model::{APPENDED, DIRS, Model, Op};
pub(crate) use tests::cluster::dice::Dice;
use view::{MARK, View};

mod crew;
mod model;
mod view;

/// Operations after which everything is compared.
const LOOK_EVERY: u64 = 200;
/// Of so many operations one is looked at through another mount than the one it was done through.
const PEEK_EVERY: u64 = 5;

/// What is told of the work while it goes on.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) done: AtomicU64,
    /// Operations that did not do what they must.
    pub(crate) failed: AtomicU64,
    /// Of the longest operation and the looks after it, any of which may have had to wait. In
    /// milliseconds.
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

    fn is_there(&self) -> bool {
        self.number().is_multiple_of(2)
    }
}

/// A mount, as somebody who works sees it.
#[derive(Debug)]
struct Hand<'a> {
    view: View,
    presence: &'a Presence,
}

/// A file held open through a mount, in one of its lives.
#[derive(Debug)]
struct Held {
    file: File,
    hand: usize,
    life: u64,
}

/// One worker, alone in its directories.
#[derive(Debug)]
pub(crate) struct Worker<'a> {
    hands: Vec<Hand<'a>>,
    /// Of the hands, the one that the call under way goes through.
    hand: usize,
    model: Model,
    /// What the call under way does, and what must be there if it was done.
    doubt: Option<(Op, Model)>,
    held: BTreeMap<u64, Held>,
    dice: Dice,
}

/// What calls say whose mount is killed: it is gone, or was while they went on (EIO from a page), or has
/// left the bare folder behind until it is mounted again. That something else is found than must be there
/// is no error of this kind.
fn is_of_a_killed_mount(error: &anyhow::Error) -> bool {
    let fair = [Errno::NOTCONN, Errno::CONNABORTED, Errno::IO, Errno::NOENT];
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        let errno = cause.downcast_ref::<Errno>().map(|errno| errno.raw_os_error());
        io.or(errno).is_some_and(|number| fair.iter().any(|it| it.raw_os_error() == number))
    })
}

impl<'a> Worker<'a> {
    /// Works below all of `roots`, which are empty, through a mount.
    pub(crate) fn new(roots: Vec<PathBuf>, presence: &'a Presence, seed: u64) -> Self {
        Self {
            hands: vec![Hand { view: View::new(roots), presence }],
            hand: 0,
            model: Model::default(),
            doubt: None,
            held: BTreeMap::new(),
            dice: Dice::new(seed),
        }
    }

    /// Works through another mount as well, where the same directories are `roots`: what was
    /// acknowledged by one is seen by the other.
    pub(crate) fn also_through(mut self, roots: Vec<PathBuf>, presence: &'a Presence) -> Self {
        self.hands.push(Hand { view: View::new(roots), presence });
        self
    }

    fn view(&self) -> &View {
        &self.hands[self.hand].view
    }

    fn choose_hand(&mut self) {
        let chosen = self.dice.below(self.hands.len() as u64);
        self.hand = usize::try_from(chosen).expect("few hands");
    }

    /// Works until told to stop. Every call must do what the model says, unless its mount is killed
    /// meanwhile: then what it was about to do is done, or not.
    fn work(&mut self, stop: &AtomicBool, progress: &Progress) -> anyhow::Result<()> {
        let mut interrupted = false;
        while interrupted || !stop.load(Ordering::Relaxed) {
            let before: Vec<u64> = self.hands.iter().map(|it| it.presence.number()).collect();
            self.let_go_of_the_dead(&before);
            let began = Instant::now();
            let done = if interrupted { self.resume() } else { self.some(progress) };
            let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            progress.longest.fetch_max(took, Ordering::Relaxed);
            interrupted = false;
            if let Err(error) = done {
                let presence = self.hands[self.hand].presence;
                let killed = presence.number() != before[self.hand] || !presence.is_there();
                if !killed || !is_of_a_killed_mount(&error) {
                    progress.failed.fetch_add(1, Ordering::Relaxed);
                    return Err(error);
                }
                tests::cluster::wait_until("the mount is back", || Ok(presence.is_there()))?;
                interrupted = true;
            }
        }
        Ok(())
    }

    /// What was open through a mount that was killed is not open any more.
    fn let_go_of_the_dead(&mut self, lives: &[u64]) {
        let model = &mut self.model;
        let after = self.doubt.as_mut().map(|(_, after)| after);
        let mut models: Vec<&mut Model> = std::iter::once(model).chain(after).collect();
        self.held.retain(|slot, held| {
            let lives = held.life == lives[held.hand];
            if !lives {
                models.iter_mut().for_each(|model| model.let_go(*slot));
            }
            lives
        });
    }

    /// Nothing is held open any more.
    fn close(&mut self) {
        for slot in std::mem::take(&mut self.held).into_keys() {
            self.model.let_go(slot);
        }
    }

    fn some(&mut self, progress: &Progress) -> anyhow::Result<()> {
        self.one()?;
        let done = progress.done.fetch_add(1, Ordering::Relaxed);
        if done.is_multiple_of(LOOK_EVERY) { self.check() } else { Ok(()) }
    }

    fn one(&mut self) -> anyhow::Result<()> {
        let op = Op::choose(&mut self.dice);
        let mut after = self.model.clone();
        let expected = after.apply(&op);
        self.choose_hand();
        self.doubt = Some((op.clone(), after.clone()));
        let found = self.carry_out(&op);
        match (found, expected) {
            (Ok(found), Some(expected)) => ensure!(
                found == expected,
                "{op:?} found {} bytes or names instead of {}",
                found.len(),
                expected.len()
            ),
            (Ok(_), None) => anyhow::bail!("{op:?} went well, but should not have"),
            (Err(error), None) if is_refusal(&error) => {}
            (Err(error), _) => return Err(error).with_context(|| format!("{op:?}")),
        }
        self.model = after;
        self.doubt = None;
        if self.dice.below(PEEK_EVERY) == 0 { self.peek(&op) } else { Ok(()) }
    }

    /// What was read or listed, or nothing.
    fn carry_out(&mut self, op: &Op) -> io::Result<Vec<u8>> {
        let view = self.view();
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
                let life = self.hands[self.hand].presence.number();
                let file = File::options().read(true).write(true).open(view.file(*at))?;
                self.held.insert(*slot, Held { file, hand: self.hand, life });
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

    fn held(&mut self, slot: u64) -> io::Result<&File> {
        let held = self.held.get(&slot).ok_or(Errno::NOENT)?;
        self.hand = held.hand;
        Ok(&held.file)
    }

    /// Looks through another mount at what was done through this one.
    fn peek(&mut self, op: &Op) -> anyhow::Result<()> {
        let acted = self.hand;
        self.hand = (acted + 1) % self.hands.len();
        for at in op.places() {
            let (found, expected) = (self.view().look_at(at)?, self.model.shown_at(at));
            if found.is_none() && expected.is_some() {
                return Err(bare_folder())
                    .with_context(|| format!("after {op:?} mount {} shows nothing", self.hand));
            }
            ensure!(
                found == expected,
                "after {op:?} mount {} shows {found:?} instead of {expected:?}",
                self.hand
            );
        }
        for dir in op.dirs() {
            let found = match self.view().names(dir) {
                Ok(names) => Some(names),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error).context("list"),
            };
            let expected = self.model.list(dir);
            if found.is_none() && expected.is_some() {
                return Err(bare_folder())
                    .with_context(|| format!("after {op:?} mount {} lists nothing", self.hand));
            }
            ensure!(found == expected, "after {op:?} mount {} lists {found:?}", self.hand);
        }
        Ok(())
    }

    /// Compares everything there is with everything there must be.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        self.choose_hand();
        let (found, expected) = (self.view().look()?, self.model.shown());
        if found == expected {
            return Ok(());
        }
        let hand = self.hand;
        Err(bare_folder())
            .with_context(|| format!("mount {hand} shows {found:?} instead of {expected:?}"))
    }

    /// The work was interrupted in the middle of a call: it goes on with what is there now, which must
    /// be what was there before that call, or after it.
    fn resume(&mut self) -> anyhow::Result<()> {
        let Some((op, after)) = &self.doubt else { return self.check() };
        if let Some((file, at)) = after.written(op) {
            // Its bytes and its size are written one after the other: what was interrupted between
            // them is nothing whole, as on any file system, until it is written again.
            fs::write(self.view().file(at), after.content(file))?;
        }
        let found = self.view().look()?;
        let there = [&self.model, after].into_iter().find(|model| model.shown() == found);
        let there = there.cloned().ok_or_else(bare_folder);
        let there = there.with_context(|| format!("after {op:?} there is {found:?}"))?;
        self.model = there;
        self.doubt = None;
        Ok(())
    }

    /// Leaves nothing behind.
    pub(crate) fn clean(&self) -> anyhow::Result<()> {
        for dir in 0..DIRS {
            let path = self.view().dir(dir);
            if path.exists() {
                fs::remove_dir_all(&path)?;
            }
        }
        Ok(())
    }
}

/// What the model foresees.
fn is_refusal(error: &io::Error) -> bool {
    let refused = [Errno::NOENT, Errno::EXIST, Errno::NOTEMPTY, Errno::NODATA];
    refused.map(|errno| Some(errno.raw_os_error())).contains(&error.raw_os_error())
}

/// Its mount may have been killed, and have left this behind, before one looked or while one did: what is
/// missing on a mount that lives is an error all the same, and so is what is still missing when it is back.
fn bare_folder() -> io::Error {
    io::Error::from_raw_os_error(Errno::NOENT.raw_os_error())
}
