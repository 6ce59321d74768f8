//! access, and permissions as the kernel checks them.

use anyhow::ensure;
use rustix::fs::{Access, Mode, access, chmod};

use super::Arena;

pub(super) fn check(arena: &Arena) -> anyhow::Result<()> {
    let file = arena.file("file", "")?;
    access(&file, Access::READ_OK | Access::WRITE_OK)?;
    ensure!(access(&file, Access::EXEC_OK).is_err());
    chmod(&file, Mode::from_raw_mode(0o755))?;
    access(&file, Access::EXEC_OK)?;
    // Another mount must not remember the old mode.
    access(arena.dir_elsewhere.join("file"), Access::EXEC_OK)?;
    ensure!(access(arena.dir.join("missing"), Access::EXISTS).is_err());
    Ok(())
}
