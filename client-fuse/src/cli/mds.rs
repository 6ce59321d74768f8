//! `grove mds fence RANK`

use common::id::Rank;
use common::wire::monitor::ToMonitor;

use super::{connect, output};
use crate::config::ConnectionArgs;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Confirm that the daemon which held a rank has stopped for good: a daemon on another machine,
    /// which cannot make sure of that itself, may take its store over
    Fence {
        /// A rank that is down
        rank: u16,
    },
}

pub(super) fn run(connection: &ConnectionArgs, command: &Command) -> anyhow::Result<()> {
    let Command::Fence { rank } = *command;
    connect(connection)?.order(&ToMonitor::Fence { rank: Rank(rank) })?;
    output::line(format!("rank {rank} may be taken over on any machine that reaches its store"))
}
