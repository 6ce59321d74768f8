//! `RenameLock`: at rank 0, which operation may move directories from one parent to another. One at
//! a time, in the whole cluster, until it is settled everywhere: so two of them cannot make a loop.
//!
//! In memory only. A new incarnation of rank 0 grants nothing until every rank has told it which of
//! its operations are not settled; the same goes for a rank that has a new incarnation.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use common::id::{Incarnation, Rank, TwoPhaseId};
use common::mds_map::MdsMap;

use crate::lock::Operation;

#[derive(Clone, Debug, Default, Hash)]
pub struct RenameLock {
    /// At most one, but for those that were under way when this rank or theirs died.
    holders: BTreeSet<Operation>,
    queue: VecDeque<Operation>,
    heard: BTreeMap<Rank, Incarnation>,
}

impl RenameLock {
    pub fn ask(&mut self, operation: Operation) {
        if !self.queue.contains(&operation) && !self.holders.contains(&operation) {
            self.queue.push_back(operation);
        }
    }

    /// Whoever is next, if it is free.
    #[must_use]
    pub fn grant(&mut self, map: &MdsMap) -> Option<Operation> {
        let all_heard = map.ranks.iter().all(|(rank, entry)| {
            self.heard.get(rank).is_some_and(|heard| *heard == entry.incarnation)
        });
        if !all_heard || !self.holders.is_empty() {
            return None;
        }
        let next = self.queue.pop_front()?;
        self.holders.insert(next);
        Some(next)
    }

    /// It is settled, undone, or wants it no more.
    pub fn release(&mut self, operation: Operation) {
        self.holders.remove(&operation);
        self.queue.retain(|other| *other != operation);
    }

    /// What a rank says of its own operations. It counts once for each of its lives: later it may
    /// hold the lock without knowing yet.
    pub fn hear(&mut self, rank: Rank, incarnation: Incarnation, ids: Vec<TwoPhaseId>) {
        if self.heard.get(&rank) == Some(&incarnation) {
            return;
        }
        self.holders.retain(|operation| operation.coordinator != rank);
        self.holders.extend(ids.into_iter().map(|id| Operation { coordinator: rank, id }));
        self.heard.insert(rank, incarnation);
    }

    /// It will never say that what it held the lock for is settled.
    pub fn forget_lost(&mut self, rank: Rank) {
        self.holders.retain(|operation| operation.coordinator != rank);
        self.queue.retain(|operation| operation.coordinator != rank);
    }

    /// Those that only waited need it no more. Those that held it keep it: their coordinator's next
    /// life knows what became of them.
    pub fn forget_waiting(&mut self, rank: Rank, current: Option<Incarnation>) {
        self.queue
            .retain(|operation| operation.coordinator != rank || !operation.is_orphaned(current));
    }
}
