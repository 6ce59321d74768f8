//! `Arena`: everything the explorer has ever seen of one kind, each thing once, known by a number.
//!
//! A state of the world is then a handful of numbers, and what a rank does with an input is looked
//! up instead of computed again.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHashMap;
use siphasher::sip128::{Hasher128, SipHasher13};

/// 128 bits of a good hash: two different things that have the same are not to be expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(u64, u64);

impl Fingerprint {
    pub fn of(thing: &impl Hash) -> Self {
        let mut hasher = SipHasher13::new();
        // So that hashes of numbers are hashes of bytes, and not of words of this machine.
        thing.hash(&mut hasher);
        hasher.write_u8(0);
        let hash = hasher.finish128();
        Self(hash.h1, hash.h2)
    }
}

/// The number of a thing in its [`Arena`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u32);

impl Id {
    #[must_use]
    pub fn index(self) -> usize {
        usize::try_from(self.0).expect("32 bits fit")
    }
}

#[derive(Debug)]
pub struct Arena<T> {
    known: FxHashMap<Fingerprint, Id>,
    things: Vec<T>,
}

impl<T: Hash> Default for Arena<T> {
    fn default() -> Self {
        Self { known: FxHashMap::default(), things: Vec::new() }
    }
}

impl<T: Hash> Arena<T> {
    /// Keeps a thing, unless its like is there already.
    pub fn keep(&mut self, thing: T) -> Id {
        let next = Id(u32::try_from(self.things.len()).expect("memory ends first"));
        let id = *self.known.entry(Fingerprint::of(&thing)).or_insert(next);
        if id == next {
            self.things.push(thing);
        }
        id
    }

    #[must_use]
    pub fn at(&self, id: Id) -> &T {
        &self.things[id.index()]
    }

    /// All there are, the oldest first.
    pub fn ids(&self) -> impl Iterator<Item = Id> + use<T> {
        (0..u32::try_from(self.things.len()).expect("memory ends first")).map(Id)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.things.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.things.is_empty()
    }
}
