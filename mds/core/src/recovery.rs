//! From the store to a serving rank: `Replay → Resolve → Reconnect → Rejoin → Active`.
//!
//! Replay is [`replay::replay`], done when [`crate::Mds`] is made. The rank then asks the monitor for
//! one stage after the other; what each waits for:
//!
//! | stage | ends when |
//! |---|---|
//! | `Replay` | the reservation of inode numbers is durable |
//! | `Resolve` | claims are announced ([`claims`]; skipped by a single rank). What is undecided with others is settled meanwhile, and waited for only by those whom it concerns |
//! | `Reconnect` | every client known from before has claimed, or the window is over |
//! | `Rejoin` | spine replicas are registered anew |

use std::collections::BTreeSet;

use common::id::ClientId;
use common::mds_map::RankState;

pub mod claims;
pub mod contradiction;
pub mod replay;

/// How far this life of the rank has come.
#[derive(Clone, Debug, Hash)]
pub struct Recovery {
    state: RankState,
    /// Clients known from before the restart that have not claimed yet, and those that may go on though
    /// their sessions were ended.
    expected: BTreeSet<ClientId>,
    pub claims: claims::Claims,
}

impl Recovery {
    #[must_use]
    pub fn new(expected: BTreeSet<ClientId>) -> Self {
        Self { state: RankState::Replay, expected, claims: claims::Claims::default() }
    }

    #[must_use]
    pub fn state(&self) -> RankState {
        self.state
    }

    #[must_use]
    pub fn is_serving(&self) -> bool {
        matches!(self.state, RankState::Active | RankState::Stopping)
    }

    /// The monitor has granted a stage.
    pub fn enter(&mut self, state: RankState) {
        self.state = state;
    }

    /// A client has said everything it has to say, or its session has ended. True if it was the last.
    pub fn on_claims_done(&mut self, client: ClientId) -> bool {
        self.expected.remove(&client) && self.expected.is_empty()
    }

    #[must_use]
    pub fn expects_clients(&self) -> bool {
        !self.expected.is_empty()
    }

    /// Those that did not come in time.
    pub fn take_expected(&mut self) -> BTreeSet<ClientId> {
        std::mem::take(&mut self.expected)
    }
}

#[cfg(test)]
mod tests;
