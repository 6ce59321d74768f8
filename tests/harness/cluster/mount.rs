//! `Mount`: a mounted file system. Dropped means unmounted.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{binary, run};

#[derive(Debug)]
pub struct Mount {
    point: PathBuf,
    mounted: bool,
}

impl Mount {
    pub(super) fn new(point: PathBuf) -> Self {
        Self { point, mounted: true }
    }

    #[must_use]
    pub fn point(&self) -> &Path {
        &self.point
    }

    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.point.join(name)
    }

    /// Unmounts, and waits until everything is given back.
    ///
    /// # Errors
    /// What `grove umount` says.
    pub fn unmount(mut self) -> anyhow::Result<()> {
        self.mounted = false;
        run(Command::new(binary("grove")?).arg("umount").arg(&self.point)).map(drop)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.mounted {
            // Nothing to be done if this fails as well: the test has failed before.
            Command::new("umount").arg("--lazy").arg(&self.point).status().ok();
        }
    }
}
