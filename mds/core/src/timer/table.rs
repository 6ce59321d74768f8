//! `TimerTable`: the timers that are set, in the order in which they fall due. For whoever drives a core.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Timer;
use common::time::Monotonic;

#[derive(Clone, Debug, Default)]
pub struct TimerTable {
    at: BTreeMap<Timer, Monotonic>,
    order: BTreeSet<(Monotonic, Timer)>,
}

impl TimerTable {
    /// Setting a timer again moves it.
    pub fn set(&mut self, timer: Timer, at: Monotonic) {
        self.stop(timer);
        self.at.insert(timer, at);
        self.order.insert((at, timer));
    }

    pub fn stop(&mut self, timer: Timer) {
        if let Some(at) = self.at.remove(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    /// Time stood still for so long.
    pub fn delay(&mut self, by: Duration) {
        for at in self.at.values_mut() {
            *at = at.after(by);
        }
        self.order = self.at.iter().map(|(timer, at)| (*at, *timer)).collect();
    }

    #[must_use]
    pub fn next(&self) -> Option<Monotonic> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the first timer that is due.
    pub fn pop_due(&mut self, now: Monotonic) -> Option<Timer> {
        let (at, timer) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.stop(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use common::id::ClientId;

    use super::*;

    #[test]
    fn due_timers_come_in_order_and_a_moved_one_comes_once() {
        let mut timers = TimerTable::default();
        let (a, b) = (Timer::Lease(ClientId(1)), Timer::Lease(ClientId(2)));
        timers.set(a, Monotonic(10));
        timers.set(b, Monotonic(20));
        timers.set(Timer::Pins, Monotonic(15));
        timers.set(a, Monotonic(30));
        timers.stop(Timer::Pins);
        assert_eq!(timers.next(), Some(Monotonic(20)));
        assert_eq!(timers.pop_due(Monotonic(19)), None);
        assert_eq!(timers.pop_due(Monotonic(30)), Some(b));
        assert_eq!(timers.pop_due(Monotonic(30)), Some(a));
        assert_eq!(timers.pop_due(Monotonic(30)), None);
    }

    #[test]
    fn when_time_stood_still_everything_falls_due_later() {
        let mut timers = TimerTable::default();
        timers.set(Timer::Pins, Monotonic(15));
        timers.delay(Duration::from_nanos(10));
        assert_eq!(timers.pop_due(Monotonic(24)), None);
        assert_eq!(timers.pop_due(Monotonic(25)), Some(Timer::Pins));
        assert_eq!(timers.next(), None);
    }
}
