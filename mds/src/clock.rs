//! Both clocks of the machine, as the cores want them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::time::{Monotonic, Now, Timestamp};

/// Monotonic time counts from a second before this was made: it is never 0.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

const FIRST: Duration = Duration::from_secs(1);

impl Default for Clock {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock {
    #[must_use]
    pub fn now(&self) -> Now {
        Now { monotonic: self.monotonic(), wall: wall() }
    }

    #[must_use]
    pub fn monotonic(&self) -> Monotonic {
        Monotonic(0).after(self.started.elapsed() + FIRST)
    }

    /// When the machine's clock shows `at`.
    #[must_use]
    pub fn instant(&self, at: Monotonic) -> Instant {
        self.started + at.since(Monotonic(0).after(FIRST))
    }
}

fn wall() -> Timestamp {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => Timestamp {
            secs: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanos: since.subsec_nanos(),
        },
        // A clock before 1970 is wrong, but no reason to fail.
        Err(_) => Timestamp::default(),
    }
}
