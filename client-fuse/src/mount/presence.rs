//! A locked file for each mount, which says who it is to the cluster: so that `grove umount` can wait
//! until its process has ended, and a later mount can end the sessions of one that was killed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::id::{ClientId, ClusterId};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::mount::process::{Life, Process};
use crate::mount::table;

/// What stands in the file until the mount has given everything back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    cluster: String,
    client: u64,
    process: Process,
}

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

/// Our own mount's file, locked as long as the process lives.
#[derive(Debug)]
pub struct Presence(File);

impl Presence {
    /// Everything was given back: there is nothing to be ended in our name.
    pub fn done(mut self) {
        // If this fails, somebody will end sessions that are over already.
        let _ = self.0.rewind().and_then(|()| self.0.set_len(0));
    }
}

/// # Errors
/// The file cannot be made.
pub fn show(mountpoint: &Path, cluster: ClusterId, client: ClientId) -> io::Result<Presence> {
    let mounted = table::find(mountpoint)?.ok_or(io::ErrorKind::NotFound)?;
    let process = Process::own()?;
    let content = Content { cluster: cluster.to_string(), client: client.0, process };
    show_in(&file_of(&mounted.device), &content)
}

fn show_in(path: &Path, content: &Content) -> io::Result<Presence> {
    fs::create_dir_all(path.parent().unwrap_or_else(|| Path::new("/")))?;
    // The kernel gives a device number anew as soon as it is free: an earlier mount's process may
    // still hold the file of that name.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    file.write_all(serde_json::to_string(content).map_err(io::Error::other)?.as_bytes())?;
    Ok(Presence(file))
}

/// A mount of this machine whose process ended without giving anything back.
#[derive(Debug)]
pub struct Dead {
    pub client: ClientId,
    path: PathBuf,
}

impl Dead {
    /// Nothing of it is left.
    pub fn is_buried(self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The dead mounts of a cluster.
#[must_use]
pub fn dead(cluster: ClusterId) -> Vec<Dead> {
    dead_in(&folder(), cluster)
}

fn dead_in(folder: &Path, cluster: ClusterId) -> Vec<Dead> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let read = |path: PathBuf| -> Option<Dead> {
        let mut file = File::open(&path).ok()?;
        let content = read(&mut file)?;
        let dead = content.cluster == cluster.to_string() && has_ended(&file, &content.process);
        dead.then_some(Dead { client: ClientId(content.client), path })
    };
    entries.filter_map(|entry| read(entry.ok()?.path())).collect()
}

fn read(file: &mut File) -> Option<Content> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// A killed process keeps its lock as long as one of its threads cannot leave the kernel; of a process
/// that cannot be seen, the lock is all there is to go by.
fn has_ended(file: &File, process: &Process) -> bool {
    match process.life() {
        Life::Lives => false,
        Life::Ended => true,
        Life::Unknown => flock(file, FlockOperation::NonBlockingLockExclusive).is_ok(),
    }
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
    /// What is known of it. `None`: nothing.
    #[must_use]
    pub fn has_ended(&self) -> Option<bool> {
        let mut file = self.0.as_ref()?;
        file.rewind().ok()?;
        let content = read(&mut file.try_clone().ok()?)?;
        Some(has_ended(file, &content.process))
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn ended() -> Process {
        let mut ended = serde_json::to_value(Process::own().unwrap()).unwrap();
        ended["started"] = 1.into();
        serde_json::from_value(ended).unwrap()
    }

    #[test]
    fn only_those_that_ended_without_a_word_are_dead() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let own = Process::own().unwrap();
        let show = |name, cluster: ClusterId, client, process: &Process| {
            let process = process.clone();
            show_in(&path(name), &Content { cluster: cluster.to_string(), client, process })
                .unwrap()
        };
        let (ours, other) = (ClusterId(7), ClusterId(8));
        let _living = show("living", ours, 1, &own);
        let ended = ended();
        show("gone", ours, 2, &ended).done();
        // It cannot leave the kernel, and so keeps its lock.
        let _stuck = show("killed", ours, 3, &ended);
        drop(show("elsewhere", other, 4, &ended));
        let mut found = dead_in(folder.path(), ours);
        assert_eq!(found.iter().map(|dead| dead.client).collect::<Vec<_>>(), [ClientId(3)]);
        found.remove(0).is_buried();
        assert!(!path("killed").exists());
        assert!(dead_in(folder.path(), ours).is_empty());
    }
}
