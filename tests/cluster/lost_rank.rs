//! A rank's store is destroyed, and an operator says so: what the others have is there, and nobody waits.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use common::id::{Ino, Slot};
use tests::cluster::{Cluster, wait_until};

/// No call may wait longer once the rank is given up.
const WAIT_MAX: Duration = Duration::from_secs(20);

fn attribute(path: &Path, name: &str) -> anyhow::Result<String> {
    let mut value = vec![0; 64];
    let length = rustix::fs::getxattr(path, name, value.as_mut_slice())?;
    value.truncate(length);
    Ok(String::from_utf8(value)?)
}

fn names(dir: &Path) -> anyhow::Result<Vec<String>> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.collect::<std::io::Result<_>>()?;
    names.sort();
    Ok(names)
}

/// The state of the subtree at a path, as `grove subtree ls` shows it.
fn state(cluster: &Cluster, path: &str) -> anyhow::Result<Option<(u64, String)>> {
    let subtrees = cluster.grove_json(&["subtree", "ls"])?;
    let all = subtrees.as_array().context("a list")?;
    let found = all.iter().find(|it| it["path"] == path);
    Ok(found.and_then(|it| Some((it["rank"].as_u64()?, it["state"].as_str()?.to_owned()))))
}

/// A file with a name at rank 1 whose home is rank 2. Made by a mount that comes after the moves: one that
/// was there before has numbers of rank 0, which rank 2 accepts since `/gone` has moved.
fn link_at_home(cluster: &Cluster) -> anyhow::Result<()> {
    let late = cluster.mount("late")?;
    std::fs::write(late.path("gone/linked"), "linked")?;
    let ino = Ino(std::fs::metadata(late.path("gone/linked"))?.ino());
    ensure!(ino.slot() == Slot(2), "{ino:?}");
    std::fs::hard_link(late.path("gone/linked"), late.path("other/linked"))?;
    late.unmount()
}

/// Its daemon comes back with what it had, and is told what to do.
fn is_refused(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.start_daemon("mds-2")?;
    wait_until("the daemon is refused", || Ok(!cluster.runs("mds-2")))?;
    cluster.kill_daemon("mds-2")?;
    let log = std::fs::read_to_string(cluster.path("mds-2.log"))?;
    ensure!(log.contains("was given up as lost") && log.contains("grove-mds --format"), "{log}");
    Ok(())
}

fn the_others_come_back(cluster: &Cluster) -> anyhow::Result<()> {
    for name in ["mds-0", "mds-1"] {
        cluster.kill_daemon(name)?;
        cluster.start_daemon(name)?;
    }
    wait_until("the others are active", || {
        let status = cluster.grove_json(&["status", "--brief"])?;
        let ranks = status["ranks"].as_array().context("a list")?.clone();
        Ok(ranks.len() == 2 && ranks.iter().all(|rank| rank["state"] == "active"))
    })
}

#[test]
fn a_lost_rank_is_given_up_and_the_others_go_on() -> anyhow::Result<()> {
    let cluster = Cluster::start(3, "")?;
    for text in [
        "lost",
        "destroyed",
        "error=input/output error",
        "monitor refuses",
        "does not settle",
        "took this incarnation",
        // What was not durable there is lost with it.
        "a replay was refused",
    ] {
        cluster.expect_log(text);
    }
    let mount = cluster.mount("mount")?;
    // `/gone` is rank 2's; `/gone/kept` and `/other` are rank 1's.
    for dir in ["gone", "gone/kept", "other"] {
        std::fs::create_dir(mount.path(dir))?;
        std::fs::write(mount.path(dir).join("file"), dir)?;
    }
    cluster.export(Path::new("/gone"), 2)?;
    cluster.export(Path::new("/gone/kept"), 1)?;
    cluster.export(Path::new("/other"), 1)?;
    link_at_home(&cluster)?;

    cluster.kill_daemon("mds-2")?;
    let dir = mount.path("gone");
    std::thread::scope(|scope| -> anyhow::Result<()> {
        // It waits, without a limit, until somebody decides.
        let waits = scope.spawn(|| names(&dir));
        wait_until("rank 2 is down", || {
            let status = cluster.grove_json(&["status", "--brief"])?;
            Ok(status["ranks"][2]["state"] == "down")
        })?;
        ensure!(cluster.grove(&["ranks", "lost", "2", "--confirm", "mds-1"]).is_err());
        cluster.grove(&["ranks", "lost", "2", "--confirm", "mds-2"])?;
        let given_up = std::time::Instant::now();
        let seen = waits.join().ok().context("the listing ends")??;
        ensure!(seen.is_empty(), "{seen:?}");
        ensure!(given_up.elapsed() < WAIT_MAX, "{:?}", given_up.elapsed());
        Ok(())
    })?;

    let status = cluster.grove_json(&["status", "--brief"])?;
    ensure!(status["degraded"] == false && status["lost"][0] == 2, "{status}");
    ensure!(attribute(&mount.path("gone"), "grove.dir.lost")? == "2");
    ensure!(attribute(&mount.path("gone"), "grove.dir.auth")? == "0");
    ensure!(state(&cluster, "/gone")? == Some((0, "lost".to_owned())));
    let stray = |name: &String| name.starts_with("lost+found.") && name.ends_with(".kept");
    wait_until("what was below has a name", || Ok(names(mount.point())?.iter().any(stray)))?;
    let found = names(mount.point())?.into_iter().find(stray).context("it has one")?;
    ensure!(std::fs::read_to_string(mount.path(&found).join("file"))? == "gone/kept");
    ensure!(std::fs::read_to_string(mount.path("other/file"))? == "other");

    // Its file can be seen, not read, and removed.
    ensure!(names(&mount.path("other"))? == ["file", "linked"]);
    let read = std::fs::metadata(mount.path("other/linked"));
    ensure!(read.as_ref().is_err_and(|error| error.raw_os_error() == Some(5)), "{read:?}");
    std::fs::remove_file(mount.path("other/linked"))?;

    // All of it is used like any other directory.
    std::fs::rename(mount.path(&found), mount.path("gone/kept"))?;
    std::fs::write(mount.path("gone/kept/new"), "new")?;
    std::fs::write(mount.path("gone/new"), "new")?;
    rustix::fs::removexattr(mount.path("gone"), "grove.dir.lost")?;
    ensure!(names(&mount.path("gone"))? == ["kept", "new"]);

    is_refused(&cluster)?;
    the_others_come_back(&cluster)?;
    ensure!(names(&mount.path("gone"))? == ["kept", "new"]);
    ensure!(std::fs::read_to_string(mount.path("gone/kept/file"))? == "gone/kept");
    std::fs::remove_dir_all(mount.path("gone"))?;
    std::fs::remove_dir_all(mount.path("other"))?;
    ensure!(names(mount.point())?.is_empty());
    mount.unmount()?;
    cluster.end()
}
