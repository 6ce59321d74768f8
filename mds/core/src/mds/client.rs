//! The conversation with a client: opening, claims, requests, acknowledgements.

use std::collections::{BTreeMap, BTreeSet};

use common::id::{ClientId, DirFragId, Ino, NoticeId, Rank, RequestId};
use common::limit::{INO_RANGE_LOW, LEASE_RENEW};
use common::mds_map::RankState;
use common::time::Now;
use common::wire::request::{Op, Place};
use common::wire::session::{Notice, Opened, PinClaim, PinnedBy, SessionAge, ToClient, ToMds};

use super::{Caches, Mds};
use crate::effect::{Effect, Effects};
use crate::input::{ConnId, Fetch};
use crate::message::session::SessionMsg;
use crate::mutant::mutated;
use crate::params::Params;
use crate::request::Parked;
use crate::row::StoredSession;
use crate::session::{Patience, Tell};
use crate::subtree::{Access, Intent};

/// What clients have said that cannot be acted upon yet.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Clients {
    /// Opened too early in the life of the rank, or before inode numbers can be lent.
    opening: BTreeMap<ClientId, ConnId>,
    /// Claims made so far on the present connection.
    claims: BTreeMap<ClientId, Claims>,
    /// Claims that were taken before it was known who is the authority.
    unverified: Vec<Unverified>,
    /// Those of them that wait for the store. There may be very many.
    unfetched: BTreeMap<Fetch, Vec<Unverified>>,
    /// Claims in a region that may be ours or not: they end with the doubt if it is not.
    in_doubt: BTreeMap<DirFragId, Vec<Unverified>>,
    /// Applied by an earlier life, to be applied again in that order.
    replays: Vec<Parked>,
    replay: Replay,
    /// New requests that came before the rank was active.
    early: Vec<Parked>,
}

/// A pin that was claimed on an inode embedded in an entry of a directory, which may be elsewhere.
#[derive(Clone, Copy, Debug, Hash)]
struct Unverified {
    client: ClientId,
    ino: Ino,
    dir: Ino,
}

/// Carrying out what an earlier life had applied and lost. One at a time: each finds what those before
/// it have left, also when it has to wait for the store.
#[derive(Clone, Debug, Default, Hash)]
enum Replay {
    #[default]
    NotYet,
    Running {
        current: Option<(ClientId, RequestId)>,
    },
    Over,
}

/// What a client that has just opened a connection holds.
#[derive(Clone, Debug, Default, Hash)]
struct Claims {
    /// Pinned by it before, as far as this rank knows: given back unless it is claimed. (What comes
    /// with an import afterwards, the client may not know to be here.)
    held: BTreeSet<Ino>,
    made: BTreeMap<Ino, Claimed>,
}

#[derive(Clone, Copy, Debug, Hash)]
struct Claimed {
    dir: Option<Ino>,
    by: PinnedBy,
}

impl Clients {
    /// The store has answered.
    pub(super) fn on_fetched(&mut self, asked: &Fetch) {
        self.unverified.extend(self.unfetched.remove(asked).unwrap_or_default());
    }

    /// Its session is over. Who waits to be let in begins another one.
    pub(super) fn forget(&mut self, client: ClientId) {
        self.claims.remove(&client);
        self.replays.retain(|parked| parked.client != client);
        self.early.retain(|parked| parked.client != client);
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
    pub(super) fn next_replay(
        &mut self,
        is_waiting: impl FnOnce(ClientId, RequestId) -> bool,
    ) -> Option<Parked> {
        let Replay::Running { current } = &mut self.replay else { return None };
        if current.is_some_and(|(client, id)| is_waiting(client, id)) {
            return None;
        }
        let next = self.replays.pop();
        match &next {
            Some(parked) => *current = Some((parked.client, parked.request.id)),
            None => self.replay = Replay::Over,
        }
        next
    }

    /// What is being repeated.
    pub(super) fn repeating(&self) -> Option<(ClientId, RequestId)> {
        match self.replay {
            Replay::Running { current } => current,
            Replay::NotYet | Replay::Over => None,
        }
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
        if parked.request.replay.is_some() {
            self.replays.push(parked)
        } else {
            self.early.push(parked)
        }
    }

    pub(super) fn waiting(&self) -> u64 {
        (self.opening.len() + self.replays.len() + self.early.len()) as u64
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
            out.tell(conn, ToClient::Evicted);
            out.push(Effect::CloseConnection { conn });
            return;
        }
        match msg {
            ToMds::Open { .. } => unreachable!("handled above"),
            ToMds::Claim { pins } => self.on_claim(client, pins, out),
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

    /// Nobody needs to wait any more for a client to hear of something.
    pub(super) fn heard(
        &mut self,
        now: Now,
        client: ClientId,
        notice: NoticeId,
        out: &mut Effects,
    ) {
        self.own.capabilities.on_acked(client, notice);
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
                let new = self.own.sessions.open(client, conn, out);
                self.say_opened(now, (client, conn), new, out);
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
        new: bool,
        out: &mut Effects,
    ) {
        let Some(session) = self.own.sessions.get(client) else { return };
        let StoredSession { ranges, .. } = session.stored();
        let opened = Opened {
            session: if new { SessionAge::New } else { SessionAge::Resumed },
            lease: self.params.lease,
            ranges: ranges.clone(),
            durable: self.own.durable,
            map_epoch: self.map.epoch,
        };
        out.tell(conn, ToClient::Opened(opened));
        self.own.sessions.repeat_notices(client, out);
        let held = self.own.pins.of(client).collect();
        self.own.pins.begin_claims(client);
        self.clients.claims.insert(client, Claims { held, made: BTreeMap::new() });
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
        for rank in self.map.ranks.keys().filter(|rank| **rank != self.params.me) {
            out.send(*rank, SessionMsg::Untold { client });
        }
        self.set_lease(now, client, out);
    }

    pub(super) fn on_untold(&mut self, from: Rank, client: ClientId, out: &mut Effects) {
        let notice = Notice::Expect { rank: from };
        let _none_if_it_is_not_ours = self.own.sessions.notify(client, notice, Tell::Now, out);
    }

    /// What lies elsewhere is counted elsewhere: the client did not hear that its region moved.
    fn on_claim(&mut self, client: ClientId, pins: Vec<PinClaim>, out: &mut Effects) {
        for PinClaim { target, by } in pins {
            let orphaned = Place::Orphan { rank: self.params.me };
            let place = match self.own.sessions.untold_place(client, target.ino) {
                // It may not have heard that the last name went, and the name's directory may be elsewhere.
                _ if self.own.namespace.orphan(target.ino).is_some() => {
                    if target.place != orphaned {
                        self.tell_unlinked(client, target.ino, out);
                    }
                    orphaned
                }
                // The other rank has kept its pin.
                Some((_, rank)) if rank != self.params.me => continue,
                Some((place, _)) => place.clone(),
                None => target.place,
            };
            let dir = place.embedded_in();
            let access =
                dir.map(|dir| self.own.subtrees.access(dir, Intent::Read, &self.own.namespace));
            match access {
                Some(Ok(Access::Elsewhere(route))) => {
                    self.own.sessions.tell(client, ToClient::Route(route), out);
                }
                Some(Ok(Access::Unknown)) => {}
                Some(Ok(Access::Frozen { base })) if self.migrator.brings_pins(base) => {
                    cov_mark::hit!(the_exporter_counts_pins);
                }
                _ if mutated!(self.params, ClaimDropped) => {}
                Some(Ok(Access::Granted { .. } | Access::Frozen { .. }) | Err(_)) | None => {
                    let claims = self.clients.claims.entry(client).or_default();
                    claims.made.insert(target.ino, Claimed { dir, by });
                }
            }
        }
    }

    /// A client's session may have ended, and with it what was still to be told. It would give back what
    /// it holds to where it believes it to be.
    fn tell_unlinked(&mut self, client: ClientId, ino: Ino, out: &mut Effects) {
        let tell = Tell::Durable(self.own.advance());
        let notice = Notice::Unlinked { ino, rank: self.params.me };
        let _ends_again_with_the_session = self.own.sessions.notify(client, notice, tell, out);
    }

    /// Looks again at claims: the directory may not have been cached, or have moved since.
    pub(super) fn verify_claims(&mut self, out: &mut Effects) {
        let subtrees = &self.own.subtrees;
        for (_, settled) in
            self.clients.in_doubt.extract_if(.., |base, _| !subtrees.is_in_doubt(*base))
        {
            self.clients.unverified.extend(settled);
        }
        for claim in std::mem::take(&mut self.clients.unverified) {
            match self.own.subtrees.access(claim.dir, Intent::Read, &self.own.namespace) {
                Ok(Access::Frozen { base }) if self.migrator.brings_pins(base) => {
                    self.unclaim(claim, out);
                }
                Ok(Access::Frozen { base }) if self.own.subtrees.is_in_doubt(base) => {
                    self.clients.in_doubt.entry(base).or_default().push(claim);
                }
                Ok(Access::Granted { .. } | Access::Frozen { .. }) => {}
                Ok(Access::Elsewhere(_) | Access::Unknown) => self.unclaim(claim, out),
                Err(fetch) => {
                    self.own.namespace.fetch(fetch.clone(), out);
                    self.clients.unfetched.entry(fetch).or_default().push(claim);
                }
            }
        }
    }

    /// What was claimed is counted elsewhere, unless it has come here since.
    fn unclaim(&mut self, claim: Unverified, out: &mut Effects) {
        if self.own.pins.dir_of(claim.ino) == Some(claim.dir) {
            self.own.unpin(claim.ino, claim.client, out);
        }
    }

    /// The client holds exactly what it has claimed, and what answers name that it has not seen yet:
    /// those it was told of since, and those that are still to come.
    fn on_claims_done(&mut self, now: Now, client: ClientId, out: &mut Effects) {
        let Claims { mut held, made } = self.clients.claims.remove(&client).unwrap_or_default();
        for notice in self.own.capabilities.has_begun_session(client) {
            self.heard(now, client, notice, out);
        }
        if self.own.sessions.has_claimed(client) {
            // Also what was assumed since.
            held = self.own.pins.of(client).collect();
        }
        let mut unseen = self.own.pins.end_claims(client);
        unseen.extend(self.requests.unsent_pins(client));
        for ino in held {
            if !made.contains_key(&ino) && !unseen.contains(&ino) {
                self.own.unpin(ino, client, out);
            }
        }
        for (ino, claimed) in made {
            let latest = match claimed.by {
                PinnedBy::Answered(latest) => Some(latest),
                // What was carried out has pinned it then, as the journal does not say.
                PinnedBy::Unanswered(id) => self
                    .own
                    .sessions
                    .get(client)
                    .and_then(|session| session.has_completed(id).then_some(id)),
            };
            if let Some(latest) = latest {
                self.take_claim(client, (ino, claimed.dir), latest);
            }
        }
    }

    fn take_claim(&mut self, client: ClientId, (ino, dir): (Ino, Option<Ino>), latest: RequestId) {
        let dir = self.place_of_pinned(ino).unwrap_or(dir);
        let latest = if mutated!(self.params, ClaimForGood) { RequestId(u64::MAX) } else { latest };
        self.own.pins.claim(ino, dir, client, latest);
        if let Some(dir) = dir {
            self.clients.unverified.push(Unverified { client, ino, dir });
        }
    }

    /// Where an inode is embedded, if this rank knows. Who claims may not have heard of it yet.
    fn place_of_pinned(&self, ino: Ino) -> Option<Option<Ino>> {
        if self.own.namespace.orphan(ino).is_some() {
            return Some(None);
        }
        self.own.pins.is_pinned(ino).then(|| self.own.pins.dir_of(ino))
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
