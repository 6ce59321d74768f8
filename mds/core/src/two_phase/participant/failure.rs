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
        match &self.state {
            State::Looking { .. } => {
                cov_mark::hit!(coordinator_dies_in_looking);
                self.let_go(cx, post);
            }
            State::Locked => {
                cov_mark::hit!(coordinator_dies_in_locked);
                self.let_go(cx, post);
            }
            State::Promising { .. } => {
                // The promise may be durable already: its next life must be asked.
                cov_mark::hit!(coordinator_dies_in_promising);
            }
            State::Prepared { .. } => {
                cov_mark::hit!(coordinator_dies_in_prepared);
            }
            State::Committing { .. } => {
                // It had decided, durably. It will ask again, and be told.
                cov_mark::hit!(coordinator_dies_in_committing);
            }
            State::Settling { .. } => {
                cov_mark::hit!(coordinator_dies_in_settling);
            }
            State::Over => {}
        }
    }

    pub fn on_coordinator_returned(&mut self, cx: &mut Cx<'_>, post: &mut Post) {
        match &self.state {
            State::Prepared { .. } => {
                cov_mark::hit!(coordinator_returns_after_prepared);
                let id = self.operation.id;
                post.send(cx, self.operation.coordinator, TwoPhaseMsg::Query { id });
            }
            // `Prepared` is sent when it is durable, and is as good as a query.
            State::Promising { .. } => {}
            // `Settled` is sent when it is, and answers the `Commit` that comes again.
            State::Committing { .. } | State::Settling { .. } => {}
            // Ended when the coordinator died.
            State::Looking { .. } | State::Locked | State::Over => {}
        }
    }
}
