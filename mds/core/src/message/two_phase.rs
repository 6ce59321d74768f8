//! Operations of several ranks: presumed-abort two-phase commit.

use common::error::FsError;
use common::id::TwoPhaseId;
use serde::{Deserialize, Serialize};

/// Variants in the order in which they are sent; append only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TwoPhaseMsg {
    /// coordinator → participant. Check, lock, make durable, and promise.
    Prepare { id: TwoPhaseId, part: Part },
    /// participant → coordinator. Durable; it will do as told.
    Prepared { id: TwoPhaseId, answer: PartAnswer },
    /// participant → coordinator. It cannot be: this is the operation's outcome.
    Refused { id: TwoPhaseId, error: FsError },
    /// participant → coordinator. A region is freezing or frozen: let go, and begin anew when told.
    Busy { id: TwoPhaseId },
    /// participant → coordinator. What made it busy is over.
    Free { id: TwoPhaseId },
    /// coordinator → participant. Everybody has prepared, and that is durable.
    Commit { id: TwoPhaseId },
    /// coordinator → participant. Forget it.
    Rollback { id: TwoPhaseId },
    /// participant → coordinator. Done, and durable.
    Settled { id: TwoPhaseId },
}

/// What one participant contributes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Part {}

/// What a participant's promise tells the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PartAnswer {}
