//! `Input`: everything that can happen to an MDS.

use common::id::{ClientId, DirFragId, Incarnation, Ino, Rank, Seq};
use common::mds_map::MdsMap;
use common::wire::admin::AdminRequest;
use common::wire::session::ToMds;
use serde::{Deserialize, Serialize};

use crate::journal::entry::Entry;
use crate::message::PeerMsg;
use crate::row::{Dir, EntryKey, Inode, Linkage, Row};
use crate::timer::Timer;

/// Closed and complete. A new ability of the daemon begins as a variant here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// From a client, on a connection whose hello named it. Numbers of connections only grow.
    Client {
        conn: ConnId,
        client: ClientId,
        msg: ToMds,
    },
    /// The connection is gone. Its session is not: the lease decides that.
    ClientGone {
        conn: ConnId,
        client: ClientId,
    },
    /// From another rank. Per sender and incarnation: complete, in order, once.
    Peer {
        from: Rank,
        incarnation: Incarnation,
        msg: PeerMsg,
    },
    /// Everything applied up to here survives power loss.
    Durable {
        through: Seq,
    },
    /// The answer to an `Effect::Fetch`, in a later turn than the one that asked.
    Fetched(Fetched),
    /// The data of an inode, as ordered by `Effect::Purge`, is gone.
    Purged {
        ino: Ino,
    },
    Map(MdsMap),
    Timer(Timer),
    Admin {
        id: AdminId,
        request: AdminRequest,
    },
}

/// One connection of a client, numbered by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// One question of an operator, numbered by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdminId(pub u64);

/// A question to the store. It sees every change of this turn and of those before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fetch {
    Entry(EntryKey),
    /// Entries of a fragment after a key (or from its beginning), at most [`FETCH_ENTRIES_MAX`].
    Entries {
        frag: DirFragId,
        after: Option<EntryKey>,
    },
    Dir(DirFragId),
    Inode(Ino),
}

impl Fetch {
    /// The directory of which something is asked.
    #[must_use]
    pub fn dir(&self) -> Option<Ino> {
        match self {
            Self::Entry(key) => Some(key.dir),
            Self::Entries { frag, .. } | Self::Dir(frag) => Some(frag.ino),
            Self::Inode(_) => None,
        }
    }
}

/// Entries the store reads for one `Fetch::Entries`.
pub const FETCH_ENTRIES_MAX: usize = 4096;

/// What the store found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fetched {
    Entry(EntryKey, Option<Linkage>),
    Entries {
        frag: DirFragId,
        after: Option<EntryKey>,
        entries: Vec<(EntryKey, Linkage)>,
        end: FetchEnd,
    },
    Dir(DirFragId, Option<Dir>),
    Inode(Ino, Option<Inode>),
}

impl Fetched {
    /// The answer if nothing is stored.
    #[must_use]
    pub fn nothing(asked: Fetch) -> Self {
        match asked {
            Fetch::Entry(key) => Self::Entry(key, None),
            Fetch::Entries { frag, after } => {
                Self::Entries { frag, after, entries: Vec::new(), end: FetchEnd::Last }
            }
            Fetch::Dir(id) => Self::Dir(id, None),
            Fetch::Inode(ino) => Self::Inode(ino, None),
        }
    }

    /// The question to which this is the answer.
    #[must_use]
    pub fn asked(&self) -> Fetch {
        match self {
            Self::Entry(key, _) => Fetch::Entry(key.clone()),
            Self::Entries { frag, after, .. } => {
                Fetch::Entries { frag: *frag, after: after.clone() }
            }
            Self::Dir(id, _) => Fetch::Dir(*id),
            Self::Inode(ino, _) => Fetch::Inode(*ino),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FetchEnd {
    More,
    Last,
}

/// What the store held when the daemon started: all small tables and the whole journal, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Restored {
    /// Those of [`Row::is_restored`], in any order.
    pub rows: Vec<Row>,
    pub journal: Vec<(Seq, Entry)>,
}
