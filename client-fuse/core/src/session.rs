//! `Session`: the conversation with one rank, over one connection after another.
//!
//! ```text
//!  Waiting ─▶ Connecting ─▶ Opening ─▶ Open
//!     ▲           │            │         │   the connection breaks, the lease runs out,
//!     │           ▼            ▼         ▼   or the map shows another incarnation
//!     └────── Reconnecting ◀─────────────┘
//! ```
//!
//! A session begins when something is to be sent to its rank; it survives the rank's restart. When the
//! rank has ended it, another one begins in its place, which knows nothing of what was sent before.

use std::collections::{BTreeMap, BTreeSet};

use common::id::{ClientId, Incarnation, NoticeId, Rank, RequestId, Seq};
use common::limit::{CAPABILITY_TIME, LEASE, LEASE_RENEW};
use common::mds_map::{MdsMap, RankState};
use common::time::{Monotonic, Now};
use common::wire::session::ToMds;

use crate::capability::NEVER;
use crate::effect::{Effect, Effects};
use crate::input::{LinkEnd, LinkId};
use crate::timer::Timer;

/// Waits between attempts to connect: doubled each time.
const RECONNECT_FIRST: std::time::Duration = std::time::Duration::from_millis(50);
const RECONNECT_DOUBLINGS_MAX: u32 = 4;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Session {
    state: State,
    /// Attempts to connect since it was last open.
    attempts: u32,
    /// A renewal is under way since then: more numbers come with its answer, if any.
    renewing: Option<Monotonic>,
    /// The rank has heard of us at that time or later.
    heard: Monotonic,
    /// When the present connection asked to take the session up.
    opening: Monotonic,
    /// The life of the rank that took the session up last, and the one before that.
    life: Option<Incarnation>,
    earlier: Option<Incarnation>,
    /// Notices that take effect when the session is open: (whom to acknowledge to, which).
    expected_by: BTreeSet<(Rank, NoticeId)>,
    /// Which session the rank has taken up, and must remember: it says so when that is durable, and so no
    /// loss of power excuses it. `None`: none, or it has ended it.
    begun: Option<Seq>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    /// Waits for a map in which the rank takes connections.
    Waiting,
    /// Waits for the connection and the exchange of hellos.
    Connecting(Link),
    /// Waits for `Opened`.
    Opening(Link),
    /// Requests flow.
    Open(Link),
    /// Waits for the timer that tries again.
    Reconnecting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Link {
    id: LinkId,
    incarnation: Incarnation,
}

/// The sessions with all ranks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionTable {
    client: ClientId,
    sessions: BTreeMap<Rank, Session>,
    last_link: u64,
}

/// Whether a rank that takes a session up remembers what it did for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Continuity {
    Kept,
    /// It had ended the session: what it did for us it has done, but it could do it again.
    Broken,
}

/// What a session can do for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Open(LinkId),
    /// It will open, or the map will say when it can.
    NotYet,
}

impl SessionTable {
    pub(crate) fn new(client: ClientId) -> Self {
        Self { client, sessions: BTreeMap::new(), last_link: 0 }
    }

    /// Whether messages can be sent to a rank. Begins the session if there is none.
    pub(crate) fn want(
        &mut self,
        rank: Rank,
        map: Option<&MdsMap>,
        out: &mut Effects,
    ) -> Readiness {
        let session = self.sessions.entry(rank).or_insert(Session {
            state: State::Waiting,
            attempts: 0,
            renewing: None,
            heard: NEVER,
            opening: NEVER,
            life: None,
            earlier: None,
            expected_by: BTreeSet::new(),
            begun: None,
        });
        match session.state {
            State::Open(link) => Readiness::Open(link.id),
            State::Waiting => {
                self.connect(rank, map, out);
                Readiness::NotYet
            }
            State::Connecting(_) | State::Opening(_) | State::Reconnecting => Readiness::NotYet,
        }
    }

    /// Ranks that have something to say to us, now or when they can.
    pub(crate) fn ranks(&self) -> impl Iterator<Item = Rank> + '_ {
        self.sessions.keys().copied()
    }

    /// The open connection to a rank.
    pub(crate) fn open_link(&self, rank: Rank) -> Option<LinkId> {
        match self.sessions.get(&rank)?.state {
            State::Open(link) => Some(link.id),
            State::Waiting | State::Connecting(_) | State::Opening(_) | State::Reconnecting => None,
        }
    }

    /// Which rank is at the other end, if the link is the current one.
    pub(crate) fn rank_at(&self, link: LinkId) -> Option<Rank> {
        self.sessions
            .iter()
            .find(|(_, session)| session.state.link().is_some_and(|current| current.id == link))
            .map(|(rank, _)| *rank)
    }

    fn connect(&mut self, rank: Rank, map: Option<&MdsMap>, out: &mut Effects) {
        let Some(session) = self.sessions.get_mut(&rank) else { return };
        let entry = map.and_then(|map| map.ranks.get(&rank));
        session.state = match entry {
            Some(entry) if takes_connections(entry.state) => {
                self.last_link += 1;
                let link = Link { id: LinkId(self.last_link), incarnation: entry.incarnation };
                out.push(Effect::Connect {
                    link: link.id,
                    rank,
                    incarnation: link.incarnation,
                    addr: entry.addr,
                });
                State::Connecting(link)
            }
            Some(_) | None => State::Waiting,
        };
    }

    /// Drops what belongs to a former incarnation, tries what has become possible. Returns the
    /// ranks whose connection is lost by that.
    pub(crate) fn on_map(&mut self, map: &MdsMap, out: &mut Effects) -> Vec<Rank> {
        let mut lost = Vec::new();
        let ranks: Vec<Rank> = self.sessions.keys().copied().collect();
        for rank in ranks {
            let state = self.sessions[&rank].state;
            match state.link() {
                Some(link) if map.incarnation(rank) != Some(link.incarnation) => {
                    out.push(Effect::Disconnect { link: link.id });
                    self.stop_timers(rank, out);
                    self.connect(rank, Some(map), out);
                    lost.push(rank);
                }
                None if state == State::Waiting => self.connect(rank, Some(map), out),
                Some(_) | None => {}
            }
        }
        lost
    }

    /// Whether the present connection is the first one to a life of a rank of which an earlier one knew us.
    pub(crate) fn is_new_life(&self, rank: Rank) -> bool {
        self.sessions
            .get(&rank)
            .is_some_and(|session| session.earlier.is_some() && session.earlier != session.life)
    }

    /// Whether a rank has never taken a session of ours up.
    pub(crate) fn is_first(&self, rank: Rank) -> bool {
        self.sessions.get(&rank).is_none_or(|session| session.life.is_none())
    }

    /// Whether every rank has heard of us so lately that none can have ended our session.
    pub(crate) fn are_fresh(&self, now: Monotonic) -> bool {
        self.sessions.values().all(|session| {
            matches!(session.state, State::Open(_)) && now < session.heard.after(CAPABILITY_TIME)
        })
    }

    /// Until when all ranks count us among the living, at least.
    pub(crate) fn shortest_lease(&self) -> Monotonic {
        self.sessions.keys().map(|rank| self.lease(*rank)).min().unwrap_or(NEVER)
    }

    /// Until when a rank counts us among the living, at least.
    pub(crate) fn lease(&self, rank: Rank) -> Monotonic {
        self.sessions.get(&rank).map_or(NEVER, |session| session.heard.after(LEASE))
    }

    pub(crate) fn on_connected(
        &mut self,
        link: LinkId,
        oldest: RequestId,
        now: Now,
        out: &mut Effects,
    ) {
        let Some(rank) = self.rank_at(link) else { return };
        let Some(session) = self.sessions.get_mut(&rank) else { return };
        if let State::Connecting(current) = session.state {
            session.state = State::Opening(current);
            session.opening = now.monotonic;
            out.send(link, ToMds::Open { client: self.client, oldest });
        }
    }

    /// The rank has taken the session up. The caller says what is claimed and replayed. `None`: it was
    /// not asked to on this link.
    pub(crate) fn on_opened(
        &mut self,
        link: LinkId,
        begun: Seq,
        now: Now,
        out: &mut Effects,
    ) -> Option<Continuity> {
        let rank = self.rank_at(link)?;
        let session = self.sessions.get_mut(&rank)?;
        let State::Opening(current) = session.state else { return None };
        session.state = State::Open(current);
        session.attempts = 0;
        session.renewing = None;
        session.heard = session.opening;
        session.earlier = session.life.replace(current.incarnation);
        let ours = session.begun.replace(begun);
        out.set_timer(Timer::Renew(rank), now.monotonic.after(LEASE_RENEW));
        out.set_timer(Timer::Lease(rank), now.monotonic.after(LEASE));
        // Ours may have ended and another one come in its place, with something that came to the rank.
        let is_other = ours.is_some_and(|ours| ours != begun);
        Some(if is_other { Continuity::Broken } else { Continuity::Kept })
    }

    /// Returns the rank to which the connection was lost.
    pub(crate) fn on_disconnected(
        &mut self,
        link: LinkId,
        end: LinkEnd,
        now: Now,
        out: &mut Effects,
    ) -> Option<Rank> {
        let rank = self.rank_at(link)?;
        self.stop_timers(rank, out);
        if end == LinkEnd::Evicted {
            self.sessions.get_mut(&rank)?.begun = None;
        }
        self.reconnect_later(rank, now.monotonic, out);
        Some(rank)
    }

    fn reconnect_later(&mut self, rank: Rank, now: Monotonic, out: &mut Effects) {
        let Some(session) = self.sessions.get_mut(&rank) else { return };
        let wait = RECONNECT_FIRST * (1 << session.attempts.min(RECONNECT_DOUBLINGS_MAX));
        session.attempts += 1;
        session.state = State::Reconnecting;
        out.set_timer(Timer::Reconnect(rank), now.after(wait));
    }

    pub(crate) fn on_reconnect_timer(
        &mut self,
        rank: Rank,
        map: Option<&MdsMap>,
        out: &mut Effects,
    ) {
        if self.sessions.get(&rank).is_some_and(|session| session.state == State::Reconnecting) {
            self.connect(rank, map, out);
        }
    }

    /// The rank has ended the session: another one is begun.
    pub(crate) fn on_evicted(&mut self, link: LinkId, now: Now, out: &mut Effects) -> Option<Rank> {
        let rank = self.on_disconnected(link, LinkEnd::Evicted, now, out)?;
        out.push(Effect::Disconnect { link });
        Some(rank)
    }

    /// Keeps the lease, or asks for more numbers.
    pub(crate) fn renew(&mut self, rank: Rank, inos_left: u64, now: Now, out: &mut Effects) {
        let Some(session) = self.sessions.get_mut(&rank) else { return };
        let State::Open(link) = session.state else { return };
        session.renewing = Some(now.monotonic);
        out.send(link.id, ToMds::Renew { inos_left });
        out.set_timer(Timer::Renew(rank), now.monotonic.after(LEASE_RENEW));
    }

    /// Few numbers are left: asks for more at once, unless that is under way.
    pub(crate) fn renew_early(&mut self, rank: Rank, inos_left: u64, now: Now, out: &mut Effects) {
        if self.sessions.get(&rank).is_some_and(|session| session.renewing.is_none()) {
            self.renew(rank, inos_left, now, out);
        }
    }

    pub(crate) fn on_renewed(&mut self, rank: Rank, now: Now, out: &mut Effects) {
        if let Some(session) = self.sessions.get_mut(&rank) {
            session.heard = session.renewing.take().unwrap_or(session.heard);
            out.set_timer(Timer::Lease(rank), now.monotonic.after(LEASE));
        }
    }

    /// A whole lease passed without an answer: whoever is there, we cannot reach it this way.
    pub(crate) fn on_lease_timer(&mut self, rank: Rank, now: Now, out: &mut Effects) -> bool {
        let Some(link) = self.open_link(rank) else { return false };
        out.push(Effect::Disconnect { link });
        self.stop_timers(rank, out);
        self.reconnect_later(rank, now.monotonic, out);
        true
    }

    /// `from` wants its notice acknowledged when the session with `rank` is open.
    pub(crate) fn expect(&mut self, rank: Rank, from: Rank, notice: NoticeId) {
        if let Some(session) = self.sessions.get_mut(&rank) {
            session.expected_by.insert((from, notice));
        }
    }

    /// The notices that took effect by opening this session.
    pub(crate) fn take_expected(&mut self, rank: Rank) -> BTreeSet<(Rank, NoticeId)> {
        self.sessions
            .get_mut(&rank)
            .map(|session| std::mem::take(&mut session.expected_by))
            .unwrap_or_default()
    }

    /// Its store is destroyed: nobody will take the session up. Returns who waited for that.
    pub(crate) fn on_lost(&mut self, rank: Rank, out: &mut Effects) -> BTreeSet<(Rank, NoticeId)> {
        let Some(session) = self.sessions.remove(&rank) else { return BTreeSet::new() };
        self.stop_timers(rank, out);
        out.push(Effect::StopTimer(Timer::Reconnect(rank)));
        if let Some(link) = session.state.link() {
            out.push(Effect::Disconnect { link: link.id });
        }
        session.expected_by
    }

    /// Ends all sessions; their pins are given back by that.
    pub(crate) fn close(&mut self, out: &mut Effects) {
        for (rank, session) in std::mem::take(&mut self.sessions) {
            for timer in [Timer::Renew(rank), Timer::Lease(rank), Timer::Reconnect(rank)] {
                out.push(Effect::StopTimer(timer));
            }
            if let State::Open(link) = session.state {
                out.send(link.id, ToMds::Close);
            }
            if let Some(link) = session.state.link() {
                out.push(Effect::Disconnect { link: link.id });
            }
        }
    }

    fn stop_timers(&self, rank: Rank, out: &mut Effects) {
        out.push(Effect::StopTimer(Timer::Renew(rank)));
        out.push(Effect::StopTimer(Timer::Lease(rank)));
    }
}

impl State {
    fn link(self) -> Option<Link> {
        match self {
            Self::Connecting(link) | Self::Opening(link) | Self::Open(link) => Some(link),
            Self::Waiting | Self::Reconnecting => None,
        }
    }
}

/// Clients are heard from the stage on in which a rank waits for those it knew.
fn takes_connections(state: RankState) -> bool {
    match state {
        RankState::Down | RankState::Replay | RankState::Resolve => false,
        RankState::Reconnect | RankState::Rejoin | RankState::Active | RankState::Stopping => true,
    }
}

#[cfg(test)]
mod tests;
