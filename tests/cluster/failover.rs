//! Daemons die, are stopped, are cut off, with others standing by: who uses the file system only waits.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use rustix::process::Signal;
use tests::cluster::mount::Mount;
use tests::cluster::{Cluster, pass, wait_until};

use crate::load::{Presence, Progress, Worker, longest, wait_for_progress, while_working};

/// No call may wait longer for a rank that is taken over, or comes back.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// A cluster whose every rank holds a directory that somebody works in.
struct Story {
    cluster: Cluster,
    mount: Mount,
    dirs: Vec<PathBuf>,
}

impl Story {
    fn new(ranks: u16, standbys: u16) -> anyhow::Result<Self> {
        let cluster = Cluster::start_with_standbys(ranks, standbys, "")?;
        for text in [
            "lost",
            "no monitor",
            "took this incarnation for dead",
            "killed whoever held",
            "does not acknowledge this rank",
            "monitor not reachable",
            "a connection was not accepted",
            "cannot take over",
        ] {
            cluster.expect_log(text);
        }
        let mount = cluster.mount("mount")?;
        let mut dirs = Vec::new();
        for rank in 0..ranks {
            let name = format!("dir-{rank}");
            std::fs::create_dir(mount.path(&name))?;
            if rank > 0 {
                cluster.export(Path::new(&format!("/{name}")), rank)?;
            }
            dirs.push(mount.path(&name));
        }
        Ok(Self { cluster, mount, dirs })
    }

    /// Does something while everybody works, waits until work goes on, and ends everything well.
    fn tell(self, happens: impl FnOnce(&Cluster) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let presence = Presence::default();
        let hire = |(dir, seed): (&PathBuf, u64)| Worker::new(vec![dir.clone()], &presence, seed);
        let mut workers: Vec<_> = self.dirs.iter().zip(1..).map(hire).collect();
        let progress: Vec<Progress> = self.dirs.iter().map(|_| Progress::default()).collect();
        while_working(&mut workers, &progress, || {
            wait_for_progress(&progress, 20)
                .and_then(|()| happens(&self.cluster))
                .and_then(|()| self.cluster.wait_active())
                .and_then(|()| wait_for_progress(&progress, 20))
        })?;
        let longest = longest(&progress);
        ensure!(longest < WAIT_MAX, "a call took {longest:?}");
        for (worker, dir) in workers.iter_mut().zip(&self.dirs) {
            worker.check()?;
            worker.clean()?;
            std::fs::remove_dir(dir)?;
        }
        self.mount.unmount()?;
        self.cluster.end()
    }
}

fn taken_over(cluster: &Cluster, rank: u16, from: &str) -> anyhow::Result<()> {
    wait_until("somebody else holds the rank", || Ok(cluster.holder(rank)? != from))
}

#[test]
fn a_standby_takes_the_place_of_a_daemon_that_was_killed() -> anyhow::Result<()> {
    Story::new(2, 1)?.tell(|cluster| {
        cluster.kill_daemon("mds-1")?;
        taken_over(cluster, 1, "mds-1")?;
        ensure!(cluster.holder(1)? == "mds-2");
        // Its old daemon finds its store in use, and stands by in its turn.
        cluster.start_daemon("mds-1")?;
        wait_until("it stands by", || {
            Ok(cluster.grove_json(&["status", "--brief"])?["standbys"][0]["daemon"] == "mds-1")
        })?;
        cluster.wait_active()?;
        cluster.kill_daemon("mds-2")?;
        taken_over(cluster, 1, "mds-2")
    })
}

#[test]
fn a_daemon_that_was_stopped_for_a_moment_goes_on() -> anyhow::Result<()> {
    Story::new(2, 1)?.tell(|cluster| {
        cluster.signal_daemon("mds-1", Signal::STOP)?;
        pass(Duration::from_millis(2500));
        cluster.signal_daemon("mds-1", Signal::CONT)?;
        cluster.wait_active()?;
        ensure!(cluster.holder(1)? == "mds-1");
        Ok(())
    })
}

#[test]
fn the_root_rank_and_another_die_at_once() -> anyhow::Result<()> {
    Story::new(3, 2)?.tell(|cluster| {
        cluster.kill_daemon("mds-0")?;
        cluster.kill_daemon("mds-2")?;
        taken_over(cluster, 0, "mds-0")?;
        taken_over(cluster, 2, "mds-2")
    })
}

#[test]
fn the_monitor_restarts_while_a_rank_is_dead() -> anyhow::Result<()> {
    Story::new(2, 1)?.tell(|cluster| {
        cluster.kill_daemon("mds-1")?;
        cluster.kill_daemon("mon")?;
        cluster.start_daemon("mon")?;
        taken_over(cluster, 1, "mds-1")
    })
}

#[test]
fn ranks_stand_still_while_the_monitor_is_away_and_go_on_when_it_is_back() -> anyhow::Result<()> {
    Story::new(2, 0)?.tell(|cluster| {
        cluster.kill_daemon("mon")?;
        // Longer than a lease: nobody may lose a session by it.
        pass(Duration::from_secs(12));
        cluster.start_daemon("mon")
    })
}
