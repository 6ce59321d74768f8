//! Loads: requests counted by directory, decayed by half each epoch.

use std::collections::BTreeMap;
use std::time::Duration;

use common::id::Ino;

/// A rate that forgets: half of it is the last epoch, half of the rest the one before, and so on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DecayCounter {
    /// Since the epoch began.
    hits: u64,
    /// Per second, times 1,000 so that small rates do not vanish.
    milli_per_second: u64,
}

impl DecayCounter {
    pub fn hit(&mut self) {
        self.hits += 1;
    }

    pub fn end_epoch(&mut self, epoch: Duration) {
        let millis = u64::try_from(epoch.as_millis()).unwrap_or(u64::MAX).max(1);
        let latest = self.hits.saturating_mul(1_000_000) / millis;
        self.milli_per_second = self.milli_per_second.midpoint(latest);
        self.hits = 0;
    }

    /// Per second.
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.milli_per_second / 1000
    }
}

#[derive(Clone, Debug, Default, Hash)]
pub struct Loads {
    dirs: BTreeMap<Ino, DecayCounter>,
    total: DecayCounter,
}

impl Loads {
    pub fn hit(&mut self, dir: Ino) {
        self.dirs.entry(dir).or_default().hit();
        self.total.hit();
    }

    /// Directories that nobody asks about any more are dropped.
    pub fn end_epoch(&mut self, epoch: Duration) {
        self.total.end_epoch(epoch);
        self.dirs.retain(|_, counter| {
            counter.end_epoch(epoch);
            counter.rate() > 0
        });
    }

    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.rate()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Ino, u64)> + '_ {
        self.dirs.iter().map(|(dir, counter)| (*dir, counter.rate()))
    }
}
