//! create, mknod, open, read, write, append.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};

use anyhow::ensure;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::io::Errno;

use super::{Arena, refused};

pub(super) fn check(arena: &Arena) -> anyhow::Result<()> {
    let path = arena.dir.join("file");
    let mut options = OpenOptions::new();
    let mut file = options.read(true).write(true).create_new(true).open(&path)?;
    refused(options.open(&path), Errno::EXIST)?;
    refused(std::fs::File::open(arena.dir.join("missing")), Errno::NOENT)?;
    refused(std::fs::File::open(path.join("below")), Errno::NOTDIR)?;
    refused(std::fs::write(&arena.dir, ""), Errno::ISDIR)?;

    file.write_all(b"hello")?;
    file.write_all_at(b"J", 0)?;
    file.seek(SeekFrom::Start(10_000))?;
    file.write_all(b"end")?;
    let mut text = Vec::new();
    std::fs::File::open(arena.dir_elsewhere.join("file"))?.read_to_end(&mut text)?;
    ensure!(text.len() == 10_003 && text.starts_with(b"Jello\0") && text.ends_with(b"\0end"));

    let mut ends = OpenOptions::new();
    let ends = ends.append(true);
    let (mut one, mut other) = (ends.open(&path)?, ends.open(arena.dir_elsewhere.join("file"))?);
    one.write_all(b"1")?;
    other.write_all(b"2")?;
    one.write_all(b"3")?;
    ensure!(std::fs::read(&path)?.ends_with(b"end123"), "what is appended goes to the end");

    // Larger than one request of the kernel, and than one object of the data store.
    let large: Vec<u8> = (0..5_000_000_u32).map(|at| u8::try_from(at % 251).unwrap_or(0)).collect();
    std::fs::write(arena.dir.join("large"), &large)?;
    ensure!(std::fs::read(arena.dir_elsewhere.join("large"))? == large);
    OpenOptions::new().write(true).truncate(true).open(arena.dir.join("large"))?;
    ensure!(std::fs::metadata(arena.dir_elsewhere.join("large"))?.len() == 0);

    let mode = Mode::from_raw_mode(0o640);
    mknodat(CWD, arena.dir.join("fifo"), FileType::Fifo, mode, 0)?;
    mknodat(CWD, arena.dir.join("device"), FileType::CharacterDevice, mode, 0x103)?;
    ensure!(std::fs::metadata(arena.dir_elsewhere.join("fifo"))?.file_type().is_fifo());
    let device = std::fs::metadata(arena.dir_elsewhere.join("device"))?;
    ensure!(device.file_type().is_char_device() && device.rdev() == 0x103);
    ensure!(mknodat(CWD, arena.dir.join("fifo"), FileType::Fifo, mode, 0) == Err(Errno::EXIST));

    let longest = "n".repeat(255);
    std::fs::write(arena.dir.join(&longest), "")?;
    refused(std::fs::write(arena.dir.join(longest + "n"), ""), Errno::NAMETOOLONG)
}
