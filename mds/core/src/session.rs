//! `Session`: a client's standing with this rank, alive by its lease; what it has completed.

use std::collections::BTreeMap;

use common::id::{ClientId, Ino, InoRange, NoticeId, RequestId, Seq};
use common::id_set::IdSet;
use common::wire::session::{Notice, ToClient};

use crate::effect::Effects;
use crate::input::ConnId;
use crate::message::migration::TravelSession;
use crate::row::{Change, Key, Row, StoredSession};
use crate::{Effect, timer::Timer};

#[derive(Clone, Debug, Hash)]
pub struct Session {
    stored: StoredSession,
    /// The connection messages go to. `None`: it broke; the lease decides what becomes of it.
    conn: Option<ConnId>,
    /// Requests that were applied, exactly. Never a watermark: ids complete in any order.
    completed: IdSet,
    /// Sent, and not yet acknowledged. Sent again on a new connection.
    notices: BTreeMap<NoticeId, Notice>,
    /// The highest position this client was told to be applied, and to be durable.
    applied: Seq,
    durable_told: Seq,
}

/// All sessions of this rank.
#[derive(Clone, Debug, Default, Hash)]
pub struct SessionTable {
    sessions: BTreeMap<ClientId, Session>,
    last_notice: u64,
}

impl Session {
    #[must_use]
    pub fn conn(&self) -> Option<ConnId> {
        self.conn
    }

    #[must_use]
    pub fn stored(&self) -> &StoredSession {
        &self.stored
    }

    #[must_use]
    pub fn has_completed(&self, id: RequestId) -> bool {
        self.completed.contains(id)
    }

    #[must_use]
    pub fn completed(&self) -> &IdSet {
        &self.completed
    }

    #[must_use]
    pub fn applied(&self) -> Seq {
        self.applied
    }

    #[must_use]
    pub fn may_make(&self, ino: Ino) -> bool {
        self.stored.ranges.iter().any(|range| range.contains(ino))
    }
}

impl SessionTable {
    #[must_use]
    pub fn get(&self, client: ClientId) -> Option<&Session> {
        self.sessions.get(&client)
    }

    pub fn iter(&self) -> impl Iterator<Item = (ClientId, &Session)> {
        self.sessions.iter().map(|(client, session)| (*client, session))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// The session whose messages come over this connection now.
    #[must_use]
    pub fn on_conn(&self, client: ClientId, conn: ConnId) -> Option<&Session> {
        self.get(client).filter(|session| session.conn == Some(conn))
    }

    /// Begins a session, or takes it up on a new connection; tells whether it is new.
    pub fn open(&mut self, client: ClientId, conn: ConnId, out: &mut Effects) -> bool {
        let new = !self.sessions.contains_key(&client);
        let session = self.sessions.entry(client).or_insert_with(Session::new);
        if let Some(old) = session.conn.replace(conn)
            && old != conn
        {
            out.push(Effect::CloseConnection { conn: old });
        }
        if new {
            session.store(client, out);
        }
        new
    }

    /// Something a client refers to comes here before the client does. Tells whether it is new.
    pub fn expect(&mut self, client: ClientId, out: &mut Effects) -> bool {
        let new = !self.sessions.contains_key(&client);
        if new {
            let session = Session::new();
            session.store(client, out);
            self.sessions.insert(client, session);
        }
        new
    }

    pub fn disconnect(&mut self, client: ClientId, conn: ConnId) {
        if let Some(session) = self.sessions.get_mut(&client)
            && session.conn == Some(conn)
        {
            session.conn = None;
        }
    }

    /// Ends a session: nothing of it remains.
    pub fn remove(&mut self, client: ClientId, out: &mut Effects) -> Option<Session> {
        let session = self.sessions.remove(&client)?;
        out.delete(Key::Session(client));
        out.push(Effect::Write(Change::DeleteCompleted(client)));
        out.push(Effect::StopTimer(Timer::Lease(client)));
        Some(session)
    }

    pub fn lend(&mut self, client: ClientId, range: InoRange, out: &mut Effects) {
        if let Some(session) = self.sessions.get_mut(&client) {
            session.stored.ranges.push(range);
            session.store(client, out);
        }
    }

    /// The request was applied at `seq`: never again.
    pub fn complete(&mut self, client: ClientId, id: RequestId, seq: Seq, out: &mut Effects) {
        if let Some(session) = self.sessions.get_mut(&client) {
            session.applied = seq;
            if session.completed.insert(id) {
                out.put(Row::Completed(client, id));
            }
        }
    }

    /// A client's standing at another rank, from which something of it comes. True if it has none
    /// here, so that its lease begins now.
    pub fn adopt(&mut self, travel: &TravelSession, out: &mut Effects) -> bool {
        let new = !self.sessions.contains_key(&travel.client);
        let session = self.sessions.entry(travel.client).or_insert_with(Session::new);
        for range in &travel.ranges {
            if !session
                .stored
                .ranges
                .iter()
                .any(|own| own.contains(range.first) && own.contains(range.last))
            {
                session.stored.ranges.push(*range);
            }
        }
        for id in travel.completed.iter() {
            if session.completed.insert(id) {
                out.put(Row::Completed(travel.client, id));
            }
        }
        session.store(travel.client, out);
        new
    }

    /// The client no longer asks about what is below `oldest`.
    pub fn trim_completed(&mut self, client: ClientId, oldest: RequestId, out: &mut Effects) {
        let Some(session) = self.sessions.get_mut(&client) else { return };
        session.completed.trim_below(oldest);
        // A deletion by range for each request would cost more than the rows it removes.
        if oldest.0 >= session.stored.oldest.0 + COMPLETED_TRIM_STEP {
            session.stored.oldest = oldest;
            session.store(client, out);
            out.push(Effect::Write(Change::DeleteCompletedBelow(client, oldest)));
        }
    }

    pub fn tell(&self, client: ClientId, msg: ToClient, out: &mut Effects) {
        if let Some(conn) = self.get(client).and_then(Session::conn) {
            out.tell(conn, msg);
        }
    }

    /// Tells a client what somebody else did; it stays on record until it is acknowledged.
    pub fn notify(
        &mut self,
        client: ClientId,
        notice: Notice,
        out: &mut Effects,
    ) -> Option<NoticeId> {
        let session = self.sessions.get_mut(&client)?;
        self.last_notice += 1;
        let id = NoticeId(self.last_notice);
        session.notices.insert(id, notice.clone());
        if let Some(conn) = session.conn {
            out.tell(conn, ToClient::Notice { id, notice });
        }
        Some(id)
    }

    /// Sends again what a broken connection may have lost.
    pub fn repeat_notices(&self, client: ClientId, out: &mut Effects) {
        let Some(session) = self.get(client) else { return };
        let Some(conn) = session.conn else { return };
        for (id, notice) in &session.notices {
            out.tell(conn, ToClient::Notice { id: *id, notice: notice.clone() });
        }
    }

    /// Tells whether such a notice was outstanding.
    pub fn acked(&mut self, client: ClientId, id: NoticeId) -> bool {
        self.sessions.get_mut(&client).is_some_and(|session| session.notices.remove(&id).is_some())
    }

    /// Tells every client whose changes have become durable.
    pub fn tell_durable(&mut self, through: Seq, out: &mut Effects) {
        for session in self.sessions.values_mut() {
            if let Some(conn) = session.conn
                && session.durable_told < session.applied
                && session.durable_told < through
            {
                session.durable_told = through;
                out.tell(conn, ToClient::Durable { through });
            }
        }
    }

    pub fn restore(&mut self, client: ClientId, stored: StoredSession) {
        self.sessions.entry(client).or_insert_with(Session::new).stored = stored;
    }

    pub fn restore_completed(&mut self, client: ClientId, id: RequestId) {
        if let Some(session) = self.sessions.get_mut(&client) {
            session.completed.insert(id);
        }
    }
}

/// Requests after which rows of completed ones are deleted, as one range.
const COMPLETED_TRIM_STEP: u64 = 1024;

impl Session {
    fn new() -> Self {
        Self {
            stored: StoredSession::default(),
            conn: None,
            completed: IdSet::default(),
            notices: BTreeMap::new(),
            applied: Seq(0),
            durable_told: Seq(0),
        }
    }

    fn store(&self, client: ClientId, out: &mut Effects) {
        out.put(Row::Session(client, self.stored.clone()));
    }
}
