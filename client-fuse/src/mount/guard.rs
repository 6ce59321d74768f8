//! The guard: a process beside the mount's, which breaks the connection when that one was killed.
//!
//! See [`super::dead`]: the kernel alone may wait for ever, and everybody who uses the mount with it.
//! The guard sleeps until then, and has nothing of the mount's open.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};

use super::presence::{self, Server};
use super::table::{self, Mounted};

/// The name of the sub-command that is the guard. Not for users.
pub const COMMAND: &str = "guard-mount";
/// A killed process may need this long until its first thread has ended.
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// Its process, as the mount's sees it. Dropped means stopped.
#[derive(Debug)]
pub struct Guard(Child);

impl Guard {
    /// Must be called by the thread that ends last: the kernel tells the guard when that one ends.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start(mountpoint: &Path) -> io::Result<Self> {
        let own = rustix::process::getpid().as_raw_pid().to_string();
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(COMMAND).arg(own).arg(mountpoint).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // If this fails it has ended, or will find that the mount is not ours.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for the end of the process that started us.
///
/// # Errors
/// The connection could not be broken.
pub fn run(served_by: i32, mountpoint: &Path) -> anyhow::Result<()> {
    rustix::process::setsid().context("cannot leave the terminal")?;
    let mounted = table::find(mountpoint)?.context("not mounted")?;
    let server = presence::server_of(&mounted.device);
    wait_for_death(Pid::from_raw(served_by))?;
    if has_ended(&server)? && table::find(mountpoint)?.as_ref() == Some(&mounted) {
        break_connection(&mounted).context("cannot break the connection")?;
    }
    Ok(())
}

fn wait_for_death(parent: Option<Pid>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _entered = runtime.enter();
    let mut told = signal(SignalKind::user_defined1())?;
    set_parent_process_death_signal(Some(Signal::USR1))?;
    if getppid() != parent {
        return Ok(());
    }
    runtime.block_on(told.recv());
    Ok(())
}

/// The kernel tells us while it is about to end the thread.
fn has_ended(server: &Server) -> io::Result<bool> {
    let began = std::time::Instant::now();
    while began.elapsed() < ENDS_WITHIN {
        match server.has_ended() {
            Some(true) => return Ok(true),
            // It has given everything back.
            None => return Ok(false),
            Some(false) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    Ok(false)
}

/// Whoever waits is answered ECONNABORTED, whoever comes is answered ENOTCONN; the mountpoint stays as
/// it is until somebody unmounts it.
fn break_connection(mounted: &Mounted) -> io::Result<()> {
    let minor = mounted.device.rsplit(':').next().unwrap_or_default();
    let switch = PathBuf::from("/sys/fs/fuse/connections").join(minor).join("abort");
    match fs::write(switch, "1") {
        // The folder's file system need not be mounted.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        done => return done,
    }
    // Somebody who uses it: or the mount would go, and files be made in the folder below it.
    let _user: File = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(OFlags::PATH.bits()).unwrap_or_default())
        .open(&mounted.mountpoint)?;
    match unmount(&mounted.mountpoint, UnmountFlags::FORCE) {
        Err(Errno::BUSY) => Ok(()),
        done => Ok(done?),
    }
}
