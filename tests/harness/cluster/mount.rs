//! `Mount`: a mounted file system, and the ways to make one. Dropped means unmounted.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use super::{Cluster, binary, run, wait_until};

#[derive(Debug)]
pub struct Mount {
    point: PathBuf,
    mounted: bool,
}

impl Mount {
    fn new(point: PathBuf) -> Self {
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

    /// The process that serves it.
    ///
    /// # Errors
    /// If there is none.
    pub fn process(&self) -> anyhow::Result<Pid> {
        self.process_of("mount")
    }

    /// The process that stands beside it.
    ///
    /// # Errors
    /// If there is none.
    pub fn guard(&self) -> anyhow::Result<Pid> {
        self.process_of("guard-mount")
    }

    fn process_of(&self, sub_command: &str) -> anyhow::Result<Pid> {
        for entry in std::fs::read_dir("/proc")? {
            let entry = entry?;
            let Ok(number) = entry.file_name().to_string_lossy().parse() else { continue };
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
            let serves = words.get(1) == Some(&sub_command.as_bytes())
                && words.contains(&self.point.as_os_str().as_encoded_bytes());
            if serves && let Some(pid) = Pid::from_raw(number) {
                return Ok(pid);
            }
        }
        anyhow::bail!("there is no `{sub_command}` of {}", self.point.display())
    }

    /// # Errors
    /// If nobody serves it.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(self.process()?, signal).context("signal a mount")
    }

    /// `kill -9`: the mountpoint stays as it is, and dead.
    ///
    /// # Errors
    /// If nobody serves it.
    pub fn kill(mut self) -> anyhow::Result<PathBuf> {
        self.kill_process()?;
        Ok(self.point.clone())
    }

    /// The same, for somebody who will put another mount in this one's place.
    ///
    /// # Errors
    /// If nobody serves it.
    pub fn kill_process(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.mounted = false;
        Ok(())
    }

    /// It was unmounted by other means.
    pub fn is_unmounted(mut self) {
        self.mounted = false;
    }

    /// Unmounts, and waits until everything is given back.
    ///
    /// # Errors
    /// What `grove umount` says.
    pub fn unmount(mut self) -> anyhow::Result<()> {
        self.mounted = false;
        let grove = binary("grove")?;
        // A program that another test starts has all files of this process until it executes.
        wait_until("nobody uses the mount", || {
            run(Command::new(&grove).arg("umount").arg(&self.point)).map(|_| true)
        })
    }
}

impl Cluster {
    /// Mounts the file system at a new folder of that name.
    ///
    /// # Errors
    /// What `grove mount` says.
    pub fn mount(&self, name: &str) -> anyhow::Result<Mount> {
        self.mount_with(name, &[])
    }

    /// # Errors
    /// What `grove mount` says.
    pub fn mount_with(&self, name: &str, options: &[&str]) -> anyhow::Result<Mount> {
        self.mount_source(&self.monitor, name, options)
    }

    /// Mounts a directory of the file system. `part`: `:/PATH`.
    ///
    /// # Errors
    /// What `grove mount` says.
    pub fn mount_part(&self, part: &str, name: &str) -> anyhow::Result<Mount> {
        self.mount_source(&format!("{}{part}", self.monitor), name, &[])
    }

    fn mount_source(&self, source: &str, name: &str, options: &[&str]) -> anyhow::Result<Mount> {
        let point = self.mountpoint(name)?;
        let mut command = self.command_at(name, &binary("grove")?)?;
        command.args(["mount", source]).env("GROVE_CONFIG", self.path("client.toml"));
        command.arg(&point).args(options).arg("--log").arg(self.path(&format!("{name}.log")));
        run(&mut command)?;
        Ok(Mount::new(point))
    }

    /// A folder of that name, for a mount.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn mountpoint(&self, name: &str) -> anyhow::Result<PathBuf> {
        let point = self.path(name);
        match std::fs::create_dir(&point) {
            // A mount that was killed has left it as it was, and out of reach.
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.into()),
            Ok(()) | Err(_) => Ok(point),
        }
    }

    /// `mount -t grovefs MONITOR…`, as root types it or systemd starts it: all it has is what `-o` says.
    /// `part`: `:/PATH`, or nothing.
    ///
    /// # Errors
    /// What `mount` says. The helpers must be there.
    pub fn mount_as_people_do(
        &self,
        part: &str,
        name: &str,
        options: &str,
    ) -> anyhow::Result<Mount> {
        let point = self.mountpoint(name)?;
        let source = format!("{}{part}", self.monitor);
        let options = format!("{},{options}", self.options_for(name));
        let mut mount = Command::new("mount");
        mount.args(["-t", "grovefs", "-o", &options]).arg(source).arg(&point);
        run(&mut mount)?;
        Ok(Mount::new(point))
    }

    /// What fstab says for a mount at the folder of that name.
    #[must_use]
    pub fn options_for(&self, name: &str) -> String {
        let (config, log) = (self.path("client.toml"), self.path(&format!("{name}.log")));
        format!("config={},log={}", config.display(), log.display())
    }

    /// Something that was mounted by other means, at the folder of that name.
    #[must_use]
    pub fn mounted_at(&self, name: &str) -> Mount {
        Mount::new(self.path(name))
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
