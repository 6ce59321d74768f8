//! Extended attributes of files and directories.

use anyhow::ensure;
use rustix::fs::{XattrFlags, getxattr, listxattr, removexattr, setxattr};
use rustix::io::Errno;

use super::Arena;

pub(super) fn check(arena: &Arena) -> anyhow::Result<()> {
    let file = arena.file("file", "")?;
    for path in [&file, &arena.dir] {
        let (name, none) = ("user.color", XattrFlags::empty());
        let mut value = [0; 256];
        ensure!(getxattr(path, name, &mut value[..]) == Err(Errno::NODATA));
        ensure!(setxattr(path, name, b"red", XattrFlags::REPLACE) == Err(Errno::NODATA));
        setxattr(path, name, b"red", XattrFlags::CREATE)?;
        ensure!(setxattr(path, name, b"red", XattrFlags::CREATE) == Err(Errno::EXIST));
        setxattr(path, name, b"blue", none)?;
        setxattr(path, "user.empty", b"", none)?;
        ensure!(getxattr(path, name, &mut value[..])? == 4 && value.starts_with(b"blue"));
        ensure!(getxattr(path, name, &mut value[..2]) == Err(Errno::RANGE));
        let length = listxattr(path, &mut value[..])?;
        let names: Vec<&[u8]> = value[..length].split(|byte| *byte == 0).collect();
        ensure!(
            names.contains(&b"user.color".as_slice()) && names.contains(&b"user.empty".as_slice())
        );
        removexattr(path, name)?;
        ensure!(removexattr(path, name) == Err(Errno::NODATA));
    }
    setxattr(&file, "user.large", &[7; 60_000], XattrFlags::empty())?;
    let mut value = vec![0; 65_536];
    let length = getxattr(arena.dir_elsewhere.join("file"), "user.large", &mut value[..])?;
    ensure!(length == 60_000);
    Ok(())
}
