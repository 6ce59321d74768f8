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
        let mut doubtful = Vec::new();
        for (id, pended) in &mut self.requests {
            match pended.state {
                State::Sent(at) | State::Numbers(at) | State::Waiting(at) if at == rank => {
                    pended.state = State::Waiting(rank);
                    if (pended.unanswered > 0 && pended.op.is_change()) || pended.is_known {
                        doubtful.push(*id);
                    }
                }
                State::Sent(_)
                | State::Numbers(_)
                | State::Waiting(_)
                | State::Paused
                | State::Finding
                | State::Behind(_)
                    if pended.is_known && pended.unanswered == 0 =>
                {
                    // Somebody may see by now that it is not there: it is never made.
                    doubtful.push(*id);
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
                State::Applied(..) | State::Replayed(..) => {}
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
