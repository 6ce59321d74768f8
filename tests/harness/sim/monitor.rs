//! A monitor for the simulator: grants what ranks ask for, notices deaths late.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use common::id::{ClusterId, MapEpoch, Rank, Slot};
use common::mds_map::{MdsMap, RankEntry, RankState, Switch};
use common::name::NameHashKey;

use super::network::Life;

#[derive(Clone, Debug)]
pub struct Monitor {
    map: MdsMap,
}

impl Monitor {
    /// A cluster whose ranks have the slots of their own number.
    #[must_use]
    pub fn new(cluster: ClusterId, name_hash_key: NameHashKey, ranks: u16) -> Self {
        let slots = (0..ranks).map(|rank| (Slot(rank), Rank(rank))).collect();
        Self {
            map: MdsMap {
                epoch: MapEpoch(1),
                cluster,
                name_hash_key,
                ranks: BTreeMap::new(),
                slots,
                data_stores: Vec::new(),
                balancer: Switch::Off,
                lost: std::collections::BTreeSet::new(),
            },
        }
    }

    #[must_use]
    pub fn map(&self) -> &MdsMap {
        &self.map
    }

    /// A daemon's beacon: it lives, and asks for a stage of life. Tells whether the map changed.
    pub fn beacon(&mut self, life: Life, wanted: RankState) -> bool {
        let known = self.map.ranks.get(&life.rank);
        let (newer, state) = match known {
            Some(entry) if entry.incarnation > life.incarnation => return false,
            Some(entry) if entry.incarnation == life.incarnation => (false, entry.state),
            Some(_) | None => (true, RankState::Replay),
        };
        // Stages are passed in order; the dead do not come back under the same incarnation.
        let state =
            if !newer && wanted > state && state != RankState::Down { wanted } else { state };
        if known.is_some_and(|entry| !newer && entry.state == state) {
            return false;
        }
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 7000 + life.rank.0));
        let entry = RankEntry {
            daemon: format!("mds.{}", life.rank),
            incarnation: life.incarnation,
            addr,
            state,
        };
        self.map.ranks.insert(life.rank, entry);
        self.next_epoch();
        true
    }

    /// No beacon came for the grace. Tells whether the map changed.
    pub fn grace_over(&mut self, life: Life) -> bool {
        let entry = self.map.ranks.get_mut(&life.rank);
        let Some(entry) = entry.filter(|entry| entry.incarnation == life.incarnation) else {
            return false;
        };
        entry.state = RankState::Down;
        self.next_epoch();
        true
    }

    pub fn switch_balancer(&mut self, to: Switch) {
        self.map.balancer = to;
        self.next_epoch();
    }

    fn next_epoch(&mut self) {
        self.map.epoch = MapEpoch(self.map.epoch.0 + 1);
    }
}

#[cfg(test)]
mod tests {
    use common::id::Incarnation;

    use super::*;

    fn life(incarnation: u64) -> Life {
        Life { rank: Rank(0), incarnation: Incarnation(incarnation) }
    }

    #[test]
    fn a_rank_climbs_and_falls() {
        let mut monitor = Monitor::new(ClusterId(1), NameHashKey(1, 2), 1);
        assert!(monitor.beacon(life(1), RankState::Active));
        assert_eq!(monitor.map().state(Rank(0)), RankState::Replay);
        assert!(monitor.beacon(life(1), RankState::Active));
        assert!(!monitor.beacon(life(1), RankState::Active));
        assert!(monitor.beacon(life(2), RankState::Active));
        assert!(!monitor.beacon(life(1), RankState::Active));
        assert!(!monitor.grace_over(life(1)));
        assert!(monitor.grace_over(life(2)));
        assert!(!monitor.beacon(life(2), RankState::Active));
        assert_eq!(monitor.map().incarnation(Rank(0)), None);
    }
}
