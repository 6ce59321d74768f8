//! `Session`: a client's standing with this rank, alive by its lease; what it has completed.

use std::collections::{BTreeMap, BTreeSet};

use common::id::{ClientId, Ino, InoRange, MapEpoch, NoticeId, RequestId, Seq};
use common::id_set::IdSet;
use common::limit::LEASE_RENEW;
use common::time::Monotonic;
use common::wire::reply::Outcome;
use common::wire::session::{Notice, ToClient};

use crate::effect::Effects;
use crate::input::ConnId;
use crate::message::migration::TravelSession;
use crate::row::{Change, Key, Row, StoredSession};
use crate::{Effect, timer::Timer};

mod notices;
mod strangers;

#[derive(Clone, Debug, Hash)]
pub struct Session {
    stored: StoredSession,
    /// The connection messages go to. `None`: it broke; the lease decides what becomes of it.
    conn: Option<ConnId>,
    /// Requests that were applied, exactly. Never a watermark: ids complete in any order.
    completed: IdSet,
    /// How changes were answered over the present connection that came to nothing: what still comes of these
    /// are copies.
    answered: BTreeMap<RequestId, Outcome>,
    /// The client asks about nothing below: what still comes of that are copies it has done with.
    oldest: RequestId,
    /// It has sent none after this here: whatever an answer names, the client refers to by this one at
    /// the latest.
    latest: RequestId,
    /// Not yet acknowledged. Sent again on a new connection, also by the next life.
    notices: BTreeMap<NoticeId, Notice>,
    /// The highest position this client was told to be applied, and to be durable.
    applied: Seq,
    durable_told: Seq,
    /// Where its numbers were recorded last. A client that is told of a number makes files with it,
    /// so it is not told before that is durable: after power loss the number would be a stranger's.
    lent: Seq,
    /// Lent, and told when durable.
    untold: Option<InoRange>,
    met_at: Seq,
    met: Met,
    holds: Holds,
    /// When its lease ends.
    until: Monotonic,
    patience: Patience,
}

/// What a client's silence means when its timer rings. What it has sent to a process that was stopped
/// is read after that process's timers have rung, so before a lease ends there is a second look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Patience {
    First,
    Last,
}

/// Whether the client of a session was ever heard of, in this life or before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Met {
    NotYet,
    /// By another rank, which has still to tell it of this one.
    Elsewhere,
    /// That rank may have begun anew meanwhile: all were asked to tell it.
    Sought,
    Yes,
}

/// Whether this life knows what a client refers to here. What came with a region, or with a file, is
/// known to the life that it came to; the next one learns it from the client, and those that were still
/// to be told of their sessions are not waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Holds {
    Known,
    Unknown,
}

/// All sessions of this rank.
#[derive(Clone, Debug, Default, Hash)]
pub struct SessionTable {
    sessions: BTreeMap<ClientId, Session>,
    /// Of these, the clients that may hold anything here exclusively: every request looks.
    strangers: BTreeSet<ClientId>,
    last_notice: u64,
    /// Notices of what is not durable yet, by the position at which it is.
    undurable: BTreeSet<(Seq, ClientId, NoticeId)>,
}

/// Whoever asked for what others are told of, and when it is told of that itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requester {
    pub client: ClientId,
    pub tell: Tell,
}

impl Requester {
    /// A change of this rank alone: its answer goes out at once, and if power loss undoes it, the client
    /// does it again before anything else.
    #[must_use]
    pub fn of_one_rank(client: ClientId) -> Self {
        Self { client, tell: Tell::Now }
    }
}

/// When a client may hear of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tell {
    Now,
    /// Once it is durable up to there: what a client knows of another's doing is never undone.
    Durable(Seq),
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

    /// Whether its client has done with a request. Whether it was applied is not known any more.
    #[must_use]
    pub fn is_past(&self, id: RequestId) -> bool {
        id < self.oldest
    }

    #[must_use]
    pub fn oldest(&self) -> RequestId {
        self.oldest
    }

    #[must_use]
    pub fn latest(&self) -> RequestId {
        self.latest
    }

    #[must_use]
    pub fn completed(&self) -> &IdSet {
        &self.completed
    }

    #[must_use]
    pub fn applied(&self) -> Seq {
        self.applied
    }

    /// Where it is recorded that its client was here: a next life waits for those it knows to have been.
    #[must_use]
    pub fn met_at(&self) -> Seq {
        self.met_at
    }

    #[must_use]
    pub fn until(&self) -> Monotonic {
        self.until
    }

    #[must_use]
    pub fn patience(&self) -> Patience {
        self.patience
    }

    #[must_use]
    pub fn may_make(&self, ino: Ino) -> bool {
        self.stored.ranges.iter().any(|range| range.contains(ino))
    }
}

impl SessionTable {
    /// `first`: no notice of an earlier life has a number from there on.
    #[must_use]
    pub fn new(first: Seq) -> Self {
        let last_notice = first.0;
        Self {
            sessions: BTreeMap::new(),
            strangers: BTreeSet::new(),
            last_notice,
            undurable: BTreeSet::new(),
        }
    }

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

    /// Whether numbers were lent to it; if so, whether they survive power loss.
    #[must_use]
    pub fn lent(&self, client: ClientId, durable: Seq) -> Option<bool> {
        let session = self.get(client).filter(|session| !session.stored.ranges.is_empty())?;
        Some(session.lent <= durable)
    }

    /// Begins a session, or takes it up on a new connection; tells whether its client had been met. That it
    /// was, if it has come from elsewhere, is recorded at `seq`.
    pub fn open(&mut self, client: ClientId, conn: ConnId, seq: Seq, out: &mut Effects) -> Met {
        let session = self.sessions.entry(client).or_insert_with(|| Session::begin(seq));
        let met = std::mem::replace(&mut session.met, Met::Yes);
        if std::mem::take(&mut session.stored.untold) {
            session.met_at = seq;
            session.store(client, out);
        }
        session.untold = None;
        session.answered.clear();
        if let Some(old) = session.conn.replace(conn)
            && old != conn
        {
            out.push(Effect::CloseConnection { conn: old });
        }
        met
    }

    /// Something a client that has no session refers to comes here before the client does. Its session is
    /// recorded at `seq`.
    pub fn expect(&mut self, client: ClientId, seq: Seq, out: &mut Effects) {
        let mut session = Session::begin(seq);
        session.met_elsewhere();
        session.store(client, out);
        self.sessions.insert(client, session);
    }

    pub fn disconnect(&mut self, client: ClientId, conn: ConnId) {
        if let Some(session) = self.sessions.get_mut(&client)
            && session.conn == Some(conn)
        {
            session.conn = None;
        }
    }

    /// Its lease ends then, if its client is not heard of before.
    pub fn keep(&mut self, client: ClientId, until: Monotonic, out: &mut Effects) {
        let Some(session) = self.sessions.get_mut(&client) else { return };
        (session.until, session.patience) = (until, Patience::First);
        out.push(Effect::SetTimer { timer: Timer::Lease(client), at: until.before(LEASE_RENEW) });
    }

    /// It was silent for so long that only its last renewal can save it, if that comes by then.
    pub fn look_again(&mut self, client: ClientId, until: Monotonic, out: &mut Effects) {
        let Some(session) = self.sessions.get_mut(&client) else { return };
        (session.until, session.patience) = (until, Patience::Last);
        out.push(Effect::SetTimer { timer: Timer::Lease(client), at: until });
    }

    /// Ends a session: nothing of it remains.
    pub fn remove(&mut self, client: ClientId, out: &mut Effects) -> Option<Session> {
        let session = self.sessions.remove(&client)?;
        self.strangers.remove(&client);
        for (id, notice) in &session.notices {
            if notices::outlives(notice) {
                out.delete(Key::Notice(client, *id));
            }
        }
        out.delete(Key::Session(client));
        out.push(Effect::Write(Change::DeleteCompleted(client)));
        out.push(Effect::StopTimer(Timer::Lease(client)));
        Some(session)
    }

    /// Lends numbers to a client, whose session begins with that if there is none. `seq`: where that
    /// is recorded.
    pub fn lend(&mut self, client: ClientId, range: InoRange, seq: Seq, out: &mut Effects) {
        let session = self.sessions.entry(client).or_insert_with(|| Session::begin(seq));
        session.stored.ranges.push(range);
        session.lent = seq;
        session.untold = Some(range);
        session.store(client, out);
    }

    /// Numbers were lent that the client was not told of yet.
    #[must_use]
    pub fn is_lending(&self, client: ClientId) -> bool {
        self.get(client).is_some_and(|session| session.untold.is_some())
    }

    /// Tells open sessions of numbers that cannot be lost any more.
    pub fn tell_lent(&mut self, through: Seq, map_epoch: MapEpoch, out: &mut Effects) {
        for session in self.sessions.values_mut() {
            if let Some(conn) = session.conn
                && session.lent <= through
                && let Some(range) = session.untold.take()
            {
                out.tell(conn, ToClient::Renewed { map_epoch, more: Some(range) });
            }
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

    /// The request has changed nothing, and its client is told so: it never will.
    pub fn answer(&mut self, client: ClientId, id: RequestId, outcome: Outcome) {
        if let Some(session) = self.sessions.get_mut(&client)
            && session.conn.is_some()
        {
            session.answered.insert(id, outcome);
        }
    }

    /// What the client has been told over this connection, if it was that.
    #[must_use]
    pub fn answered(&self, client: ClientId, id: RequestId) -> Option<&Outcome> {
        self.get(client)?.answered.get(&id)
    }

    /// A client's standing at another rank, from which something of it comes; recorded at `seq`. True
    /// if it has none here, so that its lease begins now, and that it refers to what has come with it.
    pub fn adopt(&mut self, travel: &TravelSession, seq: Seq, out: &mut Effects) -> bool {
        let new = !self.sessions.contains_key(&travel.client);
        let session = self.sessions.entry(travel.client).or_insert_with(|| Session::begin(seq));
        session.met_elsewhere();
        session.lent = seq;
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
        session.store(travel.client, out);
        self.adopt_completed(travel.client, &travel.completed, out);
        new
    }

    /// What a client has completed elsewhere with something that is here now.
    pub fn adopt_completed(&mut self, client: ClientId, ids: &IdSet, out: &mut Effects) {
        let Some(session) = self.sessions.get_mut(&client) else { return };
        for id in ids.iter() {
            if session.completed.insert(id) {
                out.put(Row::Completed(client, id));
            }
        }
    }

    /// A request came, of a client that no longer asks about what is below `oldest`.
    pub fn on_request(
        &mut self,
        client: ClientId,
        (id, oldest): (RequestId, RequestId),
        out: &mut Effects,
    ) {
        let Some(session) = self.sessions.get_mut(&client) else { return };
        session.latest = session.latest.max(id);
        session.completed.trim_below(oldest);
        session.answered.extract_if(..oldest, |_, _| true).for_each(drop);
        session.oldest = session.oldest.max(oldest);
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
        let begin = || Session::begin(stored.begun);
        let session = self.sessions.entry(client).or_insert_with(begin);
        session.oldest = stored.oldest;
        if stored.untold {
            (session.met, session.holds) = (Met::Elsewhere, Holds::Unknown);
        } else {
            session.met = Met::Yes;
        }
        session.stored = stored;
        self.note_stranger(client);
    }

    pub fn restore_notice(&mut self, client: ClientId, id: NoticeId, notice: Notice) {
        if let Some(session) = self.sessions.get_mut(&client) {
            session.notices.insert(id, notice);
        }
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
    /// `seq`: where that is recorded.
    fn begin(seq: Seq) -> Self {
        Self {
            stored: StoredSession { begun: seq, ..StoredSession::default() },
            conn: None,
            completed: IdSet::default(),
            answered: BTreeMap::new(),
            oldest: RequestId(0),
            latest: RequestId(0),
            notices: BTreeMap::new(),
            applied: Seq(0),
            durable_told: Seq(0),
            lent: Seq(0),
            untold: None,
            met_at: Seq(0),
            met: Met::NotYet,
            holds: Holds::Known,
            until: Monotonic::default(),
            patience: Patience::First,
        }
    }

    fn met_elsewhere(&mut self) {
        if self.met == Met::NotYet {
            self.met = Met::Elsewhere;
            self.stored.untold = true;
        }
    }

    fn store(&self, client: ClientId, out: &mut Effects) {
        out.put(Row::Session(client, self.stored.clone()));
    }
}
