//! One of everything: what must work before anything else is worth testing.

use anyhow::ensure;
use tests::cluster::{Cluster, wait_until};

#[test]
fn two_mounts_see_one_file_system() -> anyhow::Result<()> {
    let cluster = Cluster::start(1, "")?;
    let (one, other) = (cluster.mount("one")?, cluster.mount("other")?);
    std::fs::create_dir(one.path("dir"))?;
    std::fs::write(one.path("dir/file"), "from one")?;
    ensure!(std::fs::read(other.path("dir/file"))? == b"from one");
    std::fs::write(other.path("dir/file"), "from the other")?;
    ensure!(std::fs::read(one.path("dir/file"))? == b"from the other");
    std::fs::rename(other.path("dir"), other.path("renamed"))?;
    ensure!(!one.path("dir").exists() && one.path("renamed/file").exists());
    std::fs::remove_dir_all(one.path("renamed"))?;
    ensure!(std::fs::read_dir(other.point())?.count() == 0);
    one.unmount()?;
    other.unmount()?;
    cluster.end()
}

#[test]
fn operators_see_what_there_is() -> anyhow::Result<()> {
    let cluster = Cluster::start(2, "")?;
    let status = cluster.grove_json(&["status"])?;
    ensure!(status["degraded"] == false, "{status}");
    let subtrees = cluster.grove_json(&["subtree", "ls"])?;
    ensure!(subtrees[0]["path"] == "/" && subtrees[0]["rank"] == 0, "{subtrees}");
    ensure!(cluster.grove_json(&["migrations"])? == serde_json::json!([]));

    let mount = cluster.mount("mount")?;
    std::fs::create_dir(mount.path("dir"))?;
    let held = std::fs::File::create(mount.path("dir/held"))?;
    std::fs::write(mount.path("dir/file"), "file")?;
    std::fs::hard_link(mount.path("dir/file"), mount.path("dir/other name"))?;
    std::fs::remove_file(mount.path("dir/held"))?;
    let left = cluster.grove_json(&["leftovers"])?;
    let counts = ["entries", "dirs", "inodes", "orphans"].map(|what| left[0][what].as_u64());
    ensure!(counts == [Some(3), Some(1), Some(1), Some(1)], "{left}");
    drop(held);
    std::fs::remove_dir_all(mount.path("dir"))?;
    mount.unmount()?;
    wait_until("nothing is left", || crate::migration::nothing_left(&cluster))?;
    cluster.end()
}
