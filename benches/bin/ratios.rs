//! `ratios`: `grove bench md` on a directory and on the null file system, in one run, and how the
//! one relates to the other. Machines and moments differ; ratios taken side by side do not.
//!
//! ```text
//! ratios [-o OPTION,…] [--threads N] [--files N] [--shared] [--rounds N] [--json] DIR
//! ```
//!
//! Give the options DIR is mounted with. Rounds alternate, and the median of each phase counts.
//! `grove` and `null-fs` are taken from the folder this program is in. Needs to be root.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use clap::Parser;
use serde::{Deserialize, Serialize};

/// Metadata operations of a mount, relative to a file system that does nothing.
#[derive(Debug, Parser)]
struct Arguments {
    /// As DIR was mounted: locks=, acl, noacl, threads=, …
    #[arg(short, value_name = "OPTIONS")]
    options: Vec<String>,
    #[arg(long, value_name = "N", default_value_t = 4)]
    threads: u16,
    /// Files, and then directories, of each thread.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    files: u32,
    /// All threads in one directory.
    #[arg(long)]
    shared: bool,
    /// Runs on each of the two.
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u16,
    #[arg(long)]
    json: bool,
    dir: PathBuf,
}

/// What is read of the answer of `grove bench md --json`.
#[derive(Debug, Deserialize)]
struct Report {
    phases: Vec<Phase>,
}

#[derive(Debug, Deserialize)]
struct Phase {
    phase: String,
    per_second: f64,
}

#[derive(Debug, Serialize)]
struct Ratio {
    phase: String,
    /// Operations per second.
    dir: f64,
    null: f64,
    ratio: f64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let null = NullMount::start(&arguments.options)?;
    let (mut ours, mut nothing) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        ours.push(bench(&arguments, &arguments.dir)?);
        nothing.push(bench(&arguments, null.folder.path())?);
    }
    let ratios = ratios(&ours, &nothing);
    let mut out = std::io::stdout();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&ratios)?)?;
        return Ok(());
    }
    writeln!(out, "{:<10} {:>12} {:>12} {:>7}", "PHASE", "DIR /s", "NULL /s", "RATIO")?;
    for Ratio { phase, dir, null, ratio } in ratios {
        writeln!(out, "{phase:<10} {dir:>12.0} {null:>12.0} {ratio:>7.2}")?;
    }
    Ok(())
}

fn bench(arguments: &Arguments, dir: &Path) -> anyhow::Result<Report> {
    let mut command = Command::new(sibling("grove")?);
    command.args(["bench", "md", "--json", "--threads", &arguments.threads.to_string()]);
    command.args(["--files", &arguments.files.to_string()]);
    if arguments.shared {
        command.arg("--shared");
    }
    let output =
        command.arg(dir).stderr(Stdio::inherit()).output().context("run `grove bench md`")?;
    ensure!(output.status.success(), "`grove bench md {}` failed", dir.display());
    serde_json::from_slice(&output.stdout).context("read what `grove bench md` says")
}

fn ratios(ours: &[Report], nothing: &[Report]) -> Vec<Ratio> {
    let Some(first) = ours.first() else { return Vec::new() };
    first
        .phases
        .iter()
        .map(|Phase { phase, .. }| {
            let (dir, null) = (median(ours, phase), median(nothing, phase));
            Ratio { phase: phase.clone(), dir, null, ratio: dir / null }
        })
        .collect()
}

fn median(reports: &[Report], phase: &str) -> f64 {
    let phases = reports.iter().flat_map(|report| &report.phases);
    let mut rates: Vec<f64> = phases
        .filter(|measured| measured.phase == phase)
        .map(|measured| measured.per_second)
        .collect();
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN)
}

fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("find this program")?;
    let path = own.with_file_name(name);
    ensure!(path.exists(), "there is no {}; build it with `cargo build --release`", path.display());
    Ok(path)
}

/// Unmounted when dropped.
struct NullMount {
    folder: tempfile::TempDir,
    server: Child,
}

impl NullMount {
    fn start(options: &[String]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("make a mountpoint")?;
        let mut command = Command::new(sibling("null-fs")?);
        for option in options {
            command.args(["-o", option]);
        }
        let mut server =
            command.arg(folder.path()).stdout(Stdio::piped()).spawn().context("start `null-fs`")?;
        let said = server.stdout.take().context("hear `null-fs`")?;
        let mounted = Self { folder, server };
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        ensure!(line.trim() == "mounted", "`null-fs` does not mount; are you root?");
        Ok(mounted)
    }
}

impl Drop for NullMount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.folder.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            // Without its server the mount is dead, and can be taken away at leisure.
            let _ = self.server.kill();
        }
        let _ = self.server.wait();
    }
}
