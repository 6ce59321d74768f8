//! What is to be done about a mount whose process was killed.
//!
//! The kernel breaks the connection when the last thread has left it. One that was asking the kernel
//! to forget a name cannot, while somebody works in that directory; and whoever works there waits for
//! an answer of the dead process. So nothing here asks the mount itself, as long as more is known of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use super::presence;
use super::table::Mounted;

/// A mount whose process is not known is asked, and lives if it does not answer in this time.
const ANSWER: Duration = Duration::from_secs(5);

/// Whether the process that served this mount has ended.
#[must_use]
pub fn is_dead(mounted: &Mounted) -> bool {
    let known = presence::server_of(&mounted.device).has_ended();
    known.unwrap_or_else(|| has_no_answer(&mounted.mountpoint))
}

fn has_no_answer(mountpoint: &Path) -> bool {
    let (sender, answer) = mpsc::channel();
    let mountpoint: PathBuf = mountpoint.to_owned();
    // It may never come back: a thread that waits is left behind.
    thread::spawn(move || sender.send(fs::metadata(mountpoint).map(drop)));
    let errors = [Errno::NOTCONN, Errno::CONNABORTED].map(|errno| Some(errno.raw_os_error()));
    let answer = answer.recv_timeout(ANSWER);
    matches!(answer, Ok(Err(error)) if errors.contains(&error.raw_os_error()))
}

/// Lets go of everybody who waits for a dead mount, and takes it out of the tree.
///
/// # Errors
/// The kernel does not do it; for one, we may not be root.
pub fn unmount_dead(mountpoint: &Path) -> io::Result<()> {
    // Breaks the connection, then says that the mount is in use if it is.
    match unmount(mountpoint, UnmountFlags::FORCE) {
        Err(Errno::BUSY) => Ok(unmount(mountpoint, UnmountFlags::DETACH)?),
        done => Ok(done?),
    }
}
