//! `Evicted`: clients whose sessions an operator has ended here, and that may not have heard of it.
//!
//! For the time of a capability such a client may go on with what it has cached, and with what it holds
//! exclusively. Others are to wait for that also if this rank loses what it knows: so it is stored with the
//! end of the session. The next life waits for the client as for those that have sessions, which is longer.

use std::collections::BTreeMap;

use common::id::ClientId;
use common::time::Monotonic;

use super::end;
use crate::effect::Effects;
use crate::row::{Key, Row};

/// Until when each may go on.
#[derive(Clone, Debug, Default, Hash)]
pub struct Evicted(BTreeMap<ClientId, Monotonic>);

impl Evicted {
    /// From now on nothing more is granted to it.
    pub fn note(&mut self, client: ClientId, now: Monotonic, out: &mut Effects) {
        self.0.insert(client, end(now));
        out.put(Row::Evicted(client));
    }

    /// It is not known when it was evicted.
    pub fn restore(&mut self, client: ClientId, now: Monotonic) {
        self.0.insert(client, end(now));
    }

    pub fn clients(&self) -> impl Iterator<Item = ClientId> + '_ {
        self.0.keys().copied()
    }

    /// Forgets those that cannot go on any more.
    pub fn trim(&mut self, now: Monotonic, out: &mut Effects) {
        for (client, _) in self.0.extract_if(.., |_, end| *end <= now) {
            out.delete(Key::Evicted(client));
        }
    }
}
