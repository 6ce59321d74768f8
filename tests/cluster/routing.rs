//! Who is asked: pins place directories, clients find them, and learn when they are wrong.

use std::path::Path;

use anyhow::{Context, ensure};
use rustix::fs::{XattrFlags, getxattr, setxattr};
use tests::cluster::{Cluster, wait_until};

fn authority(path: &Path) -> anyhow::Result<String> {
    let mut value = [0; 64];
    let length =
        getxattr(path, "grove.dir.auth", &mut value[..]).context("ask for the authority")?;
    Ok(String::from_utf8_lossy(&value[..length]).into_owned())
}

fn pin(path: &Path, rank: &str) -> anyhow::Result<()> {
    setxattr(path, "grove.dir.pin", rank.as_bytes(), XattrFlags::empty()).context("pin a directory")
}

#[test]
fn a_pinned_directory_goes_to_its_rank_and_both_mounts_follow() -> anyhow::Result<()> {
    let cluster = Cluster::start(3, "")?;
    let (one, other) = (cluster.mount("one")?, cluster.mount("other")?);
    for rank in ["0", "1", "2"] {
        let dir = one.path(rank);
        std::fs::create_dir(&dir)?;
        std::fs::write(dir.join("before"), rank)?;
        pin(&dir, rank)?;
        wait_until("the directory is where it is pinned", || Ok(authority(&dir)? == rank))?;
        // The other mount has seen neither.
        ensure!(std::fs::read(other.path(rank).join("before"))? == rank.as_bytes());
        std::fs::write(other.path(rank).join("after"), rank)?;
        ensure!(std::fs::read(dir.join("after"))? == rank.as_bytes());
    }
    one.unmount()?;
    other.unmount()?;
    cluster.end()
}

#[test]
fn a_mount_whose_route_is_old_is_redirected() -> anyhow::Result<()> {
    let cluster = Cluster::start(3, "")?;
    let (one, other) = (cluster.mount("one")?, cluster.mount("other")?);
    std::fs::create_dir_all(one.path("a/b/c"))?;
    std::fs::write(other.path("a/b/c/file"), "0")?;
    for rank in [1, 2, 0, 2] {
        cluster.export(Path::new("/a/b"), rank)?;
        std::fs::write(other.path("a/b/c/file"), rank.to_string())?;
        ensure!(std::fs::read_to_string(one.path("a/b/c/file"))? == rank.to_string());
        ensure!(authority(&one.path("a/b/c"))? == rank.to_string());
        ensure!(authority(&one.path("a"))? == "0");
    }
    one.unmount()?;
    other.unmount()?;
    cluster.end()
}
