//! `grove ranks lost RANK`

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use common::id::Rank;
use common::wire::monitor::ToMonitor;

use super::{connect, output};
use crate::config::ConnectionArgs;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Give up a rank whose store is destroyed: what it held becomes empty directories
    Lost {
        /// A rank that is down
        rank: u16,
        /// The name of its daemon, instead of being asked for it
        #[arg(long, value_name = "DAEMON")]
        confirm: Option<String>,
    },
}

pub(super) fn run(connection: &ConnectionArgs, command: &Command) -> anyhow::Result<()> {
    let Command::Lost { rank, confirm } = command;
    let mut cluster = connect(connection)?;
    let known = cluster.map().ranks.get(&Rank(*rank)).map(|entry| entry.daemon.clone());
    let daemon = match known {
        Some(daemon) => daemon,
        None if cluster.map().lost.contains(&Rank(*rank)) => bail!("rank {rank} is lost already"),
        None => bail!("there is no rank {rank}; `grove status` shows those there are"),
    };
    let typed = match confirm {
        Some(name) => name.clone(),
        None => ask(*rank, &daemon)?,
    };
    if typed.trim() != daemon {
        bail!("that is not the name of rank {rank}'s daemon; nothing was done");
    }
    cluster.order(&ToMonitor::Lose { rank: Rank(*rank) })?;
    output::line(format!("rank {rank} is given up; its directories are empty, and marked as lost"))
}

fn ask(rank: u16, daemon: &str) -> anyhow::Result<String> {
    if !io::stdin().is_terminal() {
        bail!("this destroys what rank {rank} held; --confirm {daemon} says that it is meant");
    }
    let mut out = io::stdout().lock();
    write!(
        out,
        "Everything below the subtrees of rank {rank} is given up for ever, also if its store is \
         found again.\nType the name of its daemon to go on: "
    )?;
    out.flush()?;
    let mut typed = String::new();
    io::stdin().lock().read_line(&mut typed).context("cannot read the answer")?;
    Ok(typed)
}
