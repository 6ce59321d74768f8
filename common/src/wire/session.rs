//! The conversation between a client and a rank, after the hello.
//!
//! ```text
//!  client ── Open ──▶ rank          the first message; then Claim … ClaimsDone if it reconnects
//!  client ◀─ Opened ─ rank
//!  client ── Request, Renew, Acked ──▶ rank
//!  client ◀─ Reply, Renewed, Notice, Durable, Route ── rank
//!  client ── Close ──▶ rank
//! ```
//!
//! One ordered stream each way: order is part of the protocol.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::file_lock::{FileLock, FileLocks};
use crate::id::{ClientId, Ino, InoRange, MapEpoch, NoticeId, Rank, RequestId, Seq};
use crate::name::Name;
use crate::wire::reply::{Reply, Route};
use crate::wire::request::{Place, Request, Target};

/// Client → rank. Variants are encoded by position: append only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ToMds {
    /// Begins the session, or takes it up again on a new connection.
    Open {
        client: ClientId,
        oldest: RequestId,
    },
    /// After `Open`, while the rank reconnects: pins the client holds here.
    Claim {
        pins: Vec<PinClaim>,
    },
    /// All claims were made; requests to be replayed follow, then new ones.
    ClaimsDone,
    /// All requests to be replayed were sent.
    ReplayDone,
    Request(Request),
    /// Keeps the lease. Every [`crate::limit::LEASE_RENEW`], and at once when fewer than
    /// [`crate::limit::INO_RANGE_LOW`] numbers of this rank are left.
    Renew {
        inos_left: u64,
    },
    /// What the notice said has taken effect at the client.
    Acked(NoticeId),
    /// The client goes. Its pins are given back.
    Close,
    /// Among the claims: directories that the client holds exclusively, or has changes for that it has
    /// answered itself and of which no rank has said that they are made.
    ClaimExclusive {
        dirs: Vec<Ino>,
    },
    /// It holds these exclusively no more: everything it has changed in them is made.
    LetGo {
        dirs: Vec<Ino>,
    },
}

/// A pin a client believes to hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PinClaim {
    pub target: Target,
    pub by: PinnedBy,
    /// What is locked in it, as far as the client has had answers. What it has asked for besides, and was
    /// not answered, counts as not done: it is asked for again.
    pub locks: FileLocks,
}

impl PinClaim {
    /// Of a file in which nothing is locked.
    #[must_use]
    pub fn new(target: Target, by: PinnedBy) -> Self {
        Self { target, by, locks: FileLocks::default() }
    }
}

/// By which request a client refers to an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PinnedBy {
    /// The latest one whose answer has named it.
    Answered(RequestId),
    /// The one that makes it, whose answer has not come. If it was carried out, the inode is pinned.
    Unanswered(RequestId),
}

/// Rank → client. Variants are encoded by position: append only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ToClient {
    Opened(Opened),
    Reply(Reply),
    /// The lease counts anew from when the renewal was sent. Carries more numbers if few are left.
    Renewed {
        map_epoch: MapEpoch,
        more: Option<InoRange>,
    },
    Notice {
        id: NoticeId,
        notice: Notice,
    },
    /// Everything applied up to here survives power loss.
    Durable {
        through: Seq,
    },
    /// Authority moved: from now on ask there.
    Route(Route),
    /// The session is at its end: its lease ran out, an operator ended it, or it broke a rule.
    Evicted,
    /// What was claimed by this name, and by the answer to that request, is not known here: somebody gave it
    /// another name after the session before this one had ended.
    NotHeld {
        target: Target,
        latest: RequestId,
    },
    /// These were claimed, and somebody else has locked them since the session before this one had ended.
    NotLocked {
        ino: Ino,
        locks: Vec<FileLock>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Opened {
    pub session: SessionAge,
    /// Which session it is, of all that this client has had with this rank.
    pub begun: Seq,
    pub lease: Duration,
    /// Inode numbers for what the client makes.
    pub ranges: Vec<InoRange>,
    pub durable: Seq,
    pub map_epoch: MapEpoch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SessionAge {
    New,
    /// Known already: the connection broke, or the rank restarted.
    Resumed,
}

/// What somebody else did to an inode this client pins. Its maker is answered when all know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Notice {
    Moved {
        ino: Ino,
        place: Place,
        rank: Rank,
        /// How often it has been moved. Both ranks of a move tell of it, over links of their own: what
        /// is not later than what was heard before is old.
        moves: u32,
    },
    Unlinked {
        ino: Ino,
        rank: Rank,
    },
    /// Part of a subtree in which the client has something goes to that rank: open a session there.
    Expect {
        rank: Rank,
    },
    /// These came here with a subtree, each embedded in an entry of the directory beside it, pinned by
    /// answers that the client may not have had: what it does not refer to it gives back.
    Pinned {
        inos: Vec<(Ino, Ino)>,
    },
    /// Names of a directory came, went, or stand for something else, or what they stand for has other
    /// attributes; and so has the directory, or may have.
    Changed {
        dir: Ino,
        /// With what they stand for now, as far as there is something.
        names: Vec<(Name, Option<Ino>)>,
    },
    /// A file of several names has other attributes.
    ChangedAtHome {
        ino: Ino,
    },
    /// Somebody else asks for this directory, or for something in it, which the client holds exclusively:
    /// it answers nothing of it by itself any more, and acknowledges when everything it has is made.
    Recall {
        dir: Ino,
    },
}
