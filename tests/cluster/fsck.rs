//! `grove fsck`: finds what is wrong, and only that, while the file system is in use.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use common::data_store::object_path;
use common::id::Ino;
use serde_json::Value;
use tests::cluster::{Cluster, wait_until};

use crate::load::{Presence, Progress, Worker, wait_for_progress, while_working};

/// What it prints, and whether it calls the file system clean.
fn fsck(cluster: &Cluster, arguments: &[&str]) -> anyhow::Result<(Value, bool)> {
    let output = cluster.grove_command(&["fsck", "--json"])?.args(arguments).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(&text).with_context(|| {
        format!("it says `{text}` and `{}`", String::from_utf8_lossy(&output.stderr))
    })?;
    ensure!(report["clean"] == output.status.success(), "its exit status is its verdict");
    Ok((report, output.status.success()))
}

fn problems(report: &Value) -> Vec<String> {
    let lines = report["problems"].as_array().into_iter().flatten();
    lines.filter_map(|line| Some(line["problem"].as_str()?.to_owned())).collect()
}

pub(crate) fn is_clean(cluster: &Cluster) -> anyhow::Result<Value> {
    let (report, clean) = fsck(cluster, &[])?;
    ensure!(clean && problems(&report).is_empty(), "{report:#}");
    Ok(report)
}

#[test]
fn what_is_wrong_is_found_and_what_can_be_mended_is() -> anyhow::Result<()> {
    let cluster = Cluster::start(2, "")?;
    let mount = cluster.mount("mount")?;
    fs::create_dir_all(mount.path("a/b"))?;
    cluster.export(Path::new("/a/b"), 1)?;
    fs::write(mount.path("a/f"), "text")?;
    fs::write(mount.path("a/b/g"), "more text")?;
    fs::hard_link(mount.path("a/f"), mount.path("a/b/h"))?;
    let mut open = fs::File::create(mount.path("a/open"))?;
    fs::remove_file(mount.path("a/open"))?;
    open.write_all(b"kept")?;

    let report = is_clean(&cluster)?;
    let count = |what: &str| report[what].as_u64().unwrap_or(u64::MAX);
    ensure!((count("dirs"), count("names"), count("inodes")) == (3, 5, 3), "{report:#}");
    ensure!((count("orphans"), count("objects")) == (1, 3), "{report:#}");
    drop(open);
    wait_until("it is purged", || Ok(is_clean(&cluster)?["orphans"] == 0))?;

    let object = |ino: u64| -> PathBuf { cluster.path("data").join(object_path(Ino(ino))) };
    let stray = object(0x7fff_0000_1234);
    fs::create_dir_all(stray.parent().context("it lies in a folder")?)?;
    fs::write(&stray, "nobody's")?;
    let file = fs::metadata(mount.path("a/b/g"))?.ino();
    fs::File::options().write(true).open(object(file))?.set_len(4)?;

    let (report, clean) = fsck(&cluster, &[])?;
    let found = problems(&report);
    ensure!(!clean && found.len() == 2, "{report:#}");
    ensure!(
        found.iter().any(|text| text.contains("data of 0x7fff00001234 (8 bytes)")),
        "{found:?}"
    );
    ensure!(found.iter().any(|text| text.contains("of which the data store has 4")), "{found:?}");
    ensure!(stray.exists(), "it was asked to look");

    let (report, clean) = fsck(&cluster, &["--repair"])?;
    ensure!(!clean && !stray.exists(), "{report:#}");
    let (report, _) = fsck(&cluster, &[])?;
    ensure!(problems(&report).len() == 1, "what is missing is nowhere: {report:#}");
    fs::write(mount.path("a/b/g"), "written again")?;
    is_clean(&cluster)?;

    cluster.kill_daemon("mds-1")?;
    cluster.expect_log("lost");
    wait_until("it is known to be down", || {
        let output = cluster.grove_command(&["fsck"])?.output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(!output.status.success() && text.contains("would seem to be lost"))
    })?;
    cluster.start_daemon("mds-1")?;
    cluster.wait_active()?;
    is_clean(&cluster)?;
    fs::remove_dir_all(mount.path("a"))?;
    mount.unmount()?;
    cluster.end()
}

#[test]
fn nothing_seems_wrong_while_everything_changes_and_moves() -> anyhow::Result<()> {
    let cluster = Cluster::start(3, "")?;
    let mount = cluster.mount("mount")?;
    let presence = Presence::default();
    let dirs: Vec<PathBuf> = (0..3).map(|number| mount.path(&format!("d{number}"))).collect();
    for dir in &dirs {
        fs::create_dir(dir)?;
    }
    let mut workers = [Worker::new(dirs.clone(), &presence, 1)];
    let progress = [Progress::default()];
    while_working(&mut workers, &progress, || {
        for turn in 0..6_u16 {
            wait_for_progress(&progress, 20)?;
            cluster.export(Path::new(&format!("/d{}", turn % 3)), 1 + turn / 3)?;
            is_clean(&cluster)?;
        }
        Ok(())
    })?;
    for worker in &mut workers {
        worker.check()?;
        worker.clean()?;
    }
    for dir in &dirs {
        fs::remove_dir_all(dir)?;
    }
    mount.unmount()?;
    let report = is_clean(&cluster)?;
    ensure!(report["names"] == 0 && report["objects"] == 0, "{report:#}");
    cluster.end()
}
