//! From the decision on: it is made durable, told, and settled everywhere.

use std::collections::BTreeSet;

use common::id::{Rank, Seq};

use super::{Answering, Coordinator, State};
use crate::cx::Cx;
use crate::journal::entry::Entry;
use crate::kill_point::KillPoint;
use crate::message::two_phase::TwoPhaseMsg;
use crate::two_phase::part::Acks;
use crate::two_phase::post::Post;

/// The content of [`State::Committing`], on its way from one to the next.
struct Committing {
    decision: Seq,
    awaited: BTreeSet<Rank>,
    acks: Acks,
    answer: Answering,
}

impl Coordinator {
    pub fn on_durable(&mut self, cx: &mut Cx<'_>, post: &mut Post, through: Seq) {
        if !matches!(&self.state, State::Deciding { decision, .. } if *decision <= through) {
            return;
        }
        let state = std::mem::replace(&mut self.state, State::Over);
        let State::Deciding { decision, participants, acks, answer } = state else { return };
        cx.out.reached(KillPoint::DecisionDurable);
        // This rank's own part is done, and cannot be lost: the locks it took for itself end. Had
        // anybody seen it before, power loss would have left clients with pins that nobody gave.
        post.send(cx, cx.me(), TwoPhaseMsg::Rollback { id: self.id });
        let participants: BTreeSet<Rank> =
            participants.into_iter().filter(|rank| !cx.map.lost.contains(rank)).collect();
        for rank in &participants {
            post.send(cx, *rank, TwoPhaseMsg::Commit { id: self.id });
        }
        cx.out.reached(KillPoint::CommitSent);
        let awaited = participants;
        self.over_when_settled(cx, post, Committing { decision, awaited, acks, answer });
    }

    /// What a lost rank had promised is lost with it, and nobody waits for that.
    pub fn on_rank_lost(&mut self, cx: &mut Cx<'_>, post: &mut Post, lost: Rank) {
        match &mut self.state {
            State::Deciding { participants, .. } => {
                participants.remove(&lost);
            }
            State::Committing { awaited, .. } if awaited.contains(&lost) => {
                cov_mark::hit!(participant_is_lost_in_committing);
                self.on_settled(cx, post, lost);
            }
            // Promised by all; it is left out when that is decided.
            State::Applying { .. } => {}
            // What it has to do with these ended with its life.
            State::Locking
            | State::Pathfinding { .. }
            | State::Looking { .. }
            | State::Preparing { .. }
            | State::Committing { .. }
            | State::Blocked { .. }
            | State::Over => {}
        }
    }

    pub fn on_settled(&mut self, cx: &mut Cx<'_>, post: &mut Post, from: Rank) {
        self.change_committing(cx, post, |committing| {
            committing.awaited.remove(&from);
        });
    }

    /// A holder of a replica of ours knows, or is no more.
    pub fn on_acked(&mut self, cx: &mut Cx<'_>, post: &mut Post, remove: impl Fn(&mut Acks)) {
        if let State::Deciding { acks, .. } = &mut self.state {
            remove(acks);
            return;
        }
        self.change_committing(cx, post, |committing| remove(&mut committing.acks));
    }

    fn change_committing(
        &mut self,
        cx: &mut Cx<'_>,
        post: &mut Post,
        change: impl FnOnce(&mut Committing),
    ) {
        let state = std::mem::replace(&mut self.state, State::Over);
        if let State::Committing { decision, awaited, acks, answer } = state {
            let mut committing = Committing { decision, awaited, acks, answer };
            change(&mut committing);
            self.over_when_settled(cx, post, committing);
        } else {
            self.state = state;
        }
    }

    fn over_when_settled(&mut self, cx: &mut Cx<'_>, post: &mut Post, committing: Committing) {
        let Committing { decision, awaited, acks, answer } = committing;
        if !awaited.is_empty() || !acks.is_empty() {
            self.state = State::Committing { decision, awaited, acks, answer };
            return;
        }
        let committed = post.journal(cx, Entry::Committed { id: self.id });
        post.trim(committed, vec![decision, committed]);
        self.unlock_rename(cx, post);
        match answer {
            Answering::Settled(done) => self.end(post, Some(decision), done),
            Answering::Answered => {}
        }
        self.state = State::Over;
    }
}
