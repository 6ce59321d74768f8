//! `Cluster`: real daemons as child processes in a temporary folder, real mounts, real certificates.
//!
//! Everything is a guard: what a test leaves, also by panicking, is unmounted and dead. Nothing is
//! waited for by guessing how long it takes: one asks, with a deadline.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use daemon::Daemon;
use network::Network;
use rustix::process::Signal;

pub mod daemon;
pub mod dice;
pub mod helpers;
pub mod log;
pub mod mount;
pub mod network;

/// How long anything may take that is expected to happen. This machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub struct Cluster {
    folder: tempfile::TempDir,
    ranks: u16,
    standbys: u16,
    monitor: String,
    /// Without it everything is on this machine's own.
    network: Option<Network>,
    daemons: RefCell<BTreeMap<String, Daemon>>,
    /// Texts of warnings and errors the test has provoked.
    expected: RefCell<Vec<String>>,
}

/// The folder of our binaries: `GROVE_BIN`, or where `cargo build --release` puts them.
///
/// # Errors
/// If they are not there.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let folder = match std::env::var_os("GROVE_BIN") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let own = std::env::current_exe().context("find this test's binary")?;
            let target = own.ancestors().nth(3).context("find cargo's target folder")?;
            target.join("release")
        }
    };
    let path = folder.join(name);
    ensure!(
        path.exists(),
        "{} is not there; `cargo build --release -p mds -p client-fuse` makes it",
        path.display()
    );
    Ok(path)
}

/// Asks until the answer is yes.
///
/// # Errors
/// If it was not within [`PATIENCE`].
pub fn wait_until(what: &str, mut yes: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = yes();
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(answer.err().unwrap_or_else(|| anyhow::anyhow!("still not")))
                .with_context(|| format!("wait until {what}"));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Tells whoever watches a long story how it goes.
pub fn say(text: impl std::fmt::Display) {
    // Nobody may be listening.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Lets time go by: for how long something lasts in a story, never to wait for what it leads to.
pub fn pass(time: Duration) {
    std::thread::sleep(time);
}

/// A port for a monitor. Not one of those that the kernel gives to whoever asks for any: between now
/// and the monitor's start somebody would.
fn free_port() -> anyhow::Result<u16> {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 16_000;
    let own = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap_or(0);
    for _ in 0..COUNT {
        let nth = TRIED.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + own.wrapping_add(nth) % COUNT;
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("there is no free UDP port from {FIRST} on")
}

impl Cluster {
    /// A monitor and so many ranks, all active. `balancer` and the like: lines for each rank's
    /// configuration.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start(ranks: u16, mds_lines: &str) -> anyhow::Result<Self> {
        Self::start_with_standbys(ranks, 0, mds_lines)
    }

    /// The same, and daemons that stand by: `mds-N` for the first N beyond the ranks, and so on.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start_with_standbys(ranks: u16, standbys: u16, mds_lines: &str) -> anyhow::Result<Self> {
        Self::start_in(None, (ranks, standbys), mds_lines)
    }

    /// The same, in a network whose links can be cut.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start_in(
        network: Option<Network>,
        (ranks, standbys): (u16, u16),
        mds_lines: &str,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("grovefs-test.").tempdir()?;
        let monitor = match &network {
            None => format!("127.0.0.1:{}", free_port()?),
            Some(network) => format!("{}:7400", network.address("mon")?),
        };
        let cluster = Self {
            folder,
            ranks,
            standbys,
            monitor,
            network,
            daemons: RefCell::default(),
            expected: RefCell::default(),
        };
        cluster.make_certificates()?;
        cluster.make_monitor()?;
        for rank in 0..ranks {
            cluster.make_rank(rank, mds_lines)?;
        }
        for number in ranks..ranks + standbys {
            cluster.make_standby(number, mds_lines)?;
        }
        cluster.wait_active()?;
        wait_until("standbys are known", || {
            Ok(cluster.grove_json(&["status", "--brief"])?["standbys"]
                .as_array()
                .map_or(0, Vec::len)
                == usize::from(standbys))
        })?;
        Ok(cluster)
    }

    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[must_use]
    pub fn monitor(&self) -> &str {
        &self.monitor
    }

    fn make_certificates(&self) -> anyhow::Result<()> {
        let certs = self.path("certs");
        run(Command::new(binary("grove")?).args(["ca", "init", "--dir"]).arg(&certs))?;
        let daemons = (0..self.ranks + self.standbys).map(|rank| ("mds", name_of(rank)));
        let others = [("mon", "mon"), ("admin", "admin"), ("client", "client")];
        let others = others.map(|(role, name)| (role, name.to_owned()));
        for (role, name) in daemons.chain(others) {
            self.issue(role, &name)?;
        }
        Ok(())
    }

    /// A certificate of the cluster's authority.
    ///
    /// # Errors
    /// What `grove ca issue` says.
    pub fn issue(&self, role: &str, name: &str) -> anyhow::Result<()> {
        let mut issue = Command::new(binary("grove")?);
        issue.args(["ca", "issue", "--role", role, name, "--dir"]).arg(self.path("certs"));
        run(&mut issue).map(drop)
    }

    fn make_monitor(&self) -> anyhow::Result<()> {
        let certificate = certificate_lines("mon");
        let Self { monitor, ranks, .. } = self;
        let config = format!(
            "name = \"mon\"\nlisten = \"{monitor}\"\n{certificate}data_dir = \"mon\"\nranks_wanted = {ranks}\n"
        );
        std::fs::write(self.path("mon.toml"), config)?;
        let mut format = Command::new(binary("grove-mon")?);
        let id = run(format.arg("--format").arg("--config").arg(self.path("mon.toml")))?;
        let certs = self.path("certs").display().to_string();
        let data = self.path("data").display().to_string();
        std::fs::create_dir(self.path("data"))?;
        let client = format!(
            "monitor = \"{monitor}\"\ncluster = \"{}\"\ncerts = \"{certs}\"\ndata = \"file://{data}\"\n",
            id.trim()
        );
        std::fs::write(self.path("client.toml"), client)?;
        std::fs::write(self.path("cluster"), id.trim())?;
        self.start_daemon("mon")
    }

    fn make_rank(&self, rank: u16, lines: &str) -> anyhow::Result<()> {
        let name = name_of(rank);
        let config = self.rank_config(&name)? + lines;
        let path = self.path(&format!("{name}.toml"));
        std::fs::write(&path, config)?;
        let program = binary("grove-mds")?;
        wait_until("the monitor gives out a slot", || {
            run(Command::new(&program).arg("--format").arg("--config").arg(&path)).map(|_| true)
        })?;
        self.start_daemon(&name)
    }

    fn make_standby(&self, number: u16, lines: &str) -> anyhow::Result<()> {
        let name = name_of(number);
        let config = self.rank_config(&name)?.replace(&format!("data_dir = \"{name}\"\n"), "");
        std::fs::write(self.path(&format!("{name}.toml")), config + lines)?;
        self.start_daemon(&name)
    }

    /// The configuration of a metadata server of that name.
    ///
    /// # Errors
    /// If the cluster's id cannot be read.
    pub fn rank_config(&self, name: &str) -> anyhow::Result<String> {
        let id = std::fs::read_to_string(self.path("cluster"))?;
        let certificate = certificate_lines(name);
        let (monitor, data) = (&self.monitor, self.path("data").display().to_string());
        let address = match &self.network {
            None => "127.0.0.1".to_owned(),
            Some(network) => network.address(name)?,
        };
        Ok(format!(
            "name = \"{name}\"\ncluster = \"{id}\"\nlisten = \"{address}:0\"\nmonitor = \"{monitor}\"\n\
             {certificate}data_dir = \"{name}\"\ndata_store = \"file://{data}\"\n"
        ))
    }

    /// Starts a daemon, or starts it again.
    ///
    /// # Errors
    /// If there is no such program.
    pub fn start_daemon(&self, name: &str) -> anyhow::Result<()> {
        let program = binary(if name == "mon" { "grove-mon" } else { "grove-mds" })?;
        let config = self.path(&format!("{name}.toml"));
        let mut command = self.command_at(name, &program)?;
        command.arg("--config").arg(config);
        if name != "mon" {
            command.arg("--kill-points").arg(self.kill_socket(name));
        }
        let daemon = Daemon::start(&mut command, &self.path(&format!("{name}.log")))?;
        self.daemons.borrow_mut().insert(name.to_owned(), daemon);
        Ok(())
    }

    /// Cuts or heals links.
    #[must_use]
    pub fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// A program that runs where a daemon or mount of that name is.
    fn command_at(&self, name: &str, program: &Path) -> anyhow::Result<Command> {
        match &self.network {
            None => Ok(Command::new(program)),
            Some(network) => network.enter(name, program),
        }
    }

    fn kill_socket(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.kill"))
    }

    /// Makes a daemon die when its core reaches a point.
    ///
    /// # Errors
    /// If it does not run, or knows no such point.
    pub fn arm(&self, name: &str, point: &str) -> anyhow::Result<()> {
        let mut stream = UnixStream::connect(self.kill_socket(name)).context("reach a daemon")?;
        writeln!(stream, "{point}")?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        ensure!(answer.trim() == "armed", "{name} says: {}", answer.trim());
        Ok(())
    }

    /// `kill -9`: what it had applied must be there when it is started again.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill_daemon(&self, name: &str) -> anyhow::Result<()> {
        let daemon = self.daemons.borrow_mut().remove(name);
        daemon.with_context(|| format!("{name} does not run"))?.kill()
    }

    /// Asks a daemon to end, and waits until it has.
    ///
    /// # Errors
    /// If it does not end by itself, or not well.
    pub fn stop_daemon(&self, name: &str) -> anyhow::Result<()> {
        let daemon = self.daemons.borrow_mut().remove(name);
        daemon.with_context(|| format!("{name} does not run"))?.stop()
    }

    /// # Errors
    /// If it does not run, or cannot be sent a signal.
    pub fn signal_daemon(&self, name: &str, signal: Signal) -> anyhow::Result<()> {
        let daemons = self.daemons.borrow();
        daemons.get(name).with_context(|| format!("{name} does not run"))?.signal(signal)
    }

    /// The daemon that holds a rank, as the map has it.
    ///
    /// # Errors
    /// If the monitor does not answer, or there is no such rank.
    pub fn holder(&self, rank: u16) -> anyhow::Result<String> {
        let status = self.grove_json(&["status", "--brief"])?;
        let daemon = &status["ranks"][usize::from(rank)]["daemon"];
        Ok(daemon.as_str().context("a rank has a daemon")?.to_owned())
    }

    /// The life of whoever holds a rank, as the map has it.
    ///
    /// # Errors
    /// If the monitor does not answer, or there is no such rank.
    pub fn incarnation(&self, rank: u16) -> anyhow::Result<u64> {
        let status = self.grove_json(&["status", "--brief"])?;
        let incarnation = &status["ranks"][usize::from(rank)]["incarnation"];
        incarnation.as_u64().context("a rank has an incarnation")
    }

    /// Whether a daemon still runs.
    #[must_use]
    pub fn runs(&self, name: &str) -> bool {
        self.daemons.borrow_mut().get_mut(name).is_some_and(Daemon::runs)
    }

    /// How a daemon has ended by itself, or by somebody else's hand. `None`: it runs.
    #[must_use]
    pub fn exit_of(&self, name: &str) -> Option<std::process::ExitStatus> {
        self.daemons.borrow_mut().get_mut(name)?.exit()
    }

    /// # Errors
    /// If some rank does not become active.
    pub fn wait_active(&self) -> anyhow::Result<()> {
        wait_until("every rank is active", || {
            let status = self.grove_json(&["status", "--brief"])?;
            let ranks = status["ranks"].as_array().cloned().unwrap_or_default();
            let active = ranks.iter().filter(|rank| rank["state"] == "active").count();
            Ok(active == usize::from(self.ranks))
        })
    }

    /// `grove …` as an operator; what it printed.
    ///
    /// # Errors
    /// What it said, if it failed.
    pub fn grove(&self, arguments: &[&str]) -> anyhow::Result<String> {
        run(&mut self.grove_command(arguments)?)
    }

    /// # Errors
    /// If the program is not there.
    pub fn grove_command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(binary("grove")?);
        command.args(arguments).env("GROVE_CONFIG", self.path("client.toml"));
        Ok(command)
    }

    /// `grove … --json`
    ///
    /// # Errors
    /// What it said, if it failed, or if that is no JSON.
    pub fn grove_json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let mut with_json = arguments.to_vec();
        with_json.push("--json");
        let text = self.grove(&with_json)?;
        serde_json::from_str(&text).with_context(|| format!("read {text}"))
    }

    /// Moves a directory, and waits until it is there.
    ///
    /// # Errors
    /// What `grove export` says.
    pub fn export(&self, path: &Path, rank: u16) -> anyhow::Result<()> {
        let path = path.to_str().context("our paths are ASCII")?;
        self.grove(&["export", path, &rank.to_string(), "--wait"]).map(drop)
    }

    /// Warnings and errors with this text are what the test wants to see.
    pub fn expect_log(&self, text: &str) {
        self.expected.borrow_mut().push(text.to_owned());
    }

    fn last_words(&self, name: &str) -> String {
        let log = std::fs::read(self.path(&format!("{name}.log"))).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        format!("{name}, whose log ends: {}", lines[lines.len().saturating_sub(8)..].join("\n"))
    }

    /// The end of a test that went well: everything is stopped, and nobody has complained.
    ///
    /// # Errors
    /// Names the lines of the logs that were not expected.
    pub fn end(self) -> anyhow::Result<()> {
        let mut ranks: Vec<String> =
            self.daemons.borrow().keys().filter(|name| *name != "mon").cloned().collect();
        // Those who stand by first, or they take over what is being stopped.
        ranks.sort_by_key(|name| name_of(self.ranks).as_str() > name.as_str());
        let names = ranks.iter().map(String::as_str).chain(["mon"]);
        let stop = |name: &str| self.stop_daemon(name).with_context(|| self.last_words(name));
        let stopped: Vec<_> = names.map(stop).collect();
        // What a daemon says is the better reason than how it ended.
        let complaints = log::complaints(self.folder.path(), &self.expected.borrow())?;
        ensure!(complaints.is_empty(), "unexpected in the logs:\n{}", complaints.join("\n"));
        stopped.into_iter().collect()
    }
}

fn name_of(rank: u16) -> String {
    format!("mds-{rank}")
}

fn certificate_lines(name: &str) -> String {
    format!("ca = \"certs/ca.pem\"\ncert = \"certs/{name}.pem\"\nkey = \"certs/{name}.key\"\n")
}

/// Runs a program to its end; what it printed.
///
/// # Errors
/// What it said on standard error, if it failed.
pub fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("run {command:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
