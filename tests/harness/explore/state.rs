//! `State`: the whole world at one moment, as numbers of things in the [`super::model::Model`].

use common::id::Rank;

use super::arena::Id;
use super::rank::Lane;

/// Ranks a world may have.
pub const RANKS_MAX: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    nodes: [Id; RANKS_MAX],
    ordered: [[Id; RANKS_MAX]; RANKS_MAX],
    bulk: [[Id; RANKS_MAX]; RANKS_MAX],
    /// The newest the monitor has issued.
    pub map: Id,
    pub left: Left,
    /// Who must be the authority for the region: whom the last durable `Export` names.
    pub owner: Rank,
}

/// What may still go wrong, and what is still to be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Left {
    pub orders: u8,
    /// Questions of bystanders for the base.
    pub asks: u8,
    /// Looks at which replicas are needed.
    pub trims: u8,
    pub crashes: u8,
    pub cancels: u8,
    /// That pass although things were going on.
    pub deadlines: u8,
}

impl State {
    /// `nothing` is the number of the empty lane.
    #[must_use]
    pub fn new(map: Id, nothing: Id, owner: Rank, left: Left) -> Self {
        let lanes = [[nothing; RANKS_MAX]; RANKS_MAX];
        Self { nodes: [Id::default(); RANKS_MAX], ordered: lanes, bulk: lanes, map, left, owner }
    }

    #[must_use]
    pub fn node(&self, rank: Rank) -> Id {
        self.nodes[usize::from(rank.0)]
    }

    pub fn set_node(&mut self, rank: Rank, node: Id) {
        self.nodes[usize::from(rank.0)] = node;
    }

    #[must_use]
    pub fn lane(&self, from: Rank, to: Rank, lane: Lane) -> Id {
        let lanes = match lane {
            Lane::Ordered => &self.ordered,
            Lane::Bulk => &self.bulk,
        };
        lanes[usize::from(from.0)][usize::from(to.0)]
    }

    pub fn set_lane(&mut self, from: Rank, to: Rank, lane: Lane, queue: Id) {
        let lanes = match lane {
            Lane::Ordered => &mut self.ordered,
            Lane::Bulk => &mut self.bulk,
        };
        lanes[usize::from(from.0)][usize::from(to.0)] = queue;
    }
}
