//! Each operation, as POSIX and Linux have it: at one rank, at another, and across two.

use std::path::{Path, PathBuf};

use anyhow::Context;
use tests::cluster::Cluster;

mod access;
mod attributes;
mod create;
mod directory;
mod link;
mod rename;
mod space;
mod symlink;
mod sync;
mod unlink;
mod xattr;

/// Where an operation is tried: two empty directories, perhaps of different ranks, and the first of
/// them as another mount shows it.
#[derive(Debug)]
struct Arena {
    dir: PathBuf,
    other: PathBuf,
    dir_elsewhere: PathBuf,
}

impl Arena {
    fn file(&self, name: &str, content: &str) -> anyhow::Result<PathBuf> {
        let path = self.dir.join(name);
        std::fs::write(&path, content).with_context(|| format!("write {name}"))?;
        Ok(path)
    }
}

type Check = fn(&Arena) -> anyhow::Result<()>;

const OPERATIONS: &[(&str, Check)] = &[
    ("access", access::check),
    ("attributes", attributes::check),
    ("create", create::check),
    ("directory", directory::check),
    ("link", link::check),
    ("rename", rename::check),
    ("space", space::check),
    ("symlink", symlink::check),
    ("sync", sync::check),
    ("unlink", unlink::check),
    ("xattr", xattr::check),
];

/// Ranks of the first and the second directory.
const PLACES: [(u16, u16); 4] = [(0, 0), (1, 1), (0, 1), (1, 2)];

#[test]
fn every_operation_at_one_rank_and_across_two() -> anyhow::Result<()> {
    let cluster = Cluster::start(3, "")?;
    let (mount, elsewhere) = (cluster.mount("mount")?, cluster.mount("elsewhere")?);
    for ranks in PLACES {
        try_all(&cluster, [mount.point(), elsewhere.point()], Path::new("/"), ranks)?;
    }
    mount.unmount()?;
    elsewhere.unmount()?;
    cluster.end()
}

#[test]
fn every_operation_on_a_mount_of_a_directory() -> anyhow::Result<()> {
    let cluster = Cluster::start(3, "")?;
    let elsewhere = cluster.mount("elsewhere")?;
    std::fs::create_dir(elsewhere.path("part"))?;
    cluster.export(Path::new("/part"), 1)?;
    let mount = cluster.mount_part(":/part", "mount")?;
    for ranks in PLACES {
        let seen = [mount.point(), &elsewhere.path("part")];
        try_all(&cluster, seen, Path::new("/part"), ranks)?;
    }
    mount.unmount()?;
    elsewhere.unmount()?;
    cluster.end()
}

/// One directory, `within` the file system, as two mounts show it.
fn try_all(
    cluster: &Cluster,
    [mount, elsewhere]: [&Path; 2],
    within: &Path,
    (rank, other): (u16, u16),
) -> anyhow::Result<()> {
    let names = [format!("at-{rank}-{other}"), format!("beside-{rank}-{other}")];
    let inherited = if within == Path::new("/") { 0 } else { 1 };
    for (name, rank) in names.iter().zip([rank, other]) {
        std::fs::create_dir(mount.join(name))?;
        if rank != inherited {
            cluster.export(&within.join(name), rank)?;
        }
    }
    for (name, check) in OPERATIONS {
        let [dir, other_dir] = names.each_ref().map(|place| mount.join(place).join(name));
        std::fs::create_dir(&dir)?;
        std::fs::create_dir(&other_dir)?;
        let dir_elsewhere = elsewhere.join(&names[0]).join(name);
        let arena = Arena { dir, other: other_dir, dir_elsewhere };
        check(&arena).with_context(|| format!("{name}, ranks {rank} and {other}"))?;
    }
    Ok(())
}

/// Whether an operation was refused like this.
fn refused<T>(result: std::io::Result<T>, errno: rustix::io::Errno) -> anyhow::Result<()> {
    match result {
        Ok(_) => anyhow::bail!("it should have been refused with {errno:?}"),
        Err(error) if error.raw_os_error() == Some(errno.raw_os_error()) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("{errno:?} was expected")),
    }
}
