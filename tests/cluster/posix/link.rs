//! link: several names of one file, in directories of several ranks.

use std::os::unix::fs::MetadataExt;

use anyhow::ensure;
use rustix::io::Errno;

use super::{Arena, refused};

pub(super) fn check(arena: &Arena) -> anyhow::Result<()> {
    let one = arena.file("one", "content")?;
    let (two, three) = (arena.other.join("two"), arena.dir.join("three"));
    std::fs::hard_link(&one, &two)?;
    std::fs::hard_link(&two, &three)?;
    refused(std::fs::hard_link(&one, &two), Errno::EXIST)?;
    refused(std::fs::hard_link(&arena.dir, arena.other.join("dir")), Errno::PERM)?;
    refused(std::fs::hard_link(arena.dir.join("missing"), arena.other.join("x")), Errno::NOENT)?;

    let ino = std::fs::metadata(&one)?.ino();
    for path in [&one, &two, &three, &arena.dir_elsewhere.join("one")] {
        let metadata = std::fs::metadata(path)?;
        ensure!(metadata.nlink() == 3 && metadata.ino() == ino, "{}", path.display());
    }
    std::fs::write(&two, "changed")?;
    ensure!(std::fs::read(arena.dir_elsewhere.join("three"))? == b"changed");
    std::fs::remove_file(&one)?;
    std::fs::remove_file(&three)?;
    ensure!(std::fs::metadata(&two)?.nlink() == 1);
    ensure!(std::fs::read(&two)? == b"changed");
    std::fs::rename(&two, &one)?;
    ensure!(std::fs::read(arena.dir_elsewhere.join("one"))? == b"changed");
    std::fs::remove_file(&one)?;
    Ok(())
}
