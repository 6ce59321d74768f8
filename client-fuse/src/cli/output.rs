//! What commands print.

use std::io::{self, Write};
use std::time::Duration;

use comfy_table::{Table, presets};
use serde::Serialize;

/// How a command prints what it found.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Format {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?)
}

/// A table without lines, under these headings.
pub(super) fn table(headings: &[&str], rows: Vec<Vec<String>>) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(headings.to_vec());
    for row in rows {
        table.add_row(row);
    }
    line(table.trim_fmt())
}

pub(super) fn milliseconds(nanos: u64) -> String {
    let micros = Duration::from_nanos(nanos).as_micros();
    format!("{}.{:03} ms", micros / 1000, micros % 1000)
}
