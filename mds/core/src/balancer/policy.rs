//! `Policy`: from everybody's loads to a move, if one is worth it. A trait since several are compared.

use std::collections::BTreeMap;

use common::id::{Ino, Rank};
use common::time::Monotonic;

use crate::message::load::Heartbeat;

/// What a policy sees of the cluster.
#[derive(Clone, Debug)]
pub struct View<'a> {
    pub ranks: BTreeMap<Rank, Heartbeat>,
    /// Directories that were moved lately.
    pub cooling: &'a BTreeMap<Ino, Monotonic>,
    /// Operations per second one rank is taken to be able to do.
    pub capacity: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    pub dir: Ino,
    pub from: Rank,
    pub to: Rank,
    /// Operations per second that go with it.
    pub load: u64,
}

pub trait Policy {
    /// The move that is worth most, if any is worth its cost.
    fn choose(&self, view: &View<'_>) -> Option<Move>;
}
