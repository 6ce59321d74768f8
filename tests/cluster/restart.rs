//! Ranks are stopped and killed: what was acknowledged is there, and who waits is answered.

use std::path::Path;

use anyhow::{Context, ensure};
use tests::cluster::Cluster;

const FILES: usize = 200;

fn fill(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir(dir)?;
    for number in 0..FILES {
        std::fs::write(dir.join(format!("file-{number}")), number.to_string())?;
    }
    Ok(())
}

fn check(dir: &Path) -> anyhow::Result<()> {
    ensure!(std::fs::read_dir(dir)?.count() == FILES);
    for number in 0..FILES {
        let text = std::fs::read_to_string(dir.join(format!("file-{number}")))?;
        ensure!(text == number.to_string());
    }
    Ok(())
}

#[test]
fn what_was_acknowledged_is_there_after_kill_and_after_stop() -> anyhow::Result<()> {
    let cluster = Cluster::start(1, "")?;
    cluster.expect_log("lost");
    let mount = cluster.mount("mount")?;
    fill(&mount.path("killed"))?;
    cluster.kill_daemon("mds-0")?;
    cluster.start_daemon("mds-0")?;
    check(&mount.path("killed"))?;

    fill(&mount.path("stopped"))?;
    cluster.stop_daemon("mds-0")?;
    cluster.start_daemon("mds-0")?;
    check(&mount.path("stopped"))?;
    check(&mount.path("killed"))?;
    mount.unmount()?;
    cluster.end()
}

#[test]
fn a_new_mount_finds_what_an_old_one_made() -> anyhow::Result<()> {
    let cluster = Cluster::start(2, "")?;
    let mount = cluster.mount("before")?;
    fill(&mount.path("dir"))?;
    cluster.export(Path::new("/dir"), 1)?;
    mount.unmount()?;
    for name in ["mds-0", "mds-1", "mon"] {
        cluster.stop_daemon(name)?;
    }
    for name in ["mon", "mds-0", "mds-1"] {
        cluster.start_daemon(name)?;
    }
    cluster.wait_active()?;
    let mount = cluster.mount("after")?;
    check(&mount.path("dir"))?;
    mount.unmount()?;
    cluster.end()
}

#[test]
fn work_waits_for_a_rank_and_does_not_fail() -> anyhow::Result<()> {
    let cluster = Cluster::start(2, "")?;
    cluster.expect_log("lost");
    let mount = cluster.mount("mount")?;
    std::fs::create_dir(mount.path("dir"))?;
    cluster.export(Path::new("/dir"), 1)?;
    let held = std::fs::File::create(mount.path("dir/held"))?;
    cluster.kill_daemon("mds-1")?;
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let waiting = scope.spawn(|| std::fs::write(mount.path("dir/file"), "waited"));
        // Rank 0 serves what it holds meanwhile.
        std::fs::write(mount.path("elsewhere"), "at once")?;
        cluster.start_daemon("mds-1")?;
        let written = waiting.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?;
        written.context("write while the rank was away")
    })?;
    ensure!(std::fs::read(mount.path("dir/file"))? == b"waited");
    std::fs::remove_file(mount.path("dir/held"))?;
    held.sync_all().context("sync an open file without a name")?;
    drop(held);
    mount.unmount()?;
    cluster.end()
}
