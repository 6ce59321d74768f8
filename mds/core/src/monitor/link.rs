//! `Link`: a daemon's end of its talk with the monitor: what it says, what it makes of the answers, and
//! how long it may go on without one.
//!
//! - **M6** A rank whose beacons are not acknowledged cannot know whether it was declared dead and
//!   somebody else serves what it held. After half the grace, counted from when the last acknowledged
//!   beacon was *sent*, it stops: so it has stopped before anybody else can have begun. What has arrived
//!   waits; the rank goes on when it is acknowledged again, or ends when it hears that it is dead. Before
//!   the first acknowledgement the shortest grace there may be counts, from when it first registered.
//! - **M7** A life that was declared dead ends, and its daemon begins anew: it hears of it by the map,
//!   which comes before the answer to any beacon sent since, or is refused because a newer one is known.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use common::id::{Incarnation, MapEpoch, Rank, Slot};
use common::limit::BEACON_GRACE_MIN;
use common::mds_map::{MdsMap, RankState};
use common::time::Monotonic;
use common::wire::monitor::{Beacon, FromMonitor, MonitorError, StorePlace, ToMonitor};

/// What beacons say of this daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Myself {
    pub name: String,
    pub slot: Slot,
    pub incarnation: Incarnation,
    pub addr: SocketAddr,
    /// Where a successor would find the store.
    pub place: StorePlace,
}

/// How long this rank may go on without a word from the monitor (**M6**).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leash(Option<Word>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    /// When the last beacon that was acknowledged was sent.
    sent: Monotonic,
    grace: Duration,
}

impl Leash {
    /// Whether the rank may go on.
    #[must_use]
    pub fn is_slack(self, now: Monotonic) -> bool {
        self.taut_since(now).is_none()
    }

    /// Since when the rank may not go on, if so: it may find that out later, as when it has nothing to do
    /// or is stopped, and nobody whom it waits for can reach it meanwhile.
    #[must_use]
    pub fn taut_since(self, now: Monotonic) -> Option<Monotonic> {
        let end = self.0.map(|word| word.sent.after(word.grace / 2));
        end.filter(|end| *end <= now)
    }
}

/// What the daemon is to do about something it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Nothing,
    /// The leash is as long as it can be.
    Acknowledged(Leash),
    /// It holds this rank: the core can begin, with this map.
    Stands {
        rank: Rank,
        map: MdsMap,
    },
    /// For the core.
    Map(MdsMap),
    /// It has to end.
    Ends(Ending),
}

/// Why a daemon has to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// This life must end; the daemon may have another one.
    DeclaredDead,
    /// Another life holds the rank, or nobody ever will.
    Refused(MonitorError),
    /// The configuration is wrong.
    Unwelcome(MonitorError),
    /// It wanted to, and the monitor knows.
    Left,
}

/// What lasts from one connection to the monitor to the next.
#[derive(Clone, Debug)]
pub struct Link {
    me: Myself,
    /// The stage of life the core wants next; `Down` when the daemon leaves.
    wanted: RankState,
    rank: Option<Rank>,
    /// The core was told of its rank.
    stands: bool,
    /// Of the newest map.
    map_epoch: MapEpoch,
    /// Of the last beacon.
    number: u64,
    /// Beacons of this connection that were not acknowledged, and when they were sent.
    sent: BTreeMap<u64, Monotonic>,
    /// The first beacon that said goodbye.
    farewell: Option<u64>,
    leash: Leash,
}

impl Link {
    #[must_use]
    pub fn new(me: Myself) -> Self {
        Self {
            me,
            wanted: RankState::Replay,
            rank: None,
            stands: false,
            map_epoch: MapEpoch(0),
            number: 0,
            sent: BTreeMap::new(),
            farewell: None,
            leash: Leash::default(),
        }
    }

    /// What a connection begins with. What was said on the last one is not answered any more.
    pub fn greet(&mut self, now: Monotonic) -> [ToMonitor; 2] {
        self.sent.clear();
        // The first time only: nobody need have heard it, and the monitor counts from what it has heard.
        self.leash.0.get_or_insert(Word { sent: now, grace: BEACON_GRACE_MIN });
        let Myself { name, slot, place, .. } = self.me.clone();
        [ToMonitor::Register { daemon: name, slot, place }, ToMonitor::Subscribe]
    }

    /// Tells whether that is new; then the monitor should hear of it at once.
    pub fn want(&mut self, state: RankState) -> bool {
        let new = self.wanted != state;
        self.wanted = state;
        new
    }

    /// The sign of life of a core that has turned so often.
    pub fn beacon(&mut self, now: Monotonic, turns: u64) -> ToMonitor {
        self.number += 1;
        self.sent.insert(self.number, now);
        if self.wanted == RankState::Down {
            self.farewell.get_or_insert(self.number);
        }
        ToMonitor::Beacon(Beacon {
            daemon: self.me.name.clone(),
            slot: self.me.slot,
            incarnation: self.me.incarnation,
            addr: self.me.addr,
            state: self.wanted,
            map_epoch: self.map_epoch,
            turns,
            number: self.number,
        })
    }

    pub fn hear(&mut self, answer: FromMonitor) -> Heard {
        match answer {
            FromMonitor::BeaconAck { number, rank, grace } => {
                self.rank = self.rank.or(rank);
                self.on_ack(number, grace)
            }
            FromMonitor::Map(map) => self.on_map(map),
            FromMonitor::Refused(error) => Heard::Ends(match error {
                MonitorError::StaleIncarnation
                | MonitorError::UnknownSlot(_)
                | MonitorError::Lost(_) => Ending::Refused(error),
                MonitorError::Role { .. }
                | MonitorError::Malformed
                | MonitorError::NoRank(_)
                | MonitorError::NotDown { .. }
                | MonitorError::RootLost => Ending::Unwelcome(error),
            }),
            FromMonitor::Slot { .. }
            | FromMonitor::Done
            | FromMonitor::StandByAck { .. }
            | FromMonitor::TakeOver(_)
            | FromMonitor::Description(_) => Heard::Nothing,
        }
    }

    fn on_ack(&mut self, number: u64, grace: Duration) -> Heard {
        let sent = self.sent.get(&number).copied();
        self.sent.retain(|other, _| *other > number);
        if self.farewell.is_some_and(|farewell| number >= farewell) {
            return Heard::Ends(Ending::Left);
        }
        let Some(sent) = sent else { return Heard::Nothing };
        self.leash = Leash(Some(Word { sent, grace }));
        Heard::Acknowledged(self.leash)
    }

    fn on_map(&mut self, map: MdsMap) -> Heard {
        if map.epoch <= self.map_epoch && self.stands {
            return Heard::Nothing;
        }
        self.map_epoch = self.map_epoch.max(map.epoch);
        let rank = self.rank.or_else(|| map.rank_of(self.me.slot));
        let Some((rank, entry)) = rank.and_then(|rank| Some((rank, map.ranks.get(&rank)?))) else {
            return Heard::Nothing;
        };
        if entry.incarnation != self.me.incarnation {
            return Heard::Nothing;
        }
        if entry.state == RankState::Down && self.wanted != RankState::Down {
            return Heard::Ends(Ending::DeclaredDead);
        }
        if self.stands {
            return Heard::Map(map);
        }
        self.stands = true;
        Heard::Stands { rank, map }
    }

    #[must_use]
    pub fn leash(&self) -> Leash {
        self.leash
    }

    #[must_use]
    pub fn map_epoch(&self) -> MapEpoch {
        self.map_epoch
    }

    #[must_use]
    pub fn wanted(&self) -> RankState {
        self.wanted
    }
}

#[cfg(test)]
mod tests;
