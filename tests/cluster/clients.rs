//! Mounts that are killed, or whose sessions are ended, and those who share files with them.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::io::Errno;
use tests::cluster::{Cluster, wait_until};

/// Well below a lease.
const AT_ONCE: Duration = Duration::from_secs(6);

fn sessions(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let sessions = cluster.grove_json(&["session", "ls"])?;
    let sessions = sessions.as_array().context("a list of sessions")?;
    Ok(sessions.iter().filter_map(|it| it["client"].as_str().map(str::to_owned)).collect())
}

#[test]
fn a_killed_mount_is_mounted_again_at_once_and_holds_up_nobody() -> anyhow::Result<()> {
    let cluster = Cluster::start(2, "")?;
    cluster.expect_log("taking the place of a mount that was killed");
    let (killed, other) = (cluster.mount("killed")?, cluster.mount("other")?);
    std::fs::write(killed.path("file"), "kept")?;
    let held = std::fs::File::open(killed.path("file"))?;
    let before = sessions(&cluster)?;
    ensure!(before.len() == 2, "{before:?}");
    let point = killed.kill()?;
    let asked = std::fs::metadata(&point).map_err(|error| error.raw_os_error());
    ensure!(asked.is_err_and(|errno| errno == Some(Errno::NOTCONN.raw_os_error())));
    drop(held);

    let began = Instant::now();
    let again = cluster.mount("killed")?;
    ensure!(std::fs::read(again.path("file"))? == b"kept");
    // It pinned the file: its acknowledgement would be waited for, if it counted as alive.
    std::fs::rename(other.path("file"), other.path("moved"))?;
    ensure!(began.elapsed() < AT_ONCE, "it took {:?}", began.elapsed());
    wait_until("the dead session is gone", || {
        Ok(sessions(&cluster)?.iter().filter(|client| before.contains(client)).count() == 1)
    })?;
    std::fs::remove_file(again.path("moved"))?;
    again.unmount()?;
    other.unmount()?;
    cluster.end()
}

#[test]
fn a_dead_mountpoint_is_unmounted() -> anyhow::Result<()> {
    let cluster = Cluster::start(1, "")?;
    let mount = cluster.mount("mount")?;
    let point = mount.kill()?;
    wait_until("it is dead", || Ok(std::fs::metadata(&point).is_err()))?;
    cluster.grove(&["umount", point.to_str().context("our paths are ASCII")?])?;
    ensure!(std::fs::read_dir(&point)?.count() == 0);
    cluster.end()
}

#[test]
fn a_mount_whose_session_was_ended_goes_on() -> anyhow::Result<()> {
    let cluster = Cluster::start(2, "")?;
    cluster.expect_log("the rank has ended our session");
    let mount = cluster.mount("mount")?;
    let mut file = std::fs::File::create(mount.path("open"))?;
    let client = sessions(&cluster)?.pop().context("the mount has a session")?;
    cluster.grove(&["session", "evict", &client])?;
    let unknown = cluster.grove(&["session", "evict", "0123456789abcdef"]);
    ensure!(unknown.is_err_and(|error| error.to_string().contains("no rank has a session")));

    std::fs::write(mount.path("after"), "goes on")?;
    ensure!(std::fs::read(mount.path("after"))? == b"goes on");
    file.write_all(b"still open")?;
    // That something may be lost is said once.
    file.sync_all().ok();
    file.sync_all()?;
    ensure!(std::fs::read(mount.path("open"))? == b"still open");
    mount.unmount()?;
    cluster.end()
}
