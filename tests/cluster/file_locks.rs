//! Locks of byte ranges (`fcntl`), between processes of two mounts: they exclude, are waited for, and last
//! through moves and deaths; who is gone has none.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use common::limit::{LEASE, LOCK_PROBE};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::process::{Pid, Signal, kill_process};
use tests::cluster::{Cluster, binary, pass, run, wait_until};

use crate::waiting::waits_for_fuse;

/// Between somebody's unlock and the other's lock: an answer, and what the machine is busy with.
const WAKE_UP_MAX: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
enum Kind {
    Read,
    Write,
    Unlock,
}

/// `struct flock`: from `start`, so many bytes; 0: to the end, wherever that will be.
fn range(kind: Kind, start: i64, len: i64) -> libc::flock {
    let kind = match kind {
        Kind::Read => libc::F_RDLCK,
        Kind::Write => libc::F_WRLCK,
        Kind::Unlock => libc::F_UNLCK,
    };
    let l_type = libc::c_short::try_from(kind).expect("is small");
    let l_whence = libc::c_short::try_from(libc::SEEK_SET).expect("is 0");
    libc::flock { l_type, l_whence, l_start: start, l_len: len, l_pid: 0 }
}

fn set(file: &File, kind: Kind, (start, len): (i64, i64)) -> Result<(), Errno> {
    fcntl(file.as_fd(), FcntlArg::F_SETLK(&range(kind, start, len))).map(drop)
}

fn set_and_wait(file: &File, kind: Kind, (start, len): (i64, i64)) -> Result<(), Errno> {
    fcntl(file.as_fd(), FcntlArg::F_SETLKW(&range(kind, start, len))).map(drop)
}

/// Of an open file, whoever has it.
fn set_ofd(file: &File, kind: Kind, (start, len): (i64, i64)) -> Result<(), Errno> {
    fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&range(kind, start, len))).map(drop)
}

fn get(file: &File, kind: Kind, (start, len): (i64, i64)) -> Result<libc::flock, Errno> {
    let mut lock = range(kind, start, len);
    fcntl(file.as_fd(), FcntlArg::F_GETLK(&mut lock))?;
    Ok(lock)
}

fn open(path: &Path) -> anyhow::Result<Arc<File>> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.open(path).with_context(|| format!("open {}", path.display()))?;
    Ok(Arc::new(file))
}

const HELD: Result<(), Errno> = Err(Errno::EAGAIN);
const ALL: (i64, i64) = (0, 0);

/// A process of its own, which does what it is told line by line: see [`child`].
struct Locker {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Locker {
    fn start(file: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--exact", "file_locks::child", "--nocapture"]).env("LOCKER", file);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().context("start a process that locks")?;
        let orders = process.stdin.take().context("it reads orders")?;
        let answers = BufReader::new(process.stdout.take().context("it answers")?);
        let mut locker = Self { process, orders, answers };
        ensure!(locker.answer()? == "ready");
        Ok(locker)
    }

    fn order(&mut self, what: &str) -> anyhow::Result<()> {
        writeln!(self.orders, "{what}")?;
        Ok(())
    }

    /// What it says, apart from what libtest says.
    fn answer(&mut self) -> anyhow::Result<String> {
        loop {
            let mut line = String::new();
            ensure!(self.answers.read_line(&mut line)? > 0, "the process has ended");
            if let Some((_, answer)) = line.trim().rsplit_once("locker: ") {
                return Ok(answer.to_owned());
            }
        }
    }

    fn ask(&mut self, what: &str) -> anyhow::Result<String> {
        self.order(what)?;
        self.answer()
    }

    fn waits(&self) -> anyhow::Result<()> {
        // One of its threads does.
        let tasks = format!("/proc/{}/task", self.process.id());
        wait_until("it waits", || {
            for task in std::fs::read_dir(&tasks)? {
                let id = task?.file_name().to_string_lossy().parse()?;
                if let Some(id) = Pid::from_raw(id)
                    && waits_for_fuse(id)?
                {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    fn kill(mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

/// Not a test: what a [`Locker`] runs. `lock`, `wait` or `unlock`, of everything.
#[test]
fn child() -> anyhow::Result<()> {
    let Some(path) = std::env::var_os("LOCKER").map(PathBuf::from) else { return Ok(()) };
    let file = open(&path)?;
    let mut out = std::io::stdout();
    writeln!(out, "locker: ready")?;
    for order in std::io::stdin().lines() {
        let done = match order?.as_str() {
            "lock" => set(&file, Kind::Write, ALL),
            "wait" => set_and_wait(&file, Kind::Write, ALL),
            "unlock" => set(&file, Kind::Unlock, ALL),
            other => anyhow::bail!("there is no order {other}"),
        };
        match done {
            Ok(()) => writeln!(out, "locker: done")?,
            Err(errno) => writeln!(out, "locker: {errno:?}")?,
        }
    }
    Ok(())
}

/// Locks in a thread, and tells when that was done. Its file is the caller's: to close another descriptor of it
/// would unlock everything.
fn lock_elsewhere(
    file: &Arc<File>,
    kind: Kind,
    at: (i64, i64),
) -> anyhow::Result<JoinHandle<Result<Instant, Errno>>> {
    let file = Arc::clone(file);
    Ok(spawn(move || set_and_wait(&file, kind, at).map(|()| Instant::now())))
}

fn ends(waits: JoinHandle<Result<Instant, Errno>>) -> anyhow::Result<Instant> {
    let ended = waits.join().map_err(|_| anyhow::anyhow!("the thread has panicked"))?;
    ended.context("lock what was waited for")
}

fn ranges_exclude(here: &File, there: &File) -> anyhow::Result<()> {
    set(here, Kind::Write, (10, 10))?;
    ensure!(set(there, Kind::Read, (19, 1)) == HELD);
    ensure!(set(there, Kind::Write, (0, 11)) == HELD);
    set(there, Kind::Write, (0, 10))?;
    set(there, Kind::Write, (20, 0))?;
    let found = get(there, Kind::Read, (0, 0))?;
    ensure!((found.l_start, found.l_len) == (10, 10), "{found:?}");
    ensure!(i32::from(found.l_type) == libc::F_WRLCK && found.l_pid == 0, "{found:?}");
    // To the end of whatever there will be.
    let found = get(here, Kind::Read, (1000, 1))?;
    ensure!((found.l_start, found.l_len) == (20, 0), "{found:?}");
    let own = get(here, Kind::Write, (12, 1))?;
    ensure!(i32::from(own.l_type) == libc::F_UNLCK, "what is one's own is not in the way: {own:?}");
    // In the middle, and shared.
    set(here, Kind::Unlock, (14, 2))?;
    set(there, Kind::Write, (14, 2))?;
    ensure!(set(there, Kind::Write, (13, 1)) == HELD);
    set(here, Kind::Read, (10, 4))?;
    set(there, Kind::Read, (10, 4))?;
    ensure!(set(here, Kind::Write, (10, 1)) == HELD);
    for file in [here, there] {
        set(file, Kind::Unlock, ALL)?;
    }
    ensure!(i32::from(get(here, Kind::Write, ALL)?.l_type) == libc::F_UNLCK);
    Ok(())
}

#[test]
fn locks_hold_between_mounts() -> anyhow::Result<()> {
    let cluster = Cluster::start(1, "")?;
    let (one, other) = (cluster.mount("one")?, cluster.mount("other")?);
    let (here, there) = (open(&one.path("f"))?, open(&other.path("f"))?);
    ranges_exclude(&here, &there)?;

    // Waited for, by a writer and then by two readers.
    set(&here, Kind::Write, ALL)?;
    let writer = lock_elsewhere(&there, Kind::Write, ALL)?;
    pass(LOCK_PROBE);
    ensure!(!writer.is_finished());
    let unlocked = Instant::now();
    set(&here, Kind::Unlock, ALL)?;
    ensure!(ends(writer)? >= unlocked && unlocked.elapsed() < WAKE_UP_MAX);
    ensure!(set(&here, Kind::Read, (0, 1)) == HELD);

    // Whoever closes any descriptor of the file has nothing locked of it any more.
    let again = open(&other.path("f"))?;
    drop(again);
    set(&here, Kind::Write, ALL)?;
    ensure!(set(&there, Kind::Write, ALL) == HELD);
    set(&here, Kind::Unlock, ALL)?;

    // An open file is an owner too, until its last descriptor is closed.
    let (ofd, twice) = (open(&one.path("f"))?, open(&one.path("f"))?);
    set_ofd(&ofd, Kind::Write, ALL)?;
    ensure!(set_ofd(&twice, Kind::Write, ALL) == HELD, "two open files of one process");
    ensure!(set(&there, Kind::Write, ALL) == HELD);
    let kept = ofd.try_clone()?;
    drop(ofd);
    ensure!(set(&there, Kind::Write, ALL) == HELD);
    drop(kept);
    wait_until("it is unlocked", || Ok(set(&there, Kind::Write, ALL).is_ok()))?;
    drop((here, there, twice));
    one.unmount()?;
    other.unmount()?;
    cluster.end()
}

#[test]
fn locks_end_with_whoever_holds_them() -> anyhow::Result<()> {
    let cluster = Cluster::start(1, "")?;
    cluster.expect_log("silent");
    let (one, other) = (cluster.mount("one")?, cluster.mount("other")?);
    let mine = open(&other.path("f"))?;

    // Of two processes of one mount, too.
    let (mut first, mut second) = (Locker::start(&one.path("f"))?, Locker::start(&one.path("f"))?);
    ensure!(first.ask("lock")? == "done" && second.ask("lock")? == "EAGAIN");
    let found = get(&mine, Kind::Read, ALL)?;
    ensure!(i32::from(found.l_type) == libc::F_WRLCK, "{found:?}");
    second.order("wait")?;
    second.waits()?;
    first.kill()?;
    ensure!(second.answer()? == "done");

    // Who is killed while it waits never gets it.
    let mut third = Locker::start(&one.path("f"))?;
    third.order("wait")?;
    third.waits()?;
    third.kill()?;
    second.kill()?;
    wait_until("it is unlocked", || Ok(set(&mine, Kind::Write, ALL).is_ok()))?;
    set(&mine, Kind::Unlock, ALL)?;

    // A signal that is handled ends the wait.
    set(&mine, Kind::Write, ALL)?;
    let mut fourth = Locker::start(&one.path("f"))?;
    fourth.order("wait")?;
    fourth.waits()?;
    let pid = Pid::from_raw(i32::try_from(fourth.process.id())?).context("it has a number")?;
    kill_process(pid, Signal::TERM)?;
    ensure!(!fourth.process.wait()?.success());
    set(&mine, Kind::Unlock, ALL)?;
    set(&mine, Kind::Write, ALL)?;
    set(&mine, Kind::Unlock, ALL)?;

    // A mount that dies has its locks until its session ends.
    let mut last = Locker::start(&one.path("f"))?;
    ensure!(last.ask("lock")? == "done");
    let dead = one.kill()?;
    let began = Instant::now();
    set_and_wait(&mine, Kind::Write, ALL)?;
    ensure!(began.elapsed() < LEASE * 2, "it took {:?}", began.elapsed());
    last.kill()?;
    drop(mine);
    run(Command::new(binary("grove")?).arg("umount").arg(&dead))?;
    other.unmount()?;
    cluster.end()
}

#[test]
fn locks_last_through_moves_and_deaths() -> anyhow::Result<()> {
    let cluster = Cluster::start(2, "")?;
    let (one, other) = (cluster.mount("one")?, cluster.mount("other")?);
    std::fs::create_dir(one.path("dir"))?;
    let (here, there) = (open(&one.path("dir/f"))?, open(&other.path("dir/f"))?);
    set(&here, Kind::Write, (0, 10))?;
    set(&there, Kind::Read, (10, 10))?;
    let check = |what: &str| {
        ensure!(set(&there, Kind::Read, (9, 1)) == HELD, "after {what}");
        ensure!(set(&here, Kind::Write, (10, 1)) == HELD, "after {what}");
        set(&here, Kind::Read, (10, 1)).with_context(|| format!("after {what}"))?;
        set(&here, Kind::Unlock, (10, 1)).with_context(|| format!("after {what}"))
    };
    cluster.export(Path::new("/dir"), 1)?;
    check("a move")?;
    let waits = lock_elsewhere(&there, Kind::Write, (0, 5))?;
    cluster.export(Path::new("/dir"), 0)?;
    cluster.export(Path::new("/dir"), 1)?;
    check("two more")?;
    cluster.kill_daemon("mds-1")?;
    cluster.start_daemon("mds-1")?;
    check("a death")?;
    // To another rank by a rename, and there it is the last name that goes.
    std::fs::rename(other.path("dir/f"), other.path("dir/g"))?;
    std::fs::rename(one.path("dir/g"), one.path("g"))?;
    check("a rename")?;
    std::fs::hard_link(one.path("g"), one.path("h"))?;
    check("a link")?;
    for name in ["g", "h"] {
        std::fs::remove_file(other.path(name))?;
    }
    check("both names are gone")?;
    cluster.kill_daemon("mds-0")?;
    cluster.start_daemon("mds-0")?;
    check("a death of who has it without a name")?;
    ensure!(!waits.is_finished());
    set(&here, Kind::Unlock, ALL)?;
    ends(waits)?;
    drop((here, there));
    std::fs::remove_dir(one.path("dir"))?;
    one.unmount()?;
    other.unmount()?;
    wait_until("nothing is left", || crate::migration::nothing_left(&cluster))?;
    cluster.end()
}

/// Each waits for what the other has; the files are with two ranks.
#[test]
fn a_circle_is_broken() -> anyhow::Result<()> {
    let cluster = Cluster::start(2, "")?;
    let (one, other) = (cluster.mount("one")?, cluster.mount("other")?);
    std::fs::create_dir(one.path("dir"))?;
    let files = |mount: &tests::cluster::mount::Mount| {
        anyhow::Ok((open(&mount.path("f"))?, open(&mount.path("dir/f"))?))
    };
    let (here, there) = (files(&one)?, files(&other)?);
    for rank in [1, 0] {
        cluster.export(Path::new("/dir"), rank)?;
        set(&here.0, Kind::Write, ALL)?;
        set(&there.1, Kind::Write, ALL)?;
        let first = lock_elsewhere(&here.1, Kind::Write, ALL)?;
        // So that the one that is refused is the one that closes the circle, on one rank at least.
        pass(LOCK_PROBE / 2);
        let second = lock_elsewhere(&there.0, Kind::Write, ALL)?;
        wait_until("one of them is refused", || Ok(first.is_finished() || second.is_finished()))?;
        let (loser, winner, let_go) =
            if first.is_finished() { (first, second, &here.0) } else { (second, first, &there.1) };
        let refused = loser.join().map_err(|_| anyhow::anyhow!("the thread has panicked"))?;
        ensure!(refused.err() == Some(Errno::EDEADLK), "with {rank}");
        set(let_go, Kind::Unlock, ALL)?;
        ends(winner)?;
        for file in [&here.0, &here.1, &there.0, &there.1] {
            set(file, Kind::Unlock, ALL)?;
        }
    }
    drop((here, there));
    one.unmount()?;
    other.unmount()?;
    cluster.end()
}
