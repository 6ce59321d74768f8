//! How ranks find out that owners of file locks wait for each other in a circle, when the files are with
//! several of them. Who waits asks around; a rank that knows somebody in the way who waits as well adds
//! whom that one waits for, and asks on.

use std::collections::BTreeSet;

use common::id::{ClientId, Rank, RequestId};
use serde::{Deserialize, Serialize};

use crate::file_lock::Owner;

/// Who may be named in one question. A circle is as long as its owners are many: those of more are not found.
pub const OWNERS_MAX: usize = 256;
/// Questions in one message.
pub const PROBES_MAX: usize = 64;

/// Variants are encoded by position: append only, never reorder, never remove.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DeadlockMsg {
    /// any rank → all others. For whom do these wait in the end?
    Probe { asked_by: Rank, probes: Vec<Probe> },
    /// any rank → whoever asked. That waits for itself.
    Found { client: ClientId, request: RequestId },
}

/// A request for a lock that waits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Probe {
    pub owner: Owner,
    pub request: RequestId,
    /// Who is in its way, who is in the way of these, and so on, as far as is known.
    pub waits_for: BTreeSet<Owner>,
}

#[cfg(test)]
mod tests;
