//! symlink and readlink.

use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::ensure;
use rustix::io::Errno;

use super::{Arena, refused};

pub(super) fn check(arena: &Arena) -> anyhow::Result<()> {
    let file = arena.file("file", "behind the link")?;
    let link = arena.other.join("link");
    symlink(&file, &link)?;
    refused(symlink("x", &link), Errno::EXIST)?;
    ensure!(std::fs::read_link(&link)? == file);
    ensure!(std::fs::read(&link)? == b"behind the link");
    let metadata = std::fs::symlink_metadata(&link)?;
    ensure!(metadata.is_symlink() && metadata.len() == file.as_os_str().len() as u64);
    refused(std::fs::read_link(&file), Errno::INVAL)?;

    symlink("nowhere", arena.dir.join("dangling"))?;
    ensure!(std::fs::read_link(arena.dir_elsewhere.join("dangling"))? == Path::new("nowhere"));
    refused(std::fs::read(arena.dir.join("dangling")), Errno::NOENT)?;
    symlink("circle", arena.dir.join("circle"))?;
    refused(std::fs::read(arena.dir.join("circle")), Errno::LOOP)?;
    let long = "l".repeat(4095);
    symlink(&long, arena.dir.join("long"))?;
    ensure!(std::fs::read_link(arena.dir_elsewhere.join("long"))? == Path::new(&long));
    Ok(())
}
