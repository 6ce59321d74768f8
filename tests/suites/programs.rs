//! Programs that people use, with results as on any other file system, while their directories move.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use tests::cluster::run;

use crate::ground::{Ground, Moves, form, report};

fn git(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(["-c", "user.name=t", "-c", "user.email=t@example.org"]);
    command
}

/// A repository with a history, elsewhere.
fn repository(dir: &Path, commits: u32) -> anyhow::Result<()> {
    run(git(dir).args(["init", "--quiet", "--initial-branch", "main"]))?;
    for commit in 0..commits {
        let folder = dir.join(format!("folder{}", commit % 7));
        std::fs::create_dir_all(&folder)?;
        for file in 0..5 {
            let text = format!("{commit} {file}\n").repeat(200);
            std::fs::write(folder.join(format!("file{}", (commit + file) % 11)), text)?;
        }
        run(git(dir).args(["add", "--all"]))?;
        run(git(dir).args(["commit", "--quiet", "--message", &format!("change {commit}")]))?;
    }
    Ok(())
}

#[test]
fn git_clones_and_finds_nothing_wrong() -> anyhow::Result<()> {
    let ground = Ground::new()?;
    let source = tempfile::tempdir()?;
    repository(source.path(), form(20, 200))?;
    for (name, moves) in [("still", Moves::None), ("moves", Moves::Always)] {
        let dir = ground.dir(name, 1)?;
        let clone = dir.join("clone");
        let mut command = Command::new("git");
        command.args(["clone", "--quiet", "--no-local"]).arg(source.path()).arg(&clone);
        let cloned = ground.succeed(&mut command, &dir, moves)?;
        ground.succeed(git(&clone).args(["fsck", "--full", "--strict"]), &dir, moves)?;
        ground.succeed(git(&clone).args(["gc", "--quiet"]), &dir, moves)?;
        let head = |dir: &Path| run(git(dir).args(["log", "--format=%H %T"]));
        ensure!(head(&clone)? == head(source.path())?, "the histories differ");
        let status = run(git(&clone).args(["status", "--porcelain"]))?;
        ensure!(status.is_empty(), "git status says: {status}");
        report("git clone", &cloned, name);
        std::fs::remove_dir_all(&dir).context("remove it all")?;
    }
    ground.end()
}

/// Of this project, with everything that it needs; all that is made lies on the mount.
#[test]
fn cargo_builds_and_runs_tests() -> anyhow::Result<()> {
    let ground = Ground::new()?;
    let dir = ground.dir("cargo", 1)?;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("of the workspace")?;
    let source = dir.join("source");
    run(Command::new("git").args(["clone", "--quiet", "--no-local"]).arg(repository).arg(&source))?;
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--quiet", "--lib", "--package", form("common", "mds-core")]);
    command.args(["--jobs", "2"]).current_dir(&source).env("CARGO_TARGET_DIR", dir.join("target"));
    let built = ground.succeed(&mut command, &dir, form(Moves::None, Moves::Always))?;
    report("cargo test", &built, built.said.trim().lines().last().unwrap_or_default());
    std::fs::remove_dir_all(&dir).context("remove it all")?;
    ground.end()
}

/// Hard links, times, extended attributes, ACLs, holes and owners of a tree that a distribution has.
#[test]
fn what_rsync_and_tar_copy_is_the_same() -> anyhow::Result<()> {
    let ground = Ground::new()?;
    let source = tempfile::tempdir()?;
    let tree = source.path().join("tree");
    run(Command::new("cp").args(["-a", form("/usr/include/linux", "/usr/include")]).arg(&tree))?;
    std::fs::hard_link(tree.join("fs.h"), tree.join("again.h"))
        .or_else(|_| std::fs::write(tree.join("again.h"), "again"))?;
    run(Command::new("setfattr")
        .args(["-n", "user.note", "-v", "kept"])
        .arg(tree.join("again.h")))?;
    for (name, moves) in [("still", Moves::None), ("moves", Moves::Always)] {
        let dir = ground.dir(name, 1)?;
        let copied = ground.succeed(
            Command::new("rsync").arg("-aHAX").arg(&tree).arg(dir.join("rsync")),
            &dir,
            moves,
        )?;
        report("rsync", &copied, name);
        let mut again = Command::new("rsync");
        again.args(["-aHAX", "--checksum", "--dry-run", "--itemize-changes"]);
        let differs = ground.succeed(again.arg(&tree).arg(dir.join("rsync")), &dir, moves)?;
        ensure!(differs.said.trim().is_empty(), "rsync would copy again: {}", differs.said);

        std::fs::create_dir(dir.join("tar"))?;
        let pipe = "tar --create --xattrs --acls --file - --directory \"$0\" tree |
            tar --extract --xattrs --acls --file - --directory \"$1\"";
        let mut tar = Command::new("bash");
        tar.args(["-o", "pipefail", "-c", pipe]).arg(source.path()).arg(dir.join("tar"));
        ground.succeed(&mut tar, &dir, moves)?;
        let mut diff = Command::new("diff");
        ground.succeed(diff.arg("-r").arg(&tree).arg(dir.join("tar/tree")), &dir, moves)?;
        let count = |dir: &Path| -> anyhow::Result<usize> {
            Ok(run(Command::new("find").arg(".").current_dir(dir))?.lines().count())
        };
        ensure!(count(&dir.join("tar/tree"))? == count(&tree)?, "find sees another number");
        std::fs::remove_dir_all(&dir).context("remove it all")?;
    }
    ground.end()
}
