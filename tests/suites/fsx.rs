//! fsx: one file, read and written, mapped, cut and extended at random, and what it reads is what it wrote.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::ground::{Ground, Moves, form, report, settings, tool};

const PLAIN: &str = r#"
[opsize]
max = 65536

[weights]
close_open = 1
mapread = 0
mapwrite = 0
read = 10
write = 10
truncate = 5
fsync = 1
fdatasync = 1
posix_fallocate = 2
punch_hole = 2
sendfile = 2
posix_fadvise = 1
copy_file_range = 2
"#;

const MAPPED: &str = r#"
[opsize]
max = 65536

[weights]
close_open = 1
invalidate = 1
mapread = 10
mapwrite = 10
read = 10
write = 10
truncate = 5
fsync = 1
punch_hole = 2
"#;

fn check(
    ground: &Ground,
    file: &Path,
    (text, operations, seed): (&str, u32, u32),
    moves: Moves,
) -> anyhow::Result<u32> {
    let settings = settings(text)?;
    let artifacts = tempfile::tempdir()?;
    let mut command = Command::new(tool("fsx"));
    command.arg("-f").arg(settings.path()).arg("-P").arg(artifacts.path());
    command.args(["-N", &operations.to_string(), "-S", &seed.to_string()]).arg(file);
    let dir = file.parent().context("a file is in a directory")?;
    let run = ground.succeed(&mut command, dir, moves)?;
    report("fsx", &run, &format!("{operations} operations"));
    Ok(run.moves)
}

/// What one of them has cached is not what the other has made of it since.
#[test]
fn two_mounts_take_turns() -> anyhow::Result<()> {
    let ground = Ground::new()?;
    let dir = ground.dir("fsx", 1)?;
    let files = [dir.join("file"), ground.other.path("fsx").join("file")];
    let (turns, operations) = form((6, 300), (40, 5000));
    for turn in 0..turns {
        for file in &files {
            check(&ground, file, (MAPPED, operations, turn), Moves::Always)?;
        }
    }
    std::fs::remove_file(&files[0])?;
    std::fs::remove_dir(&dir)?;
    ground.end()
}

#[test]
fn plain_and_mapped_and_while_the_directory_moves() -> anyhow::Result<()> {
    let ground = Ground::new()?;
    let dir = ground.dir("fsx", 1)?;
    let operations = form(3000, 200_000);
    for (seed, moves) in [(1, Moves::None), (2, Moves::Always)] {
        for (text, name) in [(PLAIN, "plain"), (MAPPED, "mapped")] {
            let file = dir.join(name);
            check(&ground, &file, (text, operations, seed), moves)?;
            std::fs::remove_file(&file).context("remove the file")?;
        }
    }
    std::fs::remove_dir(&dir)?;
    ground.end()
}
