//! `Timer`: each thing that can be waited for with a clock, and why.

use common::id::{ClientId, MigrationId};
use serde::{Deserialize, Serialize};

pub mod table;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// The session was not renewed in time.
    Lease(ClientId),
    /// Clients known from before the restart have had their time to come back.
    ReconnectWindow,
    /// The exporter's state has lasted too long, or is due for a resend.
    Exporter(MigrationId),
    /// The importer has not heard of its exporter for long.
    Importer(MigrationId),
    /// Fragments that were given away, or whose import failed, are to be deleted, a slice at a time.
    Sweep,
    /// Time to send a heartbeat and, at rank 0, to plan.
    Balancer,
    /// Time to give away pinned directories that are not where they belong.
    Pins,
    /// Time to give back spine replicas that are not needed any more.
    Spine,
    /// Requests for file locks wait: time to ask other ranks whether they wait for themselves.
    LockProbe,
}
