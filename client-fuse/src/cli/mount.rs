//! `grove mount`

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use rustix::stdio::{dup2_stderr, dup2_stdout};
use tracing_subscriber::EnvFilter;
use transport::Role;

use crate::config::{ConnectionArgs, Settings};
use crate::mount::options::{Options, Unknown};
use crate::mount::remount::remount;
use crate::mount::source::Source;
use crate::mount::{Mount, check};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to mount: MONITOR:PORT, with commas between several monitors, and `:/PATH` if it is not to
    /// be the whole file system
    #[arg(value_name = "MONITOR:PORT[:/PATH]")]
    source: OsString,
    /// An existing directory
    mountpoint: PathBuf,
    /// locks=cluster|local, acl|noacl, threads=N, data=file:///DIR, config=FILE, certs=DIR, log=FILE,
    /// remount, and ro, nosuid, …
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<String>,
    /// Ignore options that are not known
    #[arg(long)]
    sloppy: bool,
    /// Stay in the foreground
    #[arg(long, short = 'f')]
    foreground: bool,
    /// Where the mount's process writes its log (RUST_LOG chooses what)
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

/// A mount that was asked for, whoever asked.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) connection: ConnectionArgs,
    pub(super) source: Source,
    pub(super) mountpoint: PathBuf,
    pub(super) options: Options,
}

/// Set for the process that serves; it reports on its standard output when the mount is usable.
const SERVING: &str = "GROVE_SERVES_MOUNT";
const USABLE: &str = "usable";

pub(super) fn run(connection: ConnectionArgs, args: Args) -> anyhow::Result<()> {
    let unknown = if args.sloppy { Unknown::Ignored } else { Unknown::Refused };
    let flags = args.options.iter().map(String::as_str);
    let mut options = Options::parse_with(flags, unknown)?;
    if options.remount {
        return Ok(remount(&args.mountpoint, &args.options, unknown)?);
    }
    let source = Source::parse(&args.source)?;
    let serves_in_background = std::env::var_os(SERVING).is_some();
    if !args.foreground && !serves_in_background {
        return serve_in_background(std::env::args_os().skip(1));
    }
    options.log = options.log.or(args.log);
    let request = Request { connection, source, mountpoint: args.mountpoint, options };
    request.serve(serves_in_background)
}

impl Request {
    fn settings(&self) -> anyhow::Result<Settings> {
        let monitor = Some(self.source.monitors.clone());
        let said = self.connection.clone().or(self.options.connection.clone());
        Ok(ConnectionArgs { monitor, ..said }.resolve(Role::Client)?)
    }

    /// Whether it could be mounted.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        Ok(check(&self.settings()?, &self.options, &self.source, &self.mountpoint)?)
    }

    fn serve(&self, in_background: bool) -> anyhow::Result<()> {
        let settings = self.settings()?;
        let log = open_log(self.options.log.as_ref())?;
        end_on_panic();
        if in_background {
            // Signals of the terminal are not meant for us.
            rustix::process::setsid().context("cannot leave the terminal")?;
        }
        let mount = Mount::start(&settings, &self.options, &self.source, &self.mountpoint)?;
        if in_background {
            std::env::set_current_dir("/").context("cannot leave the current directory")?;
            writeln!(std::io::stdout(), "{USABLE}")?;
            let quiet = log.map_or_else(|| OpenOptions::new().write(true).open("/dev/null"), Ok)?;
            dup2_stdout(&quiet)?;
            dup2_stderr(&quiet)?;
        }
        mount.serve().context("the mount broke")
    }
}

/// Starts this program once more, detached, and returns when its mount is usable. `words`: `grove`'s, for
/// that.
pub(super) fn serve_in_background(words: impl Iterator<Item = OsString>) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut child = Command::new(program)
        .args(words)
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
        return Err(HasSaidWhy.into());
    }
    bail!("the mount's process ended early ({status})")
}

/// Another process of ours has told the user what is wrong.
#[derive(Debug, thiserror::Error)]
#[error("not mounted")]
pub struct HasSaidWhy;

fn open_log(path: Option<&PathBuf>) -> anyhow::Result<Option<File>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    let Some(path) = path else {
        let ansi = std::io::stderr().is_terminal();
        builder.with_writer(std::io::stderr).with_ansi(ansi).init();
        return Ok(None);
    };
    let file = OpenOptions::new().create(true).append(true).open(path);
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
