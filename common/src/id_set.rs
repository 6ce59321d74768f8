//! `IdSet`: an exact set of request ids, kept as intervals.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::RequestId;

/// A set of ids of one client. Ids are given out in order, so there are few intervals; but they
/// complete in any order and on several ranks, so a watermark would lie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdSet {
    /// First -> last of each interval. Disjoint, not touching.
    intervals: BTreeMap<u64, u64>,
}

impl IdSet {
    #[must_use]
    pub fn contains(&self, id: RequestId) -> bool {
        self.intervals.range(..=id.0).next_back().is_some_and(|(_, last)| *last >= id.0)
    }

    /// Adds an id; tells whether it was absent.
    pub fn insert(&mut self, id: RequestId) -> bool {
        if self.contains(id) {
            return false;
        }
        let before = id.0.checked_sub(1).and_then(|previous| {
            let (first, last) = self.intervals.range(..=previous).next_back()?;
            (*last == previous).then_some(*first)
        });
        let first = before.unwrap_or(id.0);
        let after = id.0.checked_add(1).and_then(|next| self.intervals.remove(&next));
        self.intervals.insert(first, after.unwrap_or(id.0));
        true
    }

    /// Drops every id below `oldest`: its client no longer asks about them.
    pub fn trim_below(&mut self, oldest: RequestId) {
        while let Some((first, last)) = self.intervals.first_key_value().map(|(f, l)| (*f, *l)) {
            if first >= oldest.0 {
                return;
            }
            self.intervals.remove(&first);
            if last >= oldest.0 {
                self.intervals.insert(oldest.0, last);
                return;
            }
        }
    }

    pub fn union(&mut self, other: &Self) {
        for id in other.iter() {
            self.insert(id);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.intervals.iter().flat_map(|(first, last)| (*first..=*last).map(RequestId))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// How many intervals the set needs: its cost.
    #[must_use]
    pub fn intervals(&self) -> usize {
        self.intervals.len()
    }
}

impl FromIterator<RequestId> for IdSet {
    fn from_iter<T: IntoIterator<Item = RequestId>>(ids: T) -> Self {
        let mut set = Self::default();
        for id in ids {
            set.insert(id);
        }
        set
    }
}

#[cfg(test)]
mod tests;
