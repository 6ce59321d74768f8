//! Operations of several ranks: presumed-abort two-phase commit.
//!
//! Every message names the operation by the coordinator's number; who the coordinator is follows
//! from the direction. A message about an operation that is not known is over with: it is dropped,
//! or answered as if the operation had ended.

use std::collections::BTreeMap;

use common::error::FsError;
use common::id::{ClientId, DirFragId, Epoch, Ino, Rank, RequestId, TwoPhaseId};
use common::id_set::IdSet;
use common::name::Name;
use common::time::Timestamp;
use common::wire::session::Notice;
use serde::{Deserialize, Serialize};

use crate::file_lock::LocksOfFile;
use crate::journal::entry::SubtreeClaim;
use crate::row::{Holders, Inode, Linkage, Parent};

/// Variants in the order in which they are sent; append only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TwoPhaseMsg {
    /// coordinator → rank 0. May this operation move a directory to another parent? Asked again of
    /// a new incarnation.
    RenameLock { id: TwoPhaseId },
    /// rank 0 → coordinator. Nobody else moves one until it is given back.
    RenameLocked { id: TwoPhaseId },
    /// coordinator → participant. Lock these, for this client, and tell what they are.
    Look { id: TwoPhaseId, client: ClientId, items: Vec<Item> },
    /// participant → coordinator. They are as follows, and stay so until told. `clock` is the
    /// highest epoch seen there.
    Looked { id: TwoPhaseId, clock: Epoch, sights: Vec<(Item, Sight)> },
    /// participant → coordinator. Not the authority for this directory; that rank may be.
    Elsewhere { id: TwoPhaseId, dir: Ino, rank: Option<Rank> },
    /// participant → coordinator. A region is freezing or frozen, or another operation is in the
    /// way: let go, and begin anew when told. Nothing is held here.
    Busy { id: TwoPhaseId },
    /// participant → coordinator. What made it busy is over.
    Free { id: TwoPhaseId },
    /// coordinator → participant. Make this durable, and promise to do it when told.
    Prepare { id: TwoPhaseId, part: Part },
    /// participant → coordinator. Durable; it will do as told.
    Prepared { id: TwoPhaseId },
    /// coordinator → participant. Everybody has prepared, and that is durable. May come again.
    Commit { id: TwoPhaseId },
    /// coordinator → participant. Forget it. May come for what is unknown.
    Rollback { id: TwoPhaseId },
    /// participant → coordinator. Done, durable, and known to everybody it concerns.
    Settled { id: TwoPhaseId },
    /// participant → coordinator. What became of this? It has promised, and one of the two has died
    /// since.
    Query { id: TwoPhaseId },
    /// coordinator → rank 0. The operation is settled everywhere, or was undone.
    RenameUnlock { id: TwoPhaseId },
    /// any rank → rank 0. These of its operations may have moved directories and are not settled; no
    /// others have. Counts once for a pair of incarnations.
    RenameHolds { ids: Vec<TwoPhaseId> },
    /// participant → coordinator. Nothing is changed there. Nothing is held.
    Refused { id: TwoPhaseId, error: FsError },
}

/// What a participant is asked to lock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Item {
    /// A name, at the authority of its directory.
    Entry { dir: Ino, name: Name },
    /// An inode of several names, or that is to become one, at its home.
    Home { ino: Ino },
    /// A directory that is to go, at its own authority.
    Victim { dir: Ino },
    /// A directory that is to have another name, at its own authority.
    Moving { dir: Ino },
}

impl Item {
    /// The directory or inode that it is about.
    #[must_use]
    pub fn ino(&self) -> Ino {
        match self {
            Self::Entry { dir, .. } | Self::Victim { dir } | Self::Moving { dir } => *dir,
            Self::Home { ino } => *ino,
        }
    }
}

/// What an item was found to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Sight {
    Entry {
        linkage: Option<Linkage>,
        /// Who holds the inode that is embedded in it, and what is locked.
        holders: Holders,
        locks: LocksOfFile,
        /// The authority for the sub-directory it stands for.
        child: Option<Rank>,
        /// What these holders have completed there: they may not know, and ask again where the inode
        /// is by then.
        completed: BTreeMap<ClientId, IdSet>,
    },
    Home {
        inode: Option<Box<Inode>>,
    },
    Victim {
        entries: u64,
    },
    Moving,
}

/// What one participant contributes: to be done in order, at once, if all go ahead.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Part {
    /// Whoever asked for it. Others hear of it.
    pub client: ClientId,
    pub acts: Vec<Act>,
}

/// One change at one rank. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Act {
    /// A name gets a meaning, whatever it meant before.
    PutEntry {
        dir: Ino,
        name: Name,
        linkage: Linkage,
    },
    RemoveEntry {
        dir: Ino,
        name: Name,
    },
    /// A directory has so many more names and sub-directories.
    Count {
        dir: Ino,
        entries: i64,
        subdirs: i64,
        at: Timestamp,
    },
    /// The last name of an embedded inode is gone. Its holders hear of it.
    LetGo {
        inode: Box<Inode>,
        at: Timestamp,
        requester: ClientId,
    },
    /// At its home, an inode loses a name; with the last one its holders hear of it.
    OneNameLess {
        ino: Ino,
        at: Timestamp,
        requester: ClientId,
    },
    /// An inode of several names lies here.
    PutHome {
        inode: Box<Inode>,
    },
    /// The inode lies elsewhere from here on: its holders other than the requester hear of it, and
    /// if that is another rank, their pins go there.
    Moved {
        notice: Notice,
        requester: ClientId,
    },
    /// The inode lies here from here on, held by these. They hear of it from here as well, should the
    /// rank that gave it away not be there any more.
    Arrived {
        notice: Notice,
        holders: Holders,
        /// What they have locked.
        locks: LocksOfFile,
    },
    /// An answer names this inode.
    Pin {
        ino: Ino,
        requester: ClientId,
        request: RequestId,
    },
    /// An empty directory's own row goes.
    RemoveDir {
        dir: Ino,
    },
    /// A directory has another name. Whoever has a replica of it is told, and acknowledges.
    Reparent {
        dir: Ino,
        parent: Parent,
        at: Timestamp,
    },
    /// Authority changes below.
    PutBase {
        base: DirFragId,
        claim: SubtreeClaim,
    },
    /// Nothing below is next to anything of this rank any more.
    DropBase {
        base: DirFragId,
    },
    /// What holders of an inode that arrives have completed where it was: never again.
    Completed {
        completed: BTreeMap<ClientId, IdSet>,
    },
}

#[cfg(test)]
mod tests;
