//! `Seat`: one party and what is on its way to it. An event changes one seat, and adds messages to
//! others.

use super::arena::Id;
use super::rank::Lane;
use super::state::{PARTIES_MAX, Party};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seat {
    pub node: Id,
    ordered: [Id; PARTIES_MAX],
    bulk: [Id; PARTIES_MAX],
}

impl Seat {
    /// `nothing` is the number of the empty lane.
    #[must_use]
    pub fn new(node: Id, nothing: Id) -> Self {
        Self { node, ordered: [nothing; PARTIES_MAX], bulk: [nothing; PARTIES_MAX] }
    }

    #[must_use]
    pub fn lane(&self, from: Party, lane: Lane) -> Id {
        match lane {
            Lane::Ordered => self.ordered[from.index()],
            Lane::Bulk => self.bulk[from.index()],
        }
    }

    pub fn set_lane(&mut self, from: Party, lane: Lane, queue: Id) {
        match lane {
            Lane::Ordered => self.ordered[from.index()] = queue,
            Lane::Bulk => self.bulk[from.index()] = queue,
        }
    }

    /// Everything that is on its way is another.
    pub fn each_lane(&mut self, mut change: impl FnMut(Id) -> Id) {
        for queue in self.ordered.iter_mut().chain(&mut self.bulk) {
            *queue = change(*queue);
        }
    }
}
