//! `Greedy`: from the busiest rank to the idlest, the directory that evens them out best.

use super::policy::{Move, Policy, View};
use crate::message::load::Candidate;

/// Reluctant: it does nothing while the busiest rank is below half of its capacity, nor while it is
/// less than a quarter above the mean; and it moves no more than makes the two equal.
#[derive(Clone, Copy, Debug)]
pub struct Greedy;

impl Policy for Greedy {
    fn choose(&self, view: &View<'_>) -> Option<Move> {
        let (from, busiest) = view.ranks.iter().max_by_key(|(rank, beat)| (beat.load, **rank))?;
        let (to, idlest) = view.ranks.iter().min_by_key(|(rank, beat)| (beat.load, **rank))?;
        let mean = view.ranks.values().map(|beat| beat.load).sum::<u64>() / view.ranks.len() as u64;
        if busiest.load < view.capacity / 2 || busiest.load <= mean + mean / 4 || from == to {
            return None;
        }
        let even = (busiest.load - idlest.load) / 2;
        let worth = |candidate: &&Candidate| {
            // A tenth of the difference is the least that is worth a freeze.
            candidate.load <= even + even / 10
                && candidate.load > even / 5
                && !view.cooling.contains_key(&candidate.dir)
        };
        let best =
            busiest.candidates.iter().filter(worth).max_by_key(|candidate| candidate.load)?;
        Some(Move { dir: best.dir, from: *from, to: *to, load: best.load })
    }
}
