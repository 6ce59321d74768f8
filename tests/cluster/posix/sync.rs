//! fsync and fsyncdir, flush at close.

use std::io::Write;

use super::Arena;

pub(super) fn check(arena: &Arena) -> anyhow::Result<()> {
    let path = arena.file("file", "")?;
    let mut file = std::fs::File::options().append(true).open(&path)?;
    file.write_all(b"kept")?;
    file.sync_all()?;
    file.sync_data()?;
    std::fs::File::open(&arena.dir)?.sync_all()?;
    std::fs::rename(&path, arena.other.join("file"))?;
    file.sync_all()?;
    std::fs::File::open(&arena.other)?.sync_all()?;
    Ok(())
}
