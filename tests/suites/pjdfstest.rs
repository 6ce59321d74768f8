//! pjdfstest: what POSIX says of each operation on names and attributes, one small test for each sentence.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use tests::cluster::helpers::Helpers;

use crate::ground::{Ground, Moves, ending, report, settings, tool};

/// Short waits: our times have nanoseconds. One of its tests is skipped: `link::link_count_max`, since the C
/// library knows no limit of links for FUSE.
const SETTINGS: &str = r#"
[features]
posix_fallocate = {}
rename_ctime = {}
utime_now = {}
utimensat = {}

[settings]
naptime = 0.001
allow_remount = false

[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
"#;

/// Those of the tests that mount read-only. By themselves: an earlier one leaves a file open for writing, and
/// then no file system lets them (ext4 fails the same eight).
const READ_ONLY: &str = "erofs";

/// Passed, failed and skipped, of those whose names contain that.
fn check(
    ground: &Ground,
    dir: &Path,
    (text, which): (&str, Option<&str>),
    moves: Moves,
    name: &str,
) -> anyhow::Result<()> {
    let settings = settings(text)?;
    // To what is there nothing is renamed.
    let elsewhere = tempfile::tempdir()?;
    let mut command = Command::new(tool("pjdfstest"));
    command.arg("-c").arg(settings.path()).arg("-p").arg(dir).current_dir(dir);
    command.arg("-s").arg(elsewhere.path()).args(which);
    let run = ground.run(&mut command, dir, moves)?;
    let summary = run.said.lines().rev().find(|line| line.contains("passed"));
    let summary = summary.with_context(|| format!("pjdfstest says:\n{}", ending(&run.said)))?;
    let failed: Vec<&str> = run.said.lines().filter(|line| line.contains("FAILED")).collect();
    report(name, &run, summary.trim());
    ensure!(
        run.status.success() && failed.is_empty(),
        "{}\n{}",
        failed.join("\n"),
        ending(&run.said)
    );
    Ok(())
}

#[test]
fn at_one_rank_and_at_another_and_while_directories_move() -> anyhow::Result<()> {
    // It mounts read-only, and back, as people do.
    let _helpers = Helpers::install()?;
    let ground = Ground::new()?;
    for (name, rank, moves) in
        [("one", 0, Moves::None), ("other", 1, Moves::None), ("moves", 1, Moves::Always)]
    {
        let dir = ground.dir(name, rank)?;
        check(&ground, &dir, (SETTINGS, None), moves, &format!("pjdfstest, {name}"))?;
        let settings = SETTINGS.replace("allow_remount = false", "allow_remount = true");
        let read_only = (settings.as_str(), Some(READ_ONLY));
        check(&ground, &dir, read_only, moves, &format!("pjdfstest, read-only, {name}"))?;
        std::fs::remove_dir(&dir).with_context(|| format!("what is left in {name}"))?;
    }
    ground.end()
}
