//! getattr and setattr: mode, owner, size, times.

use std::os::unix::fs::{MetadataExt, chown};
use std::time::{Duration, SystemTime};

use anyhow::ensure;
use rustix::fs::{Mode, chmod};

use super::Arena;

pub(super) fn check(arena: &Arena) -> anyhow::Result<()> {
    let path = arena.file("file", "0123456789")?;
    let seen = || std::fs::metadata(arena.dir_elsewhere.join("file"));
    ensure!(seen()?.len() == 10 && seen()?.nlink() == 1 && seen()?.is_file());

    chmod(&path, Mode::from_raw_mode(0o4751))?;
    ensure!(seen()?.mode() & 0o7777 == 0o4751);
    chown(&path, Some(12), Some(34))?;
    ensure!((seen()?.uid(), seen()?.gid()) == (12, 34));

    let file = std::fs::File::options().write(true).open(&path)?;
    file.set_len(4)?;
    ensure!(seen()?.len() == 4 && std::fs::read(&path)? == b"0123");
    file.set_len(6)?;
    ensure!(std::fs::read(arena.dir_elsewhere.join("file"))? == b"0123\0\0");

    let then = SystemTime::UNIX_EPOCH + Duration::new(1_000_000, 123_456_789);
    file.set_times(std::fs::FileTimes::new().set_modified(then).set_accessed(then))?;
    ensure!(seen()?.modified()? == then && seen()?.accessed()? == then);
    let changed = (seen()?.ctime(), seen()?.ctime_nsec());
    chmod(&path, Mode::from_raw_mode(0o600))?;
    ensure!((seen()?.ctime(), seen()?.ctime_nsec()) > changed, "chmod moves ctime on");
    ensure!(seen()?.modified()? == then, "chmod leaves mtime");

    let dir = std::fs::metadata(&arena.dir)?;
    ensure!(
        dir.is_dir()
            && dir.nlink() == 2
            && dir.ino() == std::fs::metadata(&arena.dir_elsewhere)?.ino()
    );
    std::fs::create_dir(arena.dir.join("sub"))?;
    ensure!(std::fs::metadata(&arena.dir_elsewhere)?.nlink() == 3);
    Ok(())
}
