//! A locked file for each mount, so that `grove umount` can wait until its process has ended.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::mount::table;

/// Where the files lie: for root in `/run`, for others where the system says.
fn folder() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let is_root = rustix::process::geteuid().is_root();
    let base =
        if is_root { PathBuf::from("/run") } else { runtime.unwrap_or_else(std::env::temp_dir) };
    base.join("grovefs")
}

fn file_of(device: &str) -> PathBuf {
    folder().join(format!("mount-{}.lock", device.replace(':', "-")))
}

/// Locks the file of our own mount, for as long as the process lives.
///
/// # Errors
/// The file cannot be made.
pub fn show(mountpoint: &Path) -> io::Result<File> {
    let mounted = table::find(mountpoint)?.ok_or(io::ErrorKind::NotFound)?;
    fs::create_dir_all(folder())?;
    let path = file_of(&mounted.device);
    // The kernel gives a device number anew as soon as it is free: an earlier mount's process may
    // still hold the file of that name.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// The process that serves a mount, to be found before the mount is gone and its number free.
#[derive(Debug)]
pub struct Server(Option<File>);

/// A mount that could not be recorded has a server of which nothing is known.
#[must_use]
pub fn server_of(device: &str) -> Server {
    Server(File::open(file_of(device)).ok())
}

impl Server {
    /// Waits until it has ended. False: it has not, in this time.
    #[must_use]
    pub fn wait_for_end(self, time: Duration) -> bool {
        let Self(Some(file)) = self else { return true };
        let (ended, end) = mpsc::channel();
        // Nothing ends a wait for a lock early: a thread that still waits is left behind.
        thread::spawn(move || ended.send(flock(&file, FlockOperation::LockShared)));
        matches!(end.recv_timeout(time), Ok(Ok(())))
    }
}
