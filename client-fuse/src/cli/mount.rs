//! `grove mount`

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use rustix::stdio::{dup2_stderr, dup2_stdout};
use tracing_subscriber::EnvFilter;
use transport::Role;

use crate::config::ConnectionArgs;
use crate::mount::Mount;
use crate::mount::options::Options;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The monitor: HOST:PORT, with or without a slash at the end
    #[arg(value_name = "MONITOR:PORT")]
    source: String,
    /// An existing directory
    mountpoint: PathBuf,
    /// locks=cluster|local, acl|noacl, threads=N, data=file:///DIR, and ro, nosuid, …
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<String>,
    /// Stay in the foreground
    #[arg(long, short = 'f')]
    foreground: bool,
    /// Where the mount's process writes its log (RUST_LOG chooses what)
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

/// Set for the process that serves; it reports on its standard output when the mount is usable.
const SERVING: &str = "GROVE_SERVES_MOUNT";
const USABLE: &str = "usable";

pub(super) fn run(mut connection: ConnectionArgs, args: Args) -> anyhow::Result<()> {
    let serves_in_background = std::env::var_os(SERVING).is_some();
    if !args.foreground && !serves_in_background {
        return serve_in_background();
    }
    connection.monitor = Some(args.source.trim_end_matches('/').to_owned());
    let options = Options::parse(args.options.iter().map(String::as_str))?;
    let settings = connection.resolve(Role::Client)?;
    let log = open_log(args.log)?;
    end_on_panic();
    if serves_in_background {
        // Signals of the terminal are not meant for us.
        rustix::process::setsid().context("cannot leave the terminal")?;
    }
    let mount = Mount::start(&settings, &options, &args.mountpoint)?;
    if serves_in_background {
        std::env::set_current_dir("/").context("cannot leave the current directory")?;
        writeln!(std::io::stdout(), "{USABLE}")?;
        let quiet = log.map_or_else(|| OpenOptions::new().write(true).open("/dev/null"), Ok)?;
        dup2_stdout(&quiet)?;
        dup2_stderr(&quiet)?;
    }
    mount.serve().context("the mount broke")
}

/// Starts this program once more, detached, and returns when its mount is usable.
fn serve_in_background() -> anyhow::Result<()> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(SERVING, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the mount's process")?;
    let output = child.stdout.take().context("the mount's process has no output")?;
    let said = BufReader::new(output).lines().next();
    if matches!(said, Some(Ok(line)) if line == USABLE) {
        return Ok(());
    }
    let status = child.wait()?;
    if status.code() == Some(1) {
        // It has said why.
        std::process::exit(1);
    }
    bail!("the mount's process ended early ({status})")
}

fn open_log(path: Option<PathBuf>) -> anyhow::Result<Option<File>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    let Some(path) = path else {
        builder.with_writer(std::io::stderr).init();
        return Ok(None);
    };
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("cannot write the log {}", path.display()))?;
    builder.with_writer(std::sync::Mutex::new(file.try_clone()?)).with_ansi(false).init();
    Ok(Some(file))
}

/// A mount with a thread missing would hang its users: it ends instead, and they see that.
fn end_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::abort();
    }));
}
