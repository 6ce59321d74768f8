//! SQLite: what it has committed is there, whoever writes besides, and whoever is killed.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use tests::cluster::{run, wait_until};

use crate::ground::{Ground, Moves, form, report};

fn sqlite(file: &Path, text: &str) -> Command {
    let mut command = Command::new("sqlite3");
    command.args(["-bail", "-cmd", ".timeout 60000"]).arg(file).arg(text);
    command
}

fn ask(file: &Path, text: &str) -> anyhow::Result<String> {
    Ok(run(&mut sqlite(file, text))?.trim().to_owned())
}

/// Rows of a writer, each in a transaction of its own.
fn inserts(writer: u32, rows: u32) -> String {
    let insert = |row| format!("INSERT INTO t VALUES ({writer}, {row}, hex(randomblob(200)));");
    (0..rows).map(insert).collect::<Vec<_>>().join("\n")
}

fn create(file: &Path, mode: &str) -> anyhow::Result<()> {
    let mode = format!("PRAGMA journal_mode={mode}; CREATE TABLE t (writer, row, text);");
    ask(file, &(mode + "CREATE INDEX i ON t (text);")).map(drop)
}

#[test]
fn two_who_write_lose_nothing() -> anyhow::Result<()> {
    let ground = Ground::new()?;
    let rows = form(30, 1000);
    for (name, moves) in [("still", Moves::None), ("moves", Moves::Always)] {
        let dir = ground.dir(name, 1)?;
        for mode in ["delete", "wal"] {
            let file = dir.join(mode);
            create(&file, mode)?;
            let mut one = sqlite(&file, &inserts(1, rows));
            let mut other = one.stdout(Stdio::null()).spawn().context("start sqlite3")?;
            let second = ground.succeed(&mut sqlite(&file, &inserts(2, rows)), &dir, moves);
            ensure!(other.wait()?.success(), "the first has failed");
            report("sqlite3", &second?, &format!("{name}, journal_mode={mode}"));
            ensure!(ask(&file, "PRAGMA integrity_check;")? == "ok");
            let counts = ask(&file, "SELECT writer, count(*) FROM t GROUP BY writer;")?;
            ensure!(counts == format!("1|{rows}\n2|{rows}"), "{counts}");
        }
        std::fs::remove_dir_all(&dir).context("remove it all")?;
    }
    ground.end()
}

#[test]
fn what_was_committed_survives_the_death_of_the_mount() -> anyhow::Result<()> {
    let mut ground = Ground::new()?;
    let dir = ground.dir("dir", 1)?;
    for mode in ["delete", "wal"] {
        let (mine, theirs) = (dir.join(mode), ground.other.path("dir").join(mode));
        create(&mine, mode)?;
        // More than it will come to.
        let script = tempfile::NamedTempFile::new()?;
        std::fs::write(script.path(), inserts(1, 100_000))?;
        let mut writer = sqlite(&theirs, &format!(".read {}", script.path().display()));
        let mut writer = writer.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        // Of those that have just begun none may be there.
        let wal = dir.join(format!("{mode}-wal"));
        wait_until("it writes", || {
            let size = |file: &Path| std::fs::metadata(file).map_or(0, |it| it.len());
            Ok(size(&mine) + size(&wal) > 100_000)
        })?;
        ground.kill_other()?;
        writer.wait()?;
        let file = ground.other.path("dir").join(mode);
        ensure!(ask(&file, "PRAGMA integrity_check;")? == "ok", "{mode}");
        // Without a gap from the first on.
        let gap = ask(&file, "SELECT max(row) + 1 - count(*), count(*) > 0 FROM t;")?;
        ensure!(gap == "0|1", "{mode}: {gap}");
    }
    std::fs::remove_dir_all(&dir).context("remove it all")?;
    ground.end()
}

/// Each by a mount of its own: what keeps them apart are locks of byte ranges. (Not with a journal that is
/// written ahead: its index is memory that both map, which SQLite has on one machine only.)
#[test]
fn two_mounts_that_write_lose_nothing() -> anyhow::Result<()> {
    let ground = Ground::new()?;
    let rows = form(30, 1000);
    for (name, moves) in [("still", Moves::None), ("moves", Moves::Always)] {
        let dir = ground.dir(name, 1)?;
        let (mine, theirs) = (dir.join("file"), ground.other.path(name).join("file"));
        create(&mine, "delete")?;
        let mut one = sqlite(&theirs, &inserts(1, rows));
        let mut other = one.stdout(Stdio::null()).spawn().context("start sqlite3")?;
        let second = ground.succeed(&mut sqlite(&mine, &inserts(2, rows)), &dir, moves);
        ensure!(other.wait()?.success(), "the first has failed");
        report("sqlite3", &second?, &format!("{name}, two mounts"));
        for file in [&mine, &theirs] {
            ensure!(ask(file, "PRAGMA integrity_check;")? == "ok");
            let counts = ask(file, "SELECT writer, count(*) FROM t GROUP BY writer;")?;
            ensure!(counts == format!("1|{rows}\n2|{rows}"), "{counts}");
        }
        std::fs::remove_dir_all(&dir).context("remove it all")?;
    }
    ground.end()
}
