//! What operators and tests see of a migration: its record, from the exporter's point of view.

use serde::{Deserialize, Serialize};

use crate::id::{DirFragId, MigrationId, Rank};
use crate::time::Timestamp;

/// One attempt to move a subtree, whatever became of it. Refused attempts have a record too.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MigrationRecord {
    pub id: MigrationId,
    pub base: DirFragId,
    /// The base's path when the attempt began; for people.
    pub path: String,
    pub from: Rank,
    pub to: Rank,
    pub cause: MigrationCause,
    /// The exporter's state, `Over` at the end.
    pub state: String,
    pub started: Timestamp,
    /// The states it has left, in order, with the time spent in each.
    pub phases: Vec<Phase>,
    /// Rows that travelled while the subtree was live, and in how many rounds.
    pub rows_copied_live: u64,
    pub rounds: u32,
    /// Rows of the last delta, sent frozen.
    pub rows_in_last_delta: u64,
    /// From "frozen" to the moment the commit record was durable, as the exporter saw it.
    pub freeze_nanos: u64,
    pub outcome: Option<MigrationOutcome>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Phase {
    pub state: String,
    pub nanos: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MigrationCause {
    Operator,
    Pin,
    Balancer,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MigrationOutcome {
    /// The importer is the authority.
    Moved,
    /// The exporter stayed the authority, because of this.
    Cancelled(EndReason),
}

/// Why an attempt ended without moving anything.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    thiserror::Error,
)]
pub enum EndReason {
    #[error("the operator cancelled it")]
    Operator,
    #[error("a rank of the cluster is not active")]
    Degraded,
    #[error("the rank to move to is not active")]
    ImporterNotActive,
    #[error("the subtree is there already")]
    AlreadyThere,
    #[error("this rank is not the authority for it")]
    NotAuthority,
    #[error("the root directory's own fragment never leaves rank 0")]
    Root,
    #[error("it overlaps another migration")]
    Overlaps,
    #[error("the importer is busy with an overlapping migration")]
    ImporterBusy,
    #[error("a pin keeps it where it is")]
    Pinned,
    #[error("the directory is gone")]
    Gone,
    #[error("the importer could not find the path")]
    DiscoverFailed,
    #[error("a deadline passed while waiting for locks")]
    LockingTimedOut,
    #[error("a deadline passed while the importer discovered the path")]
    DiscoveringTimedOut,
    #[error("no rows flowed for the deadline")]
    CopyingTimedOut,
    #[error("operations under way did not drain in time")]
    FreezingTimedOut,
    #[error("the importer did not open the bounds in time")]
    PreppingTimedOut,
    #[error("a bystander did not acknowledge in time")]
    WarningTimedOut,
    #[error("the importer did not make the import durable in time")]
    ExportingTimedOut,
    #[error("the base or a bound changed under it")]
    Changed,
    #[error("the importer died")]
    ImporterDied,
    #[error("the owner of a bound died")]
    BoundOwnerDied,
    #[error("the importer refused")]
    ImporterRefused,
    #[error("this rank restarted")]
    Restarted,
    #[error("a rank is read-only, for claims contradict each other; its log says which")]
    ReadOnly,
}

impl MigrationRecord {
    /// Whether nothing of it is left to do but to delete rows in the background.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.outcome.is_some()
    }
}

impl MigrationCause {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Pin => "pin",
            Self::Balancer => "balancer",
        }
    }
}
