//! Daemons die, are stopped, are cut off, with others standing by: who uses the file system only waits.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::Signal;
use tests::cluster::mount::Mount;
use tests::cluster::{Cluster, pass, wait_until};

/// No call may wait longer for a rank that is taken over, or comes back.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Makes, renames, reads and removes files until told to stop. Every call must work.
fn work(dir: &Path, stop: &AtomicBool, rounds: &AtomicU64) -> anyhow::Result<Duration> {
    let mut longest = Duration::ZERO;
    for round in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let began = Instant::now();
        let (file, moved) = (dir.join(format!("f{round}")), dir.join("moved"));
        std::fs::write(&file, round.to_string()).context("write")?;
        std::fs::rename(&file, &moved).context("rename")?;
        ensure!(std::fs::read_to_string(&moved).context("read")? == round.to_string());
        std::fs::create_dir(dir.join("sub")).context("mkdir")?;
        std::fs::hard_link(&moved, dir.join("sub/link")).context("link")?;
        ensure!(std::fs::read_dir(dir).context("list")?.count() == 2);
        std::fs::remove_file(&moved).context("unlink")?;
        std::fs::remove_dir_all(dir.join("sub")).context("remove")?;
        rounds.fetch_add(1, Ordering::Relaxed);
        longest = longest.max(began.elapsed());
    }
    Ok(longest)
}

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
        let stop = AtomicBool::new(false);
        let rounds: Vec<AtomicU64> = self.dirs.iter().map(|_| AtomicU64::new(0)).collect();
        let all_go_on = || {
            let before: Vec<u64> = rounds.iter().map(|it| it.load(Ordering::Relaxed)).collect();
            wait_until("work goes on", || {
                let now = rounds.iter().map(|it| it.load(Ordering::Relaxed));
                Ok(now.zip(&before).all(|(now, before)| now > before + 1))
            })
        };
        std::thread::scope(|scope| -> anyhow::Result<()> {
            let workers: Vec<_> = self
                .dirs
                .iter()
                .zip(&rounds)
                .map(|(dir, rounds)| scope.spawn(|| work(dir, &stop, rounds)))
                .collect();
            let happened = all_go_on()
                .and_then(|()| happens(&self.cluster))
                .and_then(|()| self.cluster.wait_active())
                .and_then(|()| all_go_on());
            stop.store(true, Ordering::Relaxed);
            for worker in workers {
                let longest = worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
                ensure!(longest < WAIT_MAX, "a round took {longest:?}");
            }
            happened
        })?;
        for dir in &self.dirs {
            ensure!(std::fs::read_dir(dir)?.count() == 0);
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
fn a_stopped_daemon_is_killed_before_its_store_is_taken_over() -> anyhow::Result<()> {
    Story::new(2, 1)?.tell(|cluster| {
        cluster.signal_daemon("mds-1", Signal::STOP)?;
        taken_over(cluster, 1, "mds-1")?;
        ensure!(!cluster.runs("mds-1"), "it must not wake up again");
        cluster.start_daemon("mds-1")
    })
}

#[test]
fn a_daemon_that_was_stopped_for_long_begins_anew() -> anyhow::Result<()> {
    Story::new(2, 0)?.tell(|cluster| {
        cluster.signal_daemon("mds-1", Signal::STOP)?;
        wait_until("it is declared dead", || {
            Ok(cluster.grove_json(&["status", "--brief"])?["ranks"][1]["state"] == "down")
        })?;
        cluster.signal_daemon("mds-1", Signal::CONT)
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
