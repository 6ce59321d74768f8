//! Mounts as people make them: with `mount(8)` and fstab, of parts of the file system, and what becomes
//! of them.

mod part;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use rustix::io::Errno;
use rustix::process::test_kill_process;
use tests::cluster::helpers::Helpers;
use tests::cluster::mount::Mount;
use tests::cluster::{Cluster, run, wait_until};

/// One column of what `findmnt` shows of a mountpoint.
fn findmnt(point: &Path, column: &str) -> anyhow::Result<String> {
    let mut findmnt = Command::new("findmnt");
    findmnt.args(["--noheadings", "--types", "fuse.grovefs", "--output", column]);
    Ok(run(findmnt.arg("--mountpoint").arg(point))?.trim().to_owned())
}

fn has_flag(point: &Path, flag: &str) -> anyhow::Result<bool> {
    Ok(findmnt(point, "OPTIONS")?.split(',').any(|word| word == flag))
}

fn mount(words: &[&str]) -> anyhow::Result<String> {
    run(Command::new("mount").args(words))
}

fn umount(point: &Path, flags: &[&str]) -> anyhow::Result<String> {
    run(Command::new("umount").args(flags).arg(point))
}

/// What was refused says so in these words.
fn refused<T>(done: anyhow::Result<T>, text: &str) -> anyhow::Result<()> {
    let error = done.err().context("it was done").context(text.to_owned())?;
    ensure!(error.to_string().contains(text), "it says {error}, and not {text}");
    Ok(())
}

fn refused_with<T: std::fmt::Debug>(done: std::io::Result<T>, errno: Errno) -> anyhow::Result<()> {
    let said = done.map_err(|error| error.raw_os_error());
    ensure!(
        matches!(said, Err(Some(code)) if code == errno.raw_os_error()),
        "{said:?}, not {errno}"
    );
    Ok(())
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("our paths are ASCII")
}

fn sessions(cluster: &Cluster) -> anyhow::Result<usize> {
    let sessions = cluster.grove_json(&["session", "ls"])?;
    Ok(sessions.as_array().context("a list of sessions")?.len())
}

fn has_sessions(cluster: &Cluster) -> anyhow::Result<bool> {
    Ok(sessions(cluster)? > 0)
}

/// `umount(8)`, as soon as no program that another test starts has our files.
fn umount_when_free(point: &Path, flags: &[&str]) -> anyhow::Result<()> {
    wait_until("nobody uses the mount", || umount(point, flags).map(|_| true))
}

#[test]
fn mount_and_umount_do_it() -> anyhow::Result<()> {
    let helpers = Helpers::install()?;
    let cluster = Cluster::start(1, "")?;
    let mounted = cluster.mount_as_people_do(":/", "mount", "noexec")?;
    let point = mounted.point();
    ensure!(findmnt(point, "SOURCE")? == format!("{}:/", cluster.monitor()));
    ensure!(has_flag(point, "noexec")? && has_flag(point, "rw")?);
    std::fs::write(mounted.path("file"), "kept")?;
    let source = format!("{}:/", cluster.monitor());
    let again = ["-t", "grovefs", &source, text(point)?, "-o", &cluster.options_for("again")];
    refused(mount(&again), "is mounted at")?;
    umount_when_free(point, &[])?;
    mounted.is_unmounted();
    wait_until("everything is given back", || Ok(!has_sessions(&cluster)?))?;

    // If umount(8) calls us, it is given back when that returns.
    for why in ["_netdev", "uhelper=grovefs"] {
        let mounted = cluster.mount_as_people_do(":/", "mount", why)?;
        umount_when_free(mounted.point(), &[])?;
        ensure!(!has_sessions(&cluster)?, "with {why} it is not waited for");
        mounted.is_unmounted();
    }
    let mounted = cluster.mount_as_people_do("", "mount", "ro,relatime")?;
    ensure!(findmnt(mounted.point(), "SOURCE")? == cluster.monitor());
    ensure!(std::fs::read(mounted.path("file"))? == b"kept");
    umount_when_free(mounted.point(), &["--internal-only"])?;
    mounted.is_unmounted();
    wait_until("everything is given back", || Ok(!has_sessions(&cluster)?))?;
    drop(helpers);
    cluster.end()
}

#[test]
fn fstab_is_understood() -> anyhow::Result<()> {
    let _helpers = Helpers::install()?;
    let cluster = Cluster::start(1, "")?;
    let (whole, part) = (cluster.mountpoint("whole")?, cluster.mountpoint("part")?);
    let (all, monitor) = (cluster.mount("all")?, cluster.monitor());
    std::fs::create_dir_all(all.path("with blank/part"))?;
    let fstab = format!(
        "{monitor}:/ {} grovefs {},defaults,nofail,_netdev,x-systemd.automount 0 0\n\
         127.0.0.1:1,{monitor}:/with\\040blank/part {} grovefs {},ro,user,comment=a,lazytime 0 0\n\
         {monitor}:/none /none grovefs noauto,fast 0 0\n",
        whole.display(),
        cluster.options_for("whole"),
        part.display(),
        cluster.options_for("part"),
    );
    let path = cluster.path("fstab");
    std::fs::write(&path, fstab)?;
    let fstab = ["--fstab", text(&path)?];
    for _ in 0..2 {
        // The second time all of it is there.
        mount(&[&fstab[..], &["--all"]].concat())?;
    }
    let mounts = [cluster.mounted_at("whole"), cluster.mounted_at("part")];
    ensure!(findmnt(&part, "SOURCE")? == format!("127.0.0.1:1,{monitor}:/with blank/part"));
    ensure!(has_flag(&part, "ro")? && has_flag(&part, "nosuid")? && !has_flag(&whole, "nosuid")?);
    std::fs::write(whole.join("with blank/part/file"), "one")?;
    ensure!(std::fs::read(part.join("file"))? == b"one");

    // The other flags stay as fstab has them.
    mount(&[&fstab[..], &["-o", "remount,rw", text(&part)?]].concat())?;
    std::fs::write(part.join("file"), "other")?;
    ensure!(has_flag(&part, "rw")? && has_flag(&part, "nosuid")?);
    for mounted in mounts {
        umount_when_free(mounted.point(), &[])?;
        mounted.is_unmounted();
    }
    all.unmount()?;
    cluster.end()
}

#[test]
fn what_is_read_only_is_written_by_nobody() -> anyhow::Result<()> {
    let _helpers = Helpers::install()?;
    let cluster = Cluster::start(1, "")?;
    let other = cluster.mount("other")?;
    std::fs::write(other.path("file"), "one")?;
    let mounted = cluster.mount_as_people_do(":/", "mount", "ro")?;
    let (point, file) = (text(mounted.point())?.to_owned(), mounted.path("file"));
    let point = point.as_str();
    let writes = || -> anyhow::Result<()> {
        refused_with(std::fs::write(&file, "other"), Errno::ROFS)?;
        refused_with(std::fs::create_dir(mounted.path("dir")), Errno::ROFS)?;
        refused_with(std::fs::rename(&file, mounted.path("moved")), Errno::ROFS)?;
        refused_with(std::fs::remove_file(&file), Errno::ROFS)
    };
    writes()?;
    mount(&["-o", "remount,rw", point])?;
    std::fs::write(&file, "other")?;
    let open = std::fs::File::options().append(true).open(&file)?;
    refused(mount(&["-o", "remount,ro", point]), "in use for writing")?;
    drop(open);
    wait_until("nobody writes", || Ok(mount(&["-o", "remount,ro,noexec", point]).is_ok()))?;
    ensure!(has_flag(mounted.point(), "noexec")?);
    writes()?;
    // It is this mount that is read-only.
    std::fs::write(other.path("file"), "third")?;
    ensure!(std::fs::read(&file)? == b"third");
    mounted.unmount()?;
    refused(mount(&["-t", "grovefs", "a:1:/", point, "-o", "remount,ro"]), "no GroveFS is")?;
    other.unmount()?;
    cluster.end()
}

#[test]
fn who_uses_a_mount_is_named_and_may_stay() -> anyhow::Result<()> {
    let _helpers = Helpers::install()?;
    let cluster = Cluster::start(1, "")?;
    let mounted = cluster.mount_as_people_do(":/", "mount", "_netdev")?;
    std::fs::create_dir(mounted.path("dir"))?;
    let mut user = Command::new("sleep").arg("600").current_dir(mounted.path("dir")).spawn()?;
    let busy = format!("in use by {} (sleep)", user.id());
    // Those that other tests start have our files for a moment, and are named as well.
    wait_until("one uses it", || refused(umount(mounted.point(), &[]), &busy).map(|()| true))?;
    refused(cluster.grove(&["umount", text(mounted.point())?]), &busy)?;

    let server = mounted.process()?;
    umount(mounted.point(), &["--lazy"])?;
    ensure!(findmnt(mounted.point(), "SOURCE").is_err(), "it is out of the tree");
    mounted.is_unmounted();
    let working = format!("/proc/{}/cwd/file", user.id());
    std::fs::write(&working, "still served")?;
    ensure!(std::fs::read(&working)? == b"still served");
    ensure!(test_kill_process(server).is_ok() && has_sessions(&cluster)?);
    user.kill()?;
    user.wait()?;
    wait_until("it ends with its last user", || {
        Ok(test_kill_process(server).is_err() && !has_sessions(&cluster)?)
    })?;
    cluster.end()
}

#[test]
fn a_mount_that_was_killed_is_mounted_again() -> anyhow::Result<()> {
    let _helpers = Helpers::install()?;
    let cluster = Cluster::start(1, "")?;
    cluster.expect_log("taking the place of a mount that was killed");
    let mut mounted = cluster.mount_as_people_do(":/", "mount", "")?;
    std::fs::create_dir(mounted.path("dir"))?;
    let dead = |point: &Path| wait_until("it is dead", || Ok(std::fs::metadata(point).is_err()));
    // It makes no difference what of the file system was mounted there.
    for part in [":/dir", ":/"] {
        dead(&mounted.kill()?)?;
        mounted = cluster.mount_as_people_do(part, "mount", "")?;
        std::fs::write(mounted.path("file"), part)?;
    }
    let killed = mounted.kill()?;
    dead(&killed)?;
    umount(&killed, &[])?;
    ensure!(std::fs::read_dir(&killed)?.count() == 0, "the folder below is bare");
    cluster.end()
}

#[test]
fn what_cannot_be_mounted_is_refused_with_a_reason() -> anyhow::Result<()> {
    let _helpers = Helpers::install()?;
    let cluster = Cluster::start(1, "")?;
    let all = cluster.mount("all")?;
    std::fs::create_dir(all.path("dir"))?;
    std::fs::write(all.path("file"), "")?;
    std::os::unix::fs::symlink("/dir", all.path("link"))?;
    let point = cluster.mountpoint("mount")?;
    let options = cluster.options_for("refused");
    let says = |source: &str, more: &str, text_: &str| {
        let options = format!("{options},{more}");
        refused(mount(&["-t", "grovefs", source, text(&point)?, "-o", &options]), text_)
    };
    let of = |part: &str| format!("{}{part}", cluster.monitor());
    says(&of(":/none/dir"), "", "there is no `/none`")?;
    says(&of(":/file"), "", "`/file` is not a directory")?;
    says(&of(":/dir/../dir"), "", "contains `..`")?;
    for link in [":/link", ":/link/dir"] {
        says(&of(link), "", "`/link` is a symbolic link")?;
    }
    says(&of("/dir"), "", "write 127.0.0.1:")?;
    says("127.0.0.1:1,127.0.0.1:2:/", "", "none of 2 monitors answers: 127.0.0.1:")?;
    says(&of(":/"), "fast", "`fast` is no mount option; there are config=FILE")?;
    says(&of(":/"), "certs=/none", "/none")?;
    ensure!(findmnt(&point, "SOURCE").is_err() && std::fs::read_dir(&point)?.count() == 0);
    ensure!(sessions(&cluster)? == 1, "who could not mount holds nothing");

    // The exit code tells scripts which of the two it was.
    for (source, code) in [(of("/dir"), 1), (of(":/none"), 32)] {
        let mut mount = Command::new("mount");
        mount.args(["-t", "grovefs", &source, text(&point)?, "-o", &options]);
        ensure!(mount.output()?.status.code() == Some(code), "{source}");
    }

    // Who only wants to know hears the same, and who is sloppy does not mind.
    let fake = |source: &str| mount(&["-ft", "grovefs", source, text(&point)?, "-o", &options]);
    refused(fake(&of(":/none")), "there is no `/none`")?;
    fake(&of(":/dir"))?;
    ensure!(findmnt(&point, "SOURCE").is_err());
    mount(&["-st", "grovefs", &of(":/dir"), text(&point)?, "-o", &format!("{options},fast")])?;
    cluster.mounted_at("mount").unmount()?;
    all.unmount()?;
    cluster.end()
}

/// How many requests the ranks have answered while something was done.
fn requests(cluster: &Cluster, done: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<u64> {
    let count = || -> anyhow::Result<u64> {
        let status = cluster.grove_json(&["status"])?;
        status["ranks"][0]["details"]["requests"].as_u64().context("a rank counts requests")
    };
    let before = count()?;
    done()?;
    Ok(count()? - before)
}

#[test]
fn what_is_synchronous_waits_for_the_journal() -> anyhow::Result<()> {
    const TIMES: u64 = 40;
    let _helpers = Helpers::install()?;
    let cluster = Cluster::start(1, "")?;
    let make = |mount: &Mount, name: &str| {
        (0..TIMES).try_for_each(|nth| Ok(std::fs::create_dir(mount.path(&format!("{name}{nth}")))?))
    };
    let touch = |mount: &Mount, name: &str| {
        (0..TIMES).try_for_each(|nth| {
            let path = mount.path(&format!("{name}{nth}"));
            Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?)
        })
    };
    // One at a time: who tells others of a change is answered when they have heard, and it is durable by then.
    let asked = |name: &str, options: &str| -> anyhow::Result<(u64, u64)> {
        let mount = cluster.mount_as_people_do(":/", name, options)?;
        let made = requests(&cluster, || make(&mount, name))?;
        let touched = requests(&cluster, || touch(&mount, name))?;
        mount.unmount()?;
        Ok((made, touched))
    };
    let (plain, names, all) =
        (asked("plain", "")?, asked("names", "dirsync")?, asked("all", "sync")?);
    ensure!(
        names.0 >= plain.0 + TIMES / 2,
        "dirsync: {} requests, and {} without",
        names.0,
        plain.0
    );
    ensure!(all.0 >= plain.0 + TIMES / 2, "sync: {} requests, and {} without", all.0, plain.0);
    ensure!(all.1 >= names.1 + TIMES / 2, "sync: {} requests, and {} without", all.1, names.1);
    cluster.end()
}
