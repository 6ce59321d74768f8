//! `Pending`: every request until it is answered, and every change until it is durable.
//!
//! ```text
//!             ┌──────────────┬───────────┬──────────┐
//!  begin ─▶ Waiting ─▶ Numbers ─▶ Sent ─┼─▶ Applied ─▶ (durable: gone)
//!             ▲                     │    │     ▲│
//!             │   redirect, broken  │    │     │▼
//!             └── Paused, Finding ◀─┘    │  Replayed
//!                                        └─▶ (answered: gone)
//! ```
//!
//! A request keeps its id through all of this, and the cluster applies an id at most once: so it
//! may be sent again whenever its fate is unknown. Where it goes is decided anew each time.
//! What sends a request astray, and what then becomes of it, is in [`astray`];
//! how an operation finds its way, in [`way`]; what becomes of it with its session, in [`evicted`].

mod astray;
mod broken;
mod evicted;
mod file_lock;
mod hold;
mod interrupted;
mod known;
mod order;
mod overtaken;
mod way;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use common::error::FsError;
use common::id::{Ino, NoticeId, Rank, RequestId, Seq};
use common::time::{Monotonic, Timestamp};
use common::wire::reply::{Answer, Outcome, Promise, Reply};
use common::wire::request::{Caller, Op};
use common::wire::session::ToMds;

use crate::capability::{NEVER, Promised};
use crate::cx::Cx;
use crate::input::{CallId, LinkId};
use crate::pending::hold::Asked;
use crate::pending::order::Order;
use crate::pending::overtaken::Overtaking;
use crate::session::Readiness;

pub(crate) use file_lock::Withdrawn;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Pending {
    requests: BTreeMap<RequestId, Pended>,
    /// Those in state `Applied` or `Replayed`, in the order in which their rank applied them.
    applied: BTreeSet<(Rank, Seq, RequestId)>,
    order: Order,
    /// Directories that we are asking for.
    holds: BTreeMap<Ino, Asked>,
    /// Changes that were made, or will not be, and for which others have waited.
    made: Vec<RequestId>,
    /// Those that ask for locks: looked through at each close, so not among all.
    locks: BTreeSet<RequestId>,
    last_id: u64,
    finished: VecDeque<Finished>,
    /// Answered, while these ranks may still answer other copies: each answer pins what it names.
    answered_again: BTreeMap<RequestId, (BTreeSet<Rank>, Op)>,
    /// What became of files of which somebody may still tell us what was before.
    overtaken: BTreeMap<Ino, Overtaking>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pended {
    owner: Owner,
    /// What comes of it we knew beforehand, and go by: who was the authority then. Since then the directory
    /// may have lost its name.
    known_at: Option<Rank>,
    caller: Caller,
    at: Timestamp,
    /// When we began to ask. What an answer says may be as old as that.
    asked: Monotonic,
    op: Op,
    /// Where it must go, whatever the atlas says.
    forced: Option<Rank>,
    state: State,
    /// Copies sent that were not answered: while there are any, it may have been applied.
    unanswered: u32,
    /// To whom it was sent last.
    sent_to: Option<Rank>,
    /// A change whose connection is gone is sent again as it was: what has moved its inode since may be lost.
    as_it_was: bool,
    /// It asks for a lock, and since it was sent another rank has heard what we have locked.
    is_unclaimed: bool,
    /// If it was sent more than once: to whom. Each of them may still answer.
    copies: BTreeSet<Rank>,
    /// Ranks that have ended our session since it was sent to another.
    forgotten_by: BTreeSet<Rank>,
    redirects: u32,
    /// How often its inode was looked up again.
    found_again: u32,
    /// How often it was looked for where it was before, and where it should be, in turns.
    moved_back: u32,
    /// Where it was applied first, and when. What a rank has lost and applied once more keeps its place
    /// among what is still to be: it may be lost another time.
    first: Option<(Rank, Seq)>,
    /// Ranks that were asked for a directory to which no name leads any more.
    sought: BTreeSet<Rank>,
    /// The directory in which it was last was looked through.
    looked_through: bool,
}

/// Who wants the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    Call(CallId),
    /// A request that was told `Gone`: where is that inode?
    Finder {
        request: RequestId,
        ino: Ino,
    },
    /// A request lost sight of this directory: is it with that rank?
    Seeker {
        request: RequestId,
        ino: Ino,
    },
    /// Pins on their way back, for so many times.
    GiveBack {
        attempt: u32,
    },
    /// Asked only for what the way to the answer teaches.
    Scout,
    /// It was answered before, and its rank came back without it, maybe.
    Replay,
    /// Its caller was interrupted.
    Nobody,
    /// So it was, and had asked for a lock: if it got it, that is given back.
    Withdrawn,
    /// Locks of somebody who has closed the file.
    Unlock,
    /// Its caller was answered: what comes of it was known. It is to be made.
    Unmade,
    /// A directory is asked for because we make changes there.
    Hold,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    /// Waits for the session with the rank to be open.
    Waiting(Rank),
    /// Waits for the rank to lend inode numbers.
    Numbers(Rank),
    /// Waits for the rank's reply.
    Sent(Rank),
    /// Waits for a timer: it went in circles.
    Paused,
    /// Waits for a lookup to say where its inode is.
    Finding,
    /// Waits for an earlier change of ours.
    Behind(RequestId),
    /// Answered. Waits for the rank to say that it is durable.
    Applied(Rank, Seq),
    /// Sent again to a rank that came back. Waits for the reply.
    Replayed(Rank, Seq),
}

/// A request and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Finished {
    pub(crate) id: RequestId,
    pub(crate) owner: Owner,
    pub(crate) op: Op,
    pub(crate) result: Result<Answer, FsError>,
    /// Who answered.
    pub(crate) rank: Rank,
    /// Until when the kernel may use the answer.
    pub(crate) until: Monotonic,
}

impl Pending {
    /// Begins a request. Where it goes follows from what it is about.
    pub(crate) fn begin(
        &mut self,
        owner: Owner,
        caller: Caller,
        op: Op,
        cx: &mut Cx<'_>,
    ) -> RequestId {
        self.insert(owner, caller, op, None, cx)
    }

    /// Begins a request that concerns one rank and no other.
    pub(crate) fn begin_at(
        &mut self,
        rank: Rank,
        owner: Owner,
        op: Op,
        cx: &mut Cx<'_>,
    ) -> RequestId {
        self.insert(owner, Caller::default(), op, Some(rank), cx)
    }

    fn insert(
        &mut self,
        owner: Owner,
        caller: Caller,
        op: Op,
        forced: Option<Rank>,
        cx: &mut Cx<'_>,
    ) -> RequestId {
        let id = self.add(owner, caller, op, forced, cx);
        self.dispatch(id, cx);
        id
    }

    fn add(
        &mut self,
        owner: Owner,
        caller: Caller,
        op: Op,
        forced: Option<Rank>,
        cx: &Cx<'_>,
    ) -> RequestId {
        self.last_id += 1;
        let id = RequestId(self.last_id);
        let pended = Pended {
            owner,
            known_at: None,
            caller,
            at: cx.now.wall,
            asked: cx.now.monotonic,
            op,
            forced,
            state: State::Paused,
            unanswered: 0,
            sent_to: None,
            copies: BTreeSet::new(),
            forgotten_by: BTreeSet::new(),
            redirects: 0,
            found_again: 0,
            moved_back: 0,
            first: None,
            sought: BTreeSet::new(),
            looked_through: false,
            as_it_was: false,
            is_unclaimed: false,
        };
        if pended.asks_for_lock() {
            self.locks.insert(id);
        }
        self.requests.insert(id, pended);
        id
    }

    /// Answers that came, for those who wait.
    pub(crate) fn take_finished(&mut self) -> Option<Finished> {
        self.finished.pop_front()
    }

    /// The lowest id we may still ask about, but for locks.
    pub(crate) fn oldest(&self) -> RequestId {
        let mut others = self.requests.iter().filter(|(_, pended)| !pended.asks_for_lock());
        others.next().map_or_else(|| self.next(), |(id, _)| *id)
    }

    /// The id of the request that is begun next.
    pub(crate) fn next(&self) -> RequestId {
        RequestId(self.last_id + 1)
    }

    /// The lowest id of those whose first answer is still to come, and may name an inode.
    pub(crate) fn oldest_naming(&self) -> RequestId {
        let mut naming = self.requests.iter().filter(|(_, pended)| pended.may_name());
        naming.next().map_or_else(|| self.next(), |(id, _)| *id)
    }

    /// When the oldest request that may still be answered was begun.
    pub(crate) fn oldest_asked(&self) -> Option<Monotonic> {
        let others = self.requests.values().filter(|pended| !pended.asks_for_lock());
        others.map(|pended| pended.asked).min()
    }

    /// Sends a request to where its inode is believed to be, or waits for the session there.
    fn dispatch(&mut self, id: RequestId, cx: &mut Cx<'_>) {
        if self.is_behind(id, cx) {
            return;
        }
        let is_before_our_rename = self.is_before_our_rename(id);
        let Some(pended) = self.requests.get_mut(&id) else { return };
        if !is_before_our_rename {
            pended.refresh(cx);
        }
        let mut rank = pended.goes_to(cx);
        if cx.atlas.is_lost(rank) {
            if let Some(error) = pended.lost_with_its_rank() {
                return self.finish(id, rank, Err(error), NEVER);
            }
            // Who sent us there has not heard yet.
            pended.forced = None;
            rank = Rank::ROOT;
        }
        pended.state = State::Waiting(rank);
        match cx.sessions.want(rank, cx.atlas.map.as_ref(), cx.out) {
            Readiness::Open(link) => self.send(id, rank, link, cx),
            Readiness::NotYet => {}
        }
    }

    fn send(&mut self, id: RequestId, rank: Rank, link: LinkId, cx: &mut Cx<'_>) {
        let oldest = self.oldest();
        self.name_unanswered(id);
        let Some(pended) = self.requests.get_mut(&id) else { return };
        if pended.forgotten_by.contains(&rank) {
            return self.finish(id, rank, Err(FsError::Io), NEVER);
        }
        if !pended.number(rank, cx) {
            pended.state = State::Numbers(rank);
            return;
        }
        pended.state = State::Sent(rank);
        if pended.unanswered > 0 {
            pended.copies.extend(pended.sent_to.into_iter().chain([rank]));
        }
        pended.sent_to = Some(rank);
        pended.as_it_was = false;
        pended.unanswered += 1;
        cx.out.send(link, ToMds::Request(pended.request(id, oldest, None)));
    }

    pub(crate) fn on_reply(&mut self, rank: Rank, reply: Reply, cx: &mut Cx<'_>) {
        let Some(pended) = self.requests.get_mut(&reply.id) else {
            return self.on_second_reply(rank, reply);
        };
        let expected = match pended.state {
            State::Sent(at) => at == rank,
            State::Replayed(at, seq) if at == rank => {
                self.applied.remove(&(at, seq, reply.id));
                pended.owner = Owner::Replay;
                true
            }
            State::Replayed(..)
            | State::Waiting(_)
            | State::Numbers(_)
            | State::Paused
            | State::Finding
            | State::Behind(_)
            | State::Applied(..) => false,
        };
        if !expected {
            return self.on_second_reply(rank, reply);
        }
        pended.unanswered = pended.unanswered.saturating_sub(1);
        let lease = cx.sessions.lease(rank);
        let (asked, now) = (pended.asked, cx.now.monotonic);
        let promised = Promised { promise: reply.promise, asked, now, lease };
        match reply.outcome {
            Outcome::Done(Answer::Locked(_)) if std::mem::take(&mut pended.is_unclaimed) => {
                cov_mark::hit!(a_lock_is_asked_for_where_its_file_has_gone);
                self.dispatch(reply.id, cx);
            }
            Outcome::Done(answer) => {
                let from = (rank, promised, reply.after);
                self.on_done(reply.id, from, answer, reply.applied, cx);
            }
            Outcome::Refused(FsError::Stale) if pended.renumber(rank, cx) => {
                cov_mark::hit!(nothing_was_made_by_that_number);
                self.dispatch(reply.id, cx);
            }
            Outcome::Refused(error) => {
                let result = Err(error);
                let until = cx.atlas.capabilities.until(&pended.op, &result, promised);
                self.finish(reply.id, rank, result, until);
            }
            Outcome::Redirect(route) => self.on_redirect(reply.id, rank, route, cx),
            Outcome::Gone { ino } => self.on_gone(reply.id, rank, ino, cx),
        }
    }

    fn on_done(
        &mut self,
        id: RequestId,
        (rank, promised, after): (Rank, Promised, NoticeId),
        answer: Answer,
        applied: Option<Seq>,
        cx: &mut Cx<'_>,
    ) {
        let Some(pended) = self.requests.get_mut(&id) else { return };
        if promised.promise == Promise::Exclusive {
            pended.hold(&answer, cx);
        }
        if let Answer::Held(contents) = &answer {
            self.on_held(id, (rank, promised.promise), contents, cx);
        }
        let Some(pended) = self.requests.get_mut(&id) else { return };
        if let Some(dir) = pended.op.dir() {
            cx.atlas.exclusives.is_at(dir, rank);
        }
        if !matches!(pended.owner, Owner::Replay | Owner::Unmade) {
            // What was answered before says nothing about where things are by now.
            cx.atlas.learn(&pended.op, &answer, rank);
            let file = if let Answer::Found(found) = &answer { Some(found.ino()) } else { None };
            let overtaking = file.and_then(|ino| self.overtaken.get(&ino));
            if let Some(it) = overtaking
                && (pended.made() == file || (it.rank == rank && it.id > after))
            {
                cov_mark::hit!(a_notice_overtakes_the_answer);
                cx.atlas.overtaken(&it.notice);
            }
        }
        let result = Ok(answer);
        let until = if pended.owner == Owner::Unmade {
            NEVER
        } else {
            cx.atlas.capabilities.until(&pended.op, &result, promised)
        };
        self.is_made_now(id);
        let Some(pended) = self.requests.get_mut(&id) else { return };
        match applied {
            Some(seq) if pended.op.is_change() => {
                let owner = std::mem::replace(&mut pended.owner, Owner::Nobody);
                let op = pended.op.clone();
                pended.state = State::Applied(rank, seq);
                pended.first = pended.first.filter(|(at, _)| *at == rank).or(Some((rank, seq)));
                self.applied.insert((rank, seq, id));
                self.finished.push_back(Finished { id, owner, op, result, rank, until });
            }
            Some(_) | None => self.finish(id, rank, result, until),
        }
    }

    fn finish(
        &mut self,
        id: RequestId,
        rank: Rank,
        result: Result<Answer, FsError>,
        until: Monotonic,
    ) {
        if let Some(Pended { owner, op, .. }) = self.take_out(id) {
            self.finished.push_back(Finished { id, owner, op, result, rank, until });
        }
    }

    /// A request was answered, for good.
    fn take_out(&mut self, id: RequestId) -> Option<Pended> {
        let pended = self.requests.remove(&id)?;
        self.is_made_now(id);
        self.locks.remove(&id);
        self.ends_asking(&pended.op);
        if pended.unanswered > 0 && !pended.copies.is_empty() {
            self.answered_again.insert(id, (pended.copies.clone(), pended.op.clone()));
        }
        Some(pended)
    }

    /// Everything the rank has applied up to there survives power loss.
    pub(crate) fn on_durable(&mut self, rank: Rank, through: Seq) {
        let first = (rank, Seq(0), RequestId(0));
        let last = (rank, through, RequestId(u64::MAX));
        let durable: Vec<_> = self.applied.range(first..=last).copied().collect();
        for entry @ (_, _, id) in durable {
            // What is being replayed has a position in a life that is over.
            if matches!(self.requests.get(&id).map(|p| &p.state), Some(State::Applied(..))) {
                self.applied.remove(&entry);
                self.take_out(id);
            }
        }
    }

    /// Sends what has waited for the session.
    pub(crate) fn on_open(&mut self, rank: Rank, cx: &mut Cx<'_>) {
        self.dispatch_all(|state| *state == State::Waiting(rank), cx);
    }

    /// Sends what has waited for inode numbers.
    pub(crate) fn on_numbers(&mut self, rank: Rank, cx: &mut Cx<'_>) {
        self.dispatch_all(|state| *state == State::Numbers(rank), cx);
    }

    /// Ranks may have become reachable, slots may be served by others.
    pub(crate) fn on_map(&mut self, cx: &mut Cx<'_>) {
        self.dispatch_all(|state| matches!(state, State::Waiting(_)), cx);
    }

    fn dispatch_all(&mut self, wanted: impl Fn(&State) -> bool, cx: &mut Cx<'_>) {
        let ids: Vec<RequestId> =
            self.requests.iter().filter(|(_, p)| wanted(&p.state)).map(|(id, _)| *id).collect();
        for id in ids {
            self.dispatch(id, cx);
        }
    }

    /// The ranks that have applied something of ours which is not durable.
    pub(crate) fn ranks_with_changes(&self) -> BTreeSet<Rank> {
        self.applied.iter().map(|(rank, ..)| *rank).collect()
    }
}

/// Stands for the number of what is made until the rank is known that lends one.
pub(crate) const UNNUMBERED: Ino = Ino(0);

#[cfg(test)]
mod lost_tests;
#[cfg(test)]
mod tests;
