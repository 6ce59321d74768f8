//! `GiveBack`: pins the kernel has let go, on their way to whoever counts them.
//!
//! They are gathered for a moment, and until every request has been answered whose answer could name
//! them once more; then they are sent in one request to each rank. What was named meanwhile stays. A
//! rank that does not have the pin says so: then somebody goes to see where the inode's directory is,
//! and it follows.

use std::collections::BTreeMap;
use std::time::Duration;

use common::id::{Ino, Rank, RequestId};
use common::limit::FORGET_ITEMS_MAX;
use common::wire::request::{Caller, Forget, Op, Place, Target};
use common::wire::session::{PinClaim, PinnedBy};

use crate::atlas::Atlas;
use crate::call::file_lock::on_released;
use crate::cx::Cx;
use crate::effect::Effect;
use crate::input::{Listed, References};
use crate::pending::{Owner, Pending};
use crate::timer::Timer;

/// How long pins are gathered.
const GATHER: Duration = Duration::from_millis(10);
/// After so many ranks that did not have an inode, its pin is left to the end of the session.
const ATTEMPTS_MAX: u32 = 8;
/// The authority of the directory was asked so often, by then after the way to it was looked up anew: the
/// pin is elsewhere.
const BY_DIR_MAX: u32 = 2;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct GiveBack {
    items: BTreeMap<Ino, Item>,
    /// Whether the timer runs.
    gathers: bool,
    /// Everything before this request was answered when they were last looked through.
    seen: RequestId,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Item {
    whereabouts: Whereabouts,
    /// Requests that did not find it.
    attempt: u32,
    /// The first request that was begun after it was let go.
    below: RequestId,
}

/// Where a pinned inode is, as far as we know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Whereabouts {
    /// In whose entry it is embedded.
    dir: Option<Ino>,
    /// With which rank, if no directory tells.
    at: Rank,
}

impl Whereabouts {
    pub(crate) fn new(target: &Target, at: Option<Rank>, atlas: &Atlas) -> Self {
        Self { dir: target.place.embedded_in(), at: atlas.rank_of(target, at) }
    }

    fn rank(&self, atlas: &Atlas) -> Rank {
        self.dir.map_or(self.at, |dir| atlas.rank_of_embedded(dir, Some(self.at)))
    }
}

impl GiveBack {
    pub(crate) fn add(
        &mut self,
        ino: Ino,
        whereabouts: Whereabouts,
        pending: &Pending,
        cx: &mut Cx<'_>,
    ) {
        self.queue(ino, whereabouts, 0, pending, cx);
    }

    fn queue(
        &mut self,
        ino: Ino,
        whereabouts: Whereabouts,
        attempt: u32,
        pending: &Pending,
        cx: &mut Cx<'_>,
    ) {
        self.gather(GATHER * (1 + attempt), cx);
        self.items.insert(ino, Item { whereabouts, attempt, below: pending.next() });
    }

    fn gather(&mut self, wait: Duration, cx: &mut Cx<'_>) {
        if !std::mem::replace(&mut self.gathers, true) {
            cx.out.set_timer(Timer::GiveBack, cx.now.monotonic.after(wait));
        }
    }

    /// Requests were answered.
    pub(crate) fn on_answered(&mut self, pending: &Pending, cx: &mut Cx<'_>) {
        if !self.items.is_empty() && !self.gathers && pending.oldest_naming() > self.seen {
            self.gather(GATHER, cx);
        }
    }

    /// Sends what was gathered and cannot be named any more.
    pub(crate) fn on_timer(&mut self, pending: &mut Pending, cx: &mut Cx<'_>) {
        self.gathers = false;
        self.seen = pending.oldest_naming();
        let seen = self.seen;
        let mut by_rank: BTreeMap<(Rank, u32), Vec<Forget>> = BTreeMap::new();
        for (ino, Item { whereabouts, attempt, below }) in
            self.items.extract_if(.., |_, item| item.below <= seen)
        {
            // Named again meanwhile, it is given back when it is let go again.
            if !cx.atlas.inodes.is_pinned(ino) {
                let at =
                    if attempt < BY_DIR_MAX { whereabouts.rank(cx.atlas) } else { whereabouts.at };
                let to = by_rank.entry((at, attempt)).or_default();
                to.push(Forget { ino, dir: whereabouts.dir, below });
            }
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
        (sent, not_here): (&[Forget], &[Ino]),
        (from, attempt): (Rank, u32),
        pending: &mut Pending,
        cx: &mut Cx<'_>,
    ) {
        for ino in not_here {
            let Some(item) = sent.iter().find(|item| item.ino == *ino) else { continue };
            if attempt >= ATTEMPTS_MAX {
                tracing::info!(%ino, "nobody takes a pin back: it ends with the session");
                continue;
            }
            if let Some(dir) = item.dir {
                let target = Target::dir(dir);
                pending.begin(Owner::Scout, Caller::default(), Op::Getattr { target }, cx);
            }
            // If it was let go once more, that is under way already.
            if !self.items.contains_key(ino) {
                let whereabouts = Whereabouts { dir: item.dir, at: next_rank(from, cx.atlas) };
                self.queue(*ino, whereabouts, attempt + 1, pending, cx);
            }
        }
    }

    /// A rank counts us among those who hold an inode, which lies there. If we do not, the pin is given
    /// back: an answer was lost with its connection, or the inode was moved while its pin was on its way.
    pub(crate) fn is_held(
        &mut self,
        ino: Ino,
        (dir, at): (Option<Ino>, Rank),
        pending: &Pending,
        cx: &mut Cx<'_>,
    ) {
        if !cx.atlas.inodes.is_pinned(ino) {
            self.add(ino, Whereabouts { dir, at }, pending, cx);
        }
    }

    /// A rank of which we claimed it knows it no more by that name. Others may count us as its holder, as we
    /// have claimed it there too: they are asked not to. We go on as if we had never held it.
    pub(crate) fn is_not_held(
        &mut self,
        target: &Target,
        latest: RequestId,
        pending: &Pending,
        cx: &mut Cx<'_>,
    ) {
        let at = cx.atlas.inodes.is_at(target.ino);
        if cx.atlas.inodes.not_held(target, latest) {
            note_lost_locks(target.ino, cx.atlas.locks.drop_file(target.ino));
            self.add(target.ino, Whereabouts::new(target, at, cx.atlas), pending, cx);
        }
    }

    /// What a rank must believe us to hold. Of a name that is whatever lies with that rank in truth, which
    /// we may not have heard of: it picks.
    pub(crate) fn claims(rank: Rank, atlas: &Atlas, pending: &Pending) -> Vec<PinClaim> {
        let held = atlas.inodes.pinned();
        let mut claims: BTreeMap<Ino, (PinClaim, Option<Rank>)> = held
            .map(|(target, at, latest)| {
                let (ino, by) = (target.ino, PinnedBy::Answered(latest));
                let asked = pending.locks_asked_for(ino).map(|(_, set)| set);
                let locks = atlas.locks.claimed(ino, asked);
                (ino, (PinClaim { target, by, locks }, at))
            })
            .collect();
        for (id, target, at) in pending.makes() {
            // If it was made, and the answer lost, somebody else must not take it away before we
            // hear of it.
            let claim = PinClaim::new(target, PinnedBy::Unanswered(id));
            claims.entry(claim.target.ino).or_insert((claim, at));
        }
        claims
            .into_values()
            .filter(|(claim, at)| {
                matches!(claim.target.place, Place::Entry { .. })
                    || atlas.rank_of(&claim.target, *at) == rank
            })
            .map(|(claim, _)| claim)
            .collect()
    }
}

/// A process goes on as if it had them, and others may have them too.
pub(crate) fn note_lost_locks(ino: Ino, locks: usize) {
    if locks > 0 {
        tracing::error!(%ino, locks, "locks are lost: the session they were held by had ended");
    }
}

/// Where to look next for what no way leads to.
fn next_rank(after: Rank, atlas: &Atlas) -> Rank {
    let ranks = atlas.map.iter().flat_map(|map| map.ranks.keys());
    let mut next = ranks.clone().filter(|rank| **rank > after).chain(ranks);
    next.next().copied().unwrap_or(after)
}

/// The kernel, or a handle of it, refers to more or to less.
pub(crate) fn on_references(
    change: References,
    give_back: &mut GiveBack,
    pending: &mut Pending,
    cx: &mut Cx<'_>,
) {
    match change {
        References::Forgotten { items } => {
            for (ino, count) in items {
                cx.atlas.inodes.forgotten(ino, count);
                release_if_unused(ino, give_back, pending, cx);
            }
        }
        References::Opened { ino } => cx.atlas.inodes.opened(ino),
        References::Released { ino, handle } => {
            on_released(ino, handle, pending, cx);
            cx.atlas.inodes.released(ino);
            release_if_unused(ino, give_back, pending, cx);
        }
        References::Listed { dir, entries } => {
            for Listed { ino, kind, name, at } in entries {
                cx.atlas.listed(ino, kind, (dir, name), at);
            }
        }
    }
}

/// Takes an inode out of the table if nothing refers to it, and gives its pin back.
pub(crate) fn release_if_unused(
    ino: Ino,
    give_back: &mut GiveBack,
    pending: &Pending,
    cx: &mut Cx<'_>,
) {
    if let Some(released) = cx.atlas.inodes.take_unused(ino) {
        if released.target.place == Place::Dir {
            cx.atlas.routes.forget(ino);
            cx.atlas.exclusives.drop(ino);
        } else {
            if let Place::Entry { dir, name } = &released.target.place {
                cx.atlas.exclusives.forget_file((*dir, name));
            }
            cx.out.push(Effect::Forgotten { ino });
        }
        if released.pinned_by.is_some() {
            let whereabouts = Whereabouts::new(&released.target, released.at, cx.atlas);
            give_back.add(ino, whereabouts, pending, cx);
        }
    }
}

#[cfg(test)]
mod tests;
