//! The stages of a rank's life: which comes next, and when it may begin.

use common::id::Rank;
use common::mds_map::{MdsMap, RankState};

use super::Monitor;

impl Monitor {
    /// Takes a rank one stage further if it asks for that stage or a later one, and it may begin.
    /// Tells whether the map changed.
    pub(super) fn step(&mut self, rank: Rank, asked: RankState) -> bool {
        let map = &self.stored.map;
        let now_in = map.state(rank);
        if now_in == RankState::Down {
            // Declared dead (M2): its daemon learns it from the map.
            return false;
        }
        if asked == RankState::Down {
            self.end_life(rank);
            return true;
        }
        let Some(next) = next(now_in, is_alone(map, rank)) else { return false };
        if asked < next || !may_begin(map, rank, next) {
            return false;
        }
        if let Some(entry) = self.stored.map.ranks.get_mut(&rank) {
            entry.state = next;
        }
        true
    }
}

/// A rank without others has nobody to settle anything with.
fn is_alone(map: &MdsMap, rank: Rank) -> bool {
    map.ranks.keys().all(|other| *other == rank)
}

fn next(state: RankState, alone: bool) -> Option<RankState> {
    match state {
        RankState::Replay if alone => Some(RankState::Reconnect),
        RankState::Replay => Some(RankState::Resolve),
        RankState::Resolve => Some(RankState::Reconnect),
        RankState::Reconnect => Some(RankState::Rejoin),
        RankState::Rejoin => Some(RankState::Active),
        RankState::Active => Some(RankState::Stopping),
        RankState::Down | RankState::Stopping => None,
    }
}

/// Ranks that start together settle with each other before any takes clients back, so nobody leaves
/// `Resolve` while another still replays. Whom it must hear in `Resolve`, and for how long, a rank
/// knows itself: it asks for the next stage when nothing undecided is left that it can settle.
fn may_begin(map: &MdsMap, rank: Rank, stage: RankState) -> bool {
    match stage {
        RankState::Reconnect => map
            .ranks
            .iter()
            .all(|(other, entry)| *other == rank || entry.state != RankState::Replay),
        RankState::Down
        | RankState::Replay
        | RankState::Resolve
        | RankState::Rejoin
        | RankState::Active
        | RankState::Stopping => true,
    }
}
