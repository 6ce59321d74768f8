//! Messages between ranks: complete, in order and once, within a pair of incarnations.
//!
//! Each rank dials every other, and sends on the connection it has dialled; the other direction is
//! the other's business. Messages are numbered from 1. The listener counts what it has taken, says
//! the count when a connection begins and now and then afterwards; the dialler keeps what is not
//! yet counted and sends it again after a break. A new incarnation on either side begins at 1.
//!
//! Two lanes of their own: control, on the bidirectional stream of the hello, and bulk, on one
//! unidirectional stream, so that rows of a migration never delay a message.
//!
//! ```text
//!  dialler ── Hello ───────────────▶ listener
//!          ◀─ Welcome ──────────────
//!          ◀─ Taken{control, bulk} ─            where to go on
//!          ── Numbered … ──────────▶            control lane
//!          ══ Numbered … ══════════▶            bulk lane
//!          ◀─ Taken{control, bulk} ─            now and then
//! ```

use std::collections::BTreeMap;

use common::id::{Incarnation, Rank};
use common::limit::OUTBOX_MESSAGES_MAX;
use common::mds_map::{MdsMap, RankEntry, RankState};
use common::wire::hello::Hello;
use mds_core::message::PeerMsg;
use parking_lot::Mutex;
use quinn::Endpoint;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tracing::error;

mod arrivals;
mod link;

pub use arrivals::Arrivals;
pub(super) use arrivals::serve;

/// A message on a lane.
#[derive(Debug, Serialize, Deserialize)]
struct Numbered {
    number: u64,
    msg: PeerMsg,
}

/// How many messages the listener has taken from each lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Taken {
    control: u64,
    bulk: u64,
}

/// The ways to all other ranks.
#[derive(Debug)]
pub struct Peers {
    /// Who we are, in the words of a hello; `to` is filled in for each.
    hello: Hello,
    me: Rank,
    endpoint: Endpoint,
    runtime: Handle,
    links: Mutex<BTreeMap<Rank, Link>>,
}

/// The way to one incarnation of a rank. Dropping it ends its task and its connection.
#[derive(Debug)]
struct Link {
    incarnation: Incarnation,
    control: mpsc::Sender<PeerMsg>,
    bulk: mpsc::Sender<PeerMsg>,
}

impl Peers {
    /// Must be called on the runtime whose tasks are to hold the connections.
    #[must_use]
    pub fn new(hello: Hello, me: Rank, endpoint: Endpoint) -> Self {
        let links = Mutex::new(BTreeMap::new());
        Self { hello, me, endpoint, runtime: Handle::current(), links }
    }

    /// Ways to all incarnations that live by this map, and to no others.
    pub fn follow(&self, map: &MdsMap) {
        let mut links = self.links.lock();
        links.retain(|rank, link| map.incarnation(*rank) == Some(link.incarnation));
        for (rank, entry) in &map.ranks {
            if *rank != self.me && entry.state != RankState::Down && !links.contains_key(rank) {
                links.insert(*rank, self.link(entry));
            }
        }
    }

    fn link(&self, entry: &RankEntry) -> Link {
        let (control, control_messages) = mpsc::channel(OUTBOX_MESSAGES_MAX);
        let (bulk, bulk_messages) = mpsc::channel(OUTBOX_MESSAGES_MAX);
        let hello = Hello { to: Some(entry.incarnation), ..self.hello.clone() };
        let dialler = link::Dialler { endpoint: self.endpoint.clone(), addr: entry.addr, hello };
        self.runtime.spawn(link::run(dialler, control_messages, bulk_messages));
        Link { incarnation: entry.incarnation, control, bulk }
    }

    /// To the incarnation that the core knows of. If there is none, nobody would understand it.
    pub fn send(&self, to: Rank, msg: PeerMsg) {
        self.put(to, msg, |link| &link.control);
    }

    pub fn send_bulk(&self, to: Rank, msg: PeerMsg) {
        self.put(to, msg, |link| &link.bulk);
    }

    fn put(&self, to: Rank, msg: PeerMsg, lane: impl Fn(&Link) -> &mpsc::Sender<PeerMsg>) {
        let mut links = self.links.lock();
        let Some(link) = links.get(&to) else { return };
        if lane(link).try_send(msg).is_err() {
            error!(
                rank = to.0,
                "a rank has not taken {OUTBOX_MESSAGES_MAX} messages: given up until it restarts"
            );
            let incarnation = link.incarnation;
            let (control, _) = mpsc::channel(1);
            links.insert(to, Link { incarnation, bulk: control.clone(), control });
        }
    }
}

#[cfg(test)]
mod tests;
