//! `SubtreeMap`: who is the authority. The only place where that is known.
//!
//! A rank knows its own subtrees, the bases nested in them with the authority beyond each, and bases
//! it once gave away - never the whole tree. What is no base inherits from the nearest base above.
//!
//! Invariants. **S1** of all ranks at most one lists itself alone for a base. **S3** ambiguous
//! implies frozen. **S21** a frozen region has no auth pins.

use std::collections::{BTreeMap, BTreeSet};

use common::id::{DirFragId, Epoch, Ino, Rank};
use common::limit::{PATH_DIRS_MAX, SHARED_COUNTER_MAX};
use common::wire::reply::Route;
use serde::{Deserialize, Serialize};

use crate::input::Fetch;
use crate::journal::entry::SubtreeClaim;
use crate::namespace::Namespace;

/// The authority for a subtree, or the doubt during a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DirAuth {
    Sole(Rank),
    /// `first` is presumed to be the owner.
    Ambiguous {
        first: Rank,
        second: Rank,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subtree {
    pub auth: DirAuth,
    pub epoch: Epoch,
    /// The directory that holds the base's name. `None` for the root.
    pub parent: Option<Ino>,
    pub freeze: Freeze,
    /// A migration or a pin keeps it apart from an equal neighbour.
    pub apart: bool,
}

impl Subtree {
    /// As a claim has it: live, and nothing special.
    #[must_use]
    pub fn restored(claim: &SubtreeClaim) -> Self {
        Self {
            auth: DirAuth::Sole(claim.auth),
            epoch: claim.epoch,
            parent: claim.parent,
            freeze: Freeze::Live,
            apart: false,
        }
    }
}

/// Whether operations go on below a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Freeze {
    Live,
    /// No operation that changes something begins; those under way drain.
    Freezing,
    /// Nothing changes. At an exporter what it holds can still be read.
    ReadOnly,
    /// The exporter has sent the last delta: what a read would leave behind would stay behind.
    Sealed,
    /// Nothing is served.
    Frozen,
}

/// What an operation wants of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    Read,
    /// To read and to note that the reader holds what it found.
    Pin,
    Change,
}

/// Whether this rank may do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Granted {
        base: DirFragId,
    },
    /// When the freeze of this base ends, ask again.
    Frozen {
        base: DirFragId,
    },
    Elsewhere(Route),
    /// This rank has never heard of the directory, or has it no longer.
    Unknown,
}

#[derive(Clone, Debug, Hash)]
pub struct SubtreeMap {
    me: Rank,
    bases: BTreeMap<DirFragId, Subtree>,
    /// Directories that operations of several turns work in, and how many do.
    auth_pins: BTreeMap<Ino, u32>,
    clock: Epoch,
}

impl SubtreeMap {
    #[must_use]
    pub fn new(me: Rank) -> Self {
        Self { me, bases: BTreeMap::new(), auth_pins: BTreeMap::new(), clock: Epoch(0) }
    }

    pub fn insert(&mut self, base: DirFragId, subtree: Subtree) {
        self.see_epoch(subtree.epoch);
        self.bases.insert(base, subtree);
    }

    pub fn remove(&mut self, base: DirFragId) -> Option<Subtree> {
        self.bases.remove(&base)
    }

    #[must_use]
    pub fn get(&self, base: DirFragId) -> Option<&Subtree> {
        self.bases.get(&base)
    }

    pub fn get_mut(&mut self, base: DirFragId) -> Option<&mut Subtree> {
        self.bases.get_mut(&base)
    }

    pub fn iter(&self) -> impl Iterator<Item = (DirFragId, &Subtree)> {
        self.bases.iter().map(|(base, subtree)| (*base, subtree))
    }

    /// The nearest base at or above a directory. `None`: the way up leaves what this rank knows.
    ///
    /// # Errors
    /// What must be fetched first.
    pub fn base_of(&self, dir: Ino, namespace: &Namespace) -> Result<Option<DirFragId>, Fetch> {
        let mut here = dir;
        for _ in 0..PATH_DIRS_MAX {
            let base = DirFragId::whole(here);
            if self.bases.contains_key(&base) {
                return Ok(Some(base));
            }
            match namespace.parent(here)? {
                Some(parent) => here = parent.dir,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The nearest base strictly above a base.
    ///
    /// # Errors
    /// What must be fetched first.
    pub fn base_above(
        &self,
        base: DirFragId,
        namespace: &Namespace,
    ) -> Result<Option<DirFragId>, Fetch> {
        match self.get(base).and_then(|subtree| subtree.parent) {
            Some(parent) => self.base_of(parent, namespace),
            None => Ok(None),
        }
    }

    /// Whether this rank may do it, and if not, what then.
    ///
    /// # Errors
    /// What must be fetched first.
    pub fn access(&self, dir: Ino, intent: Intent, namespace: &Namespace) -> Result<Access, Fetch> {
        let Some(base) = self.base_of(dir, namespace)? else { return Ok(Access::Unknown) };
        let subtree = &self.bases[&base];
        Ok(match (subtree.auth, subtree.freeze, intent) {
            (DirAuth::Sole(rank), _, _) if rank != self.me => {
                Access::Elsewhere(Route { base, rank, epoch: subtree.epoch })
            }
            (_, Freeze::Live, _)
            | (_, Freeze::Freezing | Freeze::ReadOnly, Intent::Read | Intent::Pin)
            | (_, Freeze::Sealed, Intent::Read) => Access::Granted { base },
            (_, Freeze::Freezing | Freeze::ReadOnly, Intent::Change)
            | (_, Freeze::Sealed, Intent::Pin | Intent::Change)
            | (_, Freeze::Frozen, _) => Access::Frozen { base },
        })
    }

    /// Who is the authority for a directory, as far as this rank knows: the presumed one in doubt.
    ///
    /// # Errors
    /// What must be fetched first.
    pub fn rank_of(&self, dir: Ino, namespace: &Namespace) -> Result<Option<Rank>, Fetch> {
        Ok(self.base_of(dir, namespace)?.map(|base| match self.bases[&base].auth {
            DirAuth::Sole(rank) => rank,
            DirAuth::Ambiguous { first, .. } => first,
        }))
    }

    /// The bases directly below a base: where its region ends.
    ///
    /// # Errors
    /// What must be fetched first.
    pub fn bounds(
        &self,
        base: DirFragId,
        namespace: &Namespace,
    ) -> Result<BTreeSet<DirFragId>, Fetch> {
        let mut bounds = BTreeSet::new();
        for (other, subtree) in &self.bases {
            if let Some(parent) = subtree.parent
                && *other != base
                && self.base_of(parent, namespace)? == Some(base)
            {
                bounds.insert(*other);
            }
        }
        Ok(bounds)
    }

    /// Makes a directory in one of our subtrees a base of its own, with the same authority; also one
    /// that is a base already stays so from here on.
    pub fn split(&mut self, base: DirFragId, above: DirFragId, parent: Option<Ino>) {
        let Some(above) = self.bases.get(&above) else { return };
        let (auth, epoch) = (above.auth, above.epoch);
        let subtree = Subtree { auth, epoch, parent, freeze: Freeze::Live, apart: true };
        self.bases.entry(base).or_insert(subtree).apart = true;
    }

    /// Undoes a split where nothing tells a base from the one above it. What is being given away takes in
    /// nothing: a copy that has been here already would leave it behind. Tells whether it did.
    ///
    /// # Errors
    /// What must be fetched first.
    pub fn merge(&mut self, base: DirFragId, namespace: &Namespace) -> Result<bool, Fetch> {
        let Some(over) = self.base_above(base, namespace)? else { return Ok(false) };
        let (here, above) = (&self.bases[&base], &self.bases[&over]);
        let alike = here.auth == above.auth
            && here.auth == DirAuth::Sole(self.me)
            && here.freeze == Freeze::Live
            && above.freeze == Freeze::Live;
        let merges = alike && !here.apart && !above.apart;
        if merges {
            // What was ours by this claim is not to become ours by a lower one.
            let epoch = here.epoch.max(above.epoch);
            self.bases.remove(&base);
            if let Some(above) = self.bases.get_mut(&over) {
                above.epoch = epoch;
            }
        }
        Ok(merges)
    }

    /// An operation of several turns begins to work in a directory.
    pub fn auth_pin(&mut self, dir: Ino) {
        *self.auth_pins.entry(dir).or_default() += 1;
    }

    /// It has ended.
    ///
    /// # Panics
    /// If it never began: pins and their ends come in pairs.
    pub fn auth_unpin(&mut self, dir: Ino) {
        let count = self.auth_pins.get_mut(&dir).expect("an auth pin is taken before it is let go");
        *count -= 1;
        if *count == 0 {
            self.auth_pins.remove(&dir);
        }
    }

    /// Whether operations of several turns work below a base.
    ///
    /// # Errors
    /// What must be fetched first.
    pub fn has_auth_pins(&self, base: DirFragId, namespace: &Namespace) -> Result<bool, Fetch> {
        for dir in self.auth_pins.keys() {
            if self.base_of(*dir, namespace)? == Some(base) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    #[must_use]
    pub fn auth_pins(&self) -> u64 {
        self.auth_pins.values().map(|count| u64::from(*count)).sum()
    }

    #[must_use]
    pub fn clock(&self) -> Epoch {
        self.clock
    }

    /// Somebody knows of this epoch: ours must not be behind.
    pub fn see_epoch(&mut self, epoch: Epoch) {
        if epoch.0 <= SHARED_COUNTER_MAX {
            self.clock = self.clock.max(epoch);
        }
    }

    /// A new claim, higher than all that went before.
    pub fn stamp(&mut self) -> Epoch {
        self.clock = Epoch(self.clock.0 + 1);
        self.clock
    }

    /// What the journal's `SubtreeMap` says. A base in doubt is in it, or after a restart it would
    /// seem to belong to what encloses it. It is listed for whom it is if nothing else is known: the
    /// facts of the migration in the journal say more.
    #[must_use]
    pub fn claims(&self) -> BTreeMap<DirFragId, SubtreeClaim> {
        let claims = self.bases.iter().map(|(base, subtree)| {
            let auth = match subtree.auth {
                DirAuth::Sole(auth) => auth,
                // An importer in doubt; an exporter that lists itself first can still be read.
                DirAuth::Ambiguous { first, second }
                    if first == self.me && subtree.freeze == Freeze::Frozen =>
                {
                    second
                }
                DirAuth::Ambiguous { first, .. } => first,
            };
            (*base, SubtreeClaim { auth, epoch: subtree.epoch, parent: subtree.parent })
        });
        claims.collect()
    }

    #[must_use]
    pub fn is_in_doubt(&self, base: DirFragId) -> bool {
        let auth = self.get(base).map(|subtree| subtree.auth);
        matches!(auth, Some(DirAuth::Ambiguous { .. }))
    }

    /// Whether this rank is the authority for a base, or may be.
    #[must_use]
    pub fn is_mine(&self, base: DirFragId) -> bool {
        self.get(base).is_some_and(|subtree| subtree.auth == DirAuth::Sole(self.me))
            || self.is_candidate(base)
    }

    /// Whether this rank may be the authority for a base, and may not.
    #[must_use]
    pub fn is_candidate(&self, base: DirFragId) -> bool {
        match self.get(base).map(|subtree| subtree.auth) {
            Some(DirAuth::Ambiguous { first, second }) => first == self.me || second == self.me,
            Some(DirAuth::Sole(_)) | None => false,
        }
    }

    /// The regions of which this rank may be the authority, and may not.
    pub fn candidacies(&self) -> impl Iterator<Item = DirFragId> + '_ {
        self.bases.keys().copied().filter(|base| self.is_candidate(*base))
    }

    /// A restored claim.
    pub fn restore(&mut self, base: DirFragId, claim: &SubtreeClaim) {
        self.insert(base, Subtree::restored(claim));
    }
}

#[cfg(test)]
mod tests;
