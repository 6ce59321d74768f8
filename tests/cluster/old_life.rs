//! A life that is over and does not know: it is stopped and goes on, or its store comes back from a copy.
//! Monitor, ranks and clients refuse it, and it ends.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use common::id::{ClientId, Incarnation, MapEpoch, Rank, Slot};
use common::mds_map::RankState;
use common::wire::hello::{Hello, Identity, Refusal};
use common::wire::monitor::{Beacon, FromMonitor, MonitorError, ToMonitor};
use rustix::process::Signal;
use tests::cluster::{Cluster, wait_until};
use transport::Role;
use transport::hello::HelloError;

use crate::load::{Presence, Progress, Worker, wait_for_progress, while_working};
use crate::malformed::{Stranger, addr_of_rank, runtime};

fn log(cluster: &Cluster, daemon: &str) -> anyhow::Result<String> {
    let log = std::fs::read(cluster.path(&format!("{daemon}.log")))?;
    Ok(String::from_utf8_lossy(&log).into_owned())
}

fn is_down(cluster: &Cluster, rank: usize) -> anyhow::Result<bool> {
    Ok(cluster.grove_json(&["status", "--brief"])?["ranks"][rank]["state"] == "down")
}

/// What the monitor says to a sign of life of rank 1's daemon in an earlier life.
fn beacon_is_refused(cluster: &Cluster, old: Incarnation) -> anyhow::Result<()> {
    let runtime = runtime()?;
    let inside = runtime.enter();
    let daemon = Identity::Daemon { name: "mds-1".to_owned() };
    let daemon = Stranger::with_certificate(cluster, "mds-1", daemon)?;
    drop(inside);
    let monitor: SocketAddr = cluster.monitor().parse()?;
    let beacon = ToMonitor::Beacon(Beacon {
        daemon: "mds-1".to_owned(),
        slot: Slot(1),
        incarnation: old,
        addr: addr_of_rank(cluster, 1)?,
        state: RankState::Active,
        map_epoch: MapEpoch(0),
        turns: 1,
        number: 1,
    });
    let answer: FromMonitor = runtime.block_on(daemon.ask((monitor, Role::Mon), &beacon))?;
    ensure!(
        matches!(answer, FromMonitor::Refused(MonitorError::StaleIncarnation)),
        "the monitor says {answer:?}"
    );
    Ok(())
}

/// Another rank does not listen to the earlier life, and the present one is no stand-in for it.
fn ranks_refuse(cluster: &Cluster, old: Incarnation, new: Incarnation) -> anyhow::Result<()> {
    let runtime = runtime()?;
    let inside = runtime.enter();
    let peer = Identity::Mds { rank: Rank(1), incarnation: old, received: 0 };
    let peer = Stranger::with_certificate(cluster, "mds-1", peer)?;
    let client = Identity::Client(ClientId(4711));
    let client = Stranger::with_certificate(cluster, "client", client)?;
    drop(inside);
    let rank_0 = (addr_of_rank(cluster, 0)?, Role::Mds);
    let rank_1 = (addr_of_rank(cluster, 1)?, Role::Mds);
    let late = Hello { to: Some(old), ..client.hello() };
    for (who, to, hello) in [(&peer, rank_0, peer.hello()), (&client, rank_1, late)] {
        match runtime.block_on(who.greet(to, &hello))? {
            Err(HelloError::Refused(Refusal::Incarnation { current, yours })) => {
                ensure!((current, yours) == (new, old), "{current} is said, not {new}");
            }
            other => bail!("{hello:?} was met with {other:?}"),
        }
    }
    Ok(())
}

/// Somebody works in a directory of rank 1 while something happens to that rank. Tells its lives before
/// and after.
fn under_load(
    cluster: &Cluster,
    happens: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<(Incarnation, Incarnation)> {
    let mount = cluster.mount("mount")?;
    std::fs::create_dir(mount.path("dir"))?;
    cluster.export(Path::new("/dir"), 1)?;
    let (presence, progress) = (Presence::default(), [Progress::default()]);
    let mut workers = [Worker::new(vec![mount.path("dir")], &presence, 1)];
    let old = cluster.incarnation(1)?;
    while_working(&mut workers, &progress, || {
        wait_for_progress(&progress, 50)?;
        happens()?;
        wait_until("rank 1 has a new life", || Ok(cluster.incarnation(1)? > old))?;
        cluster.wait_active()?;
        wait_for_progress(&progress, 50)
    })?;
    workers[0].check()?;
    workers[0].clean()?;
    mount.unmount()?;
    Ok((Incarnation(old), Incarnation(cluster.incarnation(1)?)))
}

#[test]
fn a_life_that_was_declared_dead_while_stopped_ends_itself() -> anyhow::Result<()> {
    let cluster = Cluster::start(2, "")?;
    for text in ["lost", "took this incarnation for dead", "does not acknowledge this rank"] {
        cluster.expect_log(text);
    }
    let (old, new) = under_load(&cluster, || {
        cluster.signal_daemon("mds-1", Signal::STOP)?;
        wait_until("it is declared dead", || is_down(&cluster, 1))?;
        cluster.signal_daemon("mds-1", Signal::CONT)
    })?;
    let said = log(&cluster, "mds-1")?;
    let ends = "took this incarnation for dead; beginning anew";
    ensure!(said.matches(ends).count() == 1, "{said}");
    beacon_is_refused(&cluster, old)?;
    ranks_refuse(&cluster, old, new)?;
    ensure!(cluster.incarnation(1)? == new.0, "the present life is none the worse for it");
    cluster.end()
}

#[test]
fn a_stopped_life_is_killed_by_whoever_takes_its_place() -> anyhow::Result<()> {
    let cluster = Cluster::start_with_standbys(2, 1, "")?;
    for text in ["lost", "killed whoever held", "took this incarnation for dead"] {
        cluster.expect_log(text);
    }
    let (old, new) = under_load(&cluster, || cluster.signal_daemon("mds-1", Signal::STOP))?;
    let exit = cluster.exit_of("mds-1");
    let killed = exit.and_then(|status| std::os::unix::process::ExitStatusExt::signal(&status));
    ensure!(killed == Some(Signal::KILL.as_raw()), "{exit:?}");
    ensure!(log(&cluster, "mds-2")?.contains("killed whoever held the store"));
    beacon_is_refused(&cluster, old)?;
    ranks_refuse(&cluster, old, new)?;
    cluster.kill_daemon("mds-1")?;
    cluster.end()
}

/// An operator has restored a copy of a rank's store, and started a daemon on it.
#[test]
fn a_life_on_an_old_copy_of_the_store_is_refused_and_ends_with_an_error() -> anyhow::Result<()> {
    let cluster = Cluster::start(2, "")?;
    for text in ["lost", "monitor refuses", "a newer incarnation"] {
        cluster.expect_log(text);
    }
    cluster.stop_daemon("mds-1")?;
    let mut copy = std::process::Command::new("cp");
    copy.arg("--recursive").args([cluster.path("mds-1"), cluster.path("copy")]);
    tests::cluster::run(&mut copy)?;
    for _ in 0..2 {
        let before = cluster.incarnation(1)?;
        cluster.start_daemon("mds-1")?;
        wait_until("it has another life", || Ok(cluster.incarnation(1)? > before))?;
        cluster.wait_active()?;
        cluster.stop_daemon("mds-1")?;
    }
    cluster.start_daemon("mds-1")?;
    cluster.wait_active()?;
    let now = cluster.incarnation(1)?;
    let config =
        cluster.rank_config("mds-1")?.replace("data_dir = \"mds-1\"", "data_dir = \"copy\"");
    std::fs::write(cluster.path("copied.toml"), config)?;
    cluster.start_daemon("copied")?;
    let mut exit = None;
    wait_until("the copy is refused", || {
        exit = cluster.exit_of("copied");
        Ok(exit.is_some())
    })?;
    ensure!(exit.and_then(|status| status.code()) == Some(1), "{exit:?}");
    let said = log(&cluster, "copied")?;
    ensure!(said.contains("a newer incarnation of this daemon is known"), "{said}");
    ensure!(cluster.incarnation(1)? == now && cluster.runs("mds-1"));
    cluster.kill_daemon("copied")?;
    cluster.end().context("nobody else has noticed")
}
