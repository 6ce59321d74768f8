//! `grove bench md`: how fast a directory's file system does metadata. Works on any file system.

mod metadata;

use std::path::PathBuf;

use serde::Serialize;

use super::output::{self, Format};
use metadata::{Measured, Sharing, Workload};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Create, stat, open, list, unlink files; make and remove directories
    Md(Args),
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// In which directory; a folder is made there and removed again
    dir: PathBuf,
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Files, and then directories, of each thread
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    files: u32,
    /// All threads in one directory
    #[arg(long, conflicts_with = "private")]
    shared: bool,
    /// Each thread in a directory of its own (the default)
    #[arg(long)]
    private: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Serialize)]
struct Report {
    dir: PathBuf,
    threads: u16,
    files_per_thread: u32,
    sharing: &'static str,
    phases: Vec<Measured>,
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    let Command::Md(args) = command;
    let sharing = if args.shared { Sharing::Shared } else { Sharing::Private };
    let workload = Workload { threads: args.threads, files: args.files, sharing };
    let report = Report {
        dir: args.dir.clone(),
        threads: args.threads,
        files_per_thread: args.files,
        sharing: if args.shared { "shared" } else { "private" },
        phases: metadata::run(&args.dir, workload)?,
    };
    if args.format.json {
        return output::json(&report);
    }
    let rows = report
        .phases
        .iter()
        .map(|phase| {
            vec![
                phase.phase.to_owned(),
                phase.operations.to_string(),
                format!("{:.0}", phase.per_second),
                format!("{:.1}", phase.p50_us),
                format!("{:.1}", phase.p99_us),
                format!("{:.1}", phase.max_us),
            ]
        })
        .collect();
    output::table(&["PHASE", "OPERATIONS", "PER SECOND", "P50 µs", "P99 µs", "MAX µs"], rows)
}
