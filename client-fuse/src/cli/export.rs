//! `grove export PATH RANK [--wait]`

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use common::id::{Ino, MigrationId, Rank};
use common::mds_map::RankState;
use common::migration::{EndReason, MigrationOutcome, MigrationRecord};
use common::name::Name;
use common::wire::admin::{AdminError, Located};
use rustix::fs::getxattr;

use super::connect;
use super::migrations::Shown;
use super::output::{self, Format};
use crate::cluster::{Cluster, ClusterError};
use crate::config::ConnectionArgs;
use crate::mount::source::Source;
use crate::mount::table::{self, Mounted};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A directory: from the file system's root, or below a mountpoint of it
    path: PathBuf,
    /// The rank that shall be its authority
    rank: u16,
    /// Return when it is there
    #[arg(long)]
    wait: bool,
    /// For no longer than this
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = humantime::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(connection: &ConnectionArgs, args: &Args) -> anyhow::Result<()> {
    let from = Start::of(&args.path)?;
    let mut cluster = connect(connection)?;
    let to = Rank(args.rank);
    check_importer(&cluster, to)?;
    let shown = args.path.display();
    let (dir, from) =
        locate(&mut cluster, &from).with_context(|| format!("cannot export {shown}"))?;
    let id = match cluster.export(from, dir, to) {
        Err(ClusterError::RankRefuses { error: AdminError::Migration(reason), .. }) => {
            bail!("cannot export {shown}: {}", explain(reason, from, to))
        }
        other => other.with_context(|| format!("cannot export {shown}"))?,
    };
    if !args.wait {
        if args.format.json {
            return output::json(&serde_json::json!({ "id": id.to_string() }));
        }
        return output::line(format!("migration {id}: {shown} goes from rank {from} to rank {to}"));
    }
    let record = wait(&mut cluster, id, args.timeout)?;
    if args.format.json {
        output::json(&Shown::from(&record))?;
    } else if record.outcome == Some(MigrationOutcome::Moved) {
        let frozen = output::milliseconds(record.freeze_nanos);
        output::line(format!("{shown} moved from rank {from} to rank {to}, frozen for {frozen}"))?;
    }
    match record.outcome {
        Some(MigrationOutcome::Cancelled(reason)) => {
            bail!("{shown} stays at rank {from}: {}", explain(reason, from, to))
        }
        Some(MigrationOutcome::Moved) | None => Ok(()),
    }
}

/// Where a path begins in the file system, and how it goes on.
struct Start {
    dir: Ino,
    /// Its authority, as far as is known.
    rank: Rank,
    names: Vec<Name>,
}

impl Start {
    /// A path below a mountpoint of ours is taken from there, any other absolute one from the root.
    fn of(path: &Path) -> anyhow::Result<Self> {
        let mounts = table::read().context("cannot read the mount table")?;
        let full = std::path::absolute(path).context("cannot find the current directory")?;
        let below = mounts
            .iter()
            .filter(|mounted| mounted.file_system == table::FILE_SYSTEM)
            .filter_map(|mounted| Some((mounted, full.strip_prefix(&mounted.mountpoint).ok()?)))
            .min_by_key(|(_, rest)| rest.as_os_str().len());
        match below {
            Some((mounted, rest)) if shows_a_part(mounted) => Self::at(&mounted.mountpoint, rest),
            Some((_, rest)) => Self::at_root(rest),
            None if path.is_absolute() => Self::at_root(path),
            None => bail!(
                "`{}` is not below a mount of GroveFS; write the path from the file system's root",
                path.display()
            ),
        }
    }

    fn at_root(path: &Path) -> anyhow::Result<Self> {
        Ok(Self { dir: Ino::ROOT, rank: Rank::ROOT, names: names(path)? })
    }

    /// What a mount shows may have another path by now than when it was mounted: it is asked.
    fn at(mountpoint: &Path, rest: &Path) -> anyhow::Result<Self> {
        let asked = || format!("cannot ask the mount at {}", mountpoint.display());
        let dir = Ino(mountpoint.metadata().with_context(asked)?.ino());
        let mut rank = [0; 16];
        let length = getxattr(mountpoint, c"grove.dir.auth", &mut rank).with_context(asked)?;
        let rank = std::str::from_utf8(&rank[..length]).ok().and_then(|text| text.parse().ok());
        Ok(Self { dir, rank: Rank(rank.with_context(asked)?), names: names(rest)? })
    }
}

fn shows_a_part(mounted: &Mounted) -> bool {
    Source::parse(&mounted.source).is_ok_and(|source| !source.path.is_empty())
}

fn names(path: &Path) -> anyhow::Result<Vec<Name>> {
    let parts = path.components().filter(|part| !matches!(part, Component::RootDir));
    parts
        .map(|part| match part {
            Component::Normal(name) => {
                Name::new(name.as_bytes()).with_context(|| format!("`{}`", path.display()))
            }
            Component::Prefix(_)
            | Component::RootDir
            | Component::CurDir
            | Component::ParentDir => {
                bail!("`{}` contains `..`; write the path without it", path.display())
            }
        })
        .collect()
}

fn check_importer(cluster: &Cluster, to: Rank) -> anyhow::Result<()> {
    let map = cluster.map();
    if !map.ranks.contains_key(&to) {
        let known = map.ranks.keys().map(Rank::to_string).collect::<Vec<_>>().join(", ");
        bail!("there is no rank {to}; the cluster has ranks {known}");
    }
    let state = map.state(to);
    if state != RankState::Active {
        bail!("rank {to} is {}, not active; `grove status` shows which are", state.name());
    }
    Ok(())
}

/// Follows a path from rank to rank. Returns the directory and its authority.
fn locate(cluster: &mut Cluster, from: &Start) -> anyhow::Result<(Ino, Rank)> {
    let names = &from.names;
    let (mut dir, mut rank, mut followed) = (from.dir, from.rank, 0);
    // One question for each rank on the way, and some for what moves meanwhile.
    for _ in 0..names.len() + 16 {
        let rest = names[followed..].to_vec();
        match cluster.located(rank, dir, rest)? {
            Located::Dir { ino } => return Ok((ino, rank)),
            Located::NotDirectory => {
                bail!("it is not a directory; only directories are exported")
            }
            Located::Missing { position } => {
                let at = followed + position as usize;
                let missing = names.get(at).map(Name::to_string).unwrap_or_default();
                bail!("there is no `{missing}` on the path")
            }
            Located::Elsewhere { dir: next, rank: to, followed: more } => {
                (dir, rank) = (next, to);
                followed = (followed + more as usize).min(names.len());
            }
        }
    }
    bail!("its authority moves faster than we can follow; try again")
}

fn wait(cluster: &mut Cluster, id: MigrationId, time: Duration) -> anyhow::Result<MigrationRecord> {
    match cluster.migration_over(id, time) {
        Err(ClusterError::Silent { .. }) => bail!(
            "migration {id} is still under way after {}; `grove migrations` shows how it goes on",
            humantime::format_duration(time)
        ),
        other => other.with_context(|| format!("cannot learn how migration {id} ends")),
    }
}

/// The reason, with what to do about it where there is something.
fn explain(reason: EndReason, from: Rank, to: Rank) -> String {
    let remedy = if reason == EndReason::AlreadyThere {
        return format!("rank {to} has it already");
    } else if reason == EndReason::ImporterNotActive {
        "`grove status` shows which are"
    } else if reason == EndReason::Degraded {
        "wait until `grove status` says healthy"
    } else if matches!(reason, EndReason::Overlaps | EndReason::ImporterBusy) {
        "`grove migrations` shows which"
    } else if reason == EndReason::NotAuthority {
        return format!("it has left rank {from} meanwhile; try again");
    } else if reason == EndReason::Pinned {
        "remove it with `setfattr -x grove.dir.pin`"
    } else {
        return reason.to_string();
    };
    format!("{reason}; {remedy}")
}
