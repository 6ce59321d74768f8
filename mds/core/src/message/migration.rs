//! The messages of a subtree migration, in the order in which they are sent.
//!
//! A message whose [`MigrationId`] or sender does not fit what the receiver knows is dropped, except
//! that a `Discover` that cannot be accepted is answered `Nack`, an `Export` that cannot be accepted
//! `CancelAck` (nothing of it is here), so are rows of a directory that is here by another way, and every
//! `Notify` is acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use common::id::{
    ClientId, DirFragId, Epoch, Incarnation, Ino, InoRange, MigrationId, Nonce, Rank, RequestId,
};
use common::id_set::IdSet;
use common::migration::EndReason;
use common::wire::session::Notice;
use serde::{Deserialize, Serialize};

use crate::file_lock::LocksOfFile;
use crate::journal::entry::SubtreeClaim;
use crate::row::{Dir, EntryKey, Holders, Linkage, Parent};
use crate::subtree::DirAuth;

/// One step of one migration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MigrationMsg {
    pub id: MigrationId,
    pub base: DirFragId,
    pub step: Step,
}

/// Variants are encoded by position: append only, never reorder, never remove.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Step {
    /// exporter → importer. Make the base's path known to you. `ask`: who is the authority for each
    /// directory on it, as the exporter knows.
    Discover { parent: Parent, ask: BTreeMap<Ino, Rank> },
    /// importer → exporter. The path is known and pinned.
    DiscoverAck,
    /// importer → exporter. Not now, or not here.
    Nack { reason: EndReason },
    /// exporter → importer, bulk. Content of the region as it is now; later rows overwrite earlier.
    /// While frozen: what the `Export` that follows has no room for.
    Rows { number: u32, content: Vec<Content> },
    /// importer → exporter. Those rows were written.
    RowsAck { number: u32 },
    /// exporter → importer. The region is frozen; open these bounds, freeze it on your side.
    Prep { epoch: Epoch, bounds: BTreeMap<DirFragId, SubtreeClaim>, bystanders: BTreeSet<Rank> },
    /// importer → exporter. Every bound is open and the region is frozen here.
    PrepAck,
    /// exporter (or importer) → bystander. Who is the authority, or between whom it is in doubt.
    /// `dirs`: those of the region that the receiver replicates.
    Notify { auth: DirAuth, epoch: Epoch, dirs: Vec<Ino> },
    /// bystander → sender. That notice took effect before anything sent after this.
    NotifyAck { auth: DirAuth },
    /// exporter → importer, bulk: after the rows sent before it. The last delta.
    Export(Box<Payload>),
    /// importer → exporter. `ImportStart` is durable.
    ExportAck,
    /// exporter → importer. `Export` is durable: serve.
    Serve,
    /// importer → exporter. `ImportFinish` is durable: nobody will ask about this migration again.
    Finished,
    /// exporter → importer. Every bystander knows: the region may migrate again.
    Over,
    /// exporter → importer. Undo whatever you did.
    Cancel,
    /// importer → exporter. Undone, or never begun.
    CancelAck,
    /// importer → exporter. What has become of this migration?
    Ask,
    /// exporter → importer. It is under way, and not yet decided.
    Undecided,
}

/// A piece of a region, as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Content {
    Entry(EntryKey, Linkage),
    /// The name is gone.
    NoEntry(EntryKey),
    Dir(DirFragId, Dir),
    /// The directory is gone, or has left the region: with everything in it.
    NoDir(DirFragId),
    /// Who pins an inode that is embedded in directory `dir`, and what is locked. Nobody: the pins are gone.
    Pins {
        ino: Ino,
        dir: Ino,
        holders: Holders,
        locks: LocksOfFile,
    },
}

/// What is sent while frozen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Payload {
    /// What has changed since the last round of the copy.
    pub delta: Vec<Content>,
    pub sessions: Vec<TravelSession>,
    /// Spine replicas of the region's directories that other ranks hold, the exporter among them.
    pub registrations: BTreeMap<Ino, BTreeMap<Rank, Registration>>,
    pub cached: Cached,
}

/// What clients may have cached of a region, beside those whose sessions come with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cached {
    /// Their sessions were ended before they can be known to have dropped what they had.
    pub evicted: BTreeSet<ClientId>,
    /// By directory, what clients were told and have not acknowledged. `None`: it cannot be told any more.
    pub unheard: BTreeMap<Ino, Vec<(ClientId, Option<Notice>)>>,
    /// Directories that a client holds exclusively.
    pub exclusive: BTreeMap<Ino, ClientId>,
}

/// That a rank holds a replica of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Registration {
    pub nonce: Nonce,
    /// Of the holder. It ends with that; who is told of it may have heard of the end before, or not yet
    /// of the beginning.
    pub life: Incarnation,
}

/// What the importer must know of a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TravelSession {
    pub client: ClientId,
    pub ranges: Vec<InoRange>,
    pub completed: IdSet,
    /// It has had the answers to all requests before this one.
    pub oldest: RequestId,
    /// It holds directories exclusively, perhaps of this region.
    pub exclusive: bool,
}

#[cfg(test)]
mod tests;
