//! `Holdings`: the nouns of one rank, together: what requests, two-rank operations and migrations
//! work on. It has no behavior of its own beyond what needs several of them at once.

use std::collections::BTreeMap;

use common::attr::FileKind;
use common::id::{ClientId, DirFragId, Ino, MigrationId, NoticeId, RequestId, Seq};
use common::wire::session::Notice;

use crate::capability::CapabilityTable;
use crate::effect::{Effect, Effects};
use crate::ino_table::InoTable;
use crate::journal::Journal;
use crate::journal::entry::{Entry, Release, SubtreeSnapshot};
use crate::lock::LockTable;
use crate::namespace::Namespace;
use crate::pin::{Left, PinTable};
use crate::row::{Inode, Orphan, Row};
use crate::session::{Requester, SessionTable, Tell};
use crate::spine::Spine;
use crate::subtree::SubtreeMap;
use crate::sweep::SweepList;

#[derive(Clone, Debug, Hash)]
pub struct Holdings {
    pub namespace: Namespace,
    pub subtrees: SubtreeMap,
    pub sessions: SessionTable,
    pub pins: PinTable,
    pub capabilities: CapabilityTable,
    pub spine: Spine,
    pub locks: LockTable,
    pub inos: InoTable,
    pub journal: Journal,
    /// Given away, and the importer has not yet said that it knows.
    pub released: BTreeMap<MigrationId, Release>,
    /// Which copy brought a fragment here, for those that one did.
    pub held: BTreeMap<DirFragId, MigrationId>,
    /// Why what is stored here cannot be trusted; then nothing is changed any more. Empty: it can.
    pub damage: Vec<String>,
    /// Whether clients have repeated what was lost with an earlier life.
    pub repeated: Repeated,
    /// How many regions have become this rank's own by a migration, in this life.
    pub imports: u64,
    /// Fragments that are to be deleted.
    pub sweep: SweepList,
    /// The position of the latest change. Grows with every change of the turn.
    pub seq: Seq,
    pub durable: Seq,
}

/// Until it is so, nobody but those clients sees anything: what they were told would be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Repeated {
    NotYet,
    /// Or what is left waits for other ranks, which may wait for this one.
    Yes,
}

impl Holdings {
    /// Claims that contradict each other were found: from here on this rank is read-only.
    pub fn note_damage(&mut self, damage: String) {
        tracing::warn!("read-only from now on: {damage}");
        self.damage.push(damage);
    }

    #[must_use]
    pub fn is_read_only(&self) -> bool {
        !self.damage.is_empty()
    }

    /// A new position for a change.
    pub fn advance(&mut self) -> Seq {
        self.seq = self.seq.next();
        self.seq
    }

    /// Journals who owns what, so that older facts may go.
    pub fn checkpoint(&mut self, out: &mut Effects) -> Seq {
        let snapshot =
            SubtreeSnapshot { subtrees: self.subtrees.claims(), released: self.released.clone() };
        let seq = self.advance();
        out.push(Effect::Journal { seq, entry: Entry::SubtreeMap(snapshot) });
        self.journal.note_checkpoint(seq);
        seq
    }

    /// Adjacent subtrees of this rank become one, for good: on record the base would outlive that the
    /// region above is given away.
    pub fn merge(&mut self, base: DirFragId, out: &mut Effects) {
        match self.subtrees.merge(base, &self.namespace) {
            Ok(true) => {
                self.checkpoint(out);
            }
            Ok(false) => {}
            Err(_) => {
                tracing::debug!(%base, "stays a subtree of its own: its surroundings are not cached");
            }
        }
    }

    /// Makes what this rank knows of authority durable, as it is now.
    pub fn journal_subtrees(&mut self, out: &mut Effects) {
        self.checkpoint(out);
        out.put(Row::Clock(self.subtrees.clock()));
    }

    /// Before something is done to an inode: clients of which it is not known what they refer to may refer
    /// to this one. What they say when they come decides.
    pub fn assume_held(&mut self, ino: Ino, dir: Option<Ino>) {
        let strangers = self.sessions.strangers();
        if !strangers.is_empty() {
            cov_mark::hit!(who_has_not_claimed_may_hold_anything);
            self.pins.assume(ino, dir, &strangers);
        }
    }

    /// Tells an inode's holders, and names the acknowledgements to wait for. Also whoever asked for it:
    /// others of its requests may be on their way to the old place. Its answer cannot wait for itself.
    /// The change that is told has the next position.
    pub fn notify_holders(
        &mut self,
        ino: Ino,
        notice: &Notice,
        requester: Requester,
        out: &mut Effects,
    ) -> Vec<(ClientId, NoticeId)> {
        let holders: Vec<ClientId> = self.pins.holders(ino).map(|(client, _)| client).collect();
        let mut awaited = Vec::new();
        for client in holders {
            let asked = client == requester.client;
            let tell = if asked { requester.tell } else { Tell::Durable(self.seq.next()) };
            let id = self.sessions.notify(client, notice.clone(), tell, out);
            let Some(id) = id else { continue };
            if !asked {
                awaited.push((client, id));
            }
        }
        awaited
    }

    /// The last name of an inode is gone. Held by somebody it becomes an orphan, else its data goes.
    pub fn let_go(&mut self, inode: Inode, out: &mut Effects) {
        let ino = inode.attr.ino;
        let holders = self.pins.holders(ino).collect();
        let orphan = Orphan { inode, holders };
        let pinned = self.pins.is_pinned(ino);
        self.pins.relocate(ino, None);
        if pinned || orphan.inode.attr.kind == FileKind::File {
            self.namespace.put_orphan(ino, orphan, out);
        }
        if !pinned {
            self.purge(ino, out);
        }
    }

    /// Takes a pin back, unless it is by a later request; what nobody refers to any more goes.
    pub fn give_back(&mut self, ino: Ino, client: ClientId, below: RequestId, out: &mut Effects) {
        if self.pins.give_back(ino, client, below) == Left::Nobody {
            self.purge(ino, out);
        }
    }

    /// A client does not hold what is said here, or is gone.
    pub fn unpin(&mut self, ino: Ino, client: ClientId, out: &mut Effects) {
        if self.pins.drop_of(ino, client) == Left::Nobody {
            self.purge(ino, out);
        }
    }

    /// Orders the data of an orphan that nobody holds to be removed. Its row stays until it is. As long as
    /// clients are still to say what they hold it is not known that nobody does.
    pub fn purge(&mut self, ino: Ino, out: &mut Effects) {
        if self.repeated == Repeated::NotYet {
            return;
        }
        let Some(orphan) = self.namespace.orphan(ino) else { return };
        if orphan.inode.attr.kind == FileKind::File {
            out.push(Effect::Purge { ino });
        } else {
            self.namespace.remove_orphan(ino, out);
        }
    }

    /// A client is gone for good: everything it held is given back.
    pub fn end_session(&mut self, client: ClientId, out: &mut Effects) {
        let held: Vec<Ino> = self.pins.of(client).collect();
        for ino in held {
            self.unpin(ino, client, out);
        }
        self.pins.end_claims(client);
        self.sessions.remove(client, out);
    }
}
