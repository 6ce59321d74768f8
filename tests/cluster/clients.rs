//! Mounts that are killed, or whose sessions are ended, and those who share files with them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
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
    wait_until("it is dead", || {
        let asked = std::fs::metadata(&point).map_err(|error| error.raw_os_error());
        Ok(asked.is_err_and(|errno| errno == Some(Errno::NOTCONN.raw_os_error())))
    })?;
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

/// Somebody waits in a directory for a rank that is away, and so does the thread of the mount that asks
/// the kernel to forget a name there: that thread cannot die.
fn a_mount_that_cannot_die(
    cluster: &Cluster,
    end: impl FnOnce(tests::cluster::mount::Mount) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for text in ["lost", "does not acknowledge this rank", "took this incarnation for dead"] {
        cluster.expect_log(text);
    }
    let (dying, other) = (cluster.mount("dying")?, cluster.mount("other")?);
    std::fs::create_dir_all(dying.path("dir/away"))?;
    cluster.export("/dir/away".as_ref(), 1)?;
    let known = std::fs::File::create(dying.path("dir/known"))?;
    let dir = std::fs::File::open(dying.path("dir"))?;
    let names = thread_called(dying.process()?, "grove-names")?;
    cluster.signal_daemon("mds-1", Signal::STOP)?;
    let waiting = std::thread::Builder::new().name("waits".to_owned());
    let waiting = waiting.spawn(move || unlinkat(dir, "away", AtFlags::REMOVEDIR))?;
    wait_until("somebody waits", || {
        let own = thread_called(rustix::process::getpid(), "waits");
        Ok(own.and_then(|own| state_of(&own)).is_ok_and(|state| !state.starts_with('R')))
    })?;
    std::fs::remove_file(other.path("dir/known"))?;
    wait_until("a name cannot be dropped", || Ok(state_of(&names)?.starts_with('D')))?;
    drop(known);
    end(dying)?;
    wait_until("whoever waited is let go", || Ok(waiting.is_finished()))?;
    let answer = waiting.join().expect("it does not panic");
    ensure!(matches!(answer, Err(Errno::CONNABORTED | Errno::NOTCONN)), "{answer:?}");
    cluster.signal_daemon("mds-1", Signal::CONT).ok();
    other.unmount()
}

fn thread_called(process: Pid, name: &str) -> anyhow::Result<PathBuf> {
    for entry in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let path = entry?.path();
        if std::fs::read_to_string(path.join("comm"))?.trim() == name {
            return Ok(path);
        }
    }
    anyhow::bail!("no thread is called {name}")
}

fn state_of(thread: &Path) -> anyhow::Result<String> {
    let status = std::fs::read_to_string(thread.join("status"))?;
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    Ok(state.context("a thread has a state")?.trim().to_owned())
}

#[test]
fn users_of_a_killed_mount_are_let_go_whatever_its_threads_do() -> anyhow::Result<()> {
    let cluster = Cluster::start(2, "")?;
    a_mount_that_cannot_die(&cluster, |dying| {
        let point = dying.kill()?;
        wait_until("it is dead", || {
            let asked = std::fs::metadata(&point).map_err(|error| error.raw_os_error());
            Ok(asked.is_err_and(|errno| errno == Some(Errno::NOTCONN.raw_os_error())))
        })?;
        cluster.grove(&["umount", point.to_str().context("our paths are ASCII")?])?;
        ensure!(std::fs::read_dir(&point)?.count() == 0);
        Ok(())
    })?;
    cluster.end()
}

#[test]
fn a_mount_that_cannot_die_is_mounted_again_even_if_its_guard_is_dead() -> anyhow::Result<()> {
    let cluster = Cluster::start(2, "")?;
    cluster.expect_log("taking the place of a mount that was killed");
    a_mount_that_cannot_die(&cluster, |dying| {
        kill_process(dying.guard()?, Signal::KILL)?;
        dying.kill()?;
        cluster.mount("dying")?.unmount()
    })?;
    cluster.end()
}

#[test]
fn a_mount_whose_session_was_ended_goes_on() -> anyhow::Result<()> {
    let cluster = Cluster::start(2, "")?;
    cluster.expect_log("the rank has ended our session");
    cluster.expect_log("operation failed");
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
    drop(file);
    mount.unmount()?;
    cluster.end()
}
