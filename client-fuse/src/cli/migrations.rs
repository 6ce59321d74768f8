//! `grove migrations` and `grove migrations cancel ID`

use anyhow::Context;
use common::id::{MigrationId, Rank};
use common::migration::{MigrationOutcome, MigrationRecord};
use common::wire::admin::Settlement;
use serde::Serialize;

use super::connect;
use super::output::{self, Format, milliseconds};
use crate::cluster::Cluster;
use crate::config::ConnectionArgs;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    format: Format,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Take one back that is under way
    Cancel {
        /// As the list shows it
        id: MigrationId,
    },
    /// Decide one that only its exporter could, whose store is lost (`grove ranks lost`)
    Settle {
        /// As the importer has it (`grove subtree ls` shows a region in doubt)
        id: MigrationId,
        /// The rank that imports
        #[arg(long)]
        at: u16,
        /// Whose the region is to be
        verdict: Verdict,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Verdict {
    /// The importer's, with what was copied
    Mine,
    /// Not the importer's; what was copied is deleted
    Theirs,
}

/// A record as it is printed.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    id: String,
    base: String,
    path: String,
    from: u16,
    to: u16,
    cause: &'static str,
    state: String,
    /// Seconds since 1970.
    started: i64,
    phases: Vec<ShownPhase>,
    rows_copied_live: u64,
    rounds: u32,
    rows_in_last_delta: u64,
    freeze_ms: f64,
    /// `moved`, `cancelled`, or nothing while it runs.
    outcome: Option<&'static str>,
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
struct ShownPhase {
    state: String,
    ms: f64,
}

impl From<&MigrationRecord> for Shown {
    fn from(record: &MigrationRecord) -> Self {
        let (outcome, reason) = match &record.outcome {
            None => (None, None),
            Some(MigrationOutcome::Moved) => (Some("moved"), None),
            Some(MigrationOutcome::Cancelled(reason)) => {
                (Some("cancelled"), Some(reason.to_string()))
            }
        };
        let phases = record
            .phases
            .iter()
            .map(|phase| ShownPhase { state: phase.state.clone(), ms: in_ms(phase.nanos) });
        Self {
            id: record.id.to_string(),
            base: record.base.to_string(),
            path: record.path.clone(),
            from: record.from.0,
            to: record.to.0,
            cause: record.cause.name(),
            state: record.state.clone(),
            started: record.started.secs,
            phases: phases.collect(),
            rows_copied_live: record.rows_copied_live,
            rounds: record.rounds,
            rows_in_last_delta: record.rows_in_last_delta,
            freeze_ms: in_ms(record.freeze_nanos),
            outcome,
            reason,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a duration of hours keeps its microseconds")]
fn in_ms(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

pub(super) fn run(connection: &ConnectionArgs, args: &Args) -> anyhow::Result<()> {
    let mut cluster = connect(connection)?;
    match &args.command {
        Some(Command::Cancel { id }) => cancel(&mut cluster, *id),
        Some(Command::Settle { id, at, verdict }) => {
            let verdict = match verdict {
                Verdict::Mine => Settlement::Mine,
                Verdict::Theirs => Settlement::Theirs,
            };
            cluster.settle(Rank(*at), *id, verdict)?;
            output::line(format!("migration {id} is settled"))
        }
        None => list(&mut cluster, args.format),
    }
}

fn cancel(cluster: &mut Cluster, id: MigrationId) -> anyhow::Result<()> {
    cluster.cancel(id).with_context(|| format!("cannot cancel {id}"))?;
    output::line(format!("migration {id} is being taken back"))
}

fn list(cluster: &mut Cluster, format: Format) -> anyhow::Result<()> {
    let mut records = Vec::new();
    for rank in cluster.reachable() {
        records.extend(cluster.migrations(rank)?);
    }
    records.sort_by_key(|record| (record.started, record.id));
    if format.json {
        return output::json(&records.iter().map(Shown::from).collect::<Vec<_>>());
    }
    let headings = [
        "ID",
        "PATH",
        "FROM",
        "TO",
        "CAUSE",
        "STATE",
        "PHASES",
        "LIVE ROWS",
        "LAST DELTA",
        "FROZEN",
        "END",
    ];
    output::table(&headings, records.iter().map(row).collect())
}

fn row(record: &MigrationRecord) -> Vec<String> {
    let phases: Vec<String> = record
        .phases
        .iter()
        .map(|phase| format!("{} {}", phase.state, milliseconds(phase.nanos)))
        .collect();
    let end = match &record.outcome {
        None => "-".to_owned(),
        Some(MigrationOutcome::Moved) => "moved".to_owned(),
        Some(MigrationOutcome::Cancelled(reason)) => format!("cancelled: {reason}"),
    };
    vec![
        record.id.to_string(),
        record.path.clone(),
        record.from.to_string(),
        record.to.to_string(),
        record.cause.name().to_owned(),
        record.state.clone(),
        phases.join(", "),
        format!("{} in {}", record.rows_copied_live, record.rounds),
        record.rows_in_last_delta.to_string(),
        milliseconds(record.freeze_nanos),
        end,
    ]
}
