//! What a participant has promised, and how it is done.

use std::collections::{BTreeMap, BTreeSet};

use common::id::{ClientId, DirFragId, Ino, Nonce, NoticeId, Rank};
use common::time::Timestamp;
use common::wire::request::Place;
use common::wire::session::Notice;

use crate::capability::{self, Told};
use crate::cx::{Cx, Step};
use crate::journal::entry::{Held, SubtreeClaim};
use crate::lock::Lock;
use crate::message::replica::ReplicaMsg;
use crate::message::two_phase::{Act, Part};
use crate::namespace::Namespace;
use crate::pin::PinTable;
use crate::request::{rename, unlink};
use crate::row::{Key, Parent};
use crate::session::{Requester, Tell};
use crate::subtree::{DirAuth, Freeze, Subtree};

/// Acknowledgements without which a part is not settled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Acks {
    /// Clients that were told where an inode of theirs is.
    pub clients: BTreeSet<(ClientId, NoticeId)>,
    /// Ranks with a replica of a directory that has another name: which, and for what grant.
    pub replicas: BTreeMap<(Ino, Rank), (Parent, Nonce)>,
}

impl Acks {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.replicas.is_empty()
    }

    /// Tells a rank what it has not acknowledged.
    pub fn tell_again(&self, cx: &mut Cx<'_>, rank: Rank) {
        for ((dir, _), (parent, nonce)) in self.replicas.iter().filter(|((_, to), _)| *to == rank) {
            cov_mark::hit!(a_holder_is_told_when_its_life_is_known);
            let (dir, parent, nonce) = (*dir, parent.clone(), *nonce);
            cx.out.send(rank, ReplicaMsg::Moved { dir, parent, nonce });
        }
    }
}

impl Part {
    /// Whether it can be carried out at all, whoever asks for it.
    #[must_use]
    pub fn makes_sense(&self) -> bool {
        self.acts.iter().all(|act| match act {
            Act::Moved { notice, .. } | Act::Arrived { notice, .. } => {
                matches!(notice, Notice::Moved { .. })
            }
            Act::PutEntry { .. }
            | Act::RemoveEntry { .. }
            | Act::Count { .. }
            | Act::LetGo { .. }
            | Act::OneNameLess { .. }
            | Act::PutHome { .. }
            | Act::Pin { .. }
            | Act::RemoveDir { .. }
            | Act::Reparent { .. }
            | Act::PutBase { .. }
            | Act::DropBase { .. }
            | Act::Completed { .. } => true,
        })
    }

    /// What nobody else may touch until it is settled.
    #[must_use]
    pub fn locks(&self, namespace: &Namespace) -> BTreeSet<Lock> {
        self.acts
            .iter()
            .filter_map(|act| match act {
                Act::PutEntry { dir, name, .. } | Act::RemoveEntry { dir, name } => {
                    Some(Lock::Entry(namespace.key(*dir, name)))
                }
                Act::OneNameLess { ino, .. } => Some(Lock::Inode(*ino)),
                Act::PutHome { inode } => Some(Lock::Inode(inode.attr.ino)),
                Act::RemoveDir { dir } => Some(Lock::Contents(*dir)),
                Act::Reparent { dir, .. } => Some(Lock::Parent(*dir)),
                Act::Count { .. }
                | Act::LetGo { .. }
                | Act::Moved { .. }
                | Act::Arrived { .. }
                | Act::Pin { .. }
                | Act::PutBase { .. }
                | Act::DropBase { .. }
                | Act::Completed { .. } => None,
            })
            .collect()
    }

    /// Who refers to the inodes that it moves or lets go.
    #[must_use]
    pub fn held(&self, pins: &PinTable) -> Vec<Held> {
        let inos = self.acts.iter().filter_map(|act| match act {
            Act::Moved { notice, .. } => Some(told(notice).0),
            Act::LetGo { inode, .. } => Some(inode.attr.ino),
            Act::OneNameLess { ino, .. } => Some(*ino),
            Act::PutEntry { .. }
            | Act::RemoveEntry { .. }
            | Act::Count { .. }
            | Act::PutHome { .. }
            | Act::Arrived { .. }
            | Act::Pin { .. }
            | Act::RemoveDir { .. }
            | Act::Reparent { .. }
            | Act::PutBase { .. }
            | Act::DropBase { .. }
            | Act::Completed { .. } => None,
        });
        let held = inos.map(|ino| Held {
            ino,
            dir: pins.dir_of(ino),
            holders: pins.holders(ino).collect(),
        });
        held.filter(|held| !held.holders.is_empty()).collect()
    }

    /// The directories it works in.
    #[must_use]
    pub fn dirs(&self) -> BTreeSet<Ino> {
        self.acts
            .iter()
            .filter_map(|act| match act {
                Act::PutEntry { dir, .. }
                | Act::RemoveEntry { dir, .. }
                | Act::Count { dir, .. }
                | Act::RemoveDir { dir }
                | Act::Reparent { dir, .. } => Some(*dir),
                Act::OneNameLess { .. }
                | Act::PutHome { .. }
                | Act::LetGo { .. }
                | Act::Moved { .. }
                | Act::Arrived { .. }
                | Act::Pin { .. }
                | Act::PutBase { .. }
                | Act::DropBase { .. }
                | Act::Completed { .. } => None,
            })
            .collect()
    }

    /// Tells those who may have cached what it is about to change. Nobody is promised anything of that
    /// while it is locked.
    #[must_use]
    pub fn tell(&self, cx: &mut Cx<'_>) -> Told {
        let namespace = &cx.own.namespace;
        let keys = self.acts.iter().filter_map(|act| match act {
            Act::PutEntry { dir, name, .. } | Act::RemoveEntry { dir, name } => {
                Some(Key::Entry(namespace.key(*dir, name)))
            }
            Act::OneNameLess { ino, .. } => Some(Key::Inode(*ino)),
            Act::PutHome { inode } => Some(Key::Inode(inode.attr.ino)),
            Act::Count { dir, .. } | Act::RemoveDir { dir } | Act::Reparent { dir, .. } => {
                Some(Key::Dir(DirFragId::whole(*dir)))
            }
            Act::LetGo { .. }
            | Act::Moved { .. }
            | Act::Arrived { .. }
            | Act::Pin { .. }
            | Act::PutBase { .. }
            | Act::DropBase { .. }
            | Act::Completed { .. } => None,
        });
        capability::tell(cx, self.client, &keys.collect())
    }

    /// Everything it reads is in memory.
    ///
    /// # Errors
    /// What must be fetched first.
    pub fn check_cached(&self, namespace: &Namespace) -> Step<()> {
        for act in &self.acts {
            match act {
                Act::Count { dir, .. } | Act::Reparent { dir, .. } => {
                    namespace.dir(*dir)?;
                }
                Act::OneNameLess { ino, .. } => {
                    namespace.inode(*ino)?;
                }
                Act::PutEntry { .. }
                | Act::RemoveEntry { .. }
                | Act::LetGo { .. }
                | Act::PutHome { .. }
                | Act::Moved { .. }
                | Act::Arrived { .. }
                | Act::Pin { .. }
                | Act::RemoveDir { .. }
                | Act::PutBase { .. }
                | Act::DropBase { .. }
                | Act::Completed { .. } => {}
            }
        }
        Ok(())
    }
}

/// Does what was promised. Everything it reads was seen to be cached.
pub fn apply(cx: &mut Cx<'_>, part: Part) -> Acks {
    let mut acks = Acks::default();
    let before = cx.own.subtrees.claims();
    let _of_others = cx.own.namespace.take_touched();
    for act in part.acts {
        apply_act(cx, act, &mut acks);
    }
    acks.clients.extend(capability::tell_touched(cx, part.client));
    if cx.own.subtrees.claims() != before {
        cx.own.journal_subtrees(cx.out);
    }
    acks
}

fn apply_act(cx: &mut Cx<'_>, act: Act, acks: &mut Acks) {
    match act {
        Act::PutEntry { dir, name, linkage } => {
            cx.own.namespace.put_entry(dir, &name, linkage, cx.out);
        }
        Act::RemoveEntry { dir, name } => cx.own.namespace.remove_entry(dir, &name, cx.out),
        Act::Count { dir, entries, subdirs, at } => count(cx, dir, (entries, subdirs), at),
        Act::LetGo { inode, at, requester } => {
            acks.clients.extend(unlink::last_name_gone(cx, *inode, at, asked_by(cx, requester)));
        }
        Act::OneNameLess { ino, at, requester } => {
            if let Ok(Some(inode)) = cx.own.namespace.inode(ino) {
                let inode = inode.clone();
                acks.clients.extend(unlink::one_name_less(cx, inode, at, asked_by(cx, requester)));
            }
        }
        Act::PutHome { inode } => cx.own.namespace.put_inode(inode.attr.ino, *inode, cx.out),
        Act::Moved { notice, requester } => {
            acks.clients.extend(tell_moved(cx, &notice, requester));
        }
        Act::Arrived { notice, holders, locks } => {
            let (ino, dir, _) = told(&notice);
            let tell = Tell::Durable(cx.own.seq.next());
            for client in holders.keys() {
                expect(cx, *client);
                let _not_waited_for = cx.own.sessions.notify(*client, notice.clone(), tell, cx.out);
            }
            cx.own.pins.take_over(ino, dir, &holders);
            cx.own.pins.take_over_locks(ino, locks);
        }
        Act::Pin { ino, requester, request } => {
            // Who has left since hears no answer, and would never give back what it names.
            if let Some(session) = cx.own.sessions.get(requester) {
                cx.own.pins.pin(ino, None, requester, session.latest().max(request));
            }
        }
        Act::RemoveDir { dir } => {
            cx.own.subtrees.remove(DirFragId::whole(dir));
            cx.own.spine.take_holders(dir);
            cx.own.namespace.remove_dir(dir, cx.out);
        }
        Act::Reparent { dir, parent, at } => {
            for (holder, nonce) in cx.own.spine.holders(dir).collect::<Vec<_>>() {
                cx.out.send(holder, ReplicaMsg::Moved { dir, parent: parent.clone(), nonce });
                acks.replicas.insert((dir, holder), (parent.clone(), nonce));
            }
            rename::reparent(cx, dir, parent, at);
        }
        Act::PutBase { base, claim } => put_base(cx, base, &claim),
        Act::DropBase { base } => {
            cx.own.subtrees.remove(base);
        }
        Act::Completed { completed } => {
            for (client, ids) in &completed {
                cx.own.sessions.adopt_completed(*client, ids, cx.out);
            }
        }
    }
}

fn count(cx: &mut Cx<'_>, ino: Ino, (entries, subdirs): (i64, i64), at: Timestamp) {
    let Ok(Some(dir)) = cx.own.namespace.dir(ino) else {
        unreachable!("an auth pin keeps the directory, and it was seen to be cached");
    };
    let mut dir = dir.clone();
    let subdirs = i64::from(dir.subdirs).checked_add(subdirs).map(u32::try_from);
    match (dir.entries.checked_add_signed(entries), subdirs) {
        (Some(entries), Some(Ok(subdirs))) => (dir.entries, dir.subdirs) = (entries, subdirs),
        // The coordinator has decided: a count that cannot be is no reason to be gone.
        (_, _) => tracing::error!(dir = %ino, "told to count what cannot be"),
    }
    dir.times.mtime = dir.times.mtime.max(at);
    dir.times.ctime = dir.times.ctime.max(at);
    cx.own.namespace.put_dir(ino, dir, cx.out);
}

/// Of an operation of several ranks its client hears when it cannot be lost any more.
fn asked_by(cx: &Cx<'_>, client: ClientId) -> Requester {
    Requester { client, tell: Tell::Durable(cx.own.seq.next()) }
}

/// Also the requester, which knows it from its answer, hears it in order with what others do to the
/// file: and while it has not, what it claims here is not taken for true.
fn tell_moved(cx: &mut Cx<'_>, notice: &Notice, requester: ClientId) -> Vec<(ClientId, NoticeId)> {
    let (ino, dir, rank) = told(notice);
    let stays = rank == cx.me();
    let awaited = cx.own.notify_holders(ino, notice, asked_by(cx, requester), cx.out);
    if stays {
        cx.own.pins.relocate(ino, dir);
    } else {
        let _gone_with_it = cx.own.pins.take(ino);
    }
    awaited
}

/// The inode that was moved, the directory in whose entry it is now, and that one's rank.
fn told(notice: &Notice) -> (Ino, Option<Ino>, Rank) {
    match notice {
        Notice::Moved { ino, place: Place::Entry { dir, .. }, rank, .. } => {
            (*ino, Some(*dir), *rank)
        }
        Notice::Moved {
            ino, place: Place::Dir | Place::Home | Place::Orphan { .. }, rank, ..
        } => (*ino, None, *rank),
        Notice::Unlinked { .. }
        | Notice::Expect { .. }
        | Notice::Pinned { .. }
        | Notice::Changed { .. }
        | Notice::ChangedAtHome { .. }
        | Notice::Recall { .. } => {
            unreachable!("only a move is told as one")
        }
    }
}

/// A client that holds something here has a session here, and a lease to come and take it up.
fn expect(cx: &mut Cx<'_>, client: ClientId) {
    if cx.own.sessions.get(client).is_none() {
        let seq = cx.own.advance();
        cx.own.sessions.expect(client, seq, cx.out);
        let until = cx.now.monotonic.after(cx.params.lease);
        cx.own.sessions.keep(client, until, cx.out);
    }
}

fn put_base(cx: &mut Cx<'_>, base: DirFragId, claim: &SubtreeClaim) {
    let before = cx.own.subtrees.get(base);
    let apart = before.is_some_and(|subtree| subtree.apart);
    // It may be about to freeze, and wait for just this operation to end.
    let freeze = before.map_or(Freeze::Live, |subtree| subtree.freeze);
    let subtree = Subtree {
        auth: DirAuth::Sole(claim.auth),
        epoch: claim.epoch,
        parent: claim.parent,
        freeze,
        apart,
    };
    cx.own.subtrees.insert(base, subtree);
    if claim.auth == cx.me() {
        // If what would tell is not cached it stays a base of its own, which is no harm. What came of it
        // goes on record with the whole part.
        let _merged_or_not = cx.own.subtrees.merge(base, &cx.own.namespace);
    }
}
