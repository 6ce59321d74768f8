//! `Timer`: each thing the client waits for with a clock.

use common::id::{Rank, RequestId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The lease of the session with this rank is to be renewed.
    Renew(Rank),
    /// Nothing was heard of this rank for a whole lease.
    Lease(Rank),
    /// The connection to this rank is to be tried again.
    Reconnect(Rank),
    /// A request that did not find its rank is to be tried again.
    Retry(RequestId),
    /// Pins that were let go are to be given back.
    GiveBack,
}
