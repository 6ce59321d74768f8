//! `OWNER`: which process holds a data directory, and how another one takes its place.
//!
//! RocksDB's own lock says only that somebody is there. This file, locked as long as its process
//! lives, says who: so a successor can make sure that it has stopped. A process that was stopped
//! (SIGSTOP) keeps its locks, and might wake up with a batch half written: it is killed, by a handle
//! that cannot mean another process of the same number, before the store is opened.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::id::Incarnation;
use common::wire::monitor::Appointment;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

const FILE_NAME: &str = "OWNER";
/// How long a killed process may take to let go of its locks: it may be writing to a slow disk.
const DEATH_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A process that has not recorded its life by then never will.
const BEGINNING_MAX: Duration = Duration::from_secs(30);

/// One process, for ever: numbers are used again, together with all of this they are not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    machine: String,
    boot: String,
    pid_namespace: String,
    pid: i32,
    /// Clock ticks from the machine's start to the process's.
    started: u64,
}

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The daemon's name.
    pub daemon: String,
    process: Process,
    /// `None` until it is recorded in the store.
    incarnation: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    #[error("cannot use {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is in use by another process; stop that daemon first", path.display())]
    Busy { path: PathBuf },
    #[error(
        "{} was last held by {daemon} on another machine ({machine}); make sure that it has \
         stopped, then say so with `grove mds fence RANK`",
        path.display()
    )]
    Elsewhere { path: PathBuf, daemon: String, machine: String },
    #[error("{} is held by a newer life of the rank ({daemon}); it is left alone", path.display())]
    Newer { path: PathBuf, daemon: String },
    #[error("{daemon} (process {pid}) was killed and does not end; its disk may hang")]
    Immortal { daemon: String, pid: i32 },
}

/// A data directory that is ours as long as this lives.
#[derive(Debug)]
pub struct Claim {
    file: File,
    owner: Owner,
}

/// Somebody may hold it.
#[derive(Debug)]
pub enum Found {
    /// Nobody does; whoever was the last has not said that it let go.
    Free(Vacancy),
    /// `None`: it has not said who it is yet.
    Held(Option<Owner>),
}

/// Locked, and not yet signed.
#[derive(Debug)]
pub struct Vacancy {
    file: File,
    last: Option<Owner>,
}

/// The id of this machine, or its name if it has none.
#[must_use]
pub fn machine() -> String {
    let ids = ["/etc/machine-id", "/proc/sys/kernel/hostname"];
    let mut texts = ids.into_iter().filter_map(|path| std::fs::read_to_string(path).ok());
    texts.find(|text| !text.trim().is_empty()).map_or_else(String::new, |id| id.trim().to_owned())
}

impl Process {
    fn own() -> io::Result<Self> {
        let pid = rustix::process::getpid();
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let started = started(pid)?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self {
            machine: machine(),
            boot: boot.trim().to_owned(),
            pid_namespace: pid_namespace()?,
            pid: pid.as_raw_pid(),
            started,
        })
    }
}

fn pid_namespace() -> io::Result<String> {
    Ok(std::fs::read_link("/proc/self/ns/pid")?.to_string_lossy().into_owned())
}

/// When a process was started. `None`: there is none.
fn started(pid: Pid) -> io::Result<Option<u64>> {
    let stat = match std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())) {
        Ok(stat) => stat,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // The name, in parentheses, may hold anything; 19 fields follow it before the one we want.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    Ok(fields.split_ascii_whitespace().nth(19).and_then(|field| field.parse().ok()))
}

/// Looks who holds a data directory, and locks it if nobody does.
///
/// # Errors
/// The file cannot be used.
pub fn look(dir: &Path) -> Result<Found, OwnerError> {
    let path = dir.join(FILE_NAME);
    let looked = || -> io::Result<Found> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let free = match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => true,
            Err(Errno::WOULDBLOCK) => false,
            Err(error) => return Err(error.into()),
        };
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let last = serde_json::from_str(&text).ok();
        Ok(if free { Found::Free(Vacancy { file, last }) } else { Found::Held(last) })
    };
    looked().map_err(|source| OwnerError::Io { path: path.clone(), source })
}

impl Vacancy {
    /// Whether the last owner, if it still lives, cannot write any more: it was a process of this
    /// machine, and its lock is free.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.last.as_ref().is_none_or(|owner| owner.process.machine == machine())
    }

    /// # Errors
    /// The file cannot be written.
    pub fn sign(self, dir: &Path, daemon: &str) -> Result<Claim, OwnerError> {
        let failed = |source| OwnerError::Io { path: dir.join(FILE_NAME), source };
        let process = Process::own().map_err(failed)?;
        let owner = Owner { daemon: daemon.to_owned(), process, incarnation: None };
        let mut claim = Claim { file: self.file, owner };
        claim.write().map_err(failed)?;
        Ok(claim)
    }
}

impl Claim {
    /// # Errors
    /// The file cannot be written.
    pub fn record(&mut self, incarnation: Incarnation) -> io::Result<()> {
        self.owner.incarnation = Some(incarnation.0);
        self.write()
    }

    /// For a clean end: nothing more is written, and any machine may have the store once this
    /// process has ended (until then threads hold it open).
    pub fn let_go(mut self) {
        // If this fails, the next one finds us dead.
        let _ = self.file.rewind().and_then(|()| self.file.set_len(0));
        std::mem::forget(self.file);
    }

    fn write(&mut self) -> io::Result<()> {
        let text = serde_json::to_string(&self.owner).map_err(io::Error::other)?;
        self.file.rewind()?;
        self.file.set_len(0)?;
        self.file.write_all(text.as_bytes())?;
        self.file.sync_all()
    }
}

/// Takes a data directory over, from a process that was declared dead and may not be.
///
/// # Errors
/// It must not, or could not be made sure that nobody else writes to it.
pub async fn seize(dir: &Path, daemon: &str, order: &Appointment) -> Result<Claim, OwnerError> {
    let deadline = Instant::now() + DEATH_MAX;
    let mut killed: Option<Owner> = None;
    loop {
        match look(dir)? {
            Found::Free(vacancy) if vacancy.is_safe() || order.fenced => {
                return vacancy.sign(dir, daemon);
            }
            Found::Free(vacancy) => return Err(elsewhere(dir, vacancy.last)),
            Found::Held(Some(owner)) if killed.as_ref() != Some(&owner) => {
                stop(dir, &owner, order)?;
                killed = Some(owner);
            }
            Found::Held(_) if Instant::now() < deadline => tokio::time::sleep(LOOK_EVERY).await,
            Found::Held(Some(owner)) => {
                return Err(OwnerError::Immortal { daemon: owner.daemon, pid: owner.process.pid });
            }
            Found::Held(None) => return Err(OwnerError::Busy { path: dir.to_owned() }),
        }
    }
}

fn elsewhere(dir: &Path, last: Option<Owner>) -> OwnerError {
    let (daemon, machine) =
        last.map(|owner| (owner.daemon, owner.process.machine)).unwrap_or_default();
    OwnerError::Elsewhere { path: dir.to_owned(), daemon, machine }
}

/// Kills the holder, if it is the one that is to be dead.
fn stop(dir: &Path, owner: &Owner, order: &Appointment) -> Result<(), OwnerError> {
    let path = dir.to_owned();
    let is_newer = match owner.incarnation {
        Some(incarnation) => incarnation > order.dead.0,
        None => !began_long_ago(dir),
    };
    if is_newer {
        return Err(OwnerError::Newer { path, daemon: owner.daemon.clone() });
    }
    let failed = |source| OwnerError::Io { path: dir.join(FILE_NAME), source };
    let own = Process::own().map_err(failed)?;
    let (process, daemon) = (&owner.process, &owner.daemon);
    let near = own.machine == process.machine && own.boot == process.boot;
    if !near || own.pid_namespace != process.pid_namespace {
        return Err(elsewhere(dir, Some(owner.clone())));
    }
    if kill(process).map_err(failed)? {
        warn!(daemon, pid = process.pid, path = %path.display(), "killed whoever held the store");
    } else {
        info!(daemon, pid = process.pid, "whoever held the store has ended");
    }
    Ok(())
}

fn began_long_ago(dir: &Path) -> bool {
    let written = std::fs::metadata(dir.join(FILE_NAME)).and_then(|file| file.modified());
    let age = written.ok().and_then(|written| written.elapsed().ok());
    age.is_some_and(|age| age > BEGINNING_MAX)
}

/// False: it was gone already.
fn kill(process: &Process) -> io::Result<bool> {
    let Some(pid) = Pid::from_raw(process.pid) else { return Ok(false) };
    let handle = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(Errno::SRCH) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    // The handle is opened: from here on the number cannot come to mean another process.
    if started(pid)? != Some(process.started) {
        return Ok(false);
    }
    match pidfd_send_signal(&handle, Signal::KILL) {
        Ok(()) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
