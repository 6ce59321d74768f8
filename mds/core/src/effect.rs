//! `Effect`: everything an MDS can ask for.

use common::id::{Ino, Rank, Seq};
use common::mds_map::RankState;
use common::time::Monotonic;
use common::wire::admin::AdminReply;
use common::wire::session::ToClient;

use crate::input::{AdminId, ConnId, Fetch};
use crate::journal::entry::Entry;
use crate::kill_point::KillPoint;
use crate::message::PeerMsg;
use crate::row::{Change, Key, Row};
use crate::timer::Timer;

/// Closed and complete. The driver carries out the effects of a turn like this:
///
/// 1. All `Write`, `Journal` and `TrimJournal` of the turn form one atomic batch, in order.
/// 2. When it is written (not: synced), everything else happens, in order.
///
/// `Reached` is exact among the effects around it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    Write(Change),
    Journal {
        seq: Seq,
        entry: Entry,
    },
    /// Entries that recovery needs no more.
    TrimJournal {
        seqs: Vec<Seq>,
    },
    /// Ordered among all messages to that rank.
    Send {
        to: Rank,
        msg: PeerMsg,
    },
    /// Rows of a migration: may be overtaken by, and may overtake, `Send`.
    SendBulk {
        to: Rank,
        msg: PeerMsg,
    },
    Tell {
        conn: ConnId,
        msg: ToClient,
    },
    /// Close the client's connection, after what was told.
    CloseConnection {
        conn: ConnId,
    },
    AnswerAdmin {
        id: AdminId,
        reply: AdminReply,
    },
    Fetch(Fetch),
    /// Remove the data of an inode; then `Input::Purged`.
    Purge {
        ino: Ino,
    },
    /// Setting a timer again moves it.
    SetTimer {
        timer: Timer,
        at: Monotonic,
    },
    StopTimer(Timer),
    /// Sync, and report `Input::Durable`, as soon as may be: somebody waits.
    SyncSoon,
    /// Ask the monitor for this stage of life, with the next beacon.
    WantState(RankState),
    /// A moment at which a test may kill this rank. Nothing, outside tests.
    Reached(KillPoint),
    /// This rank must end: replay is the repair.
    Abort {
        reason: AbortReason,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AbortReason {
    #[error("another incarnation holds this rank")]
    Superseded,
}

/// The effects of one or more inputs, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Effects {
    list: Vec<Effect>,
}

impl Effects {
    /// For drivers: takes everything out.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Effect> {
        self.list.drain(..)
    }

    #[must_use]
    pub fn as_slice(&self) -> &[Effect] {
        &self.list
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn push(&mut self, effect: Effect) {
        self.list.push(effect);
    }

    pub fn put(&mut self, row: Row) {
        self.push(Effect::Write(Change::Put(row)));
    }

    pub fn delete(&mut self, key: Key) {
        self.push(Effect::Write(Change::Delete(key)));
    }

    pub fn send(&mut self, to: Rank, msg: impl Into<PeerMsg>) {
        self.push(Effect::Send { to, msg: msg.into() });
    }

    pub fn tell(&mut self, conn: ConnId, msg: ToClient) {
        self.push(Effect::Tell { conn, msg });
    }

    pub fn fetch(&mut self, fetch: Fetch) {
        self.push(Effect::Fetch(fetch));
    }

    pub fn reached(&mut self, point: KillPoint) {
        self.push(Effect::Reached(point));
    }
}
