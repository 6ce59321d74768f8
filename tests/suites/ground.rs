//! `Ground`: a cluster and its mounts, and programs that run there while directories move.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tests::cluster::dice::Dice;
use tests::cluster::mount::Mount;
use tests::cluster::{Cluster, say, wait_until};

const RANKS: u16 = 3;
/// No program of ours needs longer, on any machine.
const PATIENCE: Duration = Duration::from_secs(1800);
/// Between two moves.
const REST: Duration = Duration::from_millis(100);
/// Directories are looked for so deep.
const DEPTH: usize = 4;

/// Whether directories move meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moves {
    None,
    /// One after the other, from rank to rank, at random.
    Always,
}

#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) cluster: Cluster,
    pub(crate) mount: Mount,
    pub(crate) other: Mount,
    dice: std::cell::RefCell<Dice>,
}

/// The end of a program.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: ExitStatus,
    pub(crate) said: String,
    pub(crate) moves: u32,
}

/// Whether there is time for the long form.
pub(crate) fn is_long() -> bool {
    std::env::var("SUITES").is_ok_and(|form| form == "long")
}

/// `short`, or `long` if that was asked for.
pub(crate) fn form<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

/// Where a suite of ours is installed: `SUITE_TOOLS`, or the `PATH`.
pub(crate) fn tool(name: &str) -> PathBuf {
    std::env::var_os("SUITE_TOOLS").map_or_else(|| name.into(), |dir| Path::new(&dir).join(name))
}

impl Ground {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let cluster = Cluster::start(RANKS, "")?;
        let (mount, other) = (cluster.mount("mount")?, cluster.mount("other")?);
        Ok(Self { cluster, mount, other, dice: Dice::new(1).into() })
    }

    /// A new directory, of a rank.
    pub(crate) fn dir(&self, name: &str, rank: u16) -> anyhow::Result<PathBuf> {
        let dir = self.mount.path(name);
        std::fs::create_dir(&dir).with_context(|| format!("make {name}"))?;
        if rank != 0 {
            self.cluster.export(&Path::new("/").join(name), rank)?;
        }
        Ok(dir)
    }

    /// Runs a program to its end while what is below `dir`, and that itself, moves.
    pub(crate) fn run(
        &self,
        command: &mut Command,
        dir: &Path,
        moves: Moves,
    ) -> anyhow::Result<Run> {
        let log = tempfile::NamedTempFile::new()?;
        command.stdin(Stdio::null()).stdout(log.reopen()?).stderr(log.reopen()?);
        let mut started = Started::new(command)?;
        let (began, mut moved) = (Instant::now(), 0);
        let status = loop {
            if let Some(status) = started.ends_within(REST)? {
                break status;
            }
            if moves == Moves::Always {
                moved += u32::from(self.move_one(dir)?);
            }
            ensure!(began.elapsed() < PATIENCE, "{command:?} does not end");
        };
        let said = std::fs::read(log.path())?;
        let said = String::from_utf8_lossy(&said).into_owned();
        Ok(Run { status, said, moves: moved })
    }

    /// The same, of what must succeed.
    pub(crate) fn succeed(
        &self,
        command: &mut Command,
        dir: &Path,
        moves: Moves,
    ) -> anyhow::Result<Run> {
        let run = self.run(command, dir, moves)?;
        if !run.status.success() {
            bail!("{command:?}: {}:\n{}", run.status, ending(&run.said));
        }
        Ok(run)
    }

    /// Moves a directory. False: it was gone, or is being moved, or was there.
    pub(crate) fn move_one(&self, dir: &Path) -> anyhow::Result<bool> {
        let mut dirs = vec![dir.to_owned()];
        gather(dir, DEPTH, &mut dirs);
        let mut dice = self.dice.borrow_mut();
        let chosen = &dirs[usize::try_from(dice.below(dirs.len() as u64))?];
        let rank = u16::try_from(dice.below(u64::from(RANKS)))?;
        let mounts = [self.mount.point(), self.other.point()];
        let inside = mounts.iter().find_map(|mount| chosen.strip_prefix(mount).ok());
        let path = Path::new("/").join(inside.context("a directory of ours")?);
        Ok(self.cluster.export(&path, rank).is_ok())
    }

    /// The other mount's process is killed, and somebody mounts it again.
    pub(crate) fn kill_other(&mut self) -> anyhow::Result<()> {
        self.cluster.expect_log("taking the place of a mount that was killed");
        self.other.kill_process()?;
        // The next mount takes the place of what is dead.
        self.other = self.cluster.mount("other")?;
        Ok(())
    }

    /// Everything was given back, and nobody complains.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        let Self { cluster, mount, other, .. } = self;
        mount.unmount()?;
        other.unmount()?;
        wait_until("nothing is left", || {
            let left = cluster.grove_json(&["leftovers"])?;
            let ranks = left.as_array().context("leftovers are a list")?;
            let counts = ranks.iter().filter_map(serde_json::Value::as_object).flatten();
            Ok(counts.filter(|(name, _)| *name != "rank").all(|(_, count)| count == 0))
        })?;
        cluster.end()
    }
}

/// A program that does not outlive a test which fails.
#[derive(Debug)]
struct Started {
    process: Pid,
    end: Receiver<std::io::Result<ExitStatus>>,
    runs: bool,
}

impl Started {
    fn new(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;
        let process = Pid::from_child(&child);
        let (ended, end) = channel();
        thread::spawn(move || ended.send(child.wait()));
        Ok(Self { process, end, runs: true })
    }

    fn ends_within(&mut self, time: Duration) -> anyhow::Result<Option<ExitStatus>> {
        match self.end.recv_timeout(time) {
            Ok(status) => {
                self.runs = false;
                Ok(Some(status?))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("nobody waits for the program"),
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.runs {
            // It may end by itself meanwhile.
            kill_process(self.process, Signal::KILL).ok();
        }
    }
}

/// Directories below one, as far as they do not vanish meanwhile.
fn gather(dir: &Path, depth: usize, dirs: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            dirs.push(entry.path());
            gather(&entry.path(), depth - 1, dirs);
        }
    }
}

/// As much of it as a person reads.
pub(crate) fn ending(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// What `name` says, for whoever watches.
pub(crate) fn report(name: &str, run: &Run, figures: &str) {
    let moves = run.moves;
    say(format!(
        "{name}: {figures}{}",
        if moves > 0 { format!(", {moves} moves") } else { String::new() }
    ));
}

/// A file for a program's settings.
pub(crate) fn settings(text: &str) -> anyhow::Result<tempfile::NamedTempFile> {
    use std::io::Write;
    let mut file = tempfile::NamedTempFile::with_suffix(".toml")?;
    file.write_all(text.as_bytes())?;
    file.flush()?;
    Ok(file)
}
