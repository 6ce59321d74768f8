//! What becomes of requests when a rank ends our session.
//!
//! It will not know again what it did for us, nor what others did and told it when a directory became
//! its own: so what was sent to anybody before is not sent there afterwards.

use common::error::FsError;
use common::id::Rank;

use super::{Pending, State};
use crate::capability::NEVER;

impl Pending {
    /// The rank has ended our session, and will not know again what it did for us. A change that was
    /// sent and not answered may have been made, or not: its caller is told that nobody knows. Returns
    /// how many changes it is of which that is so, or which may not have become durable.
    pub(crate) fn on_evicted(&mut self, rank: Rank) -> usize {
        self.does_not_want(|_| true);
        let mut doubtful = Vec::new();
        for (id, pended) in &mut self.requests {
            // Of what is to be made in order somebody may see by now that it is not there: it is never made.
            let is_made = matches!(pended.state, State::Applied(..) | State::Replayed(..));
            if pended.is_known() && pended.unanswered == 0 && !is_made {
                doubtful.push(*id);
                continue;
            }
            match pended.state {
                State::Applied(..) | State::Replayed(..) => {}
                State::Sent(at) | State::Numbers(at) | State::Waiting(at) if at == rank => {
                    pended.state = State::Waiting(rank);
                    if pended.unanswered > 0 && pended.op.is_change() {
                        doubtful.push(*id);
                    }
                }
                State::Sent(_)
                | State::Numbers(_)
                | State::Waiting(_)
                | State::Paused
                | State::Finding
                | State::Behind(_) => {
                    if pended.op.is_change() && pended.sent_to.is_some() {
                        pended.forgotten_by.insert(rank);
                    }
                }
            }
        }
        for id in &doubtful {
            self.finish(*id, rank, Err(FsError::Io), NEVER);
        }
        let lost: Vec<_> = self.applied.iter().filter(|(at, ..)| *at == rank).copied().collect();
        for entry @ (_, _, id) in &lost {
            self.applied.remove(entry);
            self.requests.remove(id);
        }
        doubtful.len() + lost.len()
    }
}
