//! How long a rank with many inodes is away when it is killed under load: until it is active, and until
//! the first call is answered. `RECOVERY_INODES` says how many; `scripts/soak` takes 100,000.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tests::cluster::mount::Mount;
use tests::cluster::{Cluster, say, wait_until};

use crate::load::{Presence, Progress, Worker, longest, wait_for_progress};

const RANK: u16 = 1;
const MAKERS: u64 = 4;
const PER_DIR: u64 = 1000;
const INODES: u64 = 2000;

fn inodes() -> u64 {
    std::env::var("RECOVERY_INODES").ok().and_then(|text| text.parse().ok()).unwrap_or(INODES)
}

/// Files in directories of a thousand, made by several threads.
fn fill(root: &Path, count: u64) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let makers: Vec<_> = (0..MAKERS)
            .map(|maker| {
                scope.spawn(move || -> std::io::Result<()> {
                    let mut last = PathBuf::new();
                    for number in (maker..count).step_by(usize::try_from(MAKERS).unwrap_or(1)) {
                        let dir = root.join(format!("d{maker}-{}", number / PER_DIR));
                        if dir != last {
                            fs::create_dir(&dir)?;
                            last.clone_from(&dir);
                        }
                        fs::File::create(dir.join(number.to_string()))?;
                    }
                    Ok(())
                })
            })
            .collect();
        for maker in makers {
            maker.join().map_err(|_| anyhow::anyhow!("a maker panicked"))??;
        }
        Ok(())
    })
}

/// Of what was made, what is there.
fn count(root: &Path) -> std::io::Result<u64> {
    let mut files = 0;
    for dir in fs::read_dir(root)? {
        let dir = dir?;
        if dir.file_name().to_string_lossy().contains('-') {
            files += fs::read_dir(dir.path())?.count() as u64;
        }
    }
    Ok(files)
}

/// A rank that holds what was made, and somebody who works there.
struct Story {
    cluster: Cluster,
    mount: Mount,
    root: PathBuf,
}

impl Story {
    fn new(standbys: u16) -> anyhow::Result<Self> {
        let cluster = Cluster::start_with_standbys(2, standbys, "")?;
        for text in ["lost", "session ended", "took this incarnation for dead"] {
            cluster.expect_log(text);
        }
        let mount = cluster.mount("mount")?;
        let root = mount.path("many");
        fs::create_dir(&root)?;
        cluster.export(Path::new("/many"), RANK)?;
        fs::create_dir(root.join("work"))?;
        let count = inodes();
        let began = Instant::now();
        fill(&root, count)?;
        say(format_args!("{count} files made in {:.1?}", began.elapsed()));
        Ok(Self { cluster, mount, root })
    }

    /// Until active, and until a call is answered.
    fn kill(&self, restart: bool) -> anyhow::Result<(Duration, Duration)> {
        let (name, before) = (self.cluster.holder(RANK)?, self.cluster.incarnation(RANK)?);
        self.cluster.kill_daemon(&name)?;
        let died = Instant::now();
        if restart {
            self.cluster.start_daemon(&name)?;
        }
        let root = &self.root;
        std::thread::scope(|scope| {
            let asks = scope.spawn(move || fs::metadata(root).map(|_| died.elapsed()));
            wait_until("the rank is active", || {
                let status = self.cluster.grove_json(&["status", "--brief"])?;
                let rank = &status["ranks"][usize::from(RANK)];
                let is_new = rank["incarnation"].as_u64() > Some(before);
                Ok(is_new && rank["state"] == "active")
            })?;
            let active = died.elapsed();
            let answered = asks.join().map_err(|_| anyhow::anyhow!("it panicked"))?;
            Ok((active, answered.context("no call fails")?))
        })
    }

    fn tell(self, how: &str, restart: bool) -> anyhow::Result<()> {
        let (stop, presence) = (AtomicBool::new(false), Presence::default());
        let mut workers = [Worker::new(vec![self.root.join("work")], &presence, 1)];
        let progress = [Progress::default()];
        std::thread::scope(|scope| -> anyhow::Result<()> {
            let worker = scope.spawn(|| workers[0].work(&stop, &progress[0]));
            let killed = wait_for_progress(&progress, 50).and_then(|()| self.kill(restart));
            let went_on = wait_for_progress(&progress, 5);
            stop.store(true, Ordering::Relaxed);
            worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
            let (active, answered) = killed?;
            went_on?;
            say(format_args!(
                "rank with {} inodes killed, {how}: active after {active:.2?}, first call answered \
                 after {answered:.2?}, longest call of the load {:.2?}",
                inodes(),
                longest(&progress)
            ));
            Ok(())
        })?;
        let there = count(&self.root)?;
        ensure!(there == inodes(), "{there} of {} files are there", inodes());
        workers[0].check()?;
        self.mount.unmount()?;
        self.cluster.end()
    }
}

#[test]
fn a_rank_with_many_inodes_restarts() -> anyhow::Result<()> {
    Story::new(0)?.tell("restarted", true)
}

#[test]
fn a_rank_with_many_inodes_is_replaced() -> anyhow::Result<()> {
    Story::new(1)?.tell("replaced by a standby", false)
}
