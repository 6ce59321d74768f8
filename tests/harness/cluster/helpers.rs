//! `Helpers`: our binary as `mount(8)` and `umount(8)` find it. Dropped means as it was before.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use rustix::fs::{FlockOperation, flock};

use super::{binary, run};

/// Where `mount(8)` looks, and nowhere else.
const FOLDER: &str = "/sbin";
const NAMES: [&str; 4] =
    ["mount.grovefs", "mount.fuse.grovefs", "umount.grovefs", "umount.fuse.grovefs"];

#[derive(Debug)]
pub struct Helpers {
    /// What was there, if it was a link that led somewhere.
    before: Vec<(PathBuf, Option<PathBuf>)>,
    /// One test of this machine at a time.
    _alone: File,
}

impl Helpers {
    /// Waits until no other test has them there.
    ///
    /// # Errors
    /// If they cannot be put there; for one, we may not be root.
    pub fn install() -> anyhow::Result<Self> {
        let lock = std::env::temp_dir().join("grovefs-test-helpers.lock");
        let alone = File::create(&lock).with_context(|| format!("make {}", lock.display()))?;
        flock(&alone, FlockOperation::LockExclusive)?;
        let before = NAMES.map(|name| {
            let path = Path::new(FOLDER).join(name);
            let led_to = std::fs::read_link(&path).ok().filter(|_| path.exists());
            (path, led_to)
        });
        let helpers = Self { before: before.into(), _alone: alone };
        run(Command::new(binary("grove")?).args(["install", "--dir", FOLDER]))?;
        for (path, _) in &helpers.before {
            let leads_to = std::fs::read_link(path)?;
            ensure!(leads_to.canonicalize()? == binary("grove")?.canonicalize()?);
        }
        Ok(helpers)
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        for (path, before) in &self.before {
            if path.is_symlink() {
                std::fs::remove_file(path).ok();
            }
            if let Some(led_to) = before {
                symlink(led_to, path).ok();
            }
        }
    }
}
