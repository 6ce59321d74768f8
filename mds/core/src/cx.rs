//! `Cx`: what a verb may see and touch; and why it cannot go on.

use common::error::FsError;
use common::id::{DirFragId, Ino, Rank, Seq};
use common::mds_map::MdsMap;
use common::name::Name;
use common::time::Now;
use common::wire::reply::Route;

use crate::effect::Effects;
use crate::holdings::Holdings;
use crate::input::Fetch;
use crate::lock::Lock;
use crate::params::Params;
use crate::row::{Dir, Inode, Linkage};
use crate::subtree::{Access, Intent};

#[derive(Debug)]
pub struct Cx<'a> {
    pub now: Now,
    pub params: &'a Params,
    pub map: &'a MdsMap,
    pub own: &'a mut Holdings,
    pub out: &'a mut Effects,
}

/// Why an operation does not go on. It has changed nothing until then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stop {
    Refuse(FsError),
    /// It is to be tried anew, from the beginning, when this is over.
    Wait(Wait),
    Redirect(Route),
    /// What it names is not here, and where it is is not known.
    Gone(Ino),
    /// Other ranks must take part.
    TwoPhase,
}

/// What an operation waits for. Every one of these has an end that is an event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wait {
    Fetch(Fetch),
    /// The region below this base is frozen, or freezing.
    Thaw(DirFragId),
    /// An operation of several ranks is under way there.
    Unlock(Lock),
    /// Everything up to here is to be durable.
    Durable(Seq),
    /// Nothing is known here about a directory above: a replica is to be discovered.
    Spine(Ino),
    /// A change of the map: a rank this needs has no address.
    Map,
    /// Clients are to repeat first what this rank had applied and lost.
    Repeated,
    /// Somebody has locked something of this file, or may have.
    FileLock(Ino),
    /// A client that holds this directory exclusively is to let it go.
    Recall(Ino),
    /// Clients that may hold anything exclusively are to say so.
    Strangers,
}

pub type Step<T> = Result<T, Stop>;

impl From<Fetch> for Stop {
    fn from(fetch: Fetch) -> Self {
        Self::Wait(Wait::Fetch(fetch))
    }
}

impl From<FsError> for Stop {
    fn from(error: FsError) -> Self {
        Self::Refuse(error)
    }
}

impl Cx<'_> {
    /// Goes on only if this rank is the authority for a directory and may do this now.
    ///
    /// # Errors
    /// Where to go, or what to wait for.
    pub fn admit(&self, dir: Ino, intent: Intent) -> Step<DirFragId> {
        match self.own.subtrees.access(dir, intent, &self.own.namespace)? {
            Access::Granted { base } => Ok(base),
            Access::Frozen { base } => Err(Stop::Wait(Wait::Thaw(base))),
            Access::Elsewhere(route) => Err(Stop::Redirect(route)),
            Access::Unknown => Err(Stop::Gone(dir)),
        }
    }

    /// A directory that was admitted.
    ///
    /// # Errors
    /// What to wait for; `Gone` if there is none of that number.
    pub fn dir(&self, ino: Ino) -> Step<&Dir> {
        self.own.namespace.dir(ino)?.ok_or(Stop::Gone(ino))
    }

    /// What a name in an admitted directory stands for.
    ///
    /// # Errors
    /// What to wait for.
    pub fn entry(&mut self, dir: Ino, name: &Name) -> Step<Option<Linkage>> {
        let lock = Lock::Entry(self.own.namespace.key(dir, name));
        self.unlocked(&lock)?;
        self.unlocked(&Lock::Contents(dir))?;
        Ok(self.own.namespace.entry(dir, name)?.cloned())
    }

    /// An inode with several names, at its home.
    ///
    /// # Errors
    /// What to wait for.
    pub fn home_inode(&self, ino: Ino) -> Step<Option<&Inode>> {
        self.unlocked(&Lock::Inode(ino))?;
        Ok(self.own.namespace.inode(ino)?)
    }

    /// # Errors
    /// What to wait for.
    pub fn unlocked(&self, lock: &Lock) -> Step<()> {
        match self.own.locks.holder(lock) {
            None => Ok(()),
            Some(_) => Err(Stop::Wait(Wait::Unlock(lock.clone()))),
        }
    }

    /// Where inodes of several names lie that this store or another has numbered.
    ///
    /// # Errors
    /// `Wait::Map` while nobody serves the slot.
    pub fn home_rank(&self, ino: Ino) -> Step<Rank> {
        self.map.rank_of(ino.slot()).ok_or(Stop::Wait(Wait::Map))
    }

    /// Whether an inode that is not at its home, which is here, may be lost: the store that numbered it
    /// was a lost rank's, whose homes this rank has inherited.
    #[must_use]
    pub fn is_lost(&self, ino: Ino) -> bool {
        let slot = ino.slot();
        slot != self.params.slot
            && !self.map.lost.is_empty()
            && self.map.rank_of(slot) == Some(self.params.me)
    }

    /// The rank that is the authority for a sub-directory, as this rank knows.
    ///
    /// # Errors
    /// What to wait for.
    pub fn rank_of_dir(&self, dir: Ino, parent: Ino) -> Step<Rank> {
        let subtrees = &self.own.subtrees;
        // A sub-directory that is no base belongs to its parent's subtree, whether or not its own
        // row is cached.
        let start = if subtrees.get(DirFragId::whole(dir)).is_some() { dir } else { parent };
        Ok(subtrees.rank_of(start, &self.own.namespace)?.unwrap_or(self.params.me))
    }

    #[must_use]
    pub fn me(&self) -> Rank {
        self.params.me
    }
}
