//! Whom an event happens to, and who may say something to whom before the end: what
//! [`crate::explore::reduction`] goes by.

use common::id::Incarnation;
use common::mds_map::{MdsMap, RankState};
use mds_core::timer::Timer;

use super::{Id, Key, Model, Steps};
use crate::explore::event::Event;
use crate::explore::reduction::{Lanes, Reach, lane_bit};
use crate::explore::state::{Left, Party, State};

impl Model {
    /// Nothing can go wrong any more, and there will be no other map.
    #[must_use]
    pub fn is_settled(&self, state: &State) -> bool {
        let Left { orders: _, calls: _, asks, trims, crashes, cancels, deadlines } = state.left;
        let is_there =
            |rank| self.node(state, rank).process.is_some() || self.world.buried.contains(&rank);
        [asks, trims, crashes, cancels, deadlines] == [0; 5]
            && self.is_last(self.map(state))
            && self.ranks().all(is_there)
    }

    /// Everybody serves who ever will.
    fn is_last(&self, map: &MdsMap) -> bool {
        map.ranks.iter().all(|(rank, entry)| match entry.state {
            RankState::Active => true,
            RankState::Down => {
                self.world.buried.contains(rank) && entry.incarnation > Incarnation(0)
            }
            _ => false,
        })
    }

    #[must_use]
    pub fn last_maps(&self) -> Vec<Id> {
        self.maps.ids().filter(|id| self.is_last(self.maps.at(*id))).collect()
    }

    /// To whom an event of a settled world happens; `None`: to several.
    #[must_use]
    pub fn party_of(&self, state: &State, event: Event) -> Option<Party> {
        match event {
            Event::Deliver { to, .. } => Some(to),
            Event::LastWords(_)
            | Event::Call
            | Event::ClientMap
            | Event::Connect(_)
            | Event::ClientTimer(_) => Some(Party::Client),
            Event::Sync(rank) | Event::Fetched(rank, _) | Event::Sweep(rank) | Event::Map(rank) => {
                Some(Party::Rank(rank))
            }
            Event::Order => self.still_asked(state).next(),
            Event::Down(_)
            | Event::Start(_)
            | Event::Grant(_)
            | Event::Ask(_)
            | Event::Trim(_)
            | Event::Cancel(_)
            | Event::Deadline { .. }
            | Event::Patience
            | Event::Die { .. } => None,
        }
    }

    /// Whom the operator is still to order something, the next first.
    pub fn still_asked(&self, state: &State) -> impl Iterator<Item = Party> + use<'_> {
        let given = self.world.orders.len() - usize::from(state.left.orders);
        self.world.orders[given..].iter().map(|order| Party::Rank(order.at))
    }

    /// To which lanes everybody may write if this is the last map, by the steps seen so far.
    #[must_use]
    pub fn reach(&self, map: Id) -> Reach {
        Reach {
            ranks: self.reach_by(map, &self.steps, self.nodes.len()),
            clients: self.reach_by(map, &self.client_steps, self.clients.len()),
        }
    }

    fn reach_by(&self, map: Id, steps: &Steps, nodes: usize) -> Vec<Lanes> {
        let known = steps.iter().filter(|((_, key), _)| self.may_happen(map, key));
        let known = known.map(|((before, _), stepped)| {
            let sent = stepped.sent.iter();
            let lanes = sent.fold(0, |all, (to, lane, _)| all | lane_bit(*to, *lane));
            (before.index(), stepped.node.index(), lanes)
        });
        let known: Vec<(usize, usize, Lanes)> = known.collect();
        let mut reach = vec![0; nodes];
        let mut grows = true;
        while grows {
            grows = false;
            for (before, after, lanes) in &known {
                let more = reach[*before] | reach[*after] | lanes;
                grows |= more != reach[*before];
                reach[*before] = more;
            }
        }
        reach
    }

    /// Whether a step may be taken after a state that is settled with this map has been seen, and before
    /// nothing else happens.
    fn may_happen(&self, map: Id, key: &Key) -> bool {
        match key {
            Key::Map(other) => *other == map,
            Key::Die(_) | Key::Start(_) | Key::Cancel => false,
            Key::Timer(timer) => self.world.sweeps_early && *timer == Timer::Sweep,
            Key::Message(_)
            | Key::Sync
            | Key::Fetched(_)
            | Key::Order(_)
            | Key::Call(_)
            | Key::Connect(_)
            | Key::ClientTimer(_) => true,
        }
    }

    /// Whether an event has taken something away that is checked of several ranks at once.
    #[must_use]
    pub fn took_away(&self, before: &State, after: &State) -> bool {
        let less = |rank| {
            self.node_id(before, Party::Rank(rank)) != self.node_id(after, Party::Rank(rank))
                && !self.view(after, rank).claims_all_of(self.view(before, rank))
        };
        before.owner != after.owner || self.ranks().any(less)
    }
}
