//! `Outlet`: carries out what the core asks for, once the turn that asks is written.

use std::collections::HashMap;

use common::wire::admin::AdminReply;
use common::wire::session::ToClient;
use mds_core::Effect;
use mds_core::input::{AdminId, ConnId};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tracing::{error, warn};

use crate::kill_points::{Fate, KillPoints};
use crate::purge::Purger;
use crate::readers::Readers;
use crate::syncer::Syncer;
use crate::transport::monitor::Wishes;
use crate::transport::outbox::Outbox;
use crate::transport::peer::Peers;

/// Everything an effect can go to. Called by one thread at a time, in the order of turns.
#[derive(Debug)]
pub struct Outlet {
    pub clients: Clients,
    pub questions: Questions,
    pub peers: Peers,
    pub readers: Readers,
    pub purger: Purger,
    pub syncer: Syncer,
    pub wishes: Wishes,
    pub kill_points: KillPoints,
}

/// Connections of clients. Taking one out closes it, after what was told.
#[derive(Debug, Default)]
pub struct Clients(Mutex<HashMap<ConnId, Outbox<ToClient>>>);

impl Clients {
    pub fn add(&self, conn: ConnId, outbox: Outbox<ToClient>) {
        self.0.lock().insert(conn, outbox);
    }

    pub fn remove(&self, conn: ConnId) {
        self.0.lock().remove(&conn);
    }

    fn tell(&self, conn: ConnId, msg: ToClient) {
        let mut clients = self.0.lock();
        // Nobody there: the connection broke, and the core will hear of it.
        let Some(outbox) = clients.get(&conn) else { return };
        if outbox.put(msg).is_err() {
            warn!(conn = conn.0, "a client does not read what it is told: disconnected");
            clients.remove(&conn);
        }
    }
}

/// Operators who wait for an answer.
#[derive(Debug, Default)]
pub struct Questions(Mutex<HashMap<AdminId, oneshot::Sender<AdminReply>>>);

impl Questions {
    pub fn add(&self, id: AdminId) -> oneshot::Receiver<AdminReply> {
        let (answer, answered) = oneshot::channel();
        self.0.lock().insert(id, answer);
        answered
    }

    fn answer(&self, id: AdminId, reply: AdminReply) {
        if let Some(answer) = self.0.lock().remove(&id) {
            // Fails only if the operator has gone.
            let _ = answer.send(reply);
        }
    }
}

impl Outlet {
    /// All effects of a turn but those on rows, journal and timers, in order.
    pub fn carry_out(&self, effects: impl Iterator<Item = Effect>) -> Fate {
        for effect in effects {
            if self.carry_out_one(effect) == Fate::Die {
                return Fate::Die;
            }
        }
        Fate::Live
    }

    fn carry_out_one(&self, effect: Effect) -> Fate {
        match effect {
            Effect::Send { to, msg } => self.peers.send(to, msg),
            Effect::SendBulk { to, msg } => self.peers.send_bulk(to, msg),
            Effect::Tell { conn, msg } => self.clients.tell(conn, msg),
            Effect::CloseConnection { conn } => self.clients.remove(conn),
            Effect::AnswerAdmin { id, reply } => self.questions.answer(id, reply),
            Effect::Fetch(fetch) => self.readers.ask(fetch),
            Effect::Purge { ino } => self.purger.purge(ino),
            Effect::SyncSoon => self.syncer.soon(),
            Effect::WantState(state) => self.wishes.want(state),
            Effect::Reached(point) => return self.kill_points.reached(point),
            Effect::Abort { reason } => {
                error!(%reason, "this rank ends");
                std::process::exit(1);
            }
            // The batch and the timers were seen to before.
            Effect::Write(_)
            | Effect::Journal { .. }
            | Effect::TrimJournal { .. }
            | Effect::SetTimer { .. }
            | Effect::StopTimer(_) => {}
        }
        Fate::Live
    }
}
