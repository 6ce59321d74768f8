//! `grove session ls` and `grove session evict CLIENT`

use std::collections::BTreeMap;

use anyhow::bail;
use common::id::{ClientId, Rank};
use serde::Serialize;

use super::connect;
use super::output::{self, Format};
use crate::cluster::{Cluster, ClusterError};
use crate::config::ConnectionArgs;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// The mounts that ranks know of
    Ls {
        #[command(flatten)]
        format: Format,
    },
    /// End a mount's sessions with all ranks: what it holds is given back, nobody waits for it. If it
    /// lives it begins anew, and its users hear with the next `fsync` if something may be lost
    Evict {
        /// As the list shows it
        #[arg(value_parser = parse_client)]
        client: ClientId,
    },
}

#[derive(Debug, Serialize)]
struct Shown {
    client: String,
    ranks: Vec<ShownAt>,
}

#[derive(Debug, Serialize)]
struct ShownAt {
    rank: u16,
    pins: u64,
    connected: bool,
}

pub(super) fn run(connection: &ConnectionArgs, command: &Command) -> anyhow::Result<()> {
    let mut cluster = connect(connection)?;
    match command {
        Command::Ls { format } => list(&mut cluster, *format),
        Command::Evict { client } => evict(&mut cluster, *client),
    }
}

fn list(cluster: &mut Cluster, format: Format) -> anyhow::Result<()> {
    let mut clients: BTreeMap<ClientId, Vec<ShownAt>> = BTreeMap::new();
    for rank in cluster.reachable() {
        for session in cluster.status(rank)?.sessions {
            let (pins, connected) = (session.pins, session.connected);
            let shown = ShownAt { rank: rank.0, pins, connected };
            clients.entry(session.client).or_default().push(shown);
        }
    }
    let clients: Vec<Shown> = clients
        .into_iter()
        .map(|(client, ranks)| Shown { client: show_client(client), ranks })
        .collect();
    if format.json {
        return output::json(&clients);
    }
    let rows = clients.iter().flat_map(|client| {
        client.ranks.iter().map(|at| {
            let connected = if at.connected { "yes" } else { "no" };
            vec![client.client.clone(), at.rank.to_string(), at.pins.to_string(), connected.into()]
        })
    });
    output::table(&["CLIENT", "RANK", "PINS", "CONNECTED"], rows.collect())
}

fn evict(cluster: &mut Cluster, client: ClientId) -> anyhow::Result<()> {
    let mut ended: Vec<String> = Vec::new();
    for rank in cluster.reachable() {
        match cluster.evict(rank, client) {
            Ok(()) => ended.push(Rank::to_string(&rank)),
            Err(ClusterError::RankRefuses { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if ended.is_empty() {
        bail!("no rank has a session of {}; see `grove session ls`", show_client(client));
    }
    output::line(format!("ended at rank {}", ended.join(", ")))
}

fn show_client(client: ClientId) -> String {
    format!("{:016x}", client.0)
}

fn parse_client(text: &str) -> Result<ClientId, String> {
    let number = u64::from_str_radix(text, 16);
    number.map(ClientId).map_err(|_| format!("`{text}` is not 16 hex digits, as `ls` shows them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_read_as_it_is_shown() {
        for client in [ClientId(0), ClientId(0xabc), ClientId(u64::MAX)] {
            assert_eq!(parse_client(&show_client(client)), Ok(client));
        }
        assert!(parse_client("x").is_err());
    }
}
