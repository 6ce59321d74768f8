//! `GiveBack`: pins the kernel has let go, on their way to whoever counts them.
//!
//! They are gathered for a moment, then sent in one request to each rank. A rank that does not
//! have the inode says so: then somebody goes to see where its directory is, and they follow.

use std::collections::BTreeMap;
use std::time::Duration;

use common::id::{Ino, Rank};
use common::limit::FORGET_ITEMS_MAX;
use common::wire::request::{Caller, Forget, Op, Place, Target};
use common::wire::session::PinClaim;

use crate::atlas::Atlas;
use crate::cx::Cx;
use crate::effect::Effect;
use crate::inode_table::Released;
use crate::input::{Listed, References};
use crate::pending::{Owner, Pending};
use crate::timer::Timer;

/// How long pins are gathered.
const GATHER: Duration = Duration::from_millis(10);
/// After so many ranks that did not have an inode, its pins are left to the end of the session.
const ATTEMPTS_MAX: u32 = 8;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct GiveBack {
    items: BTreeMap<Ino, Item>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Item {
    released: Released,
    /// Requests that did not find it.
    attempt: u32,
}

impl GiveBack {
    pub(crate) fn add(&mut self, released: Released, cx: &mut Cx<'_>) {
        self.queue(released, 0, cx);
    }

    fn queue(&mut self, released: Released, attempt: u32, cx: &mut Cx<'_>) {
        if released.count == 0 {
            return;
        }
        if self.items.is_empty() {
            let wait = GATHER * (1 + attempt);
            cx.out.set_timer(Timer::GiveBack, cx.now.monotonic.after(wait));
        }
        match self.items.get_mut(&released.target.ino) {
            Some(item) => {
                item.released.count += released.count;
                item.released.target = released.target;
                item.attempt = item.attempt.max(attempt);
            }
            None => {
                self.items.insert(released.target.ino, Item { released, attempt });
            }
        }
    }

    /// Sends what was gathered.
    pub(crate) fn on_timer(&mut self, pending: &mut Pending, cx: &mut Cx<'_>) {
        let mut by_rank: BTreeMap<(Rank, u32), Vec<Forget>> = BTreeMap::new();
        for (_, Item { released, attempt }) in std::mem::take(&mut self.items) {
            let Released { target, at, count } = released;
            let rank = cx.atlas.rank_of(&target, at);
            by_rank.entry((rank, attempt)).or_default().push(Forget { target, count });
        }
        for ((rank, attempt), items) in by_rank {
            for items in items.chunks(FORGET_ITEMS_MAX) {
                let op = Op::Forget { items: items.to_vec() };
                pending.begin_at(rank, Owner::GiveBack { attempt }, op, cx);
            }
        }
    }

    /// Some were not with the rank they were sent to.
    pub(crate) fn on_not_here(
        &mut self,
        sent: &[Forget],
        not_here: &[Target],
        attempt: u32,
        pending: &mut Pending,
        cx: &mut Cx<'_>,
    ) {
        for target in not_here {
            let Some(item) = sent.iter().find(|item| item.target.ino == target.ino) else {
                continue;
            };
            if attempt >= ATTEMPTS_MAX {
                tracing::info!(ino = %target.ino, "nobody takes a pin back: it ends with the session");
                continue;
            }
            if let Place::Entry { dir, .. } = item.target.place {
                let target = Target::dir(dir);
                pending.begin(Owner::Scout, Caller::default(), Op::Getattr { target }, cx);
            }
            let released = Released { target: item.target.clone(), at: None, count: item.count };
            self.queue(released, attempt + 1, cx);
        }
    }

    /// An inode we have let go was moved: its pins are to follow.
    pub(crate) fn moved(&mut self, ino: Ino, place: &Place, rank: Rank) {
        if let Some(item) = self.items.get_mut(&ino) {
            item.released.target.place = place.clone();
            item.released.at = Some(rank);
        }
    }

    /// What a rank must believe us to hold: what we refer to, and what it will yet be given back. Of a
    /// name that is whatever lies with that rank in truth, which we may not have heard of: it picks.
    pub(crate) fn claims(&self, rank: Rank, atlas: &Atlas, pending: &Pending) -> Vec<PinClaim> {
        let mut claims: BTreeMap<Ino, Released> = BTreeMap::new();
        let queued = self.items.values().map(|item| item.released.clone());
        for held in atlas.inodes.pinned().chain(queued) {
            match claims.get_mut(&held.target.ino) {
                Some(claim) => claim.count += held.count,
                None => {
                    claims.insert(held.target.ino, held);
                }
            }
        }
        for item in pending.given_back() {
            let Forget { target, count } = item;
            let claim = claims.entry(target.ino).or_insert_with(|| Released {
                target: target.clone(),
                at: None,
                count: 0,
            });
            claim.count += count;
        }
        for (ino, place) in pending.makes() {
            // If it was made, and the answer lost, somebody else must not take it away before we
            // hear of it.
            claims.entry(ino).or_insert_with(|| Released {
                target: Target { ino, place },
                at: None,
                count: 0,
            });
        }
        claims
            .into_values()
            .filter(|claim| {
                matches!(claim.target.place, Place::Entry { .. })
                    || atlas.rank_of(&claim.target, claim.at) == rank
            })
            .map(|claim| PinClaim { target: claim.target, count: claim.count })
            .collect()
    }
}

/// The kernel, or a handle of it, refers to more or to less.
pub(crate) fn on_references(change: References, give_back: &mut GiveBack, cx: &mut Cx<'_>) {
    match change {
        References::Forgotten { items } => {
            for (ino, count) in items {
                cx.atlas.inodes.forgotten(ino, count);
                release_if_unused(ino, give_back, cx);
            }
        }
        References::Opened { ino } => cx.atlas.inodes.opened(ino),
        References::Released { ino } => {
            cx.atlas.inodes.released(ino);
            release_if_unused(ino, give_back, cx);
        }
        References::Listed { dir, entries } => {
            for Listed { ino, kind, name, at } in entries {
                cx.atlas.listed(ino, kind, (dir, name), at);
            }
        }
    }
}

/// Takes an inode out of the table if nothing refers to it, and gives its pins back.
pub(crate) fn release_if_unused(ino: Ino, give_back: &mut GiveBack, cx: &mut Cx<'_>) {
    if let Some(released) = cx.atlas.inodes.take_unused(ino) {
        if released.target.place == Place::Dir {
            cx.atlas.routes.forget(ino);
        } else {
            cx.out.push(Effect::Forgotten { ino });
        }
        give_back.add(released, cx);
    }
}

#[cfg(test)]
mod tests;
