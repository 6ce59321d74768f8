//! `WorkQueue`: work for threads that wait asleep.
//!
//! crossbeam's receivers yield the processor in a loop for a while before they sleep. Threads that
//! get one piece of work at a time would take a busy rank's processor away that way.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Unbounded: whoever puts something in bounds how much that can be.
#[derive(Debug)]
pub struct WorkQueue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    closed: bool,
}

/// What a thread got after waiting.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken<T> {
    Work(T),
    Nothing,
    Closed,
}

impl<T> Default for WorkQueue<T> {
    fn default() -> Self {
        let state = Mutex::new(State { waiting: VecDeque::new(), closed: false });
        Self { state, changed: Condvar::new() }
    }
}

impl<T> WorkQueue<T> {
    pub fn put(&self, work: T) {
        self.state.lock().waiting.push_back(work);
        self.changed.notify_one();
    }

    /// Unless something waits already: for work that is the same each time.
    pub fn put_once(&self, work: T) {
        let mut state = self.state.lock();
        if state.waiting.is_empty() {
            state.waiting.push_back(work);
            self.changed.notify_one();
        }
    }

    /// No more work will come: threads end when they have done what waits.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }

    /// Waits for work; `None` when the queue is closed and empty.
    pub fn take(&self) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if let Some(work) = state.waiting.pop_front() {
                return Some(work);
            }
            if state.closed {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    /// Waits no longer than that.
    pub fn take_within(&self, patience: Duration) -> Taken<T> {
        let mut state = self.state.lock();
        if state.waiting.is_empty() && !state.closed {
            self.changed.wait_for(&mut state, patience);
        }
        match state.waiting.pop_front() {
            Some(work) => Taken::Work(work),
            None if state.closed => Taken::Closed,
            None => Taken::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_taken_before_the_end() {
        let queue = WorkQueue::default();
        queue.put(1);
        queue.put_once(2);
        assert_eq!(queue.take(), Some(1));
        queue.put_once(3);
        queue.close();
        assert_eq!(queue.take_within(Duration::ZERO), Taken::Work(3));
        assert_eq!(queue.take_within(Duration::ZERO), Taken::Closed);
        assert_eq!(queue.take(), None);
    }
}
