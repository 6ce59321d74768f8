//! pjdfstest: what POSIX says of each operation on names and attributes, one small test for each sentence.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::ground::{Ground, Moves, ending, report, settings, tool};

/// Short waits: our times have nanoseconds.
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

/// Passed, failed and skipped.
fn check(ground: &Ground, dir: &Path, moves: Moves, name: &str) -> anyhow::Result<()> {
    let settings = settings(SETTINGS)?;
    let mut command = Command::new(tool("pjdfstest"));
    command.arg("-c").arg(settings.path()).arg("-p").arg(dir).current_dir(dir);
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
    let ground = Ground::new()?;
    for (name, rank, moves) in
        [("one", 0, Moves::None), ("other", 1, Moves::None), ("moves", 1, Moves::Always)]
    {
        let dir = ground.dir(name, rank)?;
        check(&ground, &dir, moves, &format!("pjdfstest, {name}"))?;
        std::fs::remove_dir(&dir).with_context(|| format!("what is left in {name}"))?;
    }
    ground.end()
}
