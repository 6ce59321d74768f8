//! `grove fsck [--repair]`

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use common::id::{Ino, Rank};
use common::mds_map::RankState;
use common::wire::admin::Repaired;
use common::wire::fsck::{Place, Repair};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use transport::Role;

use super::connect;
use super::output::{self, Format};
use crate::cluster::Cluster;
use crate::config::ConnectionArgs;
use crate::data::{DataStore, FileStore};
use crate::fsck::{Census, Findings, Objects, Problem, check};

/// What is wrong is so in each of so many looks: what others change meanwhile is right in one of them.
const LOOKS: u32 = 3;
/// How often it is tried when migrations are in the way.
const TRIES_MAX: u32 = 30;
/// Between two of them, so that what was on its way has arrived: nobody tells when that is.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Looks at everything while the file system is in use. Ends with an error if something is wrong.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Mend what can be mended: counts, links, names that lead to nothing, files and data without a name
    #[arg(long)]
    repair: bool,
    /// The data store, if `data` in the configuration does not say it
    #[arg(long, value_name = "file:///DIR")]
    data: Option<String>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Serialize)]
struct Report {
    clean: bool,
    problems: Vec<Line>,
    dirs: u64,
    names: u64,
    inodes: u64,
    orphans: u64,
    stale: u64,
    /// `null`: no data store was named.
    objects: Option<u64>,
    /// Files in the data store that are nobody's data. They are left alone.
    strangers: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Line {
    problem: String,
    /// `null`: it was not asked for, or there is no way.
    repaired: Option<bool>,
}

pub(super) fn run(connection: &ConnectionArgs, args: &Args) -> anyhow::Result<()> {
    let mut cluster = connect(connection)?;
    all_serve(&cluster)?;
    let configured = connection.resolve(Role::Admin)?.data;
    let data = args.data.clone().or(configured);
    let store = data.map(|address| FileStore::open(&address, cluster.map())).transpose()?;

    let (mut findings, mut objects) = look_when_settled(&mut cluster, store.as_ref())?;
    for _ in 1..LOOKS {
        if findings.problems.is_empty() {
            break;
        }
        std::thread::sleep(BETWEEN_LOOKS);
        let (again, there) = look_when_settled(&mut cluster, store.as_ref())?;
        let both = &findings.problems & &again.problems;
        findings = Findings { problems: both, ..again };
        objects = there;
    }

    let mut problems = Vec::new();
    for problem in &findings.problems {
        let repaired = if args.repair {
            mend(&mut cluster, store.as_ref(), problem)
                .with_context(|| describe(problem, &findings))?
        } else {
            None
        };
        problems.push(Line { problem: describe(problem, &findings), repaired });
    }
    let left = problems.iter().filter(|line| line.repaired != Some(true)).count();
    let report = Report {
        clean: left == 0,
        problems,
        dirs: findings.dirs,
        names: findings.names,
        inodes: findings.inodes,
        orphans: findings.orphans,
        stale: findings.stale,
        objects: objects.as_ref().map(Objects::len),
        strangers: objects.map(|objects| objects.strangers).unwrap_or_default(),
    };
    print(&report, args)?;
    match left {
        0 => Ok(()),
        _ if args.repair => bail!("{left} problems are left; each says what can be done"),
        _ => bail!("{left} problems; `grove fsck --repair` mends what can be mended"),
    }
}

/// What a rank has that does not answer would seem to be missing.
fn all_serve(cluster: &Cluster) -> anyhow::Result<()> {
    for rank in cluster.map().ranks.keys() {
        let state = cluster.map().state(*rank);
        ensure!(
            state == RankState::Active,
            "rank {rank} is {}: what it holds would seem to be lost; check when `grove status` says that \
             every rank is active",
            state.name()
        );
    }
    Ok(())
}

/// What was seen, and the data, if that was looked at.
type Look = (Findings, Option<Objects>);

/// While a migration has come to where it is decided whose something is, nobody knows; that is short.
fn look_when_settled(cluster: &mut Cluster, store: Option<&FileStore>) -> anyhow::Result<Look> {
    for _ in 0..TRIES_MAX {
        if let Some(look) = look(cluster, store)? {
            return Ok(look);
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
    bail!(
        "it is in doubt whose some directories are; check again when `grove migrations` shows how that has \
         ended, or decide it with `grove migrations settle`"
    )
}

/// `None`: of something it is in doubt whose it is.
fn look(cluster: &mut Cluster, store: Option<&FileStore>) -> anyhow::Result<Option<Look>> {
    let ranks: Vec<Rank> = cluster.map().ranks.keys().copied().collect();
    let mut census = Census::default();
    let mut rows = 0;
    for rank in &ranks {
        let counts = cluster.leftovers(*rank)?;
        rows += counts.entries + counts.dirs + counts.inodes + counts.orphans;
    }
    let bar = ProgressBar::new(rows);
    let style = "{spinner} {pos} of {len} rows, {per_sec}, {eta} left {wide_bar}";
    bar.set_style(ProgressStyle::with_template(style)?);
    for rank in ranks {
        for subtree in cluster.subtrees(rank)? {
            if subtree.state == "in doubt" {
                return Ok(None);
            }
            if subtree.auth == rank {
                census.claim(rank, subtree.base.ino);
            }
        }
        let mut after = None;
        loop {
            let scanned = cluster.scan(rank, after)?;
            bar.inc(scanned.rows.len() as u64);
            census.add(rank, scanned.rows);
            after = scanned.next;
            if after.is_none() {
                break;
            }
        }
    }
    bar.finish_and_clear();
    let objects = store.map(|store| Objects::look(store.root())).transpose();
    let objects = objects.context("cannot look through the data store")?;
    Ok(Some((check(&census, objects.as_ref()), objects)))
}

/// Whether it is mended now. `None`: there is no way that is sure to lose nothing.
fn mend(
    cluster: &mut Cluster,
    store: Option<&FileStore>,
    problem: &Problem,
) -> anyhow::Result<Option<bool>> {
    let (rank, repair) = match problem {
        Problem::Counts { dir, at, .. } => (*at, Repair::Recount { dir: *dir }),
        Problem::Links { ino, at, stored, found } => {
            (*at, Repair::SetLinks { ino: *ino, from: *stored, to: *found })
        }
        Problem::LeadsToNothing { at, place, ino } => {
            (*at, Repair::RemoveName { place: place.clone(), ino: *ino })
        }
        Problem::NoLinks { ino, at } => (*at, Repair::RemoveInode { ino: *ino }),
        Problem::StrayData { ino, .. } => {
            let Some(store) = store else { return Ok(None) };
            store.remove(*ino)?;
            return Ok(Some(true));
        }
        Problem::ClaimedTwice { .. }
        | Problem::ClaimOfNothing { .. }
        | Problem::NoName { .. }
        | Problem::ManyNames { .. }
        | Problem::OtherParent { .. }
        | Problem::NamedOrphan { .. }
        | Problem::MissingData { .. } => return Ok(None),
    };
    Ok(Some(cluster.repair(rank, repair)? == Repaired::Done))
}

fn describe(problem: &Problem, findings: &Findings) -> String {
    let path = |dir: &Ino| findings.path(*dir);
    let at = |place: &Place| findings.path_of(place);
    let all = |places: &BTreeSet<Place>| places.iter().map(at).collect::<Vec<_>>().join(", ");
    match problem {
        Problem::ClaimedTwice { dir, ranks } => {
            let ranks: Vec<String> = ranks.iter().map(Rank::to_string).collect();
            let ranks = ranks.join(" and ");
            format!(
                "{}: ranks {ranks} claim it; one of them has an old copy of its store",
                path(dir)
            )
        }
        Problem::ClaimOfNothing { dir, rank } => format!(
            "{} ({dir}): rank {rank} is its authority and does not have it; restore its store",
            path(dir)
        ),
        Problem::LeadsToNothing { place, ino, .. } => {
            format!("{}: leads to {ino}, which nobody has", at(place))
        }
        Problem::NoName { dir, at } => {
            format!(
                "directory {dir} of rank {at} has no name; what is in it can only be reached so"
            )
        }
        Problem::ManyNames { ino, places } => {
            format!("{ino} has several names and may have one: {}; remove all but one", all(places))
        }
        Problem::OtherParent { dir, at: rank, place } => format!(
            "{}: {dir} at rank {rank} believes to have another name; rename it to and fro",
            at(place)
        ),
        Problem::Counts { dir, stored, found, .. } => format!(
            "{}: counts {} names and {} directories, has {} and {}",
            path(dir),
            stored.0,
            stored.1,
            found.0,
            found.1
        ),
        Problem::Links { ino, stored, found, .. } => {
            format!("file {ino}: counts {stored} names, has {found}")
        }
        Problem::NoLinks { ino, at } => format!("file {ino} of rank {at} has no name"),
        Problem::NamedOrphan { ino, places } => format!(
            "{}: {ino} is about to be removed, and has this name; copy it, and remove it",
            all(places)
        ),
        Problem::StrayData { ino, bytes } => {
            format!("data of {ino} ({bytes} bytes), which is no file")
        }
        Problem::MissingData { ino, size, bytes } => format!(
            "file {ino}: {size} bytes, of which the data store has {bytes}; the rest reads as zeros, \
             restore it from a backup"
        ),
    }
}

fn print(report: &Report, args: &Args) -> anyhow::Result<()> {
    if args.format.json {
        return output::json(report);
    }
    for Line { problem, repaired } in &report.problems {
        let end = match repaired {
            Some(true) => " - repaired",
            Some(false) => " - has changed since",
            None if args.repair => " - left as it is",
            None => "",
        };
        output::line(format!("{problem}{end}"))?;
    }
    for path in &report.strangers {
        output::line(format!("{path}: not data of this file system; left alone"))?;
    }
    let Report { dirs, names, inodes, orphans, stale, .. } = report;
    output::line(format!(
        "{dirs} directories, {names} names, {inodes} files, {orphans} without a name, {stale} rows to be \
         deleted, {}",
        match report.objects {
            Some(objects) => format!("data of {objects}"),
            None => "no data store named (--data)".to_owned(),
        }
    ))?;
    if report.problems.is_empty() { output::line("no problems") } else { Ok(()) }
}
