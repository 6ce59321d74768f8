//! `Tally`: how often what a story is about has happened, and what a seed has cost.

use std::fmt;
use std::time::Duration;

use common::wire::reply::{Answer, Outcome, Promise};
use common::wire::session::ToClient;

/// Of one run, or of all runs of a story.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Ranks that died, by whatever end of their processes.
    pub deaths: u64,
    /// Stores opened by a daemon that had none, or another one.
    pub take_overs: u64,
    /// Lives that were killed by their successors.
    pub killed: u64,
    /// Lives that were cut off from their stores, and went on.
    pub cut_off: u64,
    /// Turns that waited for the monitor's word.
    pub held: u64,
    /// Lives that ended because they heard that they were dead.
    pub declared_dead: u64,
    /// Lives that ended because a newer one was known.
    pub refused: u64,
    pub monitor_deaths: u64,
    pub client_deaths: u64,
    /// Sessions that a rank has ended.
    pub sessions_ended: u64,
    /// Migrations that the balancer began, and how often an operator wanted one to be cancelled.
    pub balancer_moves: u64,
    pub balancer_cancels: u64,
    /// Answers that kernels gave by themselves.
    pub cached: u64,
    /// Changes that were answered before they were made, and those of them that nobody made.
    pub answered_first: u64,
    pub never_made: u64,
    /// Directories that were given to clients which had not made them.
    pub held_found: u64,
    /// Locks of files: set, refused because somebody else has it, and because nobody would have gone on.
    pub locks: u64,
    pub locks_refused: u64,
    pub deadlocks: u64,
    /// For an answer, of a client to which nothing had happened.
    pub longest_wait: Duration,
}

impl Tally {
    /// A client is told something.
    pub fn hears(&mut self, message: &ToClient) {
        let ToClient::Reply(reply) = message else { return };
        let is_held = matches!(reply.outcome, Outcome::Done(Answer::Held(_)));
        self.held_found += u64::from(is_held && reply.promise == Promise::Exclusive);
    }

    fn all(&self) -> [(&'static str, u64); 19] {
        [
            ("deaths", self.deaths),
            ("take-overs", self.take_overs),
            ("killed by successors", self.killed),
            ("cut off alive", self.cut_off),
            ("turns held", self.held),
            ("declared dead", self.declared_dead),
            ("refused", self.refused),
            ("monitor deaths", self.monitor_deaths),
            ("client deaths", self.client_deaths),
            ("sessions ended", self.sessions_ended),
            ("moves by the balancer", self.balancer_moves),
            ("of them cancelled", self.balancer_cancels),
            ("answers from caches", self.cached),
            ("changes answered before they were made", self.answered_first),
            ("of these lost", self.never_made),
            ("directories held that were found", self.held_found),
            ("locks", self.locks),
            ("refused for another's", self.locks_refused),
            ("deadlocks", self.deadlocks),
        ]
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.deaths += other.deaths;
        self.take_overs += other.take_overs;
        self.killed += other.killed;
        self.cut_off += other.cut_off;
        self.held += other.held;
        self.declared_dead += other.declared_dead;
        self.refused += other.refused;
        self.monitor_deaths += other.monitor_deaths;
        self.client_deaths += other.client_deaths;
        self.sessions_ended += other.sessions_ended;
        self.balancer_moves += other.balancer_moves;
        self.balancer_cancels += other.balancer_cancels;
        self.cached += other.cached;
        self.answered_first += other.answered_first;
        self.never_made += other.never_made;
        self.held_found += other.held_found;
        self.locks += other.locks;
        self.locks_refused += other.locks_refused;
        self.deadlocks += other.deadlocks;
        self.longest_wait = self.longest_wait.max(other.longest_wait);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let happened = self.all().into_iter().filter(|(_, count)| *count > 0);
        let parts: Vec<String> = happened.map(|(name, count)| format!("{count} {name}")).collect();
        f.write_str(&parts.join(", "))
    }
}

/// What the seeds of a story have cost.
#[derive(Clone, Debug, Default)]
pub struct Costs(Vec<Duration>);

impl Costs {
    pub fn add(&mut self, cost: Duration) {
        self.0.push(cost);
    }

    #[must_use]
    pub fn median(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }

    #[must_use]
    pub fn longest(&self) -> Duration {
        self.0.iter().copied().max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_happened_is_told() {
        let mut all = Tally { take_overs: 2, ..Tally::default() };
        all += Tally { take_overs: 1, refused: 4, ..Tally::default() };
        assert_eq!(all.to_string(), "3 take-overs, 4 refused");
    }

    #[test]
    fn half_of_the_seeds_cost_less_than_the_median() {
        let mut costs = Costs::default();
        for millis in [9, 1, 3] {
            costs.add(Duration::from_millis(millis));
        }
        assert_eq!(costs.median(), Duration::from_millis(3));
        assert_eq!(costs.longest(), Duration::from_millis(9));
    }
}
