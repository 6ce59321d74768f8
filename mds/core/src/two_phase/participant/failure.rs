//! What a participant does when the coordinator dies, and when it comes back.
//!
//! The rank that lives on never undoes a promise by itself (**P2**): it waits for the coordinator's
//! next life and asks. What it has not promised yet ends at once.

use super::{Participant, State};
use crate::cx::Cx;
use crate::message::two_phase::TwoPhaseMsg;
use crate::two_phase::post::Post;

impl Participant {
    pub fn on_coordinator_down(&mut self, cx: &mut Cx<'_>, post: &mut Post) {
        self.state = match std::mem::replace(&mut self.state, State::Over) {
            State::Looking { .. } => {
                cov_mark::hit!(coordinator_dies_in_looking);
                self.let_go(cx, post);
                State::Over
            }
            State::Locked => {
                cov_mark::hit!(coordinator_dies_in_locked);
                self.let_go(cx, post);
                State::Over
            }
            state @ State::Promising { .. } => {
                // The promise may be durable already. When it is known to be, its next life is asked.
                cov_mark::hit!(coordinator_dies_in_promising);
                state
            }
            State::Prepared { prepare, part } => {
                cov_mark::hit!(coordinator_dies_in_prepared);
                State::InDoubt { prepare, part }
            }
            State::InDoubt { prepare, part } => {
                cov_mark::hit!(coordinator_dies_in_in_doubt);
                State::InDoubt { prepare, part }
            }
            state @ State::Committing { .. } => {
                // It had decided, durably. Its next life asks again, and is told.
                cov_mark::hit!(coordinator_dies_in_committing);
                state
            }
            state @ State::Settling { .. } => {
                cov_mark::hit!(coordinator_dies_in_settling);
                state
            }
            State::Over => State::Over,
        };
    }

    /// The coordinator's journal is destroyed: nobody knows what it had decided.
    pub fn on_coordinator_lost(&mut self, cx: &mut Cx<'_>, post: &mut Post) {
        match &self.state {
            State::InDoubt { .. } => {
                cov_mark::hit!(coordinator_is_lost_in_in_doubt);
                tracing::warn!(
                    coordinator = self.operation.coordinator.0,
                    operation = self.operation.id.0,
                    "what a lost rank had begun with this one is taken back"
                );
                self.on_rollback(cx, post);
            }
            // In doubt once it is durable.
            State::Promising { .. } => {}
            // Ended when the coordinator died.
            State::Looking { .. } | State::Locked | State::Prepared { .. } => {}
            // It had decided.
            State::Committing { .. } | State::Settling { .. } | State::Over => {}
        }
    }

    /// The coordinator can be reached, perhaps again; or this rank has come back itself.
    pub fn ask_for_verdict(&mut self, cx: &mut Cx<'_>, post: &mut Post) {
        match &self.state {
            State::InDoubt { .. } => {
                cov_mark::hit!(coordinator_returns_after_in_doubt);
                let id = self.operation.id;
                post.send(cx, self.operation.coordinator, TwoPhaseMsg::Query { id });
            }
            // Asked when it is durable, if the coordinator is not the same any more.
            State::Promising { .. } => {}
            // `Settled` is sent when it is, and answers the `Commit` that comes again.
            State::Committing { .. } | State::Settling { .. } => {}
            // Begun by the life that is heard of only now.
            State::Looking { .. } | State::Locked | State::Prepared { .. } | State::Over => {}
        }
    }
}
