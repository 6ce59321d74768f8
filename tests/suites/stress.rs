//! dbench, fs_mark, bonnie++ and stress-ng: as much as they can, with what they verify themselves.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::ground::{Ground, Moves, form, report};

/// Works in a directory, for about so many seconds.
type Program = fn(&Path, u32) -> Command;

fn dbench(dir: &Path, seconds: u32) -> Command {
    let mut command = Command::new("dbench");
    command.args(["--timelimit", &seconds.to_string(), "--directory"]).arg(dir).arg("2");
    command
}

fn fs_mark(dir: &Path, seconds: u32) -> Command {
    let mut command = Command::new("fs_mark");
    command.arg("-d").arg(dir).args([
        "-n",
        &(20 * seconds).to_string(),
        "-s",
        "4096",
        "-D",
        "10",
        "-t",
        "2",
    ]);
    command
}

fn bonnie(dir: &Path, seconds: u32) -> Command {
    let mut command = Command::new("bonnie++");
    let files = format!("{}:4096:0:4", seconds.div_ceil(10));
    command.args(["-q", "-f", "-u", "root", "-r", "8", "-s", "32", "-n", &files, "-d"]).arg(dir);
    command
}

fn stress_ng(dir: &Path, seconds: u32) -> Command {
    let mut command = Command::new("stress-ng");
    for stressor in [
        "dentry",
        "dir",
        "dirdeep",
        "chmod",
        "chown",
        "hdd",
        "link",
        "rename",
        "symlink",
        "touch",
        "utime",
        "xattr",
        "fallocate",
        "access",
        "file-ioctl",
        "filename",
        "metamix",
        "open",
        "readahead",
        "seek",
        "sync-file",
        "unlink",
        "mknod",
        "fpunch",
    ] {
        command.args([&format!("--{stressor}"), "1"]);
    }
    command.args(["--sequential", "1", "--hdd-bytes", "8m", "--fallocate-bytes", "8m", "--verify"]);
    command.args(["--timeout", &seconds.div_ceil(5).to_string(), "--temp-path"]).arg(dir);
    command
}

fn check(name: &str, program: Program) -> anyhow::Result<()> {
    let ground = Ground::new()?;
    // Some leave a log where they are started.
    let elsewhere = tempfile::tempdir()?;
    for (folder, moves) in [("still", Moves::None), ("moves", Moves::Always)] {
        let dir = ground.dir(folder, 1)?;
        let mut command = program(&dir, form(5, 60));
        let run = ground.succeed(command.current_dir(elsewhere.path()), &dir, moves)?;
        report(name, &run, folder);
        std::fs::remove_dir_all(&dir).with_context(|| format!("what {name} has left"))?;
    }
    ground.end()
}

#[test]
fn dbench_finds_nothing_wrong() -> anyhow::Result<()> {
    check("dbench", dbench)
}

#[test]
fn fs_mark_finds_nothing_wrong() -> anyhow::Result<()> {
    check("fs_mark", fs_mark)
}

#[test]
fn bonnie_finds_nothing_wrong() -> anyhow::Result<()> {
    check("bonnie++", bonnie)
}

#[test]
fn stress_ng_finds_nothing_wrong() -> anyhow::Result<()> {
    check("stress-ng", stress_ng)
}
