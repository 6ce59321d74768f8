//! Clients that may not know of their sessions, and those that may hold what this rank does not know of.

use common::id::ClientId;

use super::{Holds, Met, Session, SessionTable};
use crate::effect::Effects;
use crate::row::Holders;

impl SessionTable {
    /// Clients that may not know of their sessions here: another rank has still to tell them.
    pub fn untold(&self) -> impl Iterator<Item = ClientId> + '_ {
        let untold = self.sessions.iter().filter(|(_, session)| session.stored.untold);
        untold.map(|(client, _)| *client)
    }

    #[must_use]
    pub fn is_untold(&self, client: ClientId) -> bool {
        self.get(client).is_some_and(|session| session.stored.untold)
    }

    /// Clients that may refer to anything here, each with a request by which it may have come.
    #[must_use]
    pub fn strangers(&self) -> Holders {
        let strangers = self.sessions.iter().filter(|(_, it)| it.holds == Holds::Unknown);
        strangers.map(|(client, it)| (*client, it.oldest)).collect()
    }

    /// Whether there are clients that may hold anything here exclusively.
    #[must_use]
    pub fn has_strangers(&self) -> bool {
        self.has_stranger_but(None)
    }

    /// Whether there are any besides this one.
    #[must_use]
    pub fn has_stranger_but(&self, client: Option<ClientId>) -> bool {
        self.strangers.iter().any(|of| Some(*of) != client)
    }

    /// Whether it is one may have changed.
    pub(super) fn note_stranger(&mut self, client: ClientId) {
        let is_one = |it: &Session| it.holds == Holds::Unknown && it.stored.exclusive;
        if self.sessions.get(&client).is_some_and(is_one) {
            self.strangers.insert(client);
        } else {
            self.strangers.remove(&client);
        }
    }

    /// Something that it holds exclusively has come here before it.
    pub fn comes_with_exclusive(&mut self, client: ClientId, out: &mut Effects) {
        if let Some(session) = self.sessions.get_mut(&client)
            && session.stored.untold
            && !std::mem::replace(&mut session.stored.exclusive, true)
        {
            session.store(client, out);
        }
        self.note_stranger(client);
    }

    /// What it refers to here has been forgotten, until it says.
    pub fn holds_unknown(&mut self, client: ClientId) {
        if let Some(session) = self.sessions.get_mut(&client) {
            session.holds = Holds::Unknown;
        }
        self.note_stranger(client);
    }

    /// It has said what it refers to. Tells whether that was not known.
    pub fn has_claimed(&mut self, client: ClientId) -> bool {
        let Some(session) = self.sessions.get_mut(&client) else { return false };
        session.stored.exclusive = false;
        self.strangers.remove(&client);
        std::mem::replace(&mut session.holds, Holds::Known) == Holds::Unknown
    }

    /// All other ranks are asked to tell it. False: they were asked before.
    pub fn seek(&mut self, client: ClientId) -> bool {
        let Some(session) = self.sessions.get_mut(&client) else { return false };
        std::mem::replace(&mut session.met, Met::Sought) != Met::Sought
    }
}
