//! From what the ranks have locked and told to what each of them is to do.
//!
//! Planning is tried from the beginning whenever more is known, like a request: it either comes to a
//! [`Plan`] or names the next thing that must be looked at. It changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use common::id::{ClientId, DirFragId, Epoch, Ino, Rank};
use common::id_set::IdSet;
use common::mds_map::RankState;
use common::name::Name;
use common::wire::reply::Answer;
use common::wire::request::{Op, Request};
use common::wire::session::Notice;

use super::{link, rename, rmdir, unlink};
use crate::cx::{Cx, Stop, Wait};
use crate::file_lock::LocksOfFile;
use crate::journal::entry::SubtreeClaim;
use crate::message::two_phase::{Act, Item, Part, Sight};
use crate::row::{Holders, Inode, Linkage};

/// What all ranks have told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    pub sights: BTreeMap<(Rank, Item), Sight>,
    /// Where directories are, by those who were asked in vain.
    pub whereabouts: BTreeMap<Ino, Rank>,
    /// How often asking was in vain.
    pub detours: u32,
    /// Everybody who was asked: they may hold locks.
    pub ranks: BTreeSet<Rank>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    pub parts: BTreeMap<Rank, Part>,
    pub answer: Answer,
}

/// Why there is no plan yet.
#[derive(Debug)]
pub enum Need {
    Look(Rank, Item),
    /// A directory goes to another parent.
    RenameLock,
    Stop(Stop),
}

impl<T: Into<Stop>> From<T> for Need {
    fn from(stop: T) -> Self {
        Self::Stop(stop.into())
    }
}

pub type Planned<T> = Result<T, Need>;

/// A plan in the making.
#[derive(Debug)]
pub struct Planner<'a, 'b> {
    pub cx: &'a Cx<'b>,
    pub client: ClientId,
    pub request: &'a Request,
    pub seen: &'a Seen,
    /// Whether the cluster-wide rename lock is held.
    pub may_move_dirs: bool,
    parts: BTreeMap<Rank, Part>,
}

/// A name as its rank has told it.
#[derive(Clone, Debug)]
pub struct SeenEntry {
    pub rank: Rank,
    pub linkage: Option<Linkage>,
    pub holders: Holders,
    pub locks: LocksOfFile,
    pub child: Option<Rank>,
    pub completed: BTreeMap<ClientId, IdSet>,
}

/// # Errors
/// What must be looked at, held or waited for first; or the operation's refusal.
pub fn plan(
    cx: &Cx<'_>,
    (client, request): (ClientId, &Request),
    seen: &Seen,
    may_move_dirs: bool,
) -> Planned<Plan> {
    let planner = Planner { cx, client, request, seen, may_move_dirs, parts: BTreeMap::new() };
    match &request.op {
        Op::Unlink { dir, name } => unlink::plan(planner, *dir, name),
        Op::Rmdir { dir, name } => rmdir::plan(planner, *dir, name),
        Op::Link { target, rank, dir, name } => link::plan(planner, (target, *rank), *dir, name),
        Op::Rename(rename) => rename::plan(planner, rename),
        Op::Lookup { .. }
        | Op::Getattr { .. }
        | Op::Setattr { .. }
        | Op::Readdir { .. }
        | Op::Stat { .. }
        | Op::Create(_)
        | Op::Mkdir { .. }
        | Op::Readlink { .. }
        | Op::GetXattr { .. }
        | Op::SetXattr { .. }
        | Op::ListXattr { .. }
        | Op::RemoveXattr { .. }
        | Op::Wrote { .. }
        | Op::Forget { .. }
        | Op::Sync
        | Op::GetLock { .. }
        | Op::SetLock { .. }
        | Op::Hold { .. } => unreachable!("one rank does this alone"),
    }
}

impl Planner<'_, '_> {
    /// # Errors
    /// The look that must be taken first.
    pub fn look(&self, rank: Rank, item: Item) -> Planned<&Sight> {
        if self.cx.map.lost.contains(&rank) {
            // Whoever named it has not heard yet. What it had is somebody else's by now, or gone.
            return Err(Stop::Gone(item.ino()).into());
        }
        if rank != self.cx.me()
            && !matches!(self.cx.map.state(rank), RankState::Active | RankState::Stopping)
        {
            return Err(Stop::Wait(Wait::Map).into());
        }
        let key = (rank, item);
        match self.seen.sights.get(&key) {
            Some(sight) => Ok(sight),
            None => Err(Need::Look(key.0, key.1)),
        }
    }

    /// A name, at the authority of its directory: where asking has led, or where `presumed`.
    ///
    /// # Errors
    /// The look that must be taken first.
    pub fn entry(&self, presumed: Rank, dir: Ino, name: &Name) -> Planned<SeenEntry> {
        let rank = self.seen.whereabouts.get(&dir).copied().unwrap_or(presumed);
        match self.look(rank, Item::Entry { dir, name: name.clone() })? {
            Sight::Entry { linkage, holders, locks, child, completed } => Ok(SeenEntry {
                rank,
                linkage: linkage.clone(),
                holders: holders.clone(),
                locks: locks.clone(),
                child: *child,
                completed: completed.clone(),
            }),
            Sight::Home { .. } | Sight::Victim { .. } | Sight::Moving => {
                unreachable!("a sight fits what was asked")
            }
        }
    }

    /// An inode at its home, and which rank that is.
    ///
    /// # Errors
    /// The look that must be taken first; `Wait::Map` while nobody serves the slot.
    pub fn home(&self, ino: Ino) -> Planned<(Rank, Option<Inode>)> {
        let rank = self.cx.home_rank(ino)?;
        match self.look(rank, Item::Home { ino })? {
            Sight::Home { inode } => Ok((rank, inode.as_deref().cloned())),
            Sight::Entry { .. } | Sight::Victim { .. } | Sight::Moving => {
                unreachable!("a sight fits what was asked")
            }
        }
    }

    /// The authority of a directory that is to go, and how many names are in it.
    ///
    /// # Errors
    /// The look that must be taken first.
    pub fn victim(&self, presumed: Rank, dir: Ino) -> Planned<(Rank, u64)> {
        let rank = self.seen.whereabouts.get(&dir).copied().unwrap_or(presumed);
        match self.look(rank, Item::Victim { dir })? {
            Sight::Victim { entries } => Ok((rank, *entries)),
            Sight::Entry { .. } | Sight::Home { .. } | Sight::Moving => {
                unreachable!("a sight fits what was asked")
            }
        }
    }

    /// The authority of a directory that is to have another name.
    ///
    /// # Errors
    /// The look that must be taken first.
    pub fn moving(&self, presumed: Rank, dir: Ino) -> Planned<Rank> {
        let rank = self.seen.whereabouts.get(&dir).copied().unwrap_or(presumed);
        self.look(rank, Item::Moving { dir })?;
        Ok(rank)
    }

    pub fn act(&mut self, rank: Rank, act: Act) {
        let nothing = Part { client: self.client, acts: Vec::new() };
        self.parts.entry(rank).or_insert(nothing).acts.push(act);
    }

    /// An inode goes to a rank, with all that those who hold it must find there.
    pub fn arrive(&mut self, rank: Rank, notice: Notice, old: &SeenEntry) {
        let (holders, locks) = (old.holders.clone(), old.locks.clone());
        self.act(rank, Act::Arrived { notice, holders, locks });
        if !old.completed.is_empty() {
            self.act(rank, Act::Completed { completed: old.completed.clone() });
        }
    }

    pub fn count(&mut self, rank: Rank, dir: Ino, entries: i64, subdirs: i64) {
        self.act(rank, Act::Count { dir, entries, subdirs, at: self.request.at });
    }

    /// What every rank concerned has to know when a directory is under another authority than what
    /// is around it. Stamped by the caller's clock, which has seen every participant's.
    #[must_use]
    pub fn claim(&self, auth: Rank, parent: Ino) -> SubtreeClaim {
        let epoch = Epoch(self.cx.own.subtrees.clock().0 + 1);
        SubtreeClaim { auth, epoch, parent: Some(parent) }
    }

    /// A directory's last name goes, at its parent's rank and at its own.
    pub fn remove_dir(&mut self, parent: Rank, own: Rank, dir: Ino) {
        self.act(own, Act::RemoveDir { dir });
        if own != parent {
            self.act(parent, Act::DropBase { base: DirFragId::whole(dir) });
        }
    }

    #[must_use]
    pub fn finish(self, answer: Answer) -> Plan {
        Plan { parts: self.parts, answer }
    }
}
