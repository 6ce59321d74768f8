//! `grove status`

use common::id::Rank;
use common::mds_map::Switch;
use common::wire::admin::Status;
use serde::Serialize;

use super::connect;
use super::output::{self, Format};
use crate::cluster::Cluster;
use crate::config::ConnectionArgs;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    format: Format,
    /// Ask the monitor only: at once, also if a rank is dead
    #[arg(long)]
    brief: bool,
}

#[derive(Debug, Serialize)]
struct ClusterStatus {
    cluster: String,
    epoch: u64,
    degraded: bool,
    balancer: bool,
    data_stores: Vec<String>,
    ranks: Vec<RankStatus>,
    standbys: Vec<StandbyStatus>,
    /// Ranks whose stores are destroyed.
    lost: Vec<u16>,
}

#[derive(Debug, Serialize)]
struct StandbyStatus {
    daemon: String,
    machine: String,
    /// The rank it is taking over.
    takes: Option<u16>,
}

#[derive(Debug, Serialize)]
struct RankStatus {
    rank: u16,
    daemon: String,
    state: &'static str,
    addr: String,
    incarnation: u64,
    /// What it says itself, if it answers.
    details: Option<Details>,
}

#[derive(Debug, Serialize)]
struct Details {
    sessions: u64,
    pins: u64,
    subtrees: u64,
    cached_dirs: u64,
    cached_entries: u64,
    requests_waiting: u64,
    migrations_running: u64,
    /// Files without a name that are open.
    orphans: u64,
    /// Files whose data is still to be removed.
    purging: u64,
    requests: u64,
    load: u64,
    /// Why it is read-only.
    damage: Vec<String>,
}

pub(super) fn run(connection: &ConnectionArgs, args: &Args) -> anyhow::Result<()> {
    let mut cluster = connect(connection)?;
    let status = gather(&mut cluster, args.brief)?;
    if args.format.json {
        return output::json(&status);
    }
    let or_not =
        |yes: bool, text: &'static str, other: &'static str| if yes { text } else { other };
    output::line(format!(
        "cluster {}, map epoch {}, {}, balancer {}",
        status.cluster,
        status.epoch,
        or_not(status.degraded, "DEGRADED", "healthy"),
        or_not(status.balancer, "on", "off"),
    ))?;
    if !status.standbys.is_empty() {
        let names: Vec<&str> = status.standbys.iter().map(|it| it.daemon.as_str()).collect();
        output::line(format!("standing by: {}", names.join(", ")))?;
    }
    if !status.lost.is_empty() {
        let ranks: Vec<String> = status.lost.iter().map(u16::to_string).collect();
        output::line(format!(
            "lost ranks: {}; `grove subtree ls` shows what they held as `lost`, empty",
            ranks.join(", ")
        ))?;
    }
    for rank in &status.ranks {
        for damage in rank.details.iter().flat_map(|details| &details.damage) {
            output::line(format!("rank {} is READ-ONLY: {damage}", rank.rank))?;
        }
    }
    let headings = [
        "RANK",
        "DAEMON",
        "STATE",
        "ADDRESS",
        "SESSIONS",
        "SUBTREES",
        "ENTRIES",
        "WAITING",
        "MIGRATING",
        "PURGING",
        "REQUESTS",
        "LOAD/S",
    ];
    output::table(&headings, status.ranks.iter().map(row).collect())
}

fn gather(cluster: &mut Cluster, brief: bool) -> anyhow::Result<ClusterStatus> {
    let standbys = cluster.describe()?.standbys.into_iter().map(|standby| StandbyStatus {
        daemon: standby.daemon,
        machine: standby.machine,
        takes: standby.takes.map(|rank| rank.0),
    });
    let standbys = standbys.collect();
    let map = cluster.map().clone();
    let ranks = map
        .ranks
        .iter()
        .map(|(rank, entry)| RankStatus {
            rank: rank.0,
            daemon: entry.daemon.clone(),
            state: entry.state.name(),
            addr: entry.addr.to_string(),
            incarnation: entry.incarnation.0,
            details: if brief { None } else { ask(cluster, *rank) },
        })
        .collect();
    Ok(ClusterStatus {
        cluster: map.cluster.to_string(),
        epoch: map.epoch.0,
        degraded: map.is_degraded(),
        balancer: map.balancer == Switch::On,
        data_stores: map.data_stores,
        ranks,
        standbys,
        lost: map.lost.iter().map(|rank| rank.0).collect(),
    })
}

/// A rank that does not answer is shown without details: that is what a status is for.
fn ask(cluster: &mut Cluster, rank: Rank) -> Option<Details> {
    let status = cluster.status(rank).ok()?;
    let pins = status.sessions.iter().map(|session| session.pins).sum();
    let sessions = status.sessions.len() as u64;
    let Status { subtrees, cached_dirs, cached_entries, requests_waiting, .. } = status;
    let Status { migrations_running, orphans, purging, requests, load, damage, .. } = status;
    Some(Details {
        sessions,
        pins,
        subtrees,
        cached_dirs,
        cached_entries,
        requests_waiting,
        migrations_running,
        orphans,
        purging,
        requests,
        load,
        damage,
    })
}

fn row(rank: &RankStatus) -> Vec<String> {
    let mut row =
        vec![rank.rank.to_string(), rank.daemon.clone(), rank.state.to_owned(), rank.addr.clone()];
    match &rank.details {
        Some(details) => row.extend(
            [
                details.sessions,
                details.subtrees,
                details.cached_entries,
                details.requests_waiting,
                details.migrations_running,
                details.purging,
                details.requests,
                details.load,
            ]
            .map(|number| number.to_string()),
        ),
        None => row.extend((0..8).map(|_| "-".to_owned())),
    }
    row
}
