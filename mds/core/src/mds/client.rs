//! The conversation with a client: opening, claims, requests, acknowledgements.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use common::id::{ClientId, NoticeId, Rank, RequestId, Seq};
use common::limit::{INO_RANGE_LOW, LEASE_RENEW};
use common::mds_map::RankState;
use common::time::Now;
use common::wire::request::Op;
use common::wire::session::{Notice, Opened, SessionAge, ToClient, ToMds};

use super::claim::Claims;
use super::{Caches, Mds};
use crate::capability::exclusive;
use crate::effect::{Effect, Effects};
use crate::input::ConnId;
use crate::message::session::SessionMsg;
use crate::mutant::mutated;
use crate::params::Params;
use crate::request::{Parked, Requests};
use crate::row::StoredSession;
use crate::session::{Met, Patience, Tell};

/// What clients have said that cannot be acted upon yet.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Clients {
    /// Opened too early in the life of the rank, or before inode numbers can be lent.
    opening: BTreeMap<ClientId, ConnId>,
    pub(super) claims: Claims,
    /// Applied by an earlier life, to be applied again in that order.
    replays: Vec<Parked>,
    replay: Replay,
    /// New requests that came before the rank was active.
    early: Vec<Parked>,
    /// Of those, changes that were there when everything was repeated. An earlier life may have made one and
    /// lost it before it was answered, and others may have seen that it was made.
    unanswered: VecDeque<Parked>,
    /// To be told that their sessions are over, each when that is durable.
    leaving: BTreeMap<ConnId, Seq>,
    /// Who was asked to tell a client of its session here, and has not said that it cannot.
    sought: BTreeMap<ClientId, BTreeSet<Rank>>,
}

/// Carrying out what an earlier life had applied and lost. One at a time: each finds what those before
/// it have left, also when it has to wait for the store.
#[derive(Clone, Debug, Default, Hash)]
enum Replay {
    #[default]
    NotYet,
    Running {
        current: Option<Current>,
    },
    /// Everything was repeated. What was not answered goes before other new requests, and waits for the
    /// store alone: the rest of the world may take its time.
    Unanswered {
        current: Option<Current>,
    },
    Over,
}

type Current = (ClientId, RequestId);

impl Clients {
    /// Its session is over. Who waits to be let in begins another one.
    pub(super) fn forget(&mut self, client: ClientId) {
        self.claims.forget(client);
        self.sought.remove(&client);
        self.replays.retain(|parked| parked.client != client);
        self.early.retain(|parked| parked.client != client);
        self.unanswered.retain(|parked| parked.client != client);
    }

    /// Nobody is there to be told.
    pub(super) fn gone(&mut self, conn: ConnId) {
        self.leaving.remove(&conn);
    }

    /// From here on they are carried out, in the order in which they once were.
    pub(super) fn begin_replay(&mut self, params: &Params) {
        self.replays.sort_by_key(|parked| {
            let first = mutated!(params, ReplayPerClient).then_some(parked.client);
            std::cmp::Reverse((first, parked.request.replay, parked.client, parked.request.id))
        });
        self.replay = Replay::Running { current: None };
    }

    /// The next one, if there is one and the one before is done. `None` at the end: new requests go on.
    pub(super) fn next_replay(&mut self, requests: &Requests) -> Option<Parked> {
        loop {
            let (current, next) = match &mut self.replay {
                Replay::NotYet | Replay::Over => return None,
                Replay::Running { current } => {
                    if current.is_some_and(|(client, id)| requests.is_waiting(client, id)) {
                        return None;
                    }
                    (current, self.replays.pop())
                }
                Replay::Unanswered { current } => {
                    if current.is_some_and(|(client, id)| requests.is_reading(client, id)) {
                        return None;
                    }
                    // A client that has lost its connection repeats everything once more.
                    (current, self.replays.pop().or_else(|| self.unanswered.pop_front()))
                }
            };
            if let Some(parked) = next {
                *current = Some((parked.client, parked.request.id));
                return Some(parked);
            }
            if matches!(self.replay, Replay::Unanswered { .. }) {
                self.replay = Replay::Over;
                return None;
            }
            let early = std::mem::take(&mut self.early);
            let (changes, rest): (Vec<_>, Vec<_>) =
                early.into_iter().partition(|it| it.request.op.is_change());
            (self.unanswered, self.early) = (changes.into(), rest);
            self.replay = Replay::Unanswered { current: None };
        }
    }

    /// What was repeated in vain. Somebody may have changed something in the same directory, or taken or given
    /// the file a name, before it and not have heard the answer: so there is no place among what is repeated for that. It goes first, and this
    /// is tried again; it is given back if there is nothing of the kind.
    pub(super) fn put_back(&mut self, stumbled: Parked) -> Option<Parked> {
        let dir = stumbled.request.op.dir();
        let is_before = |it: &Parked| {
            let source =
                if let Op::Rename(rename) = &it.request.op { Some(rename.from_dir) } else { None };
            let op = &it.request.op;
            match dir {
                Some(_) => op.is_change() && (op.dir() == dir || source == dir),
                // It is about a file that lies at its home, or has no name any more: by whichever name that
                // came about.
                None => matches!(op, Op::Unlink { .. } | Op::Rename(_) | Op::Link { .. }),
            }
        };
        let Some(first) = self.early.iter().position(is_before) else { return Some(stumbled) };
        cov_mark::hit!(what_was_not_answered_may_have_come_before);
        let first = self.early.remove(first);
        self.replays.push(stumbled);
        self.replays.push(first);
        None
    }

    /// What is being repeated.
    pub(super) fn repeating(&self) -> Option<Current> {
        match self.replay {
            Replay::Running { current } => current,
            Replay::NotYet | Replay::Unanswered { .. } | Replay::Over => None,
        }
    }

    pub(super) fn is_repeated(&self) -> bool {
        matches!(self.replay, Replay::Unanswered { .. } | Replay::Over)
    }

    pub(super) fn replay_is_over(&self) -> bool {
        matches!(self.replay, Replay::Over)
    }

    pub(super) fn take_early(&mut self) -> Vec<Parked> {
        std::mem::take(&mut self.early)
    }

    /// Puts a request off until the rank is active; a repetition replaces what it repeats.
    fn put_off(&mut self, parked: Parked) {
        let same =
            |other: &Parked| other.client == parked.client && other.request.id == parked.request.id;
        self.replays.retain(|other| !same(other));
        self.early.retain(|other| !same(other));
        self.unanswered.retain(|other| !same(other));
        if parked.request.replay.is_some() {
            self.replays.push(parked)
        } else {
            self.early.push(parked)
        }
    }

    pub(super) fn waiting(&self) -> u64 {
        let requests = self.replays.len() + self.unanswered.len() + self.early.len();
        (self.opening.len() + requests) as u64
    }
}

impl Mds {
    pub(super) fn on_client(
        &mut self,
        now: Now,
        (conn, client): (ConnId, ClientId),
        msg: ToMds,
        out: &mut Effects,
    ) {
        if let ToMds::Open { client: named, .. } = msg {
            if named == client {
                self.clients.opening.insert(client, conn);
                self.open_waiting(now, out);
            } else {
                out.push(Effect::CloseConnection { conn });
            }
            return;
        }
        if self.own.sessions.on_conn(client, conn).is_none() {
            // Ended, or never begun on this connection.
            self.send_away(conn, out);
            return;
        }
        match msg {
            ToMds::Open { .. } => unreachable!("handled above"),
            ToMds::Claim { pins } => self.on_claim(client, pins, out),
            ToMds::ClaimExclusive { dirs } => self.on_claim_exclusive(client, dirs),
            ToMds::LetGo { dirs } => {
                let (mut cx, _) = self.split(now, out);
                dirs.into_iter().for_each(|dir| exclusive::let_go(&mut cx, client, dir));
            }
            ToMds::ClaimsDone => self.on_claims_done(now, client, out),
            ToMds::ReplayDone => self.on_client_returned(now, client, out),
            ToMds::Request(request) => self.on_request(now, Parked { client, request }, out),
            ToMds::Renew { inos_left } => self.on_renew(now, client, inos_left, out),
            ToMds::Acked(notice) => {
                if self.own.sessions.acked(client, notice, out) {
                    self.heard(now, client, notice, out);
                }
            }
            ToMds::Close => {
                self.evict(now, client, Caches::Gone, out);
                out.push(Effect::CloseConnection { conn });
            }
        }
    }

    /// Whoever is told that its session is over does not repeat what this rank may still lose, and so the end
    /// must not be lost either.
    pub(super) fn send_away(&mut self, conn: ConnId, out: &mut Effects) {
        if !self.clients.leaving.contains_key(&conn) {
            let seq = self.own.advance();
            self.clients.leaving.insert(conn, seq);
            out.push(Effect::SyncSoon);
        }
    }

    /// The ends of sessions up to there are durable.
    pub(super) fn see_off(&mut self, through: Seq, out: &mut Effects) {
        for (conn, _) in self.clients.leaving.extract_if(.., |_, seq| *seq <= through) {
            out.tell(conn, ToClient::Evicted);
            out.push(Effect::CloseConnection { conn });
        }
    }

    /// Nobody needs to wait any more for a client to hear of something.
    pub(super) fn heard(
        &mut self,
        now: Now,
        client: ClientId,
        notice: NoticeId,
        out: &mut Effects,
    ) {
        self.own.capabilities.on_acked(client, notice);
        exclusive::on_acked(&mut self.split(now, out).0, client, notice);
        let (mut cx, requests) = self.split(now, out);
        requests.on_acked(client, notice, &mut cx);
        self.two_phase_acked(now, client, |it| it == notice, out);
    }

    /// Opens the sessions that waited, if they can be now.
    pub(super) fn open_waiting(&mut self, now: Now, out: &mut Effects) {
        if self.recovery.state() < RankState::Reconnect {
            return;
        }
        for (client, conn) in std::mem::take(&mut self.clients.opening) {
            if !self.open(now, client, conn, out) {
                self.clients.opening.insert(client, conn);
            }
        }
    }

    /// False: what it needs is not durable yet.
    fn open(&mut self, now: Now, client: ClientId, conn: ConnId, out: &mut Effects) -> bool {
        match self.own.sessions.lent(client, self.own.durable) {
            Some(true) => {
                if self.own.sessions.is_untold(client) {
                    self.own.advance();
                    out.push(Effect::SyncSoon);
                }
                let met = self.own.sessions.open(client, conn, self.own.seq, out);
                self.say_opened(now, (client, conn), met, out);
                true
            }
            Some(false) => false,
            None => {
                self.lend(client, out);
                false
            }
        }
    }

    fn say_opened(
        &mut self,
        now: Now,
        (client, conn): (ClientId, ConnId),
        met: Met,
        out: &mut Effects,
    ) {
        let Some(session) = self.own.sessions.get(client) else { return };
        let StoredSession { begun, ranges, .. } = session.stored();
        let new = met == Met::NotYet;
        let opened = Opened {
            session: if new { SessionAge::New } else { SessionAge::Resumed },
            begun: *begun,
            lease: self.params.lease,
            ranges: ranges.clone(),
            durable: self.own.durable,
            map_epoch: self.map.epoch,
        };
        out.tell(conn, ToClient::Opened(opened));
        // It claims what it has had answers to. Whatever else it has asked for it sends again after that.
        self.requests.drop_locks_asked_for(client);
        self.own.sessions.repeat_notices(client, out);
        let held = self.own.pins.of(client).collect();
        self.own.pins.begin_claims(client);
        self.clients.claims.begin(client, held, met);
        self.own.capabilities.opens(client, new);
        self.set_lease(now, client, out);
    }

    fn set_lease(&mut self, now: Now, client: ClientId, out: &mut Effects) {
        self.own.sessions.keep(client, now.monotonic.after(self.params.lease), out);
    }

    /// A client was silent for almost a whole lease, or for all of it.
    pub(super) fn on_lease(&mut self, now: Now, client: ClientId, out: &mut Effects) {
        let Some(session) = self.own.sessions.get(client) else { return };
        let (until, patience) = (session.until(), session.patience());
        let stopped = match patience {
            Patience::First => until < now.monotonic,
            Patience::Last => until.after(LEASE_RENEW) < now.monotonic,
        };
        if stopped {
            // This rank was: what the client has sent since is still to be read.
            cov_mark::hit!(who_was_not_read_is_not_missed);
            self.set_lease(now, client, out);
        } else if patience == Patience::First {
            let until = now.monotonic.after(LEASE_RENEW);
            self.own.sessions.look_again(client, until, out);
        } else {
            self.on_silence(now, client, out);
        }
    }

    /// Who has still to be told by another rank that it has a session here cannot keep it while that
    /// rank is away, or has forgotten.
    fn on_silence(&mut self, now: Now, client: ClientId, out: &mut Effects) {
        if !self.own.sessions.is_untold(client) {
            self.evict(now, client, Caches::Gone, out);
        } else if self.map.is_degraded() {
            cov_mark::hit!(who_was_not_told_is_not_missed);
            self.set_lease(now, client, out);
        } else if self.own.sessions.seek(client) {
            self.have_told(now, client, out);
        } else {
            self.evict(now, client, Caches::Gone, out);
        }
    }

    /// Every rank is there again, and tells its clients.
    pub(super) fn renew_untold(&mut self, now: Now, out: &mut Effects) {
        let untold: Vec<ClientId> = self.own.sessions.untold().collect();
        for client in untold {
            self.own.sessions.seek(client);
            self.have_told(now, client, out);
        }
    }

    /// Whoever hears from a client tells it of its session here.
    fn have_told(&mut self, now: Now, client: ClientId, out: &mut Effects) {
        let others = self.map.ranks.keys().filter(|rank| **rank != self.params.me);
        let others: BTreeSet<Rank> = others.copied().collect();
        for rank in &others {
            out.send(*rank, SessionMsg::Untold { client });
        }
        self.clients.sought.insert(client, others);
        self.set_lease(now, client, out);
    }

    pub(super) fn on_untold(&mut self, from: Rank, client: ClientId, out: &mut Effects) {
        let notice = Notice::Expect { rank: from };
        if self.own.sessions.notify(client, notice, Tell::Now, out).is_none() {
            out.send(from, SessionMsg::Unknown { client });
        }
    }

    /// If no rank can tell a client of its session here, it is not there any more.
    pub(super) fn on_unknown(&mut self, now: Now, from: Rank, client: ClientId, out: &mut Effects) {
        let Some(sought) = self.clients.sought.get_mut(&client) else { return };
        sought.remove(&from);
        if sought.is_empty() {
            self.clients.sought.remove(&client);
            if self.own.sessions.is_untold(client) {
                cov_mark::hit!(whom_nobody_knows_is_not_waited_for);
                self.evict(now, client, Caches::Gone, out);
            }
        }
    }

    fn on_request(&mut self, now: Now, parked: Parked, out: &mut Effects) {
        let nothing_to_sync =
            matches!(parked.request.op, Op::Sync) && self.own.seq <= self.own.durable;
        let serves = self.recovery.is_serving() && self.clients.replay_is_over();
        if serves || nothing_to_sync {
            self.run_request(now, parked, out);
        } else {
            self.clients.put_off(parked);
        }
    }

    /// More numbers are told with the answer, which then waits until they are durable.
    fn on_renew(&mut self, now: Now, client: ClientId, inos_left: u64, out: &mut Effects) {
        self.set_lease(now, client, out);
        let lending = self.own.sessions.is_lending(client);
        if inos_left < INO_RANGE_LOW && !lending && self.lend(client, out) {
            return;
        }
        let renewed = ToClient::Renewed { map_epoch: self.map.epoch, more: None };
        self.own.sessions.tell(client, renewed, out);
    }

    /// False: there are none just now.
    fn lend(&mut self, client: ClientId, out: &mut Effects) -> bool {
        let seq = self.own.advance();
        self.own.inos.reserve(seq, out);
        let Some(range) = self.own.inos.lend() else { return false };
        self.own.sessions.lend(client, range, seq, out);
        out.push(Effect::SyncSoon);
        true
    }
}
