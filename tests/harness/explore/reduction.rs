//! `Reduction`: of all that can happen next, a part that is enough (a persistent set).
//!
//! **When.** Only in a *settled* state: nothing can go wrong any more, every rank is there, and the map is
//! the last there will be. Then an event happens to one party: it takes from what is on its way to that
//! party and adds to the ends of lanes to others. Before that everything is tried.
//!
//! **What.** The events of a set of parties such that nobody else can put anything into an *empty* lane
//! to one of them before one of them has moved. Until then they have the same events to choose from as now,
//! and those do the same: what is added to a lane that is not empty lies behind its head. So if an
//! execution from here has one of these events, the first of them can be moved to its front; if it has
//! none, any of them can be put before it. (Deadlines, and what else waits until nothing happens, come
//! after all of these.)
//!
//! **Nothing is put off for ever**: one of the events leads to a state that is expanded later than this
//! one, or else all are tried. So, by induction over the length of an execution, and then over the order of
//! expansion from its end: for each execution from a state that is expanded, there is one through states that are
//! expanded in which every party takes the same steps in the same order, and perhaps some more
//! after them.
//!
//! **What is checked** is found all the same. Of one rank alone: its steps are the same. At rest: nothing
//! can be added to an execution that has come to rest, so it ends in the same state. In every state, of
//! several ranks at once, it is who serves and who lists itself alone, and each pair of such facts is wrong
//! whatever else is true. An event that takes no such fact away may be put before others: each state
//! passed over has no more of them than the one seen in its stead. If one of a set takes some away, or
//! changes the owner, the set will not do.
//!
//! **Who can say what** is known by the steps of single parties: [`Reach`] is, of each node and last map,
//! the lanes to which somebody in that state may write before the end, by any steps that any world has
//! shown. Steps not seen yet are not in it; so at the end, what was chosen is compared with what is known
//! then, and where it will not do all is tried after all, until nothing new is learned. Then it is whole: were
//! there executions from expanded states with steps never seen, take one with as few steps before it as
//! possible, from the state expanded last. All steps before it were seen, so what was said above of the set
//! chosen there is true of it: it can be begun with a step of the set, and then there is one with fewer steps, or
//! from a state expanded later.

use std::collections::BTreeMap;

use super::arena::Id;
use super::event::Event;
use super::model::Model;
use super::rank::Lane;
use super::state::{PARTIES_MAX, Party, State};

/// Parties, a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parties(u8);

impl Parties {
    /// All there can be.
    pub const ALL: Self = Self((1 << PARTIES_MAX) - 1);

    #[must_use]
    pub fn has(self, party: Party) -> bool {
        self.0 & (1 << party.index()) != 0
    }

    fn has_all(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

impl FromIterator<Party> for Parties {
    fn from_iter<T: IntoIterator<Item = Party>>(parties: T) -> Self {
        Self(parties.into_iter().fold(0, |all, party| all | 1 << party.index()))
    }
}

/// Lanes of one sender, a bit each.
pub type Lanes = u16;

#[must_use]
pub fn lane_bit(to: Party, lane: Lane) -> Lanes {
    let bulk = match lane {
        Lane::Ordered => 0,
        Lane::Bulk => PARTIES_MAX,
    };
    1 << (to.index() + bulk)
}

/// Lanes that may be written to, by number of node.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    pub ranks: Vec<Lanes>,
    pub clients: Vec<Lanes>,
}

impl Reach {
    fn of(&self, party: Party, node: Id) -> Lanes {
        let nodes = match party {
            Party::Rank(_) => &self.ranks,
            Party::Client => &self.clients,
        };
        nodes.get(node.index()).copied().unwrap_or(0)
    }

    /// Whether nothing more is known now than then.
    fn covers(&self, now: &Self) -> bool {
        let covers = |then: &[Lanes], now: &[Lanes]| {
            let then = then.iter().copied().chain(std::iter::repeat(0));
            now.iter().zip(then).all(|(now, then)| now & !then == 0)
        };
        covers(&self.ranks, &now.ranks) && covers(&self.clients, &now.clients)
    }
}

#[derive(Debug, Default)]
pub struct Reduction {
    /// For each map that may be the last.
    reach: BTreeMap<Id, Reach>,
    /// Steps known when it was worked out.
    steps: usize,
    /// All that was chosen is right by what is known.
    checked: bool,
}

impl Reduction {
    /// From time to time; the answers of before may be wrong then.
    pub fn learn_sometimes(&mut self, model: &Model) {
        if model.steps_seen() > self.steps + self.steps / 4 {
            self.learn(model);
        }
    }

    /// What the steps seen so far teach. Whether that is news.
    pub fn learn(&mut self, model: &Model) -> bool {
        let now: BTreeMap<Id, Reach> =
            model.last_maps().into_iter().map(|map| (map, model.reach(map))).collect();
        let none = Reach::default();
        let news = now.iter().any(|(map, now)| !self.reach.get(map).unwrap_or(&none).covers(now));
        self.reach = now;
        self.steps = model.steps_seen();
        self.checked &= !news;
        news
    }

    pub fn set_checked(&mut self) {
        self.checked = true;
    }

    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.checked
    }

    /// Parties whose events are enough, the fewest events first; none if all are needed.
    #[must_use]
    pub fn candidates(&self, state: &State, model: &Model, events: &[Event]) -> Vec<Parties> {
        if events.len() < 2 || !model.is_settled(state) {
            return Vec::new();
        }
        let at = events.iter().map(|event| model.party_of(state, *event));
        let Some(at) = at.collect::<Option<Vec<Party>>>() else { return Vec::new() };
        let busy: Parties = at.iter().copied().collect();
        let asked: Parties = model.still_asked(state).collect();
        let mut found = Vec::new();
        for set in (1..Parties::ALL.0).map(Parties) {
            let sensible = busy.has_all(set) && set != busy && set.has_all(asked);
            if sensible && self.is_undisturbed(state, model, set) {
                let count = at.iter().filter(|party| set.has(**party)).count();
                found.push((count, set));
            }
        }
        found.sort_by_key(|(count, _)| *count);
        found.into_iter().map(|(_, set)| set).collect()
    }

    /// Nobody else can put anything into an empty lane to one of these.
    #[must_use]
    pub fn is_undisturbed(&self, state: &State, model: &Model, set: Parties) -> bool {
        let Some(reach) = self.reach.get(&state.map) else { return true };
        let mut others = model.parties().filter(|party| !set.has(*party));
        others.all(|from| {
            let may = reach.of(from, model.node_id(state, from));
            let mut inside = model.parties().filter(|party| set.has(*party));
            inside.all(|to| {
                [Lane::Ordered, Lane::Bulk].into_iter().all(|lane| {
                    may & lane_bit(to, lane) == 0
                        || model.first_in_lane(state, from, to, lane).is_some()
                })
            })
        })
    }
}
