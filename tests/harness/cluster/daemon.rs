//! `Daemon`: a child process with a log. Dropped means dead.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::wait_until;

#[derive(Debug)]
pub struct Daemon {
    child: Child,
}

impl Daemon {
    pub(super) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        Ok(Self { child })
    }

    pub(super) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub(super) fn exit(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    pub(super) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().context("kill a daemon")?;
        self.child.wait().context("wait for a daemon").map(drop)
    }

    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), signal).context("signal a daemon")
    }

    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).context("ask a daemon to end")?;
        wait_until("a daemon has ended", || Ok(self.child.try_wait()?.is_some()))?;
        let status = self.child.wait().context("wait for a daemon")?;
        ensure!(status.success(), "a daemon that was asked to end did so with {status}");
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.runs() {
            // Whoever is gone already needs no killing.
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}
