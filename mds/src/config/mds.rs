//! The configuration of `grove-mds`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::id::{ClusterId, Incarnation, Rank};
use common::limit::CACHE_ROWS_MIN;
use mds_core::params::{BalancerParams, MigrationParams, Params};
use serde::Deserialize;
use transport::{Credentials, Role};

use super::{ConfigError, credentials, load, resolve};
use crate::store::superblock::Superblock;

/// The file. Every key without a default must be there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The daemon's name, as its certificate has it (CN).
    name: String,
    /// The cluster's id, 32 hex digits, as `grove-mon --format` printed it.
    cluster: String,
    /// Where it listens, `ADDRESS:PORT` (UDP).
    listen: SocketAddr,
    /// Where clients and other ranks reach it. Default: `listen`.
    advertise: Option<SocketAddr>,
    /// Where the monitor listens.
    monitor: SocketAddr,
    /// The cluster's authority, the daemon's certificate (role `mds`) and its key, PEM.
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
    /// Where it keeps its rows and its journal. Made by `--format`. Without it the daemon stands by:
    /// it takes over the store of a rank whose daemon has died.
    data_dir: Option<PathBuf>,
    /// Folders that other machines see under the same path: stores below may be taken over across
    /// machines, once an operator has confirmed that their daemon has stopped.
    #[serde(default)]
    shared_dirs: Vec<String>,
    /// Where file data lies, `file:///DIRECTORY`: deleted files are removed there. Without it they
    /// stay where they are.
    data_store: Option<String>,
    /// What is logged, as `RUST_LOG` (which wins) would say it.
    #[serde(default = "log")]
    log: String,
    /// Rows of the tree kept in memory, at least [`CACHE_ROWS_MIN`]: entries, directories, inodes of
    /// several names. Some 400 bytes each.
    cache_rows_max: Option<u64>,
    #[serde(default)]
    migration: MigrationTable,
    #[serde(default)]
    balancer: BalancerTable,
}

/// What an operator would tell a colleague.
fn log() -> String {
    "info".to_owned()
}

/// `[migration]`: how a subtree moves. What is not set has the core's default.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct MigrationTable {
    /// Changed rows below which the exporter stops copying live and freezes.
    copy_rest_max: Option<u64>,
    /// Rounds after which it freezes even if more rows keep changing.
    copy_rounds_max: Option<u32>,
    /// Bulk messages sent ahead of their acknowledgement.
    copy_window: Option<u32>,
    /// Deadlines of the exporter's states.
    locking_ms: Option<u64>,
    discovering_ms: Option<u64>,
    copying_stalled_ms: Option<u64>,
    freezing_ms: Option<u64>,
    prepping_ms: Option<u64>,
    warning_ms: Option<u64>,
    exporting_ms: Option<u64>,
    notifying_resend_ms: Option<u64>,
    /// Silence after which an importer asks.
    importer_contact_ms: Option<u64>,
}

/// `[balancer]`: when rank 0 moves load by itself.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct BalancerTable {
    epoch_ms: Option<u64>,
    /// Operations per second one rank is taken to be able to do.
    rank_capacity: Option<u64>,
    cool_down_ms: Option<u64>,
}

/// What the daemon runs by.
#[derive(Debug)]
pub struct MdsConfig {
    pub name: String,
    pub cluster: ClusterId,
    pub listen: SocketAddr,
    /// As configured; its port may be 0 if `listen` has port 0.
    pub advertise: SocketAddr,
    pub monitor: SocketAddr,
    pub credentials: Credentials,
    pub data_dir: Option<PathBuf>,
    shared_dirs: Vec<String>,
    /// The directory of the data store.
    pub data_store: Option<PathBuf>,
    pub log: String,
    cache_rows_max: Option<u64>,
    migration: MigrationParams,
    balancer: BalancerParams,
}

impl MdsConfig {
    /// # Errors
    /// Names the file or key that is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file: File = load(path)?;
        if let Some(max) = file.cache_rows_max.filter(|max| *max < CACHE_ROWS_MIN) {
            let reason = format!("{max} rows are too few; at least {CACHE_ROWS_MIN} are needed");
            return Err(ConfigError::Value { key: "cache_rows_max", reason });
        }
        let files = [file.ca.as_path(), &file.cert, &file.key];
        let credentials = credentials(path, files, &file.name, Role::Mds)?;
        let cluster = file.cluster.parse().map_err(|_| ConfigError::Value {
            key: "cluster",
            reason: format!(
                "`{}` is not 32 hex digits, as `grove-mon --format` prints",
                file.cluster
            ),
        })?;
        let advertise = file.advertise.unwrap_or(file.listen);
        if advertise.ip().is_unspecified() {
            let reason = format!("nobody can reach {advertise}; name an address of this machine");
            return Err(ConfigError::Value { key: "advertise", reason });
        }
        Ok(Self {
            cluster,
            listen: file.listen,
            advertise,
            monitor: file.monitor,
            credentials,
            data_dir: file.data_dir.as_deref().map(|dir| resolve(path, dir)),
            shared_dirs: file.shared_dirs,
            data_store: file.data_store.as_deref().map(store_directory).transpose()?,
            log: file.log,
            cache_rows_max: file.cache_rows_max,
            migration: migration_params(&file.migration),
            balancer: balancer_params(&file.balancer),
            name: file.name,
        })
    }

    /// Where this daemon can reach what a daemon on another machine has left. (Its own directory it
    /// reaches even if the machine's id has changed.)
    #[must_use]
    pub fn shared_dirs(&self) -> Vec<String> {
        let own = self.data_dir.iter().filter_map(|dir| dir.parent());
        let own = own.map(|dir| dir.display().to_string());
        self.shared_dirs.iter().cloned().chain(own).collect()
    }

    /// What the core is told, once the monitor has named the rank.
    #[must_use]
    pub fn params(&self, me: Rank, superblock: &Superblock, incarnation: Incarnation) -> Params {
        let mut params = Params::new(
            me,
            superblock.slot,
            incarnation,
            superblock.cluster,
            superblock.name_hash_key,
        );
        params.migration = self.migration.clone();
        params.balancer = self.balancer.clone();
        if let Some(max) = self.cache_rows_max {
            params.cache_rows_max = max;
        }
        params
    }
}

fn store_directory(url: &str) -> Result<PathBuf, ConfigError> {
    match url.strip_prefix("file://") {
        Some(path) if path.starts_with('/') => Ok(PathBuf::from(path)),
        Some(_) | None => Err(ConfigError::Value {
            key: "data_store",
            reason: format!("`{url}` is not of the form file:///DIRECTORY"),
        }),
    }
}

fn millis(value: Option<u64>, default: Duration) -> Duration {
    value.map_or(default, Duration::from_millis)
}

fn migration_params(table: &MigrationTable) -> MigrationParams {
    let default = MigrationParams::default();
    MigrationParams {
        copy_rest_max: table.copy_rest_max.unwrap_or(default.copy_rest_max),
        copy_rounds_max: table.copy_rounds_max.unwrap_or(default.copy_rounds_max),
        copy_window: table.copy_window.unwrap_or(default.copy_window),
        locking: millis(table.locking_ms, default.locking),
        discovering: millis(table.discovering_ms, default.discovering),
        copying_stalled: millis(table.copying_stalled_ms, default.copying_stalled),
        freezing: millis(table.freezing_ms, default.freezing),
        prepping: millis(table.prepping_ms, default.prepping),
        warning: millis(table.warning_ms, default.warning),
        exporting: millis(table.exporting_ms, default.exporting),
        notifying_resend: millis(table.notifying_resend_ms, default.notifying_resend),
        importer_contact: millis(table.importer_contact_ms, default.importer_contact),
    }
}

fn balancer_params(table: &BalancerTable) -> BalancerParams {
    let default = BalancerParams::default();
    BalancerParams {
        epoch: millis(table.epoch_ms, default.epoch),
        rank_capacity: table.rank_capacity.unwrap_or(default.rank_capacity),
        cool_down: millis(table.cool_down_ms, default.cool_down),
    }
}
