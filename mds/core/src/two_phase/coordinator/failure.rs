//! What a coordinator does when another rank dies, and when it comes back.
//!
//! Before the decision everything can be undone, and is: the request is tried anew when the map
//! changes. After it, the dead rank's next life is told again.

use std::collections::BTreeSet;

use common::id::Rank;

use super::{Coordinator, State};
use crate::cx::{Cx, Stop, Wait};
use crate::message::two_phase::TwoPhaseMsg;
use crate::two_phase::post::Post;

impl Coordinator {
    pub fn on_rank_down(&mut self, cx: &mut Cx<'_>, post: &mut Post, dead: Rank) {
        match &self.state {
            State::Locking => {
                // If it was rank 0, it forgot that we asked; we ask again.
                cov_mark::hit!(rank_dies_in_locking);
            }
            State::Pathfinding { .. } => {
                // Discovery asks somebody else; if it was rank 0, we tell its next life that we hold
                // the lock before it grants it to anybody.
                cov_mark::hit!(rank_dies_in_pathfinding);
            }
            State::Looking { seen, .. } => {
                if seen.ranks.contains(&dead) {
                    cov_mark::hit!(participant_dies_in_looking);
                    let ranks = living(&seen.ranks, dead);
                    self.stop(cx, post, &ranks, Stop::Wait(Wait::Map));
                }
            }
            State::Preparing { plan, .. } => {
                if plan.parts.contains_key(&dead) {
                    // It may have promised. Its next life asks, and is told to forget it.
                    cov_mark::hit!(participant_dies_in_preparing);
                    let ranks = plan.parts.keys().copied().collect();
                    self.stop(cx, post, &living(&ranks, dead), Stop::Wait(Wait::Map));
                }
            }
            State::Applying { .. } => {
                // Everybody has promised, durably.
                cov_mark::hit!(participant_dies_in_applying);
            }
            State::Deciding { .. } => {
                cov_mark::hit!(participant_dies_in_deciding);
            }
            State::Committing { .. } => {
                cov_mark::hit!(participant_dies_in_committing);
            }
            State::Blocked { by } => {
                if *by == dead {
                    // Nobody is left who would tell.
                    cov_mark::hit!(rank_dies_in_blocked);
                    self.again(post);
                }
            }
            State::Over => {}
        }
    }

    pub fn on_rank_returned(&mut self, cx: &mut Cx<'_>, post: &mut Post, rank: Rank) {
        match &self.state {
            State::Locking => {
                if rank == Rank::ROOT {
                    cov_mark::hit!(root_returns_after_locking);
                    post.send(cx, rank, TwoPhaseMsg::RenameLock { id: self.id });
                }
            }
            State::Committing { awaited, .. } => {
                if awaited.contains(&rank) {
                    cov_mark::hit!(participant_returns_after_committing);
                    post.send(cx, rank, TwoPhaseMsg::Commit { id: self.id });
                }
            }
            // It is told when the decision is durable.
            State::Applying { .. } | State::Deciding { .. } => {}
            // Undone when it died.
            State::Looking { .. } | State::Preparing { .. } => {}
            State::Pathfinding { .. } | State::Blocked { .. } | State::Over => {}
        }
    }

    /// A participant has promised, and has died since: it wants to know what became of that.
    pub fn on_query(&mut self, cx: &mut Cx<'_>, post: &mut Post, from: Rank) {
        match &self.state {
            State::Committing { .. } => {
                cov_mark::hit!(participant_asks_in_committing);
                post.send(cx, from, TwoPhaseMsg::Commit { id: self.id });
            }
            // It is told when the decision is durable.
            State::Applying { .. } | State::Deciding { .. } => {}
            State::Preparing { plan, .. } => {
                // Its news comes before that of its death. What it is told must hold for all.
                cov_mark::hit!(participant_asks_in_preparing);
                let ranks = plan.parts.keys().copied().collect();
                self.let_go(cx, post, &ranks);
                self.unlock_rename(cx, post);
                self.again(post);
            }
            State::Locking
            | State::Pathfinding { .. }
            | State::Looking { .. }
            | State::Blocked { .. }
            | State::Over => post.send(cx, from, TwoPhaseMsg::Rollback { id: self.id }),
        }
    }
}

fn living(ranks: &BTreeSet<Rank>, dead: Rank) -> BTreeSet<Rank> {
    ranks.iter().copied().filter(|rank| *rank != dead).collect()
}
