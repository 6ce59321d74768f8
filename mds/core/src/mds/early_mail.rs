//! What lives of other ranks have said before this rank's map shows them.

use std::collections::BTreeMap;

use common::id::{Incarnation, Rank};
use common::mds_map::MdsMap;

use crate::message::PeerMsg;

/// Messages of one life. Its map is at most a moment older than ours will be.
const MESSAGES_MAX: usize = 16 * 1024;

#[derive(Clone, Debug, Default, Hash)]
pub(super) struct EarlyMail {
    /// Of each rank its latest life, and what that has said, in order.
    lives: BTreeMap<Rank, (Incarnation, Vec<PeerMsg>)>,
}

impl EarlyMail {
    pub(super) fn keep(&mut self, from: Rank, incarnation: Incarnation, msg: PeerMsg) {
        cov_mark::hit!(what_a_life_says_before_the_map_shows_it);
        let (latest, messages) = self.lives.entry(from).or_insert((incarnation, Vec::new()));
        if *latest < incarnation {
            (*latest, *messages) = (incarnation, Vec::new());
        }
        if *latest == incarnation && messages.len() < MESSAGES_MAX {
            messages.push(msg);
        }
    }

    /// What is to be heard now. What came from lives that are over is not.
    pub(super) fn due(&mut self, map: &MdsMap) -> Vec<(Rank, Incarnation, PeerMsg)> {
        let is_shown = |from: &Rank, incarnation: Incarnation| {
            map.ranks.get(from).is_some_and(|entry| entry.incarnation >= incarnation)
        };
        let shown =
            self.lives.extract_if(.., |from, (incarnation, _)| is_shown(from, *incarnation));
        let shown = shown.flat_map(|(from, (incarnation, messages))| {
            messages.into_iter().map(move |msg| (from, incarnation, msg))
        });
        shown.collect()
    }
}

#[cfg(test)]
mod tests {
    use common::id::{ClusterId, Slot, TwoPhaseId};
    use common::mds_map::{RankEntry, RankState};

    use super::*;
    use crate::message::two_phase::TwoPhaseMsg;
    use crate::params::Params;

    fn map(incarnation: u64) -> MdsMap {
        let key = common::name::NameHashKey(1, 2);
        let params = Params::new(Rank(0), Slot(0), Incarnation(1), ClusterId(7), key);
        let mut map = super::super::no_map(ClusterId(7), &params);
        let (addr, state) = (([127, 0, 0, 1], 1).into(), RankState::Active);
        let incarnation = Incarnation(incarnation);
        map.ranks.insert(Rank(1), RankEntry { daemon: String::new(), incarnation, addr, state });
        map
    }

    fn holds(id: u64) -> PeerMsg {
        TwoPhaseMsg::RenameHolds { ids: vec![TwoPhaseId(id)] }.into()
    }

    /// A rank came back while the monitor did too, and was `active` before rank 0 had a map that shows it: nobody
    /// got the rename lock any more (`soak.rs`, after the death of a rank and of the monitor).
    #[test]
    fn what_is_said_too_early_is_heard_when_the_map_shows_who_says_it() {
        cov_mark::check!(what_a_life_says_before_the_map_shows_it);
        let mut mail = EarlyMail::default();
        for (incarnation, id) in [(2, 1), (3, 2), (3, 3), (2, 4)] {
            mail.keep(Rank(1), Incarnation(incarnation), holds(id));
        }
        assert_eq!(mail.due(&map(2)), []);
        let heard = [2, 3].map(|id| (Rank(1), Incarnation(3), holds(id)));
        assert_eq!(mail.due(&map(3)), heard);
        assert_eq!(mail.due(&map(3)), []);
    }

    #[test]
    fn who_was_never_shown_is_not_heard() {
        let mut mail = EarlyMail::default();
        mail.keep(Rank(1), Incarnation(3), holds(1));
        let due = mail.due(&map(4));
        assert!(due.iter().all(|(_, incarnation, _)| *incarnation < Incarnation(4)));
        assert_eq!(mail.due(&map(4)), []);
    }
}
