//! `grove subtree ls`

use common::id::Rank;
use common::wire::admin::{Bound, SubtreeEntry};
use serde::Serialize;

use super::connect;
use super::output::{self, Format};
use crate::config::ConnectionArgs;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// The whole partition: every subtree, and who holds it
    Ls {
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Debug, Serialize)]
struct Subtree {
    path: String,
    base: String,
    rank: u16,
    epoch: u64,
    state: String,
    pinned: Option<u16>,
    bounds: Vec<Edge>,
    load: u64,
}

#[derive(Debug, Serialize)]
struct Edge {
    base: String,
    rank: u16,
}

pub(super) fn run(connection: &ConnectionArgs, command: &Command) -> anyhow::Result<()> {
    let Command::Ls { format } = command;
    let mut cluster = connect(connection)?;
    let mut subtrees = Vec::new();
    for rank in cluster.reachable() {
        subtrees.extend(cluster.subtrees(rank)?.into_iter().map(subtree));
    }
    subtrees.sort_by(|one, other| one.path.cmp(&other.path));
    if format.json {
        return output::json(&subtrees);
    }
    let rows = subtrees
        .iter()
        .map(|subtree| {
            vec![
                subtree.path.clone(),
                subtree.rank.to_string(),
                subtree.state.clone(),
                subtree.pinned.map_or_else(|| "-".to_owned(), |rank| rank.to_string()),
                subtree.bounds.len().to_string(),
                subtree.load.to_string(),
                subtree.base.clone(),
            ]
        })
        .collect();
    output::table(&["PATH", "RANK", "STATE", "PINNED", "BOUNDS", "LOAD/S", "BASE"], rows)
}

fn subtree(entry: SubtreeEntry) -> Subtree {
    let edge = |bound: Bound| Edge { base: bound.base.to_string(), rank: bound.auth.0 };
    Subtree {
        path: entry.path,
        base: entry.base.to_string(),
        rank: entry.auth.0,
        epoch: entry.epoch.0,
        state: entry.state,
        pinned: entry.pinned.map(|Rank(rank)| rank),
        bounds: entry.bounds.into_iter().map(edge).collect(),
        load: entry.load,
    }
}
