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
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Waits until the process that served this mount has ended. False: it has not, in this time.
#[must_use]
pub fn wait_for_end(device: &str, time: Duration) -> bool {
    let path = file_of(device);
    let Ok(file) = File::open(&path) else { return true };
    let (ended, end) = mpsc::channel();
    // Nothing ends a wait for a lock early: a thread that still waits is left behind.
    thread::spawn(move || ended.send(flock(&file, FlockOperation::LockShared)));
    let over = matches!(end.recv_timeout(time), Ok(Ok(())));
    if over {
        // A later mount may have the same number: it makes the file anew.
        let _ = fs::remove_file(path);
    }
    over
}
