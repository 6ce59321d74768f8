//! `Spine`: structure-only replicas of directories, ours of others' and others' of ours.
//!
//! A rank that holds a subtree knows the directories from its base up to the root, and those
//! between its subtree and the ones nested in it, by their number, name and parent alone. Each
//! replica is registered with the directory's authority under a [`Nonce`]; a message about another
//! nonce is stale. In memory only: after a restart they are fetched anew. While a migration makes it
//! doubtful with whom ([`doubt`]), both candidates hear of what is dropped.
//!
//! Invariant **S15** a replica is registered with the authority, or a message that registers or
//! drops it is under way.

use std::collections::BTreeMap;

use common::id::{DirFragId, Epoch, Incarnation, Ino, Nonce, Rank};
use common::limit::{PATH_DIRS_MAX, SHARED_COUNTER_MAX};
use common::mds_map::MdsMap;

use crate::cx::{Cx, Step, Stop, Wait};
use crate::message::migration::Registration;
use crate::row::Parent;
use crate::subtree::DirAuth;

pub mod discovery;
pub mod doubt;
pub mod watch;

/// A directory of another rank, as far as we need to know it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    /// `None`: the root.
    pub parent: Option<Parent>,
    /// Who answers for the directory, as far as is known here: the presumed one, in doubt.
    pub authority: Rank,
    /// By which claim. What is said of an older one is ignored.
    pub epoch: Epoch,
    pub doubt: Option<Doubt>,
    pub nonce: Nonce,
}

/// A migration of the region below `base` is under way: `other` may be the authority as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Doubt {
    pub base: DirFragId,
    pub other: Rank,
}

impl Replica {
    /// Whether this rank is the authority, or may be.
    #[must_use]
    pub fn concerns(&self, rank: Rank) -> bool {
        self.authority == rank || self.doubt.is_some_and(|doubt| doubt.other == rank)
    }
}

#[derive(Clone, Debug, Default, Hash)]
pub struct Spine {
    /// Of others' directories, here.
    replicas: BTreeMap<Ino, Replica>,
    /// Of our directories, elsewhere.
    registered: BTreeMap<Ino, BTreeMap<Rank, Registration>>,
    last_nonce: u64,
    pub discovery: discovery::Discovery,
    pub in_doubt: doubt::Queue,
    pub watch: watch::Watch,
}

impl Spine {
    #[must_use]
    pub fn replica(&self, dir: Ino) -> Option<&Replica> {
        self.replicas.get(&dir)
    }

    pub fn replicas(&self) -> impl Iterator<Item = (Ino, &Replica)> {
        self.replicas.iter().map(|(dir, replica)| (*dir, replica))
    }

    pub fn keep(&mut self, dir: Ino, replica: Replica) {
        self.replicas.insert(dir, replica);
    }

    pub fn drop_replica(&mut self, dir: Ino) -> Option<Replica> {
        self.replicas.remove(&dir)
    }

    /// Another name or parent, if the message is about the grant we hold.
    pub fn moved(&mut self, dir: Ino, parent: Parent, nonce: Nonce) {
        if let Some(replica) = self.replicas.get_mut(&dir)
            && replica.nonce == nonce
        {
            replica.parent = Some(parent);
        }
    }

    /// What the migration of a region says of a directory in it.
    pub fn set_authority(&mut self, dir: Ino, base: DirFragId, auth: DirAuth, epoch: Epoch) {
        let Some(replica) = self.replicas.get_mut(&dir).filter(|it| it.epoch <= epoch) else {
            return;
        };
        match auth {
            DirAuth::Sole(rank) => {
                (replica.authority, replica.epoch, replica.doubt) = (rank, epoch, None);
            }
            DirAuth::Ambiguous { first, second } => {
                replica.authority = first;
                replica.doubt = Some(Doubt { base, other: second });
            }
        }
    }

    /// A rank gets a replica of a directory of ours.
    pub fn register(&mut self, dir: Ino, holder: Rank, life: Incarnation) -> Nonce {
        let nonce = self.new_nonce();
        self.registered.entry(dir).or_default().insert(holder, Registration { nonce, life });
        nonce
    }

    /// For a registration that another rank will keep.
    pub fn new_nonce(&mut self) -> Nonce {
        self.last_nonce += 1;
        Nonce(self.last_nonce)
    }

    /// A holder has dropped its replica, if it speaks of its latest grant.
    pub fn expire(&mut self, dir: Ino, holder: Rank, nonce: Nonce) {
        if let Some(holders) = self.registered.get_mut(&dir)
            && holders.get(&holder).is_some_and(|known| known.nonce == nonce)
        {
            holders.remove(&holder);
            if holders.is_empty() {
                self.registered.remove(&dir);
            }
        }
    }

    /// Who has replicas of a directory of ours.
    pub fn holders(&self, dir: Ino) -> impl Iterator<Item = (Rank, Nonce)> + '_ {
        self.registered.get(&dir).into_iter().flatten().map(|(rank, known)| (*rank, known.nonce))
    }

    /// Every directory of ours of which others have replicas.
    pub fn registered(&self) -> impl Iterator<Item = (Ino, &BTreeMap<Rank, Registration>)> {
        self.registered.iter().map(|(dir, holders)| (*dir, holders))
    }

    /// Takes a directory's registrations away, as when its authority moves.
    pub fn take_holders(&mut self, dir: Ino) -> BTreeMap<Rank, Registration> {
        self.registered.remove(&dir).unwrap_or_default()
    }

    /// Registrations another rank has kept until now. Their nonces stay valid: ours must not
    /// collide with them.
    pub fn adopt_holders(&mut self, dir: Ino, holders: BTreeMap<Rank, Registration>) {
        let plausible =
            holders.values().map(|known| known.nonce.0).filter(|it| *it <= SHARED_COUNTER_MAX);
        let highest = plausible.max().unwrap_or_default();
        self.last_nonce = self.last_nonce.max(highest);
        if !holders.is_empty() {
            self.registered.entry(dir).or_default().extend(holders);
        }
    }

    /// A rank has died: its replicas are gone, and it no longer knows of ours. Its next life may be
    /// registered already: whoever we have that from had heard of the death before us.
    pub fn forget_rank(&mut self, rank: Rank, map: &MdsMap) {
        self.replicas.retain(|_, replica| !replica.concerns(rank));
        self.discovery.forget_rank(rank);
        self.in_doubt.forget_rank(rank);
        self.watch.forget_rank(rank);
        for holders in self.registered.values_mut() {
            holders.retain(|holder, known| *holder != rank || !map.has_ended(rank, known.life));
        }
        self.registered.retain(|_, holders| !holders.is_empty());
    }
}

impl Cx<'_> {
    /// The directories above one, nearest first, up to the root: own rows, then replicas.
    ///
    /// # Errors
    /// `Wait::Spine` for the first directory about which nothing is known here.
    pub fn ancestors(&self, dir: Ino) -> Step<Vec<Ino>> {
        let mut ancestors = Vec::new();
        let mut here = dir;
        while here != Ino::ROOT {
            here = match self.parent_of(here)? {
                Some(parent) if ancestors.len() < PATH_DIRS_MAX => parent.dir,
                Some(_) | None => return Err(Stop::Wait(Wait::Spine(here))),
            };
            ancestors.push(here);
        }
        Ok(ancestors)
    }

    /// Where a directory's name is, from a replica or from its row, if that is ours. `None`: not
    /// known here (or the root).
    ///
    /// # Errors
    /// What must be fetched first.
    pub fn parent_of(&self, dir: Ino) -> Step<Option<Parent>> {
        if let Some(replica) = self.own.spine.replica(dir) {
            return Ok(replica.parent.clone());
        }
        if self.own.subtrees.rank_of(dir, &self.own.namespace)? != Some(self.me()) {
            // What may still be stored of it is of the past.
            return Ok(None);
        }
        Ok(self.own.namespace.parent(dir)?.cloned())
    }

    /// The path of a directory, as far as the way up is known here; for people.
    ///
    /// # Errors
    /// What must be fetched first.
    pub fn path_of(&self, dir: Ino) -> Step<String> {
        let mut names = Vec::new();
        let mut here = dir;
        while here != Ino::ROOT {
            let parent = self.parent_of(here)?.filter(|_| names.len() < PATH_DIRS_MAX);
            let Some(parent) = parent else {
                names.push(format!("…{here}"));
                break;
            };
            names.push(parent.name.to_string());
            here = parent.dir;
        }
        names.reverse();
        Ok(format!("/{}", names.join("/")))
    }
}

#[cfg(test)]
mod tests {
    use common::name::Name;

    use super::*;

    const DIR: Ino = Ino(0x100);
    const LIFE: Incarnation = Incarnation(1);

    fn parent(text: &str) -> Parent {
        Parent { dir: Ino::ROOT, name: Name::new(text.as_bytes()).unwrap() }
    }

    fn replica() -> Replica {
        let (authority, epoch) = (Rank(0), Epoch(5));
        Replica { parent: Some(parent("a")), authority, epoch, doubt: None, nonce: Nonce(2) }
    }

    #[test]
    fn what_is_said_of_an_older_claim_is_ignored() {
        let mut spine = Spine::default();
        spine.keep(DIR, replica());
        let base = DirFragId::whole(DIR);
        spine.set_authority(DIR, base, DirAuth::Sole(Rank(1)), Epoch(4));
        assert_eq!(spine.replica(DIR), Some(&replica()));
        let doubt = DirAuth::Ambiguous { first: Rank(0), second: Rank(1) };
        spine.set_authority(DIR, base, doubt, Epoch(6));
        assert!(spine.replica(DIR).is_some_and(|it| it.concerns(Rank(0)) && it.concerns(Rank(1))));
        spine.set_authority(DIR, base, DirAuth::Sole(Rank(1)), Epoch(6));
        assert!(spine.replica(DIR).is_some_and(|it| !it.concerns(Rank(0))));
    }

    #[test]
    fn an_expire_of_an_older_grant_is_ignored() {
        let mut spine = Spine::default();
        let old = spine.register(DIR, Rank(1), LIFE);
        let new = spine.register(DIR, Rank(1), LIFE);
        spine.expire(DIR, Rank(1), old);
        assert_eq!(spine.holders(DIR).collect::<Vec<_>>(), [(Rank(1), new)]);
        spine.expire(DIR, Rank(1), new);
        assert_eq!(spine.holders(DIR).count(), 0);
    }

    #[test]
    fn a_move_of_an_older_grant_is_ignored() {
        let mut spine = Spine::default();
        spine.keep(DIR, replica());
        spine.moved(DIR, parent("b"), Nonce(1));
        assert_eq!(spine.replica(DIR).unwrap().parent, Some(parent("a")));
        spine.moved(DIR, parent("b"), Nonce(2));
        assert_eq!(spine.replica(DIR).unwrap().parent, Some(parent("b")));
    }

    #[test]
    fn nonces_of_adopted_registrations_are_not_given_again() {
        let mut spine = Spine::default();
        spine.adopt_holders(DIR, [(Rank(1), Registration { nonce: Nonce(41), life: LIFE })].into());
        assert_eq!(spine.register(DIR, Rank(2), LIFE), Nonce(42));
    }
}
