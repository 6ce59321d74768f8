//! `Dice`: everything random in a run comes from one seed.

use std::time::Duration;

/// SplitMix64: small, quick, good enough to choose schedules with; its whole state is one number.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.throw() % end
    }

    /// An index into something of that length, which is not 0.
    pub fn index(&mut self, length: usize) -> usize {
        let length = u64::try_from(length).expect("lengths fit 64 bits");
        usize::try_from(self.below(length)).expect("below a length")
    }

    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// Something between the two, more often near the shorter: most things are quick, some are not.
    pub fn wait(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let span = u64::try_from((longest - shortest).as_nanos()).unwrap_or(u64::MAX).max(1);
        let span = if self.percent(80) { span / 10 + 1 } else { span };
        shortest + Duration::from_nanos(self.below(span))
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { Some(&from[self.index(from.len())]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_one_sequence() {
        let six = |seed| {
            let mut dice = Dice::new(seed);
            (0..20).map(|_| dice.below(6)).collect::<Vec<_>>()
        };
        assert_eq!(six(7), six(7));
        assert_ne!(six(7), six(8));
    }

    #[test]
    fn waits_keep_their_bounds() {
        let mut dice = Dice::new(1);
        let (short, long) = (Duration::from_micros(20), Duration::from_millis(2));
        assert!((0..1000).map(|_| dice.wait(short, long)).all(|wait| short <= wait && wait < long));
    }
}
