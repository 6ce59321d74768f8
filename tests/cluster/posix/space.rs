//! statfs, fallocate, lseek to data and holes.

use std::os::unix::fs::FileExt;

use anyhow::ensure;
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek, statvfs};

use super::Arena;

pub(super) fn check(arena: &Arena) -> anyhow::Result<()> {
    let space = statvfs(&arena.dir)?;
    ensure!(space.f_blocks > 0 && space.f_namemax == 255 && space.f_bsize > 0);

    let path = arena.file("file", "")?;
    let file = std::fs::File::options().read(true).write(true).open(&path)?;
    fallocate(&file, FallocateFlags::empty(), 0, 8192)?;
    ensure!(std::fs::metadata(arena.dir_elsewhere.join("file"))?.len() == 8192);
    fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 65_536)?;
    ensure!(file.metadata()?.len() == 8192);
    file.write_all_at(&[7; 8192], 0)?;
    fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, 4096)?;
    let content = std::fs::read(arena.dir_elsewhere.join("file"))?;
    ensure!(content[..4096].iter().all(|byte| *byte == 0) && content[4096..] == [7; 4096]);

    ensure!(seek(&file, SeekFrom::Data(0))? == 4096);
    ensure!(seek(&file, SeekFrom::Hole(4096))? == 8192);
    ensure!(seek(&file, SeekFrom::End(-1))? == 8191);
    Ok(())
}
