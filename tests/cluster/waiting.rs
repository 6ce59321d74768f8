//! Processes that wait for a rank that does not come back can be killed, whatever they wait in.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use common::limit::CAPABILITY_TIME;
use rustix::process::{Pid, Signal, kill_process};
use tests::cluster::{Cluster, pass, wait_until};

/// From a signal to the process's end.
const END_MAX: Duration = Duration::from_secs(5);

/// Programs that each wait in another call for the rank that has `dir`.
const CALLS: [(&str, &[&str]); 11] = [
    ("stat", &["stat", "dir/file"]),
    ("open and read", &["cat", "dir/file"]),
    ("create", &["dd", "if=/dev/zero", "of=dir/new", "count=1"]),
    ("list", &["ls", "dir"]),
    ("mkdir", &["mkdir", "dir/sub"]),
    ("unlink", &["rm", "-f", "dir/file"]),
    ("rename within", &["mv", "--no-clobber", "dir/file", "dir/moved"]),
    ("rename between two ranks", &["mv", "here", "dir/here"]),
    ("link between two ranks", &["ln", "here", "dir/link"]),
    ("setattr", &["chmod", "600", "dir/file"]),
    ("sync", &["sync", "dir/file"]),
];

pub(crate) fn start(dir: &Path, words: &[&str]) -> anyhow::Result<Child> {
    // Whoever runs the tests in the background ignores SIGINT, and so do its children.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").args(words).current_dir(dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().with_context(|| format!("start {words:?}"))
}

/// Whether a process sleeps in a call to a file system whose servers are user space's.
pub(crate) fn waits_for_fuse(process: Pid) -> anyhow::Result<bool> {
    let at = std::fs::read_to_string(format!("/proc/{process}/wchan"))?;
    Ok(at.contains("fuse") || at.contains("request_wait"))
}

/// Whether a process waits for user space, or in the kernel behind another that does: a
/// directory's lock is waited for without hearing signals (`D` in proc_pid_stat(5)).
fn waits_for_fuse_or_a_lock(process: Pid) -> anyhow::Result<bool> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let state = stat.rsplit(") ").next();
    Ok(waits_for_fuse(process)? || state.is_some_and(|state| state.starts_with('D')))
}

fn ends_by(child: Child, signal: Signal) -> anyhow::Result<()> {
    kill_process(Pid::from_child(&child), signal)?;
    has_ended_by(child, signal)
}

fn has_ended_by(mut child: Child, signal: Signal) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut status = None;
    let ended = wait_until("it has ended", || {
        status = child.try_wait()?;
        Ok(status.is_some())
    });
    if ended.is_err() {
        // Nobody would ever reap it.
        child.kill().ok();
    }
    ended?;
    ensure!(began.elapsed() < END_MAX, "it took {:?} to end", began.elapsed());
    let by = status.and_then(|status| status.signal());
    ensure!(by == Some(signal.as_raw()), "it ended with {status:?}");
    Ok(())
}

#[test]
fn whoever_waits_for_a_dead_rank_can_be_killed() -> anyhow::Result<()> {
    let cluster = Cluster::start(2, "")?;
    cluster.expect_log("lost");
    let mount = cluster.mount("mount")?;
    for dir in ["dir", "other"] {
        std::fs::create_dir(mount.path(dir))?;
    }
    for name in ["here", "dir/file"] {
        std::fs::write(mount.path(name), name)?;
    }
    cluster.export(Path::new("/dir"), 1)?;
    cluster.kill_daemon("mds-1")?;
    // Until then the kernel answers by itself.
    pass(CAPABILITY_TIME);
    for signal in [Signal::KILL, Signal::INT] {
        for (what, words) in CALLS {
            let child = start(mount.point(), words)?;
            let process = Pid::from_child(&child);
            wait_until("it waits", || waits_for_fuse(process))
                .and_then(|()| ends_by(child, signal))
                .with_context(|| format!("{what}, {signal:?}"))?;
        }
    }
    // All at once, and the others are served meanwhile.
    let start = |(_, words): (&str, &[&str])| start(mount.point(), words);
    let waiting: Vec<Child> = CALLS.into_iter().map(start).collect::<anyhow::Result<_>>()?;
    // Not in the directory above: a rename waits with a lock of the kernel's on it.
    std::fs::write(mount.path("other/file"), "at once")?;
    for (child, (what, _)) in waiting.iter().zip(CALLS) {
        let process = Pid::from_child(child);
        wait_until("it waits", || waits_for_fuse_or_a_lock(process)).context(what)?;
    }
    // All, before any is waited for: who has a lock may be behind who wants it.
    for child in &waiting {
        kill_process(Pid::from_child(child), Signal::KILL)?;
    }
    for (child, (what, _)) in waiting.into_iter().zip(CALLS) {
        has_ended_by(child, Signal::KILL).context(what)?;
    }
    // When the rank is back it finds nothing done that nobody has heard of, or all of it.
    cluster.start_daemon("mds-1")?;
    cluster.wait_active()?;
    ensure!(std::fs::read(mount.path("other/file"))? == b"at once");
    for dir in ["dir", "other"] {
        std::fs::remove_dir_all(mount.path(dir))?;
    }
    for left in std::fs::read_dir(mount.point())? {
        std::fs::remove_file(left?.path())?;
    }
    mount.unmount()?;
    wait_until("nothing is left", || crate::migration::nothing_left(&cluster))?;
    cluster.end()
}
