//! Mounts of a directory: it is the root there, and stays the same directory whatever others do to it.

use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use rustix::fs::statvfs;
use rustix::io::Errno;
use tests::cluster::helpers::Helpers;
use tests::cluster::{Cluster, run};

use super::{refused_with, text, umount_when_free};
use crate::load::{Presence, Progress, Worker, wait_for_progress, while_working};

fn ino(path: &Path) -> anyhow::Result<u64> {
    Ok(std::fs::symlink_metadata(path)?.ino())
}

#[test]
fn a_directory_is_the_root_of_its_mount() -> anyhow::Result<()> {
    let helpers = Helpers::install()?;
    let cluster = Cluster::start(2, "")?;
    let all = cluster.mount("all")?;
    std::fs::create_dir_all(all.path("some/dir/below"))?;
    std::fs::write(all.path("some/dir/file"), "one")?;
    cluster.export(Path::new("/some/dir"), 1)?;
    let part = cluster.mount_as_people_do(":/some/dir", "part", "")?;
    drop(helpers);

    // Numbers are the same on every mount, in whatever way they are learnt.
    let root = ino(&all.path("some/dir"))?;
    ensure!(root != 1 && ino(part.point())? == root);
    ensure!(std::fs::File::open(part.point())?.metadata()?.ino() == root);
    ensure!(ino(&part.path("."))? == root && ino(&part.path("below/.."))? == root);
    let mut list = Command::new("ls");
    let listed = run(list.args(["-fia"]).arg(part.point()))?;
    ensure!(listed.contains(&format!("{root} .\n")), "{listed}");
    for entry in std::fs::read_dir(part.point())? {
        let entry = entry?;
        ensure!(entry.ino() == ino(&all.path("some/dir").join(entry.file_name()))?);
    }
    let mut find = Command::new("find");
    let found = run(find.arg(part.point()).args(["-xdev", "-printf", "%P\n"]))?;
    let mut found: Vec<&str> = found.lines().collect();
    found.sort_unstable();
    ensure!(found == ["", "below", "below/file", "file"] || found == ["", "below", "file"]);
    let (one, other) = (statvfs(part.point())?, statvfs(all.point())?);
    ensure!((one.f_blocks, one.f_files) == (other.f_blocks, other.f_files));

    // The root itself is changed, and things are renamed and linked to it and away from it.
    rustix::fs::setxattr(part.point(), "user.mark", b"1", rustix::fs::XattrFlags::empty())?;
    std::fs::rename(part.path("file"), part.path("below/file"))?;
    std::fs::hard_link(part.path("below/file"), part.path("linked"))?;
    std::fs::rename(part.path("below/file"), part.path("file"))?;
    ensure!(std::fs::metadata(all.path("some/dir/linked"))?.nlink() == 2);
    std::os::unix::fs::symlink("file", part.path("symlink"))?;
    ensure!(std::fs::read(part.path("symlink"))? == b"one");
    let mut mark = [0; 4];
    let length = rustix::fs::getxattr(all.path("some/dir"), "user.mark", &mut mark)?;
    ensure!(&mark[..length] == b"1");
    // Names that others change are heard of.
    std::fs::remove_file(all.path("some/dir/linked"))?;
    ensure!(!part.path("linked").exists());
    part.unmount()?;
    all.unmount()?;
    cluster.end()
}

#[test]
fn a_directory_that_is_mounted_moves_from_rank_to_rank() -> anyhow::Result<()> {
    let helpers = Helpers::install()?;
    let cluster = Cluster::start(3, "")?;
    let all = cluster.mount("all")?;
    for dir in ["above", "above/one", "above/other"] {
        std::fs::create_dir(all.path(dir))?;
    }
    let one = cluster.mount_as_people_do(":/above/one", "one", "")?;
    let other = cluster.mount_as_people_do(":/above/other", "other", "locks=local")?;
    drop(helpers);
    let presence = Presence::default();
    let mut workers = [
        Worker::new(vec![one.point().to_owned()], &presence, 1)
            .also_through(vec![all.path("above/one")], &presence),
        Worker::new(vec![other.point().to_owned()], &presence, 2),
    ];
    let progress: [Progress; 2] = Default::default();
    let point = text(one.point())?.to_owned();
    while_working(&mut workers, &progress, || {
        for (above, rank) in [(1, 2), (2, 0), (0, 1), (1, 0)] {
            cluster.export(Path::new("/above"), above)?;
            // Named by its mount.
            cluster.grove(&["export", &point, &format!("{rank}"), "--wait"])?;
            wait_for_progress(&progress, 50)?;
        }
        // While somebody works in it, it gets another name, below another directory.
        std::fs::create_dir(all.path("elsewhere"))?;
        std::fs::rename(all.path("above/other"), all.path("elsewhere/moved"))?;
        cluster.export(Path::new("/elsewhere"), 2)?;
        wait_for_progress(&progress, 50)
    })?;
    for worker in &mut workers {
        worker.check()?;
    }
    ensure!(ino(other.point())? == ino(&all.path("elsewhere/moved"))?);
    // What has its old name is something else.
    std::fs::create_dir(all.path("above/other"))?;
    ensure!(ino(other.point())? != ino(&all.path("above/other"))?);
    cluster.grove(&["export", text(other.point())?, "0", "--wait"])?;
    let mut rank = [0; 8];
    let length = rustix::fs::getxattr(all.path("elsewhere/moved"), "grove.dir.auth", &mut rank)?;
    ensure!(&rank[..length] == b"0");
    for worker in &mut workers {
        worker.clean()?;
    }
    for mount in [one, other, all] {
        mount.unmount()?;
    }
    cluster.end()
}

#[test]
fn a_directory_that_is_mounted_is_removed() -> anyhow::Result<()> {
    let helpers = Helpers::install()?;
    let cluster = Cluster::start(2, "")?;
    let all = cluster.mount("all")?;
    std::fs::create_dir(all.path("some"))?;
    for rank in [1, 0] {
        cluster.export(Path::new("/some"), rank)?;
        std::fs::create_dir(all.path("some/dir"))?;
        let part = cluster.mount_as_people_do(":/some/dir", "part", "")?;
        std::fs::write(part.path("file"), "one")?;
        let held = std::fs::File::open(part.path("file"))?;
        std::fs::remove_dir_all(all.path("some/dir"))?;
        refused_with(std::fs::metadata(part.point()), Errno::NOENT)?;
        refused_with(std::fs::read_dir(part.point()).map(Iterator::count), Errno::NOENT)?;
        refused_with(std::fs::write(part.path("new"), ""), Errno::NOENT)?;
        // Another one in its place is another one.
        std::fs::create_dir(all.path("some/dir"))?;
        refused_with(std::fs::metadata(part.path("file")), Errno::NOENT)?;
        ensure!(held.metadata().context("what is open stays")?.nlink() == 0);
        drop(held);
        umount_when_free(part.point(), &[])?;
        part.is_unmounted();
        std::fs::remove_dir(all.path("some/dir"))?;
    }
    drop(helpers);
    all.unmount()?;
    cluster.end()
}
