//! `InoTable`: which inode numbers of our slot are used up. A number is recorded, durably, before
//! it is lent, so none is ever given twice.

use common::id::{Ino, InoRange, Seq, Slot};
use common::limit::{INO_RANGE, INO_RESERVE};

use crate::effect::{Effect, Effects};
use crate::row::Row;

#[derive(Clone, Debug, Hash)]
pub struct InoTable {
    slot: Slot,
    /// The next counter to lend.
    next: u64,
    /// Counters below are recorded as used, durably.
    durable: u64,
    /// Recorded at this position; not yet known to be durable.
    pending: Option<(Seq, u64)>,
}

impl InoTable {
    /// `used`: what the store has recorded.
    #[must_use]
    pub fn new(slot: Slot, used: u64) -> Self {
        Self { slot, next: used, durable: used, pending: None }
    }

    /// Lends a range. `None`: once the reservation under way is durable.
    pub fn lend(&mut self) -> Option<InoRange> {
        let end = self.next + INO_RANGE;
        if end > self.durable {
            return None;
        }
        let range =
            InoRange { first: Ino::new(self.slot, self.next), last: Ino::new(self.slot, end - 1) };
        self.next = end;
        Some(range)
    }

    /// Begins a reservation if few numbers are left. `seq` is the position of this turn.
    pub fn reserve(&mut self, seq: Seq, out: &mut Effects) {
        if self.pending.is_none() && self.durable < self.next + INO_RESERVE / 2 {
            let until = self.durable.max(self.next) + INO_RESERVE;
            self.pending = Some((seq, until));
            out.put(Row::InoReserved(until));
            out.push(Effect::SyncSoon);
        }
    }

    pub fn on_durable(&mut self, through: Seq) {
        if let Some((seq, until)) = self.pending
            && seq <= through
        {
            self.durable = until;
            self.pending = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lent_before_it_is_durable() {
        let (mut table, mut out) = (InoTable::new(Slot(1), Ino::FIRST_COUNTER), Effects::default());
        assert_eq!(table.lend(), None);
        table.reserve(Seq(5), &mut out);
        table.on_durable(Seq(4));
        assert_eq!(table.lend(), None);
        table.on_durable(Seq(5));
        let (first, second) = (table.lend().unwrap(), table.lend().unwrap());
        assert_eq!(first.first, Ino::new(Slot(1), Ino::FIRST_COUNTER));
        assert!(first.last < second.first);
    }

    #[test]
    fn after_a_restart_numbers_begin_above_all_recorded_ones() {
        let (mut table, mut out) = (InoTable::new(Slot(0), Ino::FIRST_COUNTER), Effects::default());
        table.reserve(Seq(1), &mut out);
        table.on_durable(Seq(1));
        let lent = table.lend().unwrap();
        let Some(Effect::Write(crate::row::Change::Put(Row::InoReserved(used)))) =
            out.drain().next()
        else {
            panic!("a reservation is recorded first");
        };
        let mut restarted = InoTable::new(Slot(0), used);
        restarted.reserve(Seq(9), &mut out);
        restarted.on_durable(Seq(9));
        assert!(restarted.lend().unwrap().first > lent.last);
    }
}
