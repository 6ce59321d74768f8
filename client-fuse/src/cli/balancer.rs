//! `grove balancer on|off`

use common::mds_map::Switch;
use common::wire::monitor::ToMonitor;

use super::{connect, output};
use crate::config::ConnectionArgs;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    to: To,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum To {
    On,
    Off,
}

pub(super) fn run(connection: &ConnectionArgs, args: &Args) -> anyhow::Result<()> {
    let (to, name) = match args.to {
        To::On => (Switch::On, "on"),
        To::Off => (Switch::Off, "off"),
    };
    connect(connection)?.order(&ToMonitor::SetBalancer { to })?;
    output::line(format!("the balancer is {name}"))
}
