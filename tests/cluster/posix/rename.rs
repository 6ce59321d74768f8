//! rename and renameat2, within a directory and across directories of several ranks.

use std::os::unix::fs::MetadataExt;

use anyhow::ensure;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::{Arena, refused};

pub(super) fn check(arena: &Arena) -> anyhow::Result<()> {
    files(arena)?;
    directories(arena)?;
    with_flags(arena)
}

fn files(arena: &Arena) -> anyhow::Result<()> {
    let file = arena.file("file", "one")?;
    let ino = std::fs::metadata(&file)?.ino();
    let there = arena.other.join("there");
    std::fs::write(&there, "replaced")?;
    std::fs::rename(&file, &there)?;
    refused(std::fs::metadata(arena.dir_elsewhere.join("file")), Errno::NOENT)?;
    ensure!(std::fs::read(&there)? == b"one" && std::fs::metadata(&there)?.ino() == ino);
    std::fs::rename(&there, &file)?;
    std::fs::rename(&file, &file)?;
    ensure!(std::fs::read(arena.dir_elsewhere.join("file"))? == b"one");
    std::fs::hard_link(&file, &there)?;
    std::fs::rename(&file, &there)?;
    ensure!(file.exists() && there.exists(), "names of one file stay");
    std::fs::remove_file(&file)?;
    std::fs::remove_file(&there)?;
    refused(std::fs::rename(&file, &there), Errno::NOENT)
}

fn directories(arena: &Arena) -> anyhow::Result<()> {
    let (tree, moved) = (arena.dir.join("tree"), arena.other.join("moved"));
    std::fs::create_dir_all(tree.join("a/b"))?;
    std::fs::write(tree.join("a/b/file"), "deep")?;
    refused(std::fs::rename(&tree, tree.join("a/b/tree")), Errno::INVAL)?;
    std::fs::rename(&tree, &moved)?;
    ensure!(std::fs::read(moved.join("a/b/file"))? == b"deep");
    ensure!(std::fs::metadata(&arena.dir)?.nlink() == 2);
    ensure!(std::fs::metadata(&arena.other)?.nlink() == 3);
    std::fs::create_dir(&tree)?;
    refused(std::fs::rename(&tree, moved.join("a")), Errno::NOTEMPTY)?;
    std::fs::rename(&moved, &tree)?;
    ensure!(std::fs::read(arena.dir_elsewhere.join("tree/a/b/file"))? == b"deep");
    let file = arena.file("file", "")?;
    refused(std::fs::rename(&file, &tree), Errno::ISDIR)?;
    refused(std::fs::rename(&tree, &file), Errno::NOTDIR)?;
    std::fs::remove_dir_all(&tree)?;
    std::fs::remove_file(&file)?;
    Ok(())
}

fn with_flags(arena: &Arena) -> anyhow::Result<()> {
    let one = arena.file("one", "1")?;
    let two = arena.other.join("two");
    std::fs::write(&two, "2")?;
    let exclusive = renameat_with(CWD, &one, CWD, &two, RenameFlags::NOREPLACE);
    ensure!(exclusive == Err(Errno::EXIST));
    renameat_with(CWD, &one, CWD, &two, RenameFlags::EXCHANGE)?;
    ensure!(
        std::fs::read(arena.dir_elsewhere.join("one"))? == b"2" && std::fs::read(&two)? == b"1"
    );
    std::fs::remove_file(&two)?;
    renameat_with(CWD, &one, CWD, &two, RenameFlags::NOREPLACE)?;
    let missing = renameat_with(CWD, &two, CWD, &one, RenameFlags::EXCHANGE);
    ensure!(missing == Err(Errno::NOENT));
    std::fs::remove_file(&two)?;
    Ok(())
}
