//! dbench, fs_mark, stress-ng and bonnie++: as much as they can, with what they verify themselves.

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

/// What stress-ng does to files and directories, all of it at once.
const STRESSORS: [&str; 35] = [
    "access",
    "chmod",
    "chown",
    "copy-file",
    "dentry",
    "dir",
    "dirdeep",
    "dirmany",
    "fallocate",
    "fcntl",
    "file-ioctl",
    "filename",
    "flock",
    "fpunch",
    "fstat",
    "getdent",
    "hdd",
    "iomix",
    "link",
    "locka",
    "lockf",
    "mknod",
    "open",
    "readahead",
    "rename",
    "revio",
    "seek",
    "sendfile",
    "symlink",
    "sync-file",
    "touch",
    "utime",
    "verity",
    "xattr",
    "lease",
];

fn stress_ng(dir: &Path, seconds: u32) -> Command {
    let mut command = Command::new("stress-ng");
    for stressor in STRESSORS {
        command.arg(format!("--{stressor}")).arg("1");
    }
    command.args(["--hdd-bytes", "8m", "--fallocate-bytes", "8m", "--dirdeep-inodes", "1000"]);
    command.args(["--verify", "--timeout", &seconds.to_string(), "--temp-path"]).arg(dir);
    command
}

fn bonnie(dir: &Path, seconds: u32) -> Command {
    let mut command = Command::new("bonnie++");
    // Not byte by byte, and with so many files, in thousands.
    let (memory, size) = (seconds.clamp(8, 64), seconds.clamp(8, 64) * 2);
    command.args(["-f", "-q", "-r", &memory.to_string(), "-s", &size.to_string(), "-u", "root"]);
    command.args(["-n", &(1 + seconds / 20).to_string(), "-d"]).arg(dir);
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
fn stress_ng_finds_nothing_wrong() -> anyhow::Result<()> {
    check("stress-ng", stress_ng)
}

#[test]
fn bonnie_finds_nothing_wrong() -> anyhow::Result<()> {
    check("bonnie++", bonnie)
}
