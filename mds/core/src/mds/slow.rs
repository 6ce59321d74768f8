//! Requests that wait for long, and for what: told in the log, for whoever asks why.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use common::id::{ClientId, RequestId};

use super::Mds;

/// Those that were waiting when one looked last. What is told to people changes nothing, and makes no
/// two states different.
#[derive(Clone, Debug, Default)]
pub(super) struct Slow {
    seen: BTreeSet<(ClientId, RequestId)>,
}

impl Hash for Slow {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Mds {
    /// Looks from time to time: what waited at the last look and still waits is told, each time.
    pub(super) fn tell_slow(&mut self) {
        let mut seen = BTreeSet::new();
        for ((client, id), why) in self.requests.under_way() {
            seen.insert((client, id));
            if self.slow.seen.contains(&(client, id)) {
                let of_ranks = self.two_phase.of_request(client, id);
                tracing::info!(client = client.0, request = id.0, ?why, ?of_ranks, "slow request");
            }
        }
        self.slow.seen = seen;
    }
}
