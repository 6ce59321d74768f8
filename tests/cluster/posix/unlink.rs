//! unlink: also of what is open, here and on another mount.

use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;

use anyhow::ensure;
use rustix::io::Errno;

use super::{Arena, refused};

pub(super) fn check(arena: &Arena) -> anyhow::Result<()> {
    let path = arena.file("file", "")?;
    std::fs::remove_file(&path)?;
    refused(std::fs::remove_file(&path), Errno::NOENT)?;
    refused(std::fs::metadata(arena.dir_elsewhere.join("file")), Errno::NOENT)?;
    refused(rustix::fs::unlink(&arena.dir).map_err(Into::into), Errno::ISDIR)?;

    let path = arena.file("open", "before ")?;
    let mut here = std::fs::File::options().append(true).read(true).open(&path)?;
    let mut there = std::fs::File::open(arena.dir_elsewhere.join("open"))?;
    std::fs::remove_file(arena.dir_elsewhere.join("open"))?;
    here.write_all(b"after")?;
    ensure!(here.metadata()?.nlink() == 0 && here.metadata()?.len() == 12);
    let mut text = String::new();
    there.read_to_string(&mut text)?;
    ensure!(text == "before after");
    // The name is free for another file, which has nothing to do with the open one.
    std::fs::write(&path, "new")?;
    here.rewind()?;
    text.clear();
    here.read_to_string(&mut text)?;
    ensure!(text == "before after" && std::fs::read(&path)? == b"new");
    Ok(())
}
