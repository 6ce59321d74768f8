//! `NumberPool`: inode numbers that ranks have lent, and how far we have used them.
//!
//! A range travels with a session when a subtree moves, so several ranks may accept the same one;
//! a number is used once all the same.

use std::collections::{BTreeMap, BTreeSet};

use common::id::{Ino, InoRange, Rank};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct NumberPool {
    ranges: BTreeMap<InoRange, Lent>,
    /// Numbers taken for requests that were not carried out.
    returned: BTreeSet<Ino>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Lent {
    /// Numbers before this one are used.
    next: u64,
    /// Who accepts them.
    ranks: BTreeSet<Rank>,
}

impl NumberPool {
    /// `rank` accepts these. A range that is known already goes on where it was.
    pub(crate) fn add(&mut self, rank: Rank, range: InoRange) {
        let lent = self
            .ranges
            .entry(range)
            .or_insert_with(|| Lent { next: range.first.0, ranks: BTreeSet::new() });
        lent.ranks.insert(rank);
    }

    /// It accepts none of what it has lent any more.
    pub(crate) fn drop_rank(&mut self, rank: Rank) {
        for lent in self.ranges.values_mut() {
            lent.ranks.remove(&rank);
        }
    }

    /// Whether `rank` takes this number for something new.
    pub(crate) fn accepts(&self, rank: Rank, ino: Ino) -> bool {
        self.ranges.iter().any(|(range, lent)| range.contains(ino) && lent.ranks.contains(&rank))
    }

    pub(crate) fn take(&mut self, rank: Rank) -> Option<Ino> {
        if let Some(ino) = self.returned.iter().find(|ino| self.accepts(rank, **ino)).copied() {
            self.returned.remove(&ino);
            return Some(ino);
        }
        let (_, lent) = self
            .ranges
            .iter_mut()
            .find(|(range, lent)| lent.next <= range.last.0 && lent.ranks.contains(&rank))?;
        lent.next += 1;
        Some(Ino(lent.next - 1))
    }

    /// A number was not used after all.
    pub(crate) fn give_back(&mut self, ino: Ino) {
        self.returned.insert(ino);
    }

    /// How many `rank` would still take.
    pub(crate) fn left(&self, rank: Rank) -> u64 {
        self.ranges
            .iter()
            .filter(|(_, lent)| lent.ranks.contains(&rank))
            .map(|(range, lent)| (range.last.0 + 1).saturating_sub(lent.next))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Rank = Rank(0);
    const B: Rank = Rank(1);

    fn range(first: u64, last: u64) -> InoRange {
        InoRange { first: Ino(first), last: Ino(last) }
    }

    #[test]
    fn a_range_lent_twice_is_used_once() {
        let mut pool = NumberPool::default();
        pool.add(A, range(10, 12));
        assert_eq!(pool.take(A), Some(Ino(10)));
        assert_eq!(pool.take(B), None);
        pool.add(B, range(10, 12));
        assert_eq!(pool.take(B), Some(Ino(11)));
        pool.add(A, range(10, 12));
        assert_eq!(pool.left(A), 1);
        assert_eq!(pool.take(A), Some(Ino(12)));
        assert_eq!(pool.take(A), None);
    }

    #[test]
    fn a_number_given_back_is_taken_again() {
        let mut pool = NumberPool::default();
        pool.add(A, range(10, 10));
        let ino = pool.take(A).unwrap();
        pool.give_back(ino);
        assert_eq!(pool.take(A), Some(ino));
        assert_eq!(pool.take(A), None);
    }
}
