//! `grove-mon`: the monitor's daemon.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use common::id::ClusterId;
use common::name::NameHashKey;
use mds::config::monitor::MonitorConfig;
use mds::monitor_daemon;
use mds::monitor_store::MonitorStore;
use mds::process;
use mds::random::random;
use mds_core::monitor::Stored;

/// Issues the map of a GroveFS cluster: who holds which rank, and who is alive.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The configuration, TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Make the data directory of a new cluster, print the cluster's id, and end.
    #[arg(long)]
    format: bool,
    /// With --format: the id of the new cluster, 32 hex digits. Default: at random.
    #[arg(long, value_name = "ID", requires = "format")]
    cluster_id: Option<ClusterId>,
    /// Read the configuration, the certificates and nothing else, and end.
    #[arg(long, conflicts_with = "format")]
    check_config: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => process::fail("grove-mon", &error),
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = MonitorConfig::load(&arguments.config)?;
    if arguments.check_config {
        return Ok(());
    }
    if arguments.format {
        return format(&config, arguments.cluster_id);
    }
    process::start_logging(&config.log).map_err(anyhow::Error::msg)?;
    process::abort_on_panic();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    Ok(runtime.block_on(monitor_daemon::run(config))?)
}

fn format(config: &MonitorConfig, cluster: Option<ClusterId>) -> anyhow::Result<()> {
    let key = random::<16>().context("read random bytes")?;
    let (first, second) = key.split_at(8);
    let number = |half: &[u8]| u64::from_le_bytes(half.try_into().expect("half of 16 bytes"));
    let cluster = match cluster {
        Some(cluster) => cluster,
        None => ClusterId(u128::from_le_bytes(random().context("read random bytes")?)),
    };
    let stored = Stored::format(cluster, NameHashKey(number(first), number(second)));
    MonitorStore::format(&config.data_dir, &stored)?;
    writeln!(std::io::stdout(), "{cluster}").context("print the cluster's id")
}
