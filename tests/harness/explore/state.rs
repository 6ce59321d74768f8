//! `State`: the whole world at one moment, as numbers of things in the [`super::model::Model`].

use std::fmt;

use common::id::Rank;

use super::arena::Id;

/// Ranks a world may have.
pub const RANKS_MAX: usize = 4;
/// Those, and the client.
pub const PARTIES_MAX: usize = RANKS_MAX + 1;

/// Who sends and receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    Rank(Rank),
    Client,
}

impl Party {
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Rank(rank) => usize::from(rank.0),
            Self::Client => RANKS_MAX,
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rank(rank) => write!(f, "{rank}"),
            Self::Client => write!(f, "client"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Everybody, with what is on its way to them: [`super::seat::Seat`].
    seats: [Id; PARTIES_MAX],
    /// The newest the monitor has issued.
    pub map: Id,
    pub left: Left,
    /// Who must be the authority for the region: whom the last durable `Export` names.
    pub owner: Rank,
}

/// What may still go wrong, and what is still to be ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Left {
    pub orders: u8,
    /// What the client is still to do.
    pub calls: u8,
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
    /// `nobody` is the number of an empty seat.
    #[must_use]
    pub fn new(map: Id, nobody: Id, owner: Rank, left: Left) -> Self {
        Self { seats: [nobody; PARTIES_MAX], map, left, owner }
    }

    #[must_use]
    pub fn seat(&self, party: Party) -> Id {
        self.seats[party.index()]
    }

    pub fn set_seat(&mut self, party: Party, seat: Id) {
        self.seats[party.index()] = seat;
    }
}
