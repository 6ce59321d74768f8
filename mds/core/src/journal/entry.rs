//! `Entry`: every durable fact.
//!
//! Ordinary changes are not here: rows are written through, and RocksDB's log is their redo log.
//! An entry says who is the authority, or what is undecided between ranks.
//!
//! | entry | written by | read on recovery by |
//! |---|---|---|
//! | `SubtreeMap` | every rank, at start and when the map changed outside a migration | replay: the state to begin with |
//! | `ImportCopy` | importer, before the first row | replay: rows to sweep unless `ImportStart` follows |
//! | `ImportStart` | importer | replay: the region is in doubt |
//! | `Export` | exporter | replay: the region is foreign, the release must be told |
//! | `ImportFinish` | importer | replay: the region is owned, or foreign and to be swept |
//! | `Finished` | exporter | replay: nobody will ask about the migration again |
//! | `PeerPrepare` | participant | replay: settled with the coordinator |
//! | `PeerCommit`, `PeerRollback` | participant | replay: settled |
//! | `Decision` | coordinator | replay: participants are told to commit |
//! | `Committed` | coordinator | replay: nobody will ask about the operation again |
//! | `Step` | exporter, importer | replay: the record that `grove migrations` shows; nothing is decided by it |

use std::collections::BTreeMap;

use common::id::{DirFragId, Epoch, Ino, MigrationId, Rank, TwoPhaseId};
use common::migration::MigrationRecord;
use common::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::message::migration::TravelSession;
use crate::message::two_phase::Part;
use crate::row::Holders;

/// One durable fact. Applying it to a state that already holds it changes nothing.
///
/// Variants are encoded by position: append only, never reorder, never remove. The bytes of each
/// are pinned in `entry/tests.rs`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Entry {
    SubtreeMap(SubtreeSnapshot),
    ImportCopy {
        id: MigrationId,
        base: DirFragId,
    },
    ImportStart(ImportStart),
    /// The moment this is durable the importer is the authority (**E1**).
    Export {
        id: MigrationId,
        base: DirFragId,
        /// The directory in which the base's name is, for finding what encloses it.
        parent: Option<Ino>,
        to: Rank,
        epoch: Epoch,
    },
    ImportFinish {
        id: MigrationId,
        base: DirFragId,
        outcome: ImportOutcome,
    },
    Finished {
        id: MigrationId,
    },
    PeerPrepare {
        id: TwoPhaseId,
        coordinator: Rank,
        part: Part,
        /// Who refers to the inodes that it moves or lets go: after a restart it may be carried out
        /// before any client has said so again.
        held: Vec<Held>,
    },
    PeerCommit {
        id: TwoPhaseId,
        coordinator: Rank,
    },
    PeerRollback {
        id: TwoPhaseId,
        coordinator: Rank,
    },
    /// Every participant has prepared: the operation happens. Written with the coordinator's rows.
    Decision {
        id: TwoPhaseId,
        participants: Vec<Rank>,
    },
    Committed {
        id: TwoPhaseId,
    },
    Step(Step),
}

/// The pins of one inode, as they were.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Held {
    pub ino: Ino,
    /// The directory in whose entry it is embedded.
    pub dir: Option<Ino>,
    pub holders: Holders,
}

/// Everything this rank is the authority for, and what it knows of those beyond.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SubtreeSnapshot {
    pub subtrees: BTreeMap<DirFragId, SubtreeClaim>,
    /// Given away, and the importer has not yet said that it knows.
    pub released: BTreeMap<MigrationId, Release>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SubtreeClaim {
    pub auth: Rank,
    pub epoch: Epoch,
    /// The directory in which the base's name is, for finding what encloses it.
    pub parent: Option<Ino>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Release {
    pub base: DirFragId,
    pub to: Rank,
    pub epoch: Epoch,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ImportStart {
    pub id: MigrationId,
    pub base: DirFragId,
    pub from: Rank,
    pub epoch: Epoch,
    /// Subtrees nested in it, which stay where they are.
    pub bounds: BTreeMap<DirFragId, SubtreeClaim>,
    pub parent: Option<Ino>,
    /// Applied when the import is finished, never if it is undone.
    pub sessions: Vec<TravelSession>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ImportOutcome {
    Owned,
    Foreign,
}

/// A transition of one half of a migration. Replaces the one before it of the same half: recovery
/// decides nothing by it, and a record tells all that went before.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Step {
    pub id: MigrationId,
    pub role: Role,
    pub base: DirFragId,
    /// The other half's rank.
    pub peer: Rank,
    pub from: String,
    pub to: String,
    pub at: Timestamp,
    /// The exporter's: what operators are told, as of then.
    pub record: Option<Box<MigrationRecord>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    Exporter,
    Importer,
    Bystander,
}

#[cfg(test)]
mod tests;
