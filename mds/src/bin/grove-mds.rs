//! `grove-mds`: the metadata server's daemon.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Context;
use clap::Parser;
use mds::config::mds::MdsConfig;
use mds::daemon::{self, End};
use mds::{format, process};

/// Holds one rank of a GroveFS cluster: its part of the namespace.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The configuration, TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Make the data directory of a new rank, print its slot, and end. Needs the monitor.
    #[arg(long)]
    format: bool,
    /// Read the configuration, the certificates and nothing else, and end.
    #[arg(long, conflicts_with = "format")]
    check_config: bool,
    /// For tests: a socket on which one can choose where this daemon is to die.
    #[arg(long, value_name = "SOCKET", hide = true)]
    kill_points: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => process::fail("grove-mds", &error),
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = MdsConfig::load(&arguments.config)?;
    if arguments.check_config {
        return Ok(());
    }
    process::start_logging(&config.log).map_err(anyhow::Error::msg)?;
    process::abort_on_panic();
    // One thread: a request's way through connection, core and store has no wake-up in it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    if arguments.format {
        let slot = runtime.block_on(format::format(&config))?;
        return writeln!(std::io::stdout(), "{slot}").context("print the slot");
    }
    match runtime.block_on(daemon::run(config, arguments.kill_points.as_deref()))? {
        End::Clean => Ok(()),
        End::Restart => Err(begin_anew()),
    }
}

/// The same program with the same arguments, in place of this process: nothing of the life that was
/// declared dead is left.
fn begin_anew() -> anyhow::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return anyhow::Error::new(error).context("find the program"),
    };
    let error = Command::new(program).args(std::env::args_os().skip(1)).exec();
    anyhow::Error::new(error).context("begin anew")
}
