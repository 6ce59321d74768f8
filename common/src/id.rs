//! Identifiers, each a type of its own.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::frag::Frag;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}

ids! {
    /// A slot of the cluster for one metadata server. Rank 0 holds the root.
    Rank(u16);
    /// One life of the daemon that holds a rank (or of the monitor). Grows with every start; never 0.
    Incarnation(u64);
    /// The store that allocated an inode number. Given out by the monitor, never twice.
    Slot(u16);
    /// One mount. Chosen at random when it is made.
    ClientId(u64);
    /// A request of one client: one counter for all ranks, so that a retry elsewhere keeps its id.
    RequestId(u64);
    /// A position in what one rank has applied. Grows over restarts: see [`Seq::first_of`].
    Seq(u64);
    /// A version of the [`crate::mds_map::MdsMap`].
    MapEpoch(u64);
    /// The cluster's logical clock for claims to subtrees: of two claims the higher wins.
    Epoch(u64);
    /// One grant of a spine replica. A message about another grant is stale.
    Nonce(u64);
    /// An operation of several ranks; unique per coordinator and incarnation.
    TwoPhaseId(u64);
    /// One notice of a rank to a client, by which the client acknowledges it.
    NoticeId(u64);
}

impl Rank {
    /// The rank that holds the root of the namespace, always.
    pub const ROOT: Self = Self(0);
}

/// How many bits of a [`Seq`] count within one incarnation: 2^40 changes.
const SEQ_BITS: u32 = 40;

impl Seq {
    /// Where an incarnation begins to count: above everything an earlier one has told anybody.
    #[must_use]
    pub fn first_of(incarnation: Incarnation) -> Self {
        Self(incarnation.0 << SEQ_BITS)
    }

    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The incarnation that counted it.
    #[must_use]
    pub fn incarnation(self) -> Incarnation {
        Incarnation(self.0 >> SEQ_BITS)
    }
}

/// An inode number, which is the FUSE node id as well.
///
/// Layout, from the top: 1 bit zero, 16 bits [`Slot`] of the store that allocated it, 47 bits
/// counter. Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ino(pub u64);

const INO_COUNTER_BITS: u32 = 47;

impl Ino {
    /// The root directory. FUSE prescribes 1.
    pub const ROOT: Self = Self(1);
    /// The first counter of a slot that may be lent: below are the root and numbers kept free.
    pub const FIRST_COUNTER: u64 = 0x100;

    #[must_use]
    pub fn new(slot: Slot, counter: u64) -> Self {
        assert!(counter < 1 << INO_COUNTER_BITS, "inode counter out of range");
        Self(u64::from(slot.0) << INO_COUNTER_BITS | counter)
    }

    /// The store whose rank is this inode's *home*.
    #[must_use]
    pub fn slot(self) -> Slot {
        let bits = (self.0 >> INO_COUNTER_BITS) & u64::from(u16::MAX);
        Slot(u16::try_from(bits).expect("masked to 16 bits"))
    }

    #[must_use]
    pub fn counter(self) -> u64 {
        self.0 & ((1 << INO_COUNTER_BITS) - 1)
    }
}

impl fmt::Display for Ino {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Inode numbers a rank has lent: `first ..= last`, of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InoRange {
    pub first: Ino,
    pub last: Ino,
}

impl InoRange {
    #[must_use]
    pub fn contains(&self, ino: Ino) -> bool {
        self.first <= ino && ino <= self.last
    }
}

/// A fragment of a directory: the unit of storage, freezing and authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DirFragId {
    pub ino: Ino,
    pub frag: Frag,
}

impl DirFragId {
    /// The only fragment of a directory that was never split.
    #[must_use]
    pub fn whole(ino: Ino) -> Self {
        Self { ino, frag: Frag::WHOLE }
    }
}

impl fmt::Display for DirFragId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.frag == Frag::WHOLE {
            self.ino.fmt(f)
        } else {
            write!(f, "{}.{}", self.ino, self.frag)
        }
    }
}

/// One attempt to move a subtree; the reference documents call it *tid*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MigrationId {
    pub exporter: Rank,
    /// Of the exporter, when the attempt began.
    pub incarnation: Incarnation,
    pub number: u32,
}

impl fmt::Display for MigrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.exporter, self.incarnation, self.number)
    }
}

impl std::str::FromStr for MigrationId {
    type Err = ParseMigrationIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('.');
        let mut next = || parts.next().ok_or(ParseMigrationIdError);
        let (exporter, incarnation, number) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(ParseMigrationIdError);
        }
        Ok(Self {
            exporter: Rank(exporter.parse().map_err(|_| ParseMigrationIdError)?),
            incarnation: Incarnation(incarnation.parse().map_err(|_| ParseMigrationIdError)?),
            number: number.parse().map_err(|_| ParseMigrationIdError)?,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a migration's id has the form RANK.INCARNATION.NUMBER, as `grove migrations` prints it")]
pub struct ParseMigrationIdError;

/// The cluster; made by the monitor when its store is formatted. Shown as 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::str::FromStr for ClusterId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

#[cfg(test)]
mod tests;
