//! `grove leftovers`: for tests and demonstrations.

use common::wire::admin::Leftovers;
use serde::Serialize;

use super::connect;
use super::output::{self, Format};
use crate::config::ConnectionArgs;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Serialize)]
struct OfRank {
    rank: u16,
    #[serde(flatten)]
    counts: Leftovers,
}

pub(super) fn run(connection: &ConnectionArgs, args: &Args) -> anyhow::Result<()> {
    let mut cluster = connect(connection)?;
    let mut all = Vec::new();
    for rank in cluster.reachable() {
        all.push(OfRank { rank: rank.0, counts: cluster.leftovers(rank)? });
    }
    if args.format.json {
        return output::json(&all);
    }
    let headings = [
        "RANK",
        "ENTRIES",
        "DIRS",
        "INODES",
        "ORPHANS",
        "PINS",
        "FROZEN",
        "AUTH PINS",
        "WAITING",
        "SWEEPING",
    ];
    let rows = all
        .iter()
        .map(|OfRank { rank, counts }| {
            let counts = [
                counts.entries,
                counts.dirs,
                counts.inodes,
                counts.orphans,
                counts.pins,
                counts.frozen,
                counts.auth_pins,
                counts.waiting,
                counts.sweeping,
            ];
            let counts = counts.iter().map(u64::to_string);
            std::iter::once(rank.to_string()).chain(counts).collect()
        })
        .collect();
    output::table(&headings, rows)
}
