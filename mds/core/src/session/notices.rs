//! What clients are told of what somebody else did, until they have said that they know.

use std::collections::BTreeSet;

use common::id::{ClientId, Ino, NoticeId, Rank, Seq};
use common::wire::request::Place;
use common::wire::session::{Notice, ToClient};

use super::{SessionTable, Tell};
use crate::effect::{Effect, Effects};
use crate::row::{Key, Row};

impl SessionTable {
    /// Tells a client what somebody else did; it stays on record until it is acknowledged.
    pub fn notify(
        &mut self,
        client: ClientId,
        notice: Notice,
        tell: Tell,
        out: &mut Effects,
    ) -> Option<NoticeId> {
        let session = self.sessions.get_mut(&client)?;
        self.last_notice += 1;
        let id = NoticeId(self.last_notice);
        session.notices.insert(id, notice.clone());
        if outlives(&notice) {
            out.put(Row::Notice(client, id, notice.clone()));
        }
        match (tell, session.conn) {
            (Tell::Now, Some(conn)) => out.tell(conn, ToClient::Notice { id, notice }),
            (Tell::Now, None) => {}
            (Tell::Durable(seq), _) => {
                self.undurable.insert((seq, client, id));
                out.push(Effect::SyncSoon);
            }
        }
        Some(id)
    }

    /// A number for what cannot be told, and is waited for nevertheless.
    pub fn untellable(&mut self) -> NoticeId {
        self.last_notice += 1;
        NoticeId(self.last_notice)
    }

    /// What a client has been told and has not acknowledged.
    #[must_use]
    pub fn notice(&self, client: ClientId, id: NoticeId) -> Option<&Notice> {
        self.get(client)?.notices.get(&id)
    }

    /// What is noticed from here on has a later number.
    #[must_use]
    pub fn last_notice(&self) -> NoticeId {
        NoticeId(self.last_notice)
    }

    /// What was noticed up to there cannot be lost any more.
    pub fn tell_notices(&mut self, through: Seq, out: &mut Effects) {
        while let Some(&(seq, client, id)) = self.undurable.first()
            && seq <= through
        {
            self.undurable.pop_first();
            let Some(session) = self.sessions.get(&client) else { continue };
            if let (Some(conn), Some(notice)) = (session.conn, session.notices.get(&id)) {
                out.tell(conn, ToClient::Notice { id, notice: notice.clone() });
            }
        }
    }

    /// Where everything is durable that clients are about to hear.
    #[must_use]
    pub fn told_at(&self) -> Option<Seq> {
        self.undurable.last().map(|(seq, _, _)| *seq)
    }

    /// Where it is durable what a client is about to hear of an inode.
    #[must_use]
    pub fn hears_at(&self, client: ClientId, ino: Ino) -> Option<Seq> {
        let notices = &self.get(client)?.notices;
        let of_client = self.undurable.iter().filter(|(_, of, _)| *of == client);
        let mut about = of_client.filter(|(_, _, id)| match notices.get(id) {
            Some(Notice::Moved { ino: told, .. } | Notice::Unlinked { ino: told, .. }) => {
                *told == ino
            }
            Some(
                Notice::Expect { .. }
                | Notice::Pinned { .. }
                | Notice::Changed { .. }
                | Notice::ChangedAtHome { .. }
                | Notice::Recall { .. },
            )
            | None => false,
        });
        about.next_back().map(|(seq, _, _)| *seq)
    }

    /// Sends again what a broken connection may have lost.
    pub fn repeat_notices(&self, client: ClientId, out: &mut Effects) {
        let Some(session) = self.get(client) else { return };
        let Some(conn) = session.conn else { return };
        let undurable: BTreeSet<NoticeId> = self
            .undurable
            .iter()
            .filter_map(|(_, of, id)| (*of == client).then_some(*id))
            .collect();
        for (id, notice) in session.notices.iter().filter(|(id, _)| !undurable.contains(id)) {
            out.tell(conn, ToClient::Notice { id: *id, notice: notice.clone() });
        }
    }

    /// Tells whether such a notice was outstanding.
    pub fn acked(&mut self, client: ClientId, id: NoticeId, out: &mut Effects) -> bool {
        let session = self.sessions.get_mut(&client);
        let Some(notice) = session.and_then(|session| session.notices.remove(&id)) else {
            return false;
        };
        if outlives(&notice) {
            out.delete(Key::Notice(client, id));
        }
        true
    }

    /// Where an inode is by now of which the client may not have heard yet.
    #[must_use]
    pub fn untold_place(&self, client: ClientId, ino: Ino) -> Option<(&Place, Rank)> {
        let notices = &self.get(client)?.notices;
        notices.values().rev().find_map(|notice| match notice {
            Notice::Moved { ino: moved, place, rank, .. } if *moved == ino => Some((place, *rank)),
            Notice::Moved { .. }
            | Notice::Unlinked { .. }
            | Notice::Expect { .. }
            | Notice::Pinned { .. }
            | Notice::Changed { .. }
            | Notice::ChangedAtHome { .. }
            | Notice::Recall { .. } => None,
        })
    }
}

/// Whether a notice is of use to a client that did not hear of it before this process ended.
pub(super) fn outlives(notice: &Notice) -> bool {
    match notice {
        Notice::Moved { .. } | Notice::Unlinked { .. } => true,
        Notice::Expect { .. }
        | Notice::Pinned { .. }
        | Notice::Changed { .. }
        | Notice::ChangedAtHome { .. }
        | Notice::Recall { .. } => false,
    }
}
