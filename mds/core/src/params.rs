//! `Params`: what is decided before an MDS begins. Mechanism is in the core, policy in here.

use std::time::Duration;

use common::id::{ClusterId, Incarnation, Rank, Slot};
use common::limit;
use common::name::NameHashKey;

/// Made from configuration and the store's superblock; cannot be wrong once made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Params {
    pub me: Rank,
    pub slot: Slot,
    pub incarnation: Incarnation,
    pub cluster: ClusterId,
    pub name_hash_key: NameHashKey,
    pub lease: Duration,
    pub reconnect_window: Duration,
    /// Rows of the tree kept in memory: entries, directories, inodes of several names.
    pub cache_rows_max: u64,
    pub migration: MigrationParams,
    pub balancer: BalancerParams,
    /// The mistake that is made.
    #[cfg(feature = "mutants")]
    pub mutant: Option<crate::mutant::Mutant>,
}

/// Deadlines of a migration's states, and when a copy is small enough to freeze.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MigrationParams {
    /// Changed rows below which the exporter stops copying live and freezes.
    pub copy_rest_max: u64,
    /// Rounds after which it freezes even if more rows keep changing.
    pub copy_rounds_max: u32,
    /// Bulk messages sent ahead of their acknowledgement.
    pub copy_window: u32,
    pub locking: Duration,
    pub discovering: Duration,
    pub copying_stalled: Duration,
    pub freezing: Duration,
    pub prepping: Duration,
    pub warning: Duration,
    pub exporting: Duration,
    pub notifying_resend: Duration,
    pub importer_contact: Duration,
}

/// When rank 0 moves load by itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BalancerParams {
    pub epoch: Duration,
    /// Operations per second one rank is taken to be able to do. Nothing moves while the busiest
    /// rank is below half of it.
    pub rank_capacity: u64,
    /// How long a subtree that moved stays where it is.
    pub cool_down: Duration,
}

impl Params {
    #[must_use]
    pub fn new(
        me: Rank,
        slot: Slot,
        incarnation: Incarnation,
        cluster: ClusterId,
        key: NameHashKey,
    ) -> Self {
        Self {
            me,
            slot,
            incarnation,
            cluster,
            name_hash_key: key,
            lease: limit::LEASE,
            reconnect_window: limit::RECONNECT_WINDOW,
            cache_rows_max: 2_000_000,
            migration: MigrationParams::default(),
            balancer: BalancerParams::default(),
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

impl Default for MigrationParams {
    fn default() -> Self {
        Self {
            copy_rest_max: 256,
            copy_rounds_max: 8,
            copy_window: 8,
            locking: Duration::from_secs(5),
            discovering: Duration::from_secs(10),
            copying_stalled: Duration::from_secs(30),
            freezing: Duration::from_secs(2),
            prepping: Duration::from_secs(5),
            warning: Duration::from_secs(5),
            exporting: Duration::from_secs(10),
            notifying_resend: Duration::from_secs(2),
            importer_contact: Duration::from_secs(30),
        }
    }
}

impl Default for BalancerParams {
    fn default() -> Self {
        Self {
            epoch: Duration::from_secs(10),
            rank_capacity: 20_000,
            cool_down: Duration::from_secs(60),
        }
    }
}
