//! What becomes of requests whose connection is gone.

use common::id::{Rank, RequestId, Seq};
use common::wire::reply::{Outcome, Reply};
use common::wire::session::ToMds;

use super::{Finished, Owner, Pending, State};
use crate::capability::NEVER;
use crate::cx::Cx;
use crate::input::LinkId;

impl Pending {
    /// A life of the rank, or our session with it, is over: it will not answer what it had.
    pub(crate) fn forget_copies(&mut self, rank: Rank) {
        self.answered_again.retain(|_, (copies, _)| {
            copies.remove(&rank);
            !copies.is_empty()
        });
        for pended in self.requests.values_mut() {
            pended.copies.remove(&rank);
            pended.sent_to = pended.sent_to.filter(|at| *at != rank);
        }
    }

    /// Sends again, in their order, the changes that the rank may have lost.
    pub(crate) fn replay(&mut self, rank: Rank, link: LinkId, cx: &mut Cx<'_>) {
        let oldest = self.oldest();
        for (first, seq, id) in self.in_order(rank) {
            if let Some(pended) = self.requests.get_mut(&id) {
                pended.state = State::Replayed(rank, seq);
                cx.out.send(link, ToMds::Request(pended.request(id, oldest, Some(first))));
            }
        }
    }

    /// Changes that were answered and may not be durable, in the order in which that rank made them.
    pub(crate) fn at_risk(&self, rank: Rank) -> impl Iterator<Item = RequestId> + use<> {
        self.in_order(rank).into_iter().map(|(_, _, id)| id)
    }

    /// What a rank has applied and may lose, in the order in which it was applied first: when that was, when
    /// it was applied last, and what it is.
    fn in_order(&self, rank: Rank) -> Vec<(Seq, Seq, RequestId)> {
        let applied = self.applied.iter().filter(|(at, ..)| *at == rank);
        let mut all: Vec<_> = applied
            .map(|(_, seq, id)| {
                let first = self.requests.get(id).and_then(|pended| pended.first);
                (first.filter(|(at, _)| *at == rank).map_or(*seq, |(_, first)| first), *seq, *id)
            })
            .collect();
        all.sort_unstable();
        all
    }

    /// A rank that had a request before the connection broke may answer it on the new one, and then
    /// answer the copy that is sent on that. The second answer says nothing new, but it pins.
    pub(super) fn on_second_reply(&mut self, rank: Rank, reply: Reply) {
        let Outcome::Done(answer) = reply.outcome else { return };
        let op = match self.requests.get(&reply.id) {
            Some(pended) => pended.op.clone(),
            None => match self.answered_again.get(&reply.id) {
                Some((copies, op)) if copies.contains(&rank) => op.clone(),
                Some(_) | None => return,
            },
        };
        cov_mark::hit!(a_second_answer_pins);
        let (id, owner, result, until) = (reply.id, Owner::Nobody, Ok(answer), NEVER);
        self.finished.push_back(Finished { id, owner, op, result, rank, until });
    }

    /// The connection is gone: what was sent waits to be sent again.
    pub(crate) fn on_lost(&mut self, rank: Rank) {
        for pended in self.requests.values_mut() {
            match pended.state {
                State::Sent(at) | State::Numbers(at) if at == rank => {
                    pended.as_it_was = pended.op.is_change() && pended.sent_to == Some(rank);
                    pended.state = State::Waiting(rank);
                }
                State::Replayed(at, seq) if at == rank => pended.state = State::Applied(at, seq),
                State::Sent(_)
                | State::Numbers(_)
                | State::Replayed(..)
                | State::Waiting(_)
                | State::Paused
                | State::Finding
                | State::Behind(_)
                | State::Applied(..) => {}
            }
        }
    }
}
