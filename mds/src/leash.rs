//! Where the event loop learns from the link to the monitor how long it may go on: two ends of
//! [`mds_core::monitor::link::Leash`].

use common::time::Monotonic;
use mds_core::monitor::link;
use tokio::sync::watch;

use crate::clock::Clock;

/// The end that hears the monitor.
#[derive(Debug)]
pub struct Holder(watch::Sender<link::Leash>);

/// The end that has to stop.
#[derive(Clone, Debug)]
pub struct Leash {
    newest: watch::Receiver<link::Leash>,
    clock: Clock,
}

#[must_use]
pub fn leash(clock: Clock) -> (Holder, Leash) {
    let (holder, newest) = watch::channel(link::Leash::default());
    (Holder(holder), Leash { newest, clock })
}

impl Holder {
    pub fn lengthen(&self, to: link::Leash) {
        self.0.send_replace(to);
    }
}

impl Leash {
    /// Whether the rank may go on.
    #[must_use]
    pub fn is_slack(&self) -> bool {
        self.taut_since().is_none()
    }

    /// Since when it may not.
    #[must_use]
    pub fn taut_since(&self) -> Option<Monotonic> {
        self.newest.borrow().taut_since(self.clock.monotonic())
    }

    /// Waits until it may go on.
    pub async fn slack(&mut self) {
        while !self.is_slack() {
            if self.newest.changed().await.is_err() {
                // The link has ended, and the daemon with it.
                std::future::pending::<()>().await;
            }
        }
    }
}
