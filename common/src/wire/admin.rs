//! Operator → rank: questions and orders, under a certificate of role `admin`.

use serde::{Deserialize, Serialize};

use crate::id::{ClientId, DirFragId, Epoch, Incarnation, Ino, MapEpoch, MigrationId, Rank};
use crate::mds_map::RankState;
use crate::migration::{EndReason, MigrationRecord};
use crate::name::Name;
use crate::wire::fsck::{Position, Repair, Scanned};

/// Each is answered by one [`AdminReply`], in order. Variants are append only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AdminRequest {
    Status,
    /// The subtrees this rank is the authority for.
    Subtrees,
    /// Follows `names` from directory `dir`, as far as this rank is the authority.
    Locate {
        dir: Ino,
        names: Vec<Name>,
    },
    Export {
        dir: Ino,
        to: Rank,
    },
    Migrations,
    CancelMigration {
        id: MigrationId,
    },
    /// Everything that a rank at rest must not have: for tests and the demo.
    Leftovers,
    /// The record of a migration that this rank exports; answered when it is over.
    AwaitMigration {
        id: MigrationId,
    },
    /// Ends a client's session here: its pins are given back, nobody waits for it any more.
    EvictSession {
        client: ClientId,
    },
    /// Decides an import in doubt whose exporter will never say what has become of it.
    SettleMigration {
        id: MigrationId,
        verdict: Settlement,
    },
    /// Rows that are stored, from there on.
    Scan {
        after: Option<Position>,
    },
    Repair(Repair),
}

/// Whose a region in doubt is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Settlement {
    /// The importer's, who is asked to settle it.
    Mine,
    /// Not the importer's.
    Theirs,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AdminReply {
    Status(Status),
    Subtrees(Vec<SubtreeEntry>),
    Located(Located),
    Exporting(MigrationId),
    Migrations(Vec<MigrationRecord>),
    Cancelling,
    Leftovers(Leftovers),
    Refused(AdminError),
    MigrationOver(MigrationRecord),
    Evicted,
    Settled,
    Scanned(Scanned),
    Repaired(Repaired),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Repaired {
    Done,
    /// It is not as was said: somebody has changed it since.
    NotNeeded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum AdminError {
    #[error("{0}")]
    Migration(EndReason),
    #[error("no such migration is under way here")]
    NoSuchMigration,
    #[error("the migration is past its point of no return")]
    PastCommit,
    #[error("this rank is not active yet")]
    NotActive,
    #[error("the request is malformed")]
    Malformed,
    #[error("it has no session of that client")]
    NoSession,
    #[error("no import of that id is in doubt here")]
    NotInDoubt,
    #[error("the exporter, rank {0}, is not lost: it says itself what has become of it")]
    ExporterLives(Rank),
    #[error("it is not the authority for that, or it is being moved; try again")]
    NotHere,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Status {
    pub rank: Rank,
    pub incarnation: Incarnation,
    pub state: RankState,
    pub map_epoch: MapEpoch,
    pub sessions: Vec<SessionEntry>,
    pub subtrees: u64,
    pub cached_dirs: u64,
    pub cached_entries: u64,
    pub requests_waiting: u64,
    pub migrations_running: u64,
    /// Files without a name that somebody has open.
    pub orphans: u64,
    /// Files without a name whose data is still to be removed.
    pub purging: u64,
    /// Requests handled since the start.
    pub requests: u64,
    /// Load as the balancer sees it, operations per second.
    pub load: u64,
    /// Why it is read-only: claims of authority that contradict each other. Empty: it is not.
    pub damage: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SessionEntry {
    pub client: ClientId,
    pub pins: u64,
    /// Whether it has a connection at present.
    pub connected: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SubtreeEntry {
    pub base: DirFragId,
    pub path: String,
    pub auth: Rank,
    pub epoch: Epoch,
    /// `live`, `freezing`, `frozen`, `in doubt`, or `lost` until the mark is taken away.
    pub state: String,
    pub pinned: Option<Rank>,
    pub bounds: Vec<Bound>,
    pub load: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bound {
    pub base: DirFragId,
    pub auth: Rank,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Located {
    Dir {
        ino: Ino,
    },
    /// The last name is no directory.
    NotDirectory,
    /// The name at this position does not exist.
    Missing {
        position: u32,
    },
    /// So many names were followed; the rest is below `dir`, with `rank`.
    Elsewhere {
        dir: Ino,
        rank: Rank,
        followed: u32,
    },
}

/// Counts of what must be zero when nothing runs and the namespace is empty but for the root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Leftovers {
    /// Rows of entries and directories, but for the root's own.
    pub entries: u64,
    pub dirs: u64,
    pub inodes: u64,
    pub orphans: u64,
    pub pins: u64,
    pub frozen: u64,
    pub auth_pins: u64,
    pub waiting: u64,
    /// Rows of migrations not yet swept or deleted.
    pub sweeping: u64,
}
