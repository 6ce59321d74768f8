//! `Wishes`: directories that we would have for ourselves because we make changes there.

use std::collections::BTreeMap;
use std::time::Duration;

use common::id::Ino;
use common::limit::{HOLD_CHANGES, HOLD_REST};
use common::time::Monotonic;

/// Directories to keep in mind. What is beyond is not asked for.
const WISHES_MAX: usize = 4096;
/// How long a change counts.
const FORGOTTEN: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Wishes(BTreeMap<Ino, Wish>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Wish {
    /// Since it was asked for last.
    changes: u32,
    last: Monotonic,
    not_before: Monotonic,
}

impl Wishes {
    /// Something was changed there. Tells whether it is time to ask.
    pub(super) fn changed(&mut self, dir: Ino, now: Monotonic) -> bool {
        if self.0.len() >= WISHES_MAX && !self.0.contains_key(&dir) {
            return false;
        }
        let none = Wish { changes: 0, last: now, not_before: now };
        let wish = self.0.entry(dir).or_insert(none);
        (wish.changes, wish.last) = (wish.changes.saturating_add(1), now);
        let is_time = wish.changes >= HOLD_CHANGES && wish.not_before <= now;
        if is_time {
            wish.changes = 0;
        }
        is_time
    }

    pub(super) fn rests(&mut self, dir: Ino, now: Monotonic) {
        let not_before = now.after(HOLD_REST);
        self.0.insert(dir, Wish { changes: 0, last: now, not_before });
    }

    pub(super) fn trim(&mut self, now: Monotonic) {
        self.0.retain(|_, wish| wish.last.after(FORGOTTEN) > now || wish.not_before > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIR: Ino = Ino(0x10);
    const NOW: Monotonic = Monotonic(1_000_000_000);

    #[test]
    fn it_is_asked_for_after_some_changes() {
        let mut wishes = Wishes::default();
        let asks: Vec<bool> = (0..2 * HOLD_CHANGES).map(|_| wishes.changed(DIR, NOW)).collect();
        assert_eq!(asks, [false, true, false, true]);
    }

    #[test]
    fn what_was_refused_rests() {
        let mut wishes = Wishes::default();
        wishes.rests(DIR, NOW);
        assert!((0..9).all(|_| !wishes.changed(DIR, NOW)));
        assert!(wishes.changed(DIR, NOW.after(HOLD_REST)));
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let mut wishes = Wishes::default();
        wishes.changed(DIR, NOW);
        wishes.trim(NOW);
        assert_eq!(wishes.0.len(), 1);
        wishes.trim(NOW.after(FORGOTTEN));
        assert_eq!(wishes, Wishes::default());
    }
}
