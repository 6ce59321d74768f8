//! What a mount has answered before a rank has made it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, ensure};
use tests::cluster::Cluster;

const DIRS: usize = 20;
const FILES: usize = 20;
const ROUNDS: usize = 15;

/// A tree, made as fast as the kernel goes.
fn make(top: &Path) -> anyhow::Result<()> {
    fs::create_dir(top)?;
    for dir in 0..DIRS {
        let dir = top.join(format!("d{dir}"));
        fs::create_dir(&dir)?;
        for file in 0..FILES {
            File::create(dir.join(format!("f{file}")))?;
        }
        fs::remove_file(dir.join("f0"))?;
        fs::create_dir(dir.join("sub"))?;
    }
    Ok(())
}

/// Nothing of it is missing.
fn check(top: &Path) -> anyhow::Result<()> {
    let count = |dir: &Path| -> anyhow::Result<usize> {
        Ok(fs::read_dir(dir).with_context(|| format!("{}", dir.display()))?.count())
    };
    ensure!(count(top)? == DIRS, "{}: {}", top.display(), count(top)?);
    for dir in 0..DIRS {
        let dir = top.join(format!("d{dir}"));
        ensure!(count(&dir)? == FILES, "{}: {}", dir.display(), count(&dir)?);
        ensure!(!dir.join("f0").exists() && dir.join("sub").is_dir(), "{}", dir.display());
    }
    Ok(())
}

/// One makes a tree, the other looks at it and removes it.
fn turn(homes: &[PathBuf; 2], round: usize) -> anyhow::Result<()> {
    let tree = |whose: usize| homes[whose % 2].join(format!("r{round}"));
    make(&tree(round))?;
    check(&tree(round + 1))?;
    check(&tree(round))?;
    fs::remove_dir_all(tree(round + 1))?;
    ensure!(!tree(round).exists(), "round {round}");
    Ok(())
}

/// Whoever asks through another mount waits until it is made.
#[test]
fn others_see_what_was_answered_while_it_moves() -> anyhow::Result<()> {
    let cluster = Cluster::start(2, "")?;
    let (one, two) = (cluster.mount("one")?, cluster.mount("two")?);
    fs::create_dir(one.path("home"))?;
    let homes = [one.path("home"), two.path("home")];
    let over = AtomicBool::new(false);
    let moves = std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let worked = (0..ROUNDS).try_for_each(|round| turn(&homes, round));
            over.store(true, Ordering::Relaxed);
            worked
        });
        let mut moves = 0;
        for rank in ["1", "0"].into_iter().cycle() {
            if over.load(Ordering::Relaxed) {
                break;
            }
            // A directory that is there already, or busy, is left alone.
            moves += u32::from(cluster.grove(&["export", "/home", rank, "--wait"]).is_ok());
        }
        worker.join().expect("no panic").map(|()| moves)
    })?;
    ensure!(moves > 0, "nothing has moved");
    one.unmount()?;
    two.unmount()?;
    cluster.end()
}

/// `fsync` of anything waits for all that was answered.
#[test]
fn what_was_synced_survives_the_death_of_its_mount_and_of_its_rank() -> anyhow::Result<()> {
    let cluster = Cluster::start(1, "")?;
    // Its next life registers, and may be busy for longer than it may be before it is first acknowledged.
    cluster.expect_log("does not acknowledge this rank");
    let (dying, other) = (cluster.mount("dying")?, cluster.mount("other")?);
    make(&dying.path("top"))?;
    File::open(dying.path("top/d0/f1"))?.sync_all()?;
    let point = dying.kill()?;
    cluster.kill_daemon("mds-0")?;
    cluster.start_daemon("mds-0")?;
    check(&other.path("top"))?;
    cluster.grove(&["umount", point.to_str().context("our paths are ASCII")?])?;
    other.unmount()?;
    cluster.end()
}

/// And so does whoever unmounts.
#[test]
fn what_was_answered_is_there_after_unmounting() -> anyhow::Result<()> {
    let cluster = Cluster::start(1, "")?;
    let (leaving, other) = (cluster.mount("leaving")?, cluster.mount("other")?);
    make(&leaving.path("top"))?;
    leaving.unmount()?;
    check(&other.path("top"))?;
    other.unmount()?;
    cluster.end()
}
