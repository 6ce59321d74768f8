//! A rank whose beacons nobody acknowledges may have been replaced: it answers nobody until it knows that it
//! was not, and then goes on as if nothing had been.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal};
use tests::cluster::{Cluster, pass, wait_until};

use crate::waiting::{start, waits_for_fuse};

/// From the monitor's return until whoever waited is answered.
const ANSWER_MAX: Duration = Duration::from_secs(5);

#[test]
fn a_rank_that_the_monitor_does_not_acknowledge_answers_nobody_until_it_does() -> anyhow::Result<()>
{
    let cluster = Cluster::start(1, "")?;
    for text in ["does not acknowledge this rank", "no monitor", "monitor not reachable"] {
        cluster.expect_log(text);
    }
    let mount = cluster.mount("mount")?;
    std::fs::create_dir(mount.path("dir"))?;
    let life = cluster.incarnation(0)?;

    cluster.signal_daemon("mon", Signal::STOP)?;
    let said = |text: &str| {
        let log = std::fs::read_to_string(cluster.path("mds-0.log"))?;
        Ok(log.contains(text))
    };
    wait_until("it holds still", || said("it answers nobody until it does"))?;
    // It must not begin in the mount: whoever starts it would wait with it.
    let made = mount.path("dir/made");
    let mut child = start(Path::new("/"), &["mkdir", made.to_str().context("a path of ours")?])?;
    wait_until("it waits", || waits_for_fuse(Pid::from_child(&child)))?;
    // Far more than an answer takes.
    pass(Duration::from_millis(500));
    let answered = child.try_wait()?;

    cluster.signal_daemon("mon", Signal::CONT)?;
    let began = Instant::now();
    let mut status = answered;
    wait_until("who waited is answered", || {
        status = status.or(child.try_wait()?);
        Ok(status.is_some())
    })?;
    ensure!(answered.is_none(), "it was answered meanwhile");
    ensure!(status.is_some_and(|status| status.success()), "{status:?}");
    ensure!(began.elapsed() < ANSWER_MAX, "it took {:?}", began.elapsed());
    ensure!(made.is_dir());
    ensure!(cluster.incarnation(0)? == life, "nobody took it for dead");
    mount.unmount()?;
    cluster.end()
}
