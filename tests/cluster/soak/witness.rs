//! `Witness`: looks all the time, and remembers when each life of a rank was first seen active.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::cluster::{Cluster, binary, pass, run};

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What another thread needs of the cluster to ask for something.
#[derive(Debug)]
pub(super) struct Operator {
    program: PathBuf,
    config: PathBuf,
}

impl Operator {
    pub(super) fn new(cluster: &Cluster) -> anyhow::Result<Self> {
        Ok(Self { program: binary("grove")?, config: cluster.path("client.toml") })
    }

    /// An operator gives up on somebody who does not answer.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.arg("5").arg(&self.program).args(arguments).env("GROVE_CONFIG", &self.config);
        command
    }

    /// Begins to move a directory.
    pub(super) fn order(&self, path: &str, rank: &str) -> std::io::Result<Child> {
        let mut order = self.command(&["export", path, rank]);
        order.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    }

    fn status(&self) -> Option<Value> {
        let text = run(&mut self.command(&["status", "--brief", "--json"])).ok()?;
        serde_json::from_str(&text).ok()
    }
}

#[derive(Debug)]
pub(super) struct Witness {
    operator: Operator,
    /// By rank and life.
    active: Mutex<BTreeMap<(u64, u64), Instant>>,
}

impl Witness {
    pub(super) fn new(operator: Operator) -> Self {
        Self { operator, active: Mutex::default() }
    }

    pub(super) fn look(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            // The monitor may be away: then nobody sees anything.
            let status = self.operator.status().unwrap_or_default();
            let seen = Instant::now();
            let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
            for rank in status["ranks"].as_array().into_iter().flatten() {
                let life = (rank["rank"].as_u64(), rank["incarnation"].as_u64());
                if let (Some(number), Some(life)) = life
                    && rank["state"] == "active"
                {
                    active.entry((number, life)).or_insert(seen);
                }
            }
            drop(active);
            pass(LOOK_EVERY);
        }
    }

    /// When a rank was first seen active in a life after that one.
    pub(super) fn active_after(&self, rank: u16, life: u64) -> Option<Instant> {
        let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let rank = u64::from(rank);
        active.range((rank, life + 1)..=(rank, u64::MAX)).next().map(|(_, at)| *at)
    }
}
