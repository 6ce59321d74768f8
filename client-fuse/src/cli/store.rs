//! `grove store init`

use anyhow::Context;
use common::wire::monitor::ToMonitor;

use super::{connect, output};
use crate::config::ConnectionArgs;
use crate::data;
use crate::mount::random_number;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a folder a data store of the cluster; again is harmless
    Init {
        /// file:///DIRECTORY, as every mount will see it
        #[arg(value_name = "file:///DIR")]
        address: String,
    },
}

pub(super) fn run(connection: &ConnectionArgs, command: &Command) -> anyhow::Result<()> {
    let Command::Init { address } = command;
    let mut cluster = connect(connection)?;
    let number = u128::from(random_number()?) << 64 | u128::from(random_number()?);
    let id = data::init(address, cluster.id(), number)?;
    cluster
        .order(&ToMonitor::AddDataStore { id: id.clone() })
        .context("the folder is a data store, but it could not be registered; run this again")?;
    output::line(format!("data store {id} in {address} belongs to cluster {}", cluster.id()))
}
