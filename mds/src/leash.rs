//! How long this rank may go on without a word from the monitor.
//!
//! A rank whose beacons are not acknowledged cannot know whether it was declared dead and somebody
//! else serves what it held. After half the grace, counted from when the last acknowledged beacon was
//! *sent*, it stops: so it has stopped before anybody else can have begun. What has arrived waits;
//! the rank goes on when it is acknowledged again, or ends when it hears that it is dead.

use std::time::{Duration, Instant};

use tokio::sync::watch;

#[derive(Clone, Copy, Debug)]
struct Word {
    /// When the last beacon that was acknowledged was sent.
    sent: Instant,
    grace: Duration,
}

/// The end that hears the monitor.
#[derive(Debug)]
pub struct Holder(watch::Sender<Option<Word>>);

/// The end that has to stop.
#[derive(Clone, Debug)]
pub struct Leash(watch::Receiver<Option<Word>>);

#[must_use]
pub fn leash() -> (Holder, Leash) {
    let (holder, leash) = watch::channel(None);
    (Holder(holder), Leash(leash))
}

impl Holder {
    pub fn acknowledged(&self, sent: Instant, grace: Duration) {
        self.0.send_replace(Some(Word { sent, grace }));
    }
}

impl Leash {
    /// Whether the rank may go on. Before the first word there is no grace that could end.
    #[must_use]
    pub fn is_slack(&self) -> bool {
        self.0.borrow().is_none_or(|word| word.sent.elapsed() < word.grace / 2)
    }

    /// Waits until it may go on.
    pub async fn slack(&mut self) {
        while !self.is_slack() {
            if self.0.changed().await.is_err() {
                // The link has ended, and the daemon with it.
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_grace_after_the_last_acknowledged_beacon_was_sent_it_is_taut() {
        let (holder, leash) = leash();
        assert!(leash.is_slack());
        let grace = Duration::from_secs(4);
        let now = Instant::now();
        holder.acknowledged(now, grace);
        assert!(leash.is_slack());
        holder.acknowledged(now.checked_sub(grace / 2).unwrap(), grace);
        assert!(!leash.is_slack());
        holder.acknowledged(now, grace);
        assert!(leash.is_slack());
    }
}
