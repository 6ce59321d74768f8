//! The configuration of `grove-mon`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::limit;
use serde::Deserialize;
use transport::{Credentials, Role};

use super::{ConfigError, credentials, load, resolve};

/// The file. Every key without a default must be there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The monitor's name, as its certificate has it (CN).
    name: String,
    /// Where it listens, `ADDRESS:PORT` (UDP).
    listen: SocketAddr,
    /// The cluster's authority, the monitor's certificate (role `mon`) and its key, PEM.
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
    /// Where it keeps the map. Made by `--format`.
    data_dir: PathBuf,
    /// How many ranks the cluster has. It may grow, not shrink.
    #[serde(default = "ranks_wanted")]
    ranks_wanted: u16,
    /// A rank that is silent for so long is taken for dead.
    #[serde(default = "grace_ms")]
    grace_ms: u64,
    /// What is logged, as `RUST_LOG` (which wins) would say it.
    #[serde(default = "log")]
    log: String,
}

/// The smallest cluster; more is a decision.
fn ranks_wanted() -> u16 {
    1
}

fn grace_ms() -> u64 {
    u64::try_from(limit::BEACON_GRACE.as_millis()).expect("a few seconds")
}

/// What an operator would tell a colleague.
fn log() -> String {
    "info".to_owned()
}

/// What the monitor runs by.
#[derive(Debug)]
pub struct MonitorConfig {
    pub listen: SocketAddr,
    pub credentials: Credentials,
    pub data_dir: PathBuf,
    pub ranks_wanted: u16,
    pub grace: Duration,
    pub log: String,
}

impl MonitorConfig {
    /// # Errors
    /// Names the file or key that is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file: File = load(path)?;
        let grace = Duration::from_millis(file.grace_ms);
        let (min, max) = (limit::BEACON_GRACE_MIN, limit::BEACON_GRACE_MAX);
        if !(min..=max).contains(&grace) {
            let reason = format!(
                "{} is not between {} and {}",
                file.grace_ms,
                min.as_millis(),
                max.as_millis()
            );
            return Err(ConfigError::Value { key: "grace_ms", reason });
        }
        if file.ranks_wanted == 0 {
            let reason = "a cluster has at least one rank".to_owned();
            return Err(ConfigError::Value { key: "ranks_wanted", reason });
        }
        let files = [file.ca.as_path(), &file.cert, &file.key];
        Ok(Self {
            listen: file.listen,
            credentials: credentials(path, files, &file.name, Role::Mon)?,
            data_dir: resolve(path, &file.data_dir),
            ranks_wanted: file.ranks_wanted,
            grace,
            log: file.log,
        })
    }
}
